//! The path rules of the workspace tree: absolute, in normal form, bounded.

/// The longest path, in bytes.
pub const PATH_BYTES: usize = 4096;
/// The longest name of one component, in bytes.
pub const NAME_BYTES: usize = 255;

/// Why a string is no workspace path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `/`.
    #[error("a path begins with `/`")]
    NotAbsolute,
    /// It names the root where something below it is needed.
    #[error("the path names the root itself")]
    Root,
    /// It has an empty component: `//` or a `/` at the end.
    #[error("a path has no `//` and does not end with `/`")]
    EmptyComponent,
    /// It has a `.` or `..` component.
    #[error("a path has no `.` or `..` component")]
    DotComponent,
    /// It has a NUL byte.
    #[error("a path has no NUL")]
    Nul,
    /// It is longer than 4096 bytes.
    #[error("a path has at most 4096 bytes")]
    TooLong,
    /// A component is longer than 255 bytes.
    #[error("a path's component has at most 255 bytes")]
    NameTooLong,
}

/// Checks that `path` is absolute within the workspace, in normal form, and names something below the root.
///
/// # Errors
/// Says which rule it breaks.
pub fn check(path: &str) -> Result<(), PathError> {
    let Some(rest) = path.strip_prefix('/') else { return Err(PathError::NotAbsolute) };
    if path.len() > PATH_BYTES {
        return Err(PathError::TooLong);
    }
    if path.contains('\0') {
        return Err(PathError::Nul);
    }
    if rest.is_empty() {
        return Err(PathError::Root);
    }
    for name in rest.split('/') {
        match name {
            "" => return Err(PathError::EmptyComponent),
            "." | ".." => return Err(PathError::DotComponent),
            _ if name.len() > NAME_BYTES => return Err(PathError::NameTooLong),
            _ => {}
        }
    }
    Ok(())
}

/// Checks a `?prefix=`: a path, or `/` for everything.
///
/// # Errors
/// Says which rule it breaks.
pub fn check_prefix(path: &str) -> Result<(), PathError> {
    if path == "/" { Ok(()) } else { check(path) }
}

/// Whether `path` is `prefix` or lies below it. `/` holds everything.
#[must_use]
pub fn is_within(path: &str, prefix: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The directory a path lies in, `None` for what lies in the root.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
}

/// A path's last component.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The names of a path from the root down.
pub fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// Where the agent writes what shall become a file of the workspace. It is there only meanwhile, and in no tree.
pub const AGENT_FOLDER: &str = "/.playhouse-tmp";

/// Whether a component of `path` is one of the template's generated folders.
#[must_use]
pub fn is_generated<S: AsRef<str>>(path: &str, generated: &[S]) -> bool {
    components(path).any(|name| generated.iter().any(|folder| folder.as_ref() == name))
}

/// Whether `path` is `.git` or lies under one.
#[must_use]
pub fn is_git(path: &str) -> bool {
    components(path).any(|name| name == ".git")
}
