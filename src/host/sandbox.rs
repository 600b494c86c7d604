//! The steps of one sandbox that take longer than a moment, and its sockets.

use std::{fs, io, path::Path};

use playhouse_protocol::{
    host::{EGRESS_SOCKET, EgressRule, HostError, Limits, NODE_SOCKET, SandboxSpec},
    templates,
};
use tokio::{sync::mpsc, task::JoinSet};
use uuid::Uuid;

use super::{
    arrivals,
    egress::{self, Rules},
    machine::failed,
    service::Event,
    sockets,
};
use crate::sandbox::{
    StepError,
    driver::{Driver, Slot},
    process::ProcessRef,
};

/// Rules that a sandbox may have.
const RULES: usize = 1024;
/// The most that an agent's log may hold before it begins anew, in bytes.
const LOG_BYTES: u64 = 1 << 20;

/// What came of making a sandbox. With an error and a slot, something of it could not be removed.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) slot: Option<Slot>,
    pub(super) tasks: JoinSet<()>,
    pub(super) result: Result<ProcessRef, HostError>,
}

impl Made {
    pub(super) fn failed(error: HostError) -> Self {
        Self { slot: None, tasks: JoinSet::new(), result: Err(error) }
    }
}

/// Makes a sandbox, or leaves nothing of it. Blocks; must be called within the runtime.
pub(super) fn make(driver: &Driver, spec: &SandboxSpec, dir: &Path, events: &mpsc::Sender<Event>) -> Made {
    if let Err(detail) = check(spec) {
        return Made::failed(failed("check the sandbox's specification", detail));
    }
    let mut slot = match driver.reserve(spec.sandbox_id, dir) {
        Ok(slot) => slot,
        Err(error) => return Made::failed(failed(&error.step, error.detail)),
    };
    let mut tasks = JoinSet::new();
    // The sockets first: an agent dials as soon as it runs.
    let started = open_sockets(driver, &slot, spec.sandbox_id, &spec.egress, events, &mut tasks)
        .map_err(StepError::at("open the sandbox's sockets"))
        .and_then(|()| driver.start(&mut slot, spec));
    let error = match started {
        Ok(init) => return Made { slot: Some(slot), tasks, result: Ok(init) },
        Err(error) => error,
    };
    tasks.abort_all();
    let result = Err(failed(&error.step, error.detail));
    match driver.end(&mut slot, None) {
        Ok(()) => Made { slot: None, tasks, result },
        Err(left) => {
            tracing::error!(sandbox_id = %spec.sandbox_id, error = %left, "what could not be made could not be removed");
            Made { slot: Some(slot), tasks, result }
        }
    }
}

/// Ends all that runs in a sandbox and starts its agent anew on its disk. Blocks; must be called within the runtime.
pub(super) fn recover(
    driver: &Driver,
    slot: &mut Slot,
    init: Option<ProcessRef>,
    spec: &SandboxSpec,
    events: &mpsc::Sender<Event>,
    tasks: &mut JoinSet<()>,
) -> Result<ProcessRef, HostError> {
    let error = |error: StepError| failed(&error.step, error.detail);
    check(spec).map_err(|detail| failed("check the sandbox's specification", detail))?;
    driver.stop(slot, init).map_err(error)?;
    open_sockets(driver, slot, spec.sandbox_id, &spec.egress, events, tasks)
        .map_err(StepError::at("open the sandbox's sockets"))
        .map_err(error)?;
    driver.start(slot, spec).map_err(error)
}

/// Listens on the sandbox's two sockets.
pub(super) fn open_sockets(
    driver: &Driver,
    slot: &Slot,
    sandbox_id: Uuid,
    rules: &[EgressRule],
    events: &mpsc::Sender<Event>,
    tasks: &mut JoinSet<()>,
) -> io::Result<()> {
    let dir = driver.sockets(slot);
    let (owner, users) = driver.users(slot);
    let rules = Rules::new(rules).map_err(io::Error::other)?;
    let node = sockets::listen_stream(&dir.join(NODE_SOCKET), Some(owner))?;
    let way_out = sockets::listen_stream(&dir.join(EGRESS_SOCKET), Some(owner))?;
    tasks.spawn(arrivals::accept(node, sandbox_id, users.clone(), events.clone()));
    tasks.spawn(egress::serve(way_out, sandbox_id, users, rules));
    Ok(())
}

