//! What the host can do with sandboxes, whatever isolates them. Everything here blocks for milliseconds: it belongs on a
//! thread that may.

use std::{
    fmt, fs, io,
    ops::Range as Span,
    path::{Path, PathBuf},
    time::Duration,
};

use playhouse_protocol::host::{SandboxSpec, Usage};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    cgroup::Cgroups,
    contained::Contained,
    disk, plain,
    process::ProcessRef,
    ranges::{self, Range},
    rights::{self, Rights},
    skeleton, toolchains,
};

/// How long a killed init may take to be dead.
const END_LIMIT: Duration = Duration::from_secs(1);

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {detail}")]
pub struct StepError {
    /// Which one.
    pub step: String,
    /// What the system said.
    pub detail: String,
}

impl StepError {
    /// This step failed with this.
    #[must_use]
    pub fn new(step: &str, detail: impl Into<String>) -> Self {
        Self { step: step.to_owned(), detail: detail.into() }
    }

    /// Turns an error of this step into one of these.
    pub fn at<E: fmt::Display>(step: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::new(step, error.to_string())
    }
}

/// Where things are on this host.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The host's short name.
    pub host_id: String,
    /// Its run directory.
    pub run_dir: PathBuf,
    /// Its part of the data directory.
    pub data_dir: PathBuf,
    /// The locks of the id ranges, shared by all hosts of the machine.
    pub ranges: PathBuf,
    /// This program, which is started again to make a sandbox.
    pub program: PathBuf,
    /// The agent's file.
    pub agent: PathBuf,
    /// With what rights sandboxes are made.
    pub rights: Rights,
}

impl Paths {
    /// The cgroups of this host's sandboxes.
    #[must_use]
    pub fn cgroups(&self) -> Cgroups {
        Cgroups::new(self.rights.cgroup(), &self.host_id)
    }
}

/// Where a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In a container, with this number's id range, cgroup and sockets.
    Contained {
        /// The number.
        n: u32,
    },
    /// Among the host's own processes.
    Plain,
}

/// A sandbox's place, held from before it is made until all of it is gone.
#[derive(Debug)]
pub struct Slot {
    sandbox_id: Uuid,
    /// Its directory on the host's disk.
    dir: PathBuf,
    place: Place,
    range: Option<Range>,
}

impl Slot {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

/// Who makes sandboxes.
#[derive(Debug)]
pub enum Driver {
    /// The built-in hardened container.
    Contained(Contained),
    /// Nobody isolates anything.
    Plain(Paths),
}

impl Driver {
    /// The hardened container: builds the root that its sandboxes share, and looks for toolchains.
    ///
    /// # Errors
    /// Which step failed.
    pub fn contained(paths: Paths, owner_home: Option<&Path>) -> Result<Self, StepError> {
        let finding = {
            let home = owner_home.map(Path::to_owned);
            std::thread::spawn(move || toolchains::find_all(home.as_deref()))
        };
        paths.cgroups().prepare().map_err(StepError::at("prepare the cgroups"))?;
        if let Err(error) = paths.cgroups().spare_memory() {
            tracing::warn!(%error, "no memory is kept from the sandboxes: together they can take all of the machine's");
        }
        let root = skeleton::build(&paths.run_dir.join("skeletons"), &paths.agent)
            .map_err(StepError::at("build the root directory"))?;
        let toolchains = finding.join().map_err(|_| StepError::new("look for toolchains", "it panicked"))?;
        let mut used = vec![paths.run_dir.as_path(), paths.data_dir.as_path()];
        used.extend(toolchains.iter().map(|toolchain| toolchain.prefix.as_path()));
        let stage = paths.rights.stage(&paths.run_dir, &used).map_err(StepError::at("find a place for the stage"))?;
        Ok(Self::Contained(Contained { paths, root, stage, toolchains }))
    }

    /// No isolation: the agent is a plain child process.
    #[must_use]
    pub fn plain(paths: Paths) -> Self {
        Self::Plain(paths)
    }

    /// What isolates its sandboxes, as the API says it.
    #[must_use]
    pub fn isolation(&self) -> &'static str {
        match self {
            Self::Contained(contained) => contained.paths.rights.isolation(),
            Self::Plain(_) => rights::NONE,
        }
    }

    fn paths(&self) -> &Paths {
        match self {
            Self::Contained(contained) => &contained.paths,
            Self::Plain(paths) => paths,
        }
    }

    /// Takes a place for a sandbox whose directory on the host's disk is `dir`, and makes the directory of its sockets.
    ///
    /// # Errors
    /// Which step failed.
    pub fn reserve(&self, sandbox_id: Uuid, dir: &Path) -> Result<Slot, StepError> {
        let (place, range) = match self {
            Self::Contained(Contained { paths, .. }) => {
                let ranges = paths.rights.ids().ranges();
                let range = Range::claim(&paths.ranges, ranges, &paths.host_id, sandbox_id, dir)
                    .map_err(StepError::at("take a range of user ids"))?;
                (Place::Contained { n: range.number() }, Some(range))
            }
            Self::Plain(_) => (Place::Plain, None),
        };
        let slot = Slot { sandbox_id, dir: dir.to_owned(), place, range };
        fs::create_dir_all(self.sockets(&slot)).map_err(StepError::at("make the directory of the sockets"))?;
        Ok(slot)
    }

