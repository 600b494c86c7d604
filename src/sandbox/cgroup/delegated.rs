//! A cgroup that was delegated to an ordinary user.

use std::{fs, io, path::Path};

use super::v2;

/// The controllers that limits need and that are not in a list of them, as the kernel writes one.
#[must_use]
pub fn missing(have: &str) -> Vec<&'static str> {
    v2::CONTROLLERS.iter().filter(|name| !have.split_whitespace().any(|one| one == **name)).copied().collect()
}

/// Moves this process into a cgroup below `dir`, so that others below it can be limited.
///
/// # Errors
/// It isn't there, or isn't the user's.
pub fn join(dir: &Path) -> io::Result<()> {
    let leaf = v2::leaf(dir)?;
    fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())?;
    v2::pass_on(dir, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_matched_whole() {
        assert_eq!(missing("cpuset memory\n"), ["cpu", "pids"]);
        assert!(missing("cpu io memory pids").is_empty());
    }
}
