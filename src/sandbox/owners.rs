//! Giving a disk that another range of user ids wrote to the range that its sandbox has now: after the machine was started
//! anew, the one it had may have become another's.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::Path,
};

use super::bundle::USER;

/// Makes everything on the disk at `disk` the range's of `ids` ids from `first` on, if its workspace is another range's.
/// Nothing may run on it. No link is followed.
///
/// # Errors
/// What the file system said; what was given over until then stays so, and the next time goes on.
pub(super) fn give(disk: &Path, first: u32, ids: u32) -> io::Result<()> {
    let owner = match fs::symlink_metadata(disk.join("workspace")) {
        Ok(found) => found.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(before) = owner.checked_sub(USER).filter(|before| owner != 0 && *before != first) else { return Ok(()) };
    let moved = |id: u32| id.checked_sub(before).filter(|id| *id < ids).map(|id| first + id);
    let give = |path: &Path, found: &fs::Metadata| match (moved(found.uid()), moved(found.gid())) {
        (None, None) => Ok(()),
        (user, group) => lchown(path, user, group),
    };
    // The workspace itself is last: until then its owner tells that not all of it is done.
    let mut left = vec![disk.join("home"), disk.join("workspace")];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let found = fs::symlink_metadata(&path)?;
            give(&path, &found)?;
            if found.is_dir() {
                left.push(path);
            }
        }
    }
    for name in ["home", "workspace"] {
        let path = disk.join(name);
        give(&path, &fs::symlink_metadata(&path)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn all_of_a_disk_changes_hands_and_nothing_outside_it() {
        if !rustix::process::geteuid().is_root() {
            // Only root gives files away.
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (disk, outside) = (dir.path().join("disk"), dir.path().join("outside"));
        fs::create_dir_all(disk.join("workspace/d")).expect("made");
        fs::create_dir_all(disk.join("home")).expect("made");
        fs::write(disk.join("workspace/d/file"), "x").expect("written");
        fs::hard_link(disk.join("workspace/d/file"), disk.join("home/file")).expect("linked");
        fs::write(&outside, "x").expect("written");
        symlink(&outside, disk.join("workspace/link")).expect("linked");
        let (old, new) = (1_000_000_000, 1_000_065_536);
        let ours = ["workspace", "workspace/d", "workspace/d/file", "workspace/link", "home"];
        for path in ours {
            lchown(disk.join(path), Some(old + USER), Some(old + USER)).expect("given");
        }
        for _ in 0..2 {
            give(&disk, new, 65_536).expect("given");
            for path in ours {
                assert_eq!(fs::symlink_metadata(disk.join(path)).expect("there").uid(), new + USER, "{path}");
            }
        }
        assert_eq!(fs::metadata(&outside).expect("there").uid(), 0);
    }
}
