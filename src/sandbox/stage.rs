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

use super::{StepError, bundle::USER, loopback, request::Request};

/// Where things are on the stage.
#[derive(Debug, Clone)]
pub struct Staged {
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
    for ((_, from), (_, to)) in request.toolchains.iter().zip(&staged.toolchains) {
        make(to)?;
        bind(from, to).map_err(step("bind a toolchain"))?;
    }
    let device = loopback::attach(&request.disk).map_err(StepError::at("attach a loop device"))?;
    mount(
        Some(&device.path),
        &staged.disk,
        Some("ext4"),
        flags | MsFlags::MS_NOATIME,
        // Space that is freed inside is freed in the image; nothing waits for the real disk, see `disk`.
        Some("noinit_itable,discard,barrier=0"),
    )
    .map_err(step("mount the disk"))?;
    let owner = request.first_id + USER;
    for name in ["workspace", "home"] {
        open(&staged.disk.join(name), owner).map_err(StepError::at("lay out the disk"))?;
    }
    Ok(staged)
}

fn bind(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

fn open(dir: &Path, owner: u32) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    chown(dir, Some(owner), Some(owner))
}
