//! What is mounted for one sandbox in a mount namespace of its own, before a user without rights takes over: things that
//! lie where that user could not walk to, such as a toolchain in somebody's home, and the sandbox's disk.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use rustix::fs::StatVfsMountFlags;

use super::{
    StepError,
    bundle::USER,
    disk::{self, Disk},
    loopback, owners,
    request::Request,
};

/// Where things are on the stage.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The root directory.
    pub root: PathBuf,
    /// The directory of the sockets.
    pub sockets: PathBuf,
    /// The disk's file system.
    pub disk: PathBuf,
    /// The toolchains' directories, by name.
    pub toolchains: Vec<(String, PathBuf)>,
}

impl Staged {
    /// Where they will be.
    pub(super) fn in_dir(request: &Request) -> Self {
        let toolchains = request.stage.join("toolchains");
        Self {
            root: request.stage.join("root"),
            sockets: request.stage.join("sockets"),
            disk: request.stage.join("disk"),
            toolchains: request.toolchains.iter().map(|(name, _)| (name.clone(), toolchains.join(name))).collect(),
        }
    }
}

fn step(what: &'static str) -> impl Fn(nix::errno::Errno) -> StepError {
    move |errno| StepError::new(what, errno.desc())
}

/// Leaves the host's mount namespace and sets the stage. The calling process must have one thread.
pub(super) fn set(request: &Request) -> Result<Staged, StepError> {
    const NOTHING: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).map_err(step("unshare the mount namespace"))?;
    // What the host unmounts goes away here too; nothing that is mounted here shows on the host.
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING).map_err(step("detach the mounts"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), &request.stage, Some("tmpfs"), flags, Some("mode=755,size=1m"))
        .map_err(step("mount the stage"))?;
    let staged = Staged::in_dir(request);
    let make = |dir: &Path| fs::create_dir_all(dir).map_err(StepError::at("make a mount point"));
    make(&staged.disk)?;
    let shown = [(&request.root, &staged.root), (&request.sockets, &staged.sockets)];
    let toolchains = request.toolchains.iter().zip(&staged.toolchains).map(|((_, from), (_, to))| (from, to));
    for (from, to) in shown.into_iter().chain(toolchains) {
        make(to)?;
        bind(from, to).map_err(step("bind a directory of the host"))?;
    }
    allow_programs(&staged.root).map_err(StepError::at("let the agent be run"))?;
    match &request.disk {
        Disk::Image(image) => {
            let device = loopback::attach(image).map_err(StepError::at("attach a loop device"))?;
            mount(
                Some(&device.path),
                &staged.disk,
                Some("ext4"),
                flags | MsFlags::MS_NOATIME,
                // Space that is freed inside is freed in the image; nothing waits for the real disk, see `disk`.
                Some("noinit_itable,discard,barrier=0"),
            )
            .map_err(step("mount the disk"))?;
        }
        Disk::Directory(files) => lay_over(files, &staged.disk).map_err(StepError::at("mount the disk's directory"))?,
    }
    owners::give(&staged.disk, request.first_id, request.ids).map_err(StepError::at("give the disk its owner"))?;
    let owner = request.first_id + USER;
    for name in ["workspace", "home"] {
        open(&staged.disk.join(name), owner).map_err(StepError::at("lay out the disk"))?;
    }
    Ok(staged)
}

fn bind(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

/// The agent lies in the run directory, and systemd mounts /run so that nothing there can be run. That is a matter of the
/// mount, not of the file system, and this mount is the sandbox's own.
fn allow_programs(root: &Path) -> io::Result<()> {
    if rustix::fs::statvfs(root)?.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(None::<&str>, root, None::<&str>, flags, None::<&str>)?;
    }
    Ok(())
}

/// Mounts a directory of the host's disk as a file system of its own, of whose place on the host a sandbox sees nothing:
/// over an empty layer, and by paths from where this process stands. Where the directory's file system can't carry that, it
/// is bound.
fn lay_over(files: &Path, to: &Path) -> io::Result<()> {
    let [upper, work, lower] = [disk::UPPER, "work", "lower"];
    for name in [upper, work, lower] {
        fs::create_dir_all(files.join(name))?;
    }
    std::env::set_current_dir(files)?;
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work},userxattr");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    let mounted = mount(Some("overlay"), to, Some("overlay"), flags, Some(options.as_str()));
    std::env::set_current_dir("/")?;
    if mounted.is_err() {
        bind(&files.join(upper), to)?;
    }
    Ok(())
}

fn open(dir: &Path, owner: u32) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    chown(dir, Some(owner), Some(owner))
}
