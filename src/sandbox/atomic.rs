//! Small files that are either the old or the new, never half of one.

use std::{fs, io, io::Write, path::Path};

/// Replaces `path` by `bytes` in one step. Survives the death of this process, not a power cut: what these files
/// describe doesn't survive that either.
///
/// # Errors
/// What the file system said.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let mut file = fs::File::create(&fresh)?;
    file.write_all(bytes)?;
    fs::rename(&fresh, path)
}
