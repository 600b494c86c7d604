//! Where this program lies.

use std::{io, path::PathBuf};

/// Where this program lies. One that was replaced since it started is named as it was.
///
/// # Errors
/// What the system said.
pub fn this_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let shown = path.to_string_lossy();
    Ok(shown.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}