    /// Takes back the place of a sandbox that was made by a host before this one. If that has become another's, as after
    /// a start of the machine, the sandbox is given another one, where its disk follows it.
    ///
    /// # Errors
    /// Which step failed.
    pub fn adopt(
        &self,
        sandbox_id: Uuid,
        dir: &Path,
        place: Place,
        init: Option<ProcessRef>,
    ) -> Result<Slot, StepError> {
        let range = match place {
            Place::Contained { n } => {
                let paths = self.paths();
                let range = match Range::reclaim(&paths.ranges, n, &paths.host_id, sandbox_id, dir, init) {
                    Ok(None) => {
                        // Two sandboxes must not share their users: what still runs ends, and its disk is kept.
                        if let Some(init) = init {
                            init.finish(END_LIMIT).map_err(StepError::at("kill the init"))?;
                        }
                        Range::claim(&paths.ranges, paths.rights.ids().ranges(), &paths.host_id, sandbox_id, dir)
                    }
                    Ok(Some(range)) => Ok(range),
                    Err(error) => Err(error),
                };
                Some(range.map_err(StepError::at("take back a range of user ids"))?)
            }
            Place::Plain => None,
        };
        let place = range.as_ref().map_or(place, |range| Place::Contained { n: range.number() });
        let slot = Slot { sandbox_id, dir: dir.to_owned(), place, range };
        fs::create_dir_all(self.sockets(&slot)).map_err(StepError::at("make the directory of the sockets"))?;
        Ok(slot)
    }

    /// A sandbox's own directory in the run directory.
    fn scratch(&self, slot: &Slot) -> PathBuf {
        let name = match slot.place {
            Place::Contained { n } => n.to_string(),
            Place::Plain => format!("p{}", &slot.sandbox_id.simple().to_string()[16..]),
        };
        self.paths().run_dir.join(name)
    }

    /// The directory that a sandbox sees as its sockets'. It is bound, not the sockets: one that is made anew shows up
    /// inside.
    #[must_use]
    pub fn sockets(&self, slot: &Slot) -> PathBuf {
        self.scratch(slot).join("sockets")
    }

    /// The user whose programs may dial the sandbox's sockets, and all the users that are the sandbox's.
    #[must_use]
    pub fn users(&self, slot: &Slot) -> (u32, Span<u32>) {
        match slot.place {
            Place::Contained { n } => {
                let ids = self.paths().rights.ids();
                let base = ids.base(n);
                (base + super::bundle::USER, base..base + ids.each())
            }
            Place::Plain => {
                let me = rustix::process::geteuid().as_raw();
                (me, me..me + 1)
            }
        }
    }

    /// Makes the sandbox and starts its agent. Its sockets must be there.
    ///
    /// # Errors
    /// Which step failed; then [`Driver::end`] removes what there is of it.
    pub fn start(&self, slot: &mut Slot, spec: &SandboxSpec) -> Result<ProcessRef, StepError> {
        self.start_program(slot, spec, None)
    }

    /// As [`Driver::start`], with another program than the agent as the init, for probes.
    ///
    /// # Errors
    /// As there.
    pub fn start_program(
        &self,
        slot: &mut Slot,
        spec: &SandboxSpec,
        arguments: Option<Vec<String>>,
    ) -> Result<ProcessRef, StepError> {
        match self {
            Self::Contained(contained) => {
                let scratch = self.scratch(slot).join("runtime");
                let init = contained.start((slot.place, &slot.dir), spec, scratch, self.sockets(slot), arguments)?;
                if let Some(range) = &mut slot.range {
                    range.note_init(init).map_err(StepError::at("note the init"))?;
                }
                Ok(init)
            }
            Self::Plain(paths) => plain::start(&paths.agent, &slot.dir, &self.sockets(slot), spec),
        }
    }

