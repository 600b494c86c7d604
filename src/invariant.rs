//! The invariants that the code checks as it runs, by the names they have in docs/ARCHITECTURE.md.
//!
//! A violation ends a test and a debug build. A release counts it (`playhouse_invariant_violations_total`), logs it with
//! what was seen, and goes on: a terminal that goes on beats one that is right to stop.

/// An invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inv {
    /// A client sees every retained event of a process once, in order.
    StreamGapFree,
    /// `status` of a finished process comes after its last output event is stored.
    StatusLast,
    /// Output leaves memory, here and at the agent, only when the log has it.
    AcknowledgedIsStored,
    /// The numbers of a writer that reach a program rise.
    InputOnce,
    /// At most one sandbox of a workspace is not over.
    OneSandbox,
    /// What is kept for a client or an agent is bounded.
    Bounded,
}

impl Inv {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::StreamGapFree,
        Self::StatusLast,
        Self::AcknowledgedIsStored,
        Self::InputOnce,
        Self::OneSandbox,
        Self::Bounded,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StreamGapFree => "StreamGapFree",
            Self::StatusLast => "StatusLast",
            Self::AcknowledgedIsStored => "AcknowledgedIsStored",
            Self::InputOnce => "InputOnce",
            Self::OneSandbox => "OneSandbox",
            Self::Bounded => "Bounded",
        }
    }
}

/// An invariant does not hold.
///
/// # Panics
/// In tests and debug builds.
#[cold]
#[allow(clippy::panic, reason = "a broken invariant ends a test")]
pub fn violated(invariant: Inv, seen: std::fmt::Arguments<'_>) {
    metrics::counter!("playhouse_invariant_violations_total", "invariant" => invariant.name()).increment(1);
    tracing::error!(invariant = invariant.name(), %seen, "an invariant does not hold");
    if cfg!(debug_assertions) {
        panic!("{}: {seen}", invariant.name());
    }
}

/// Checks an invariant: `check!(Inv::Name, condition, "what was seen, {}", …)`.
#[macro_export]
macro_rules! check {
    ($invariant:expr, $holds:expr, $($seen:tt)+) => {
        if !$holds {
            $crate::invariant::violated($invariant, format_args!($($seen)+));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_checked_somewhere_and_documented() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let document = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
        let mut code = String::new();
        let mut dirs = vec![root.join("src")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else if !path.ends_with("invariant.rs") {
                    code += &std::fs::read_to_string(path).unwrap();
                }
            }
        }
        for invariant in Inv::ALL {
            let name = invariant.name();
            assert!(document.contains(&format!("`{name}`")), "{name} is not in docs/ARCHITECTURE.md");
            let checked =
                code.split("check!(").skip(1).any(|rest| rest.trim_start().starts_with(&format!("Inv::{name}")));
            assert!(checked, "{name} is checked nowhere");
        }
    }

    #[test]
    #[should_panic(expected = "Bounded: 7 of 6")]
    fn a_violation_ends_a_test() {
        check!(Inv::Bounded, 7 <= 6, "{} of {}", 7, 6);
    }
}