fn check(spec: &SandboxSpec) -> Result<(), String> {
    let Limits { cpu_millis, memory_bytes, disk_bytes, pids } = spec.limits;
    if templates::find(&spec.template).is_none() {
        return Err(format!("there is no template {:?}", spec.template));
    }
    let (least, most) = (Limits::LEAST, Limits::MOST);
    if !(least.cpu_millis..=most.cpu_millis).contains(&cpu_millis) {
        return Err(format!("{cpu_millis} thousandths of a CPU"));
    }
    if !(least.memory_bytes..=most.memory_bytes).contains(&memory_bytes) {
        return Err(format!("{memory_bytes} bytes of memory"));
    }
    if !(least.disk_bytes..=most.disk_bytes).contains(&disk_bytes) {
        return Err(format!("{disk_bytes} bytes of disk"));
    }
    if !(least.pids..=most.pids).contains(&pids) {
        return Err(format!("{pids} processes"));
    }
    if spec.egress.len() > RULES {
        return Err(format!("{} names to reach", spec.egress.len()));
    }
    Rules::new(&spec.egress).map(|_| ())
}

/// Begins the log of a sandbox's agent anew when it is long.
pub(super) fn bound_agent_log(dir: &Path) {
    bound_log(&dir.join("agent.log"), LOG_BYTES);
}

/// Begins a log anew when it holds more bytes: what is in it is for people who look for a fault, and the newest counts.
/// Whoever writes it appends to it.
pub(super) fn bound_log(log: &Path, most: u64) {
    let Ok(log) = fs::OpenOptions::new().write(true).open(log) else { return };
    if log.metadata().is_ok_and(|found| found.len() > most) {
        // One that can't be cut is cut another time.
        let _ = log.set_len(0);
    }
}

/// Raises what the kernel lets all sandboxes have together, since they all count against whoever runs this host, and
/// makes this process the parent of inits whose makers have ended, so that it learns their status.
pub(super) fn prepare_machine() {
    for (name, least) in [("max_user_instances", 8192_u64), ("max_user_watches", 1_048_576)] {
        let path = Path::new("/proc/sys/fs/inotify").join(name);
        let now = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok());
        if now.is_some_and(|now| now < least) {
            match fs::write(&path, least.to_string()) {
                Ok(()) => tracing::info!(name, least, "raised an inotify limit"),
                Err(error) => tracing::warn!(name, %error, "an inotify limit stays low"),
            }
        }
    }
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!(%error, "how sandboxes end will not be known");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_log_is_bounded_while_it_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        bound_log(&path, 10);
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&path).expect("opened");
        log.write_all(b"0123456789").expect("written");
        bound_log(&path, 10);
        assert_eq!(fs::read(&path).expect("read"), b"0123456789");
        log.write_all(b"more").expect("written");
        bound_log(&path, 10);
        log.write_all(b"anew").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"anew");
    }

    #[test]
    fn a_specification_is_checked_before_anything_is_made() {
        let limits = Limits { cpu_millis: 1000, memory_bytes: 64 << 20, disk_bytes: 64 << 20, pids: 64 };
        let spec = |limits, template: &str| SandboxSpec {
            sandbox_id: Uuid::nil(),
            template: template.into(),
            limits,
            token: [0; 32],
            egress: Vec::new(),
        };
        assert!(check(&spec(limits, "blank")).is_ok());
        assert!(check(&spec(limits, "no such")).is_err());
        for wrong in [
            Limits { cpu_millis: 0, ..limits },
            Limits { memory_bytes: 1, ..limits },
            Limits { disk_bytes: u64::MAX, ..limits },
            Limits { pids: 1, ..limits },
        ] {
            assert!(check(&spec(wrong, "blank")).is_err(), "{wrong:?}");
        }
    }
}
