//! A sandbox's disk: a sparse ext4 image, which is a quota that works on every file system. Without root it is a directory,
//! which has none.
//!
//! Formatting takes 8 ms, so for every size that was ever asked for a formatted spare lies ready.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use playhouse_protocol::host::Limits;
use serde::{Deserialize, Serialize};

use super::StepError;

/// The name of a disk's image in its sandbox's directory.
pub const IMAGE: &str = "disk.img";
/// The name of the directory that is a disk without a quota.
pub const FILES: &str = "files";
/// In there, what the sandbox has written.
pub(super) const UPPER: &str = "upper";
/// Entries that measuring a disk without a quota looks at, at most: this runs every two seconds.
const MEASURED_ENTRIES: usize = 20_000;

/// What carries /workspace and the home directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disk {
    /// A formatted image, which is full when it is full.
    Image(PathBuf),
    /// A directory, which ends with the host's own disk: only root may mount an image.
    Directory(PathBuf),
}

/// The smallest disk that ext4 makes sense on.
pub const MIN_BYTES: u64 = Limits::LEAST.disk_bytes;
/// The largest that ext4's default layout takes.
pub const MAX_BYTES: u64 = Limits::MOST.disk_bytes;
/// How the name of a spare that is being formatted begins.
const FRESH: &str = ".fresh-";
/// How long a disk may take to be free after the last process that had it is gone.
const FREE_LIMIT: Duration = Duration::from_secs(2);
/// How many spares of one size are kept.
const SPARES: u32 = 2;

/// Where `mkfs.ext4` is. It is often not on a plain user's PATH.
#[must_use]
pub fn mkfs() -> Option<PathBuf> {
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    usual.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join("mkfs.ext4")).find(|file| file.exists())
}

/// Makes the image at `image`: a spare if there is one, else a fresh one.
///
/// # Errors
/// Which step failed.
pub fn provide(spares: &Path, bytes: u64, image: &Path) -> Result<(), StepError> {
    if !(MIN_BYTES..=MAX_BYTES).contains(&bytes) {
        return Err(StepError::new("disk", format!("{bytes} bytes is no size for a disk")));
    }
    for place in 0..SPARES {
        if fs::rename(spare(spares, bytes, place), image).is_ok() {
            return Ok(());
        }
    }
    format(image, bytes)
}

/// Makes an image that was not unmounted, since its machine died, fit to be mounted again.
///
/// # Errors
/// It is beyond repair.
pub fn repair(image: &Path) -> Result<(), StepError> {
    let Some(fsck) = mkfs().map(|mkfs| mkfs.with_file_name("e2fsck")).filter(|fsck| fsck.exists()) else {
        // The kernel mounts it as it is.
        return Ok(());
    };
    let output =
        Command::new(fsck).arg("-p").arg(image).stdin(Stdio::null()).output().map_err(StepError::at("run e2fsck"))?;
    match output.status.code() {
        // Nothing to repair, or repaired.
        Some(0 | 1) => Ok(()),
        _ => Err(StepError::new("e2fsck", String::from_utf8_lossy(&output.stdout).trim().to_owned())),
    }
}

/// Waits until no loop device carries the image any more: the last process's end frees it, a moment later.
///
/// # Errors
/// It is not freed in time. To mount it a second time would destroy it.
pub fn wait_free(image: &Path) -> io::Result<()> {
    let begin = Instant::now();
    while carried(image) {
        if begin.elapsed() > FREE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "something still has it mounted"));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

fn carried(image: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .any(|file| Path::new(file.trim_end()) == image)
}

/// Fills up the spares of this size. Several may do so at once: each formats a file of its own, and one that comes second
/// drops it.
///
/// # Errors
/// Which step failed.
pub fn refill(spares: &Path, bytes: u64) -> Result<(), StepError> {
    fs::create_dir_all(spares).map_err(StepError::at("make the directory of spare disks"))?;
    for place in 0..SPARES {
        let path = spare(spares, bytes, place);
        if !path.exists() {
            let fresh = tempfile::Builder::new().prefix(FRESH).tempfile_in(spares);
            let fresh = fresh.map_err(StepError::at("make a spare disk"))?;
            format(fresh.path(), bytes)?;
            match fresh.persist_noclobber(&path) {
                Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StepError::new("keep a spare disk", error.error.to_string()));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Removes what a host that was killed left half formatted.
///
/// # Errors
/// What the file system said.
pub fn sweep(spares: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(spares) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn spare(spares: &Path, bytes: u64, place: u32) -> PathBuf {
    spares.join(format!("{bytes}-{place}.img"))
}

fn format(image: &Path, bytes: u64) -> Result<(), StepError> {
    let mkfs = mkfs().ok_or_else(|| StepError::new("mkfs.ext4", "not found"))?;
    let file = fs::File::create(image).map_err(StepError::at("make the disk image"))?;
    file.set_len(bytes).map_err(StepError::at("size the disk image"))?;
    // No journal: a disk doesn't outlive a power cut, since its sandbox doesn't. No reserve for root: there is none.
    let output = Command::new(mkfs)
        .args(["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard"])
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .map_err(StepError::at("run mkfs.ext4"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(StepError::new("mkfs.ext4", String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// The bytes in use on the file system at `path`.
///
/// # Errors
/// What the kernel said.
pub fn used_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize))
}

/// The bytes of the files below a directory.
#[must_use]
pub fn measure(dir: &Path) -> u64 {
    let mut budget = MEASURED_ENTRIES;
    measure_within(dir, &mut budget)
}

fn measure_within(dir: &Path, budget: &mut usize) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        let Some(rest) = budget.checked_sub(1) else { break };
        *budget = rest;
        let Ok(found) = entry.metadata() else { continue };
        bytes += if found.is_dir() { measure_within(&entry.path(), budget) } else { found.len() };
    }
    bytes
}

/// Removes a sandbox's disk, whichever it is.
///
/// # Errors
/// What the file system said.
pub fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(IMAGE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::remove_dir_all(dir.join(FILES)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn those_who_refill_at_once_do_not_share_an_image() {
        let dir = tempfile::tempdir().expect("a directory");
        let spares = dir.path().join("spares");
        let taken: Vec<PathBuf> = (0..24).map(|n| dir.path().join(format!("{n}.img"))).collect();
        std::thread::scope(|scope| {
            for image in &taken {
                let spares = &spares;
                scope.spawn(move || {
                    provide(spares, MIN_BYTES, image).expect("a disk");
                    refill(spares, MIN_BYTES).expect("spares");
                });
            }
        });
        let mut uuids = HashSet::new();
        for image in &taken {
            let bytes = fs::read(image).expect("an image");
            assert_eq!(bytes.len() as u64, MIN_BYTES);
            assert_eq!(bytes[1080..1082], [0x53, 0xef], "ext4's magic");
            assert!(uuids.insert(bytes[1128..1144].to_vec()), "one image twice");
        }
        let left = |name: &str| {
            fs::read_dir(&spares).expect("spares").flatten().any(|e| e.file_name().to_string_lossy().starts_with(name))
        };
        assert!(!left(FRESH));
        fs::write(spares.join(".fresh-cut"), b"x").expect("a file");
        sweep(&spares).expect("swept");
        assert!(!left(".fresh"));
    }
}
