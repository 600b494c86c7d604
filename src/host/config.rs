//! What a host is told, and how it fails.

use std::path::PathBuf;

use crate::sandbox::rights::Rights;

/// Where a host that a node starts logs, in the data directory. It is opened for appending.
pub const LOG: &str = "host.log";
/// A log above this is begun anew, in bytes.
pub const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// What a host is told.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The data directory, absolute.
    pub data_dir: PathBuf,
    /// The host's name, as nodes see it.
    pub name: String,
    /// `--insecure-no-sandbox`: programs run as plain processes.
    pub insecure: bool,
    /// With what rights it makes sandboxes.
    pub rights: Rights,
    /// `--sandbox-runtime`: `auto` or `builtin`.
    pub runtime: String,
    /// Who may use the control socket beside root and the host's own user: who called sudo.
    pub owner_uid: Option<u32>,
    /// The agent's program.
    pub agent: PathBuf,
}

/// Why a host could not run.
#[derive(Debug, thiserror::Error)]
pub enum HostFailure {
    /// It is asked for something that this build or this machine lacks.
    #[error("{0}")]
    Lacks(String),
    /// Another host runs on the same data directory.
    #[error("another host already runs on {}: end it first, or choose another --data-dir", .0.display())]
    Taken(PathBuf),
    /// Something failed.
    #[error("{step}: {source}")]
    Failed {
        /// Which step.
        step: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HostFailure {
    /// The exit code that says it: 3 where something is lacking, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Lacks(_) => 3,
            Self::Taken(_) | Self::Failed { .. } => 1,
        }
    }

    pub(super) fn at(step: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Failed { step, source }
    }
}

impl HostConfig {
    /// Refuses what isn't built in.
    pub(super) fn check(&self) -> Result<(), HostFailure> {
        match self.runtime.as_str() {
            "auto" | "builtin" => Ok(()),
            "crun" | "runc" | "runsc" => Err(HostFailure::Lacks(format!(
                "the sandbox runtime {} is not built in yet: use --sandbox-runtime builtin",
                self.runtime
            ))),
            other => Err(HostFailure::Lacks(format!(
                "there is no sandbox runtime {other:?}: use --sandbox-runtime auto or builtin"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_in_is_refused_in_words() {
        let config = HostConfig {
            data_dir: "/d".into(),
            name: "h".into(),
            insecure: false,
            rights: Rights::Root,
            runtime: "auto".into(),
            owner_uid: None,
            agent: "/a".into(),
        };
        assert!(config.check().is_ok());
        for runtime in ["runsc", "docker"] {
            let failure = HostConfig { runtime: runtime.into(), ..config.clone() }.check().expect_err("refused");
            assert_eq!(failure.exit_code(), 3);
            assert!(failure.to_string().contains(runtime));
        }
    }
}