    /// What a sandbox has used.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self, slot: &Slot, init: ProcessRef) -> io::Result<Usage> {
        let usage = self.usage_but_disk(slot.place, init, &slot.dir)?;
        let files = slot.dir.join(disk::FILES).join(disk::UPPER);
        let disk_bytes = match slot.place {
            Place::Contained { .. } if files.exists() => disk::measure(&files),
            Place::Contained { .. } => disk::used_bytes(Path::new(&format!("/proc/{}/root/workspace", init.pid)))?,
            Place::Plain => disk::measure(&slot.dir),
        };
        Ok(Usage { disk_bytes, ..usage })
    }

    /// What the sandbox at a place has used, all but its disk, which may take long to measure.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage_but_disk(&self, place: Place, init: ProcessRef, dir: &Path) -> io::Result<Usage> {
        match place {
            Place::Contained { n } => self.paths().cgroups().sandbox(n)?.usage(),
            Place::Plain => plain::usage(init, dir),
        }
    }

    /// How often the kernel killed one of a sandbox's programs for want of memory, also after its init ended.
    #[must_use]
    pub fn oom_kills(&self, slot: &Slot) -> u64 {
        match slot.place {
            Place::Contained { n } => {
                self.paths().cgroups().sandbox(n).and_then(|cgroup| cgroup.usage()).map_or(0, |usage| usage.oom_kills)
            }
            Place::Plain => 0,
        }
    }

    /// Stops or resumes all programs of a sandbox.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn freeze(&self, slot: &Slot, init: ProcessRef, frozen: bool) -> io::Result<()> {
        match slot.place {
            Place::Contained { n } => self.paths().cgroups().sandbox(n)?.freeze(frozen),
            Place::Plain => plain::freeze(init, &slot.dir, frozen),
        }
    }

    /// Whether a sandbox's programs stand still.
    #[must_use]
    pub fn is_frozen(&self, slot: &Slot) -> bool {
        match slot.place {
            Place::Contained { n } => self.paths().cgroups().sandbox(n).is_ok_and(|cgroup| cgroup.is_frozen()),
            Place::Plain => false,
        }
    }

    /// Ends everything that runs in a sandbox, so that it can be started anew on the disk that it has.
    ///
    /// # Errors
    /// Which step failed.
    pub fn stop(&self, slot: &Slot, init: Option<ProcessRef>) -> Result<(), StepError> {
        match slot.place {
            Place::Contained { n } => {
                let cgroup = self.paths().cgroups().sandbox(n).map_err(StepError::at("find the cgroup"))?;
                cgroup.kill().map_err(StepError::at("kill the sandbox's processes"))?;
                if let Some(init) = init {
                    init.finish(END_LIMIT).map_err(StepError::at("kill the init"))?;
                }
                cgroup.destroy().map_err(StepError::at("remove the cgroup"))?;
            }
            Place::Plain => {
                if let Some(init) = init {
                    plain::end(init, &slot.dir).map_err(StepError::at("kill the agent"))?;
                }
            }
        }
        remove_dir(&self.scratch(slot).join("runtime")).map_err(StepError::at("remove the runtime's state"))?;
        disk::wait_free(&slot.dir.join(disk::IMAGE)).map_err(StepError::at("wait for the disk"))
    }

    /// Ends a sandbox and removes all of it but its directory on the host's disk. Can be done again after a failure, and
    /// is done when there is nothing.
    ///
    /// # Errors
    /// Which step failed.
    pub fn end(&self, slot: &mut Slot, init: Option<ProcessRef>) -> Result<(), StepError> {
        self.stop(slot, init)?;
        remove_dir(&self.scratch(slot)).map_err(StepError::at("remove the run directory"))?;
        disk::remove(&slot.dir).map_err(StepError::at("remove the disk"))?;
        if let Some(range) = slot.range.take() {
            range.release().map_err(StepError::at("give back the range of user ids"))?;
        }
        Ok(())
    }

    /// Removes what is left of sandboxes that this host has no record of: their processes, cgroups and directories.
    /// `known` are the numbers that are accounted for. Returns the numbers that were removed.
    ///
    /// # Errors
    /// Which step failed.
    pub fn sweep(&self, known: &[u32]) -> Result<Vec<u32>, StepError> {
        if let Self::Contained(contained) = self {
            disk::sweep(&contained.spares()).map_err(StepError::at("remove half-made spare disks"))?;
        }
        let paths = self.paths();
        let mut orphans = paths.cgroups().numbers();
        orphans.extend(
            fs::read_dir(&paths.run_dir)
                .into_iter()
                .flat_map(|entries| entries.flatten())
                .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()),
        );
        orphans.sort_unstable();
        orphans.dedup();
        // One whose state is on the disk, though nobody could read it, is no orphan.
        orphans.retain(|n| !known.contains(n) && !ranges::is_kept(&paths.ranges, *n, &paths.host_id));
        for n in &orphans {
            if let Ok(cgroup) = paths.cgroups().sandbox(*n) {
                cgroup.destroy().map_err(StepError::at("remove an orphaned cgroup"))?;
            }
            remove_dir(&paths.run_dir.join(n.to_string())).map_err(StepError::at("remove an orphan's directory"))?;
        }
        Ok(orphans)
    }

    /// Prepares for the next sandbox with a disk of this size.
    ///
    /// # Errors
    /// Which step failed.
    pub fn refill(&self, disk_bytes: u64) -> Result<(), StepError> {
        match self {
            Self::Contained(contained) if contained.paths.rights == Rights::Root => {
                disk::refill(&contained.spares(), disk_bytes)
            }
            Self::Contained(_) | Self::Plain(_) => Ok(()),
        }
    }

    /// Removes what the host has in its run directory beside its sockets and its sandboxes. Only when it has none.
    pub fn leave_nothing(&self) {
        let paths = self.paths();
        paths.cgroups().remove();
        for name in ["stage", "skeletons"] {
            // What can't be removed is found again by the next host.
            let _ = fs::remove_dir_all(paths.run_dir.join(name));
        }
    }
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
