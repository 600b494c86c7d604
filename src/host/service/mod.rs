//! The task that owns every sandbox's life. It takes [`Event`]s one by one, asks the [`Machine`], and does what that
//! says; whatever takes longer than a moment is done on another thread and comes back as an event.

mod handover;
mod lives;
mod reconcile;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use playhouse_protocol::{
    handshake::Hello,
    host::{AGENTS_SOCKET, CONTROL_SOCKET, EndCause, FromHost, HostError, Look, ToHost, Usage, host_id},
};
use rustix::net::SocketType;
use tokio::{
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use super::{
    HostConfig, HostFailure, LOG,
    agents::{self, Receiver},
    arrivals::Turn,
    control::{self, Node},
    machine::{Effect, Machine},
    place,
    record::{Cause, Record, Records},
    sandbox::{self, Made},
    sockets,
};
use crate::{
    sandbox::{
        driver::{Driver, Paths, Slot},
        probe,
        process::ProcessRef,
        rights::Rights,
        rootless,
    },
    seldom::Seldom,
};

/// Events that may wait; whoever brings more waits too.
const EVENTS: usize = 1024;
/// How long a hello is held while no node is there to take it.
const HELLO_HELD: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_secs(1);
/// Usage is measured every so many beats.
const BEATS_PER_USAGE: u64 = 2;
/// How long a host that leaves waits for what it has begun.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// How many connections for descriptors are kept: those of nodes that come and go.
const RECEIVERS: usize = 8;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A node said hello.
    Node(Node),
    /// A node commands.
    Command { connection: u64, command: ToHost },
    /// A node's connection ended.
    NodeGone { connection: u64 },
    /// A node takes agents' descriptors here.
    Receiver(Receiver),
    /// An agent said hello.
    Arrived { hello: Hello, stream: UnixStream, turn: Turn },
    /// A sandbox was made, or wasn't.
    Made { sandbox_id: Uuid, made: Made },
    /// A sandbox's agent was started anew, or wasn't.
    Recovered { sandbox_id: Uuid, tasks: JoinSet<()>, result: Result<ProcessRef, HostError> },
    /// Whether a sandbox that seems to run is frozen.
    Frostbitten { sandbox_id: Uuid, frozen: bool },
    /// A sandbox was removed, or wasn't.
    Removed { sandbox_id: Uuid, result: Result<(), HostError> },
    /// A sandbox froze or thawed, or didn't.
    Frozen { sandbox_id: Uuid, result: Result<(), HostError> },
    /// A sandbox's init ended.
    InitEnded { sandbox_id: Uuid, init: ProcessRef, cause: EndCause },
    /// What sandboxes have used; `round` ends a round of all.
    Usage { usages: Vec<(Uuid, Usage)>, round: bool },
}

/// A sandbox's place, as its threads share it: what makes or ends it has it alone.
pub(super) type SharedSlot = Arc<Mutex<Slot>>;

/// What the service holds of a sandbox.
#[derive(Debug)]
struct Entry {
    record: Record,
    slot: Option<SharedSlot>,
    /// The listeners of its sockets and the watch on its init.
    tasks: JoinSet<()>,
    /// An init that was replaced, whose end means nothing any more.
    init_before: Option<ProcessRef>,
    /// Its disk, when it was last measured, in bytes.
    disk_bytes: u64,
    /// Whether a node has asked for its usage since the round of measuring that is under way began.
    asked: bool,
    /// The newest hello that nobody took yet.
    hello: Option<(Hello, UnixStream, Instant)>,
    /// Hellos that were dropped since the node took no more.
    dropped: Seldom,
}

impl Entry {
    fn new(record: Record, slot: Option<SharedSlot>, tasks: JoinSet<()>) -> Self {
        Self {
            record,
            slot,
            tasks,
            init_before: None,
            disk_bytes: 0,
            asked: false,
            hello: None,
            dropped: Seldom::default(),
        }
    }
}

struct Service {
    name: String,
    isolation: Result<String, Vec<String>>,
    driver: Arc<Driver>,
    records: Records,
    machine: Machine,
    entries: HashMap<Uuid, Entry>,
    node: Option<Node>,
    receivers: Vec<Receiver>,
    events: mpsc::Sender<Event>,
    /// The log of a host that a node has started.
    log: PathBuf,
    /// How many makings, removals and freezings are under way.
    under_way: usize,
    measuring: bool,
}

/// Runs a host until SIGTERM, SIGINT or a node's `Leave`. Its sandboxes stay for its successor.
///
/// # Errors
/// It could not begin; see [`HostFailure::exit_code`].
pub async fn run(config: HostConfig) -> Result<(), HostFailure> {
    // What it makes is walked through by the users of sandboxes, and by a node that is another user's.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Not its path: after an upgrade another program, or none, would be there.
    run_with(config, PathBuf::from("/proc/self/exe")).await
}

/// As [`run`], with `program` for the hidden subcommand that makes sandboxes: tests are another program.
///
/// # Errors
/// As there.
pub async fn run_with(config: HostConfig, program: PathBuf) -> Result<(), HostFailure> {
    config.check()?;
    let mut lock = place::lock(&config.data_dir)?;
    let run_dir = place::run_dir(&config.data_dir, &lock, config.rights.user())?;
    lock.say(&run_dir)?;
    // Who finds the control socket finds the other one too.
    let agents = sockets::listen(&run_dir.join(AGENTS_SOCKET), SocketType::SEQPACKET, config.owner_uid)
        .map_err(HostFailure::at("listen on the agents' socket"))?;
    let control = sockets::listen_stream(&run_dir.join(CONTROL_SOCKET), config.owner_uid)
        .map_err(HostFailure::at("listen on the control socket"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(HostFailure::at("watch for signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(HostFailure::at("watch for signals"))?;

    let (events, mut arriving) = mpsc::channel(EVENTS);
    let mut service = Service::begin(&config, program, run_dir.clone(), events.clone()).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(control::accept(control, config.owner_uid, events.clone()));
    tasks.spawn(agents::accept(agents, config.owner_uid, events));

    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u64;
    loop {
        let leave = tokio::select! {
            biased;
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            event = arriving.recv() => match event {
                Some(event) => service.take(event),
                None => true,
            },
            _ = beats.tick() => {
                count += 1;
                service.beat(count.is_multiple_of(BEATS_PER_USAGE));
                false
            }
        };
        if leave {
            break;
        }
    }
    tracing::info!("the host leaves");
    tasks.shutdown().await;
    let finish = async {
        while service.under_way > 0
            && let Some(event) = arriving.recv().await
        {
            service.take(event);
        }
    };
    if tokio::time::timeout(LEAVE_LIMIT, finish).await.is_err() {
        tracing::warn!("what the host had begun was not done in time; its successor clears it up");
    }
    service.leave(&run_dir);
    Ok(())
}

impl Service {
    async fn begin(
        config: &HostConfig,
        program: PathBuf,
        run_dir: PathBuf,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, HostFailure> {
        let host_dir = config.data_dir.join("host");
        let records = Records::open(&host_dir).map_err(HostFailure::at("open the records of the sandboxes"))?;
        let ranges = run_dir.parent().map_or_else(|| run_dir.join("ranges"), |parent| parent.join("ranges"));
        let paths = Paths {
            host_id: host_id(&config.data_dir),
            run_dir,
            data_dir: host_dir,
            ranges,
            program,
            agent: config.agent.clone(),
            rights: config.rights.clone(),
        };
        let (driver, isolation) = driver(config, paths).await;
        if matches!(driver, Driver::Contained(_)) {
            sandbox::prepare_machine();
        }
        let mut service = Self {
            name: config.name.clone(),
            machine: Machine::new(isolation.as_ref().err().cloned()),
            isolation,
            driver: Arc::new(driver),
            records,
            entries: HashMap::new(),
            node: None,
            receivers: Vec::new(),
            events,
            log: config.data_dir.join(LOG),
            under_way: 0,
            measuring: false,
        };
        service.reconcile().map_err(HostFailure::at("take over the sandboxes that are here"))?;
        Ok(service)
    }

    /// Takes one event. Says whether the host should leave.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Node(node) => self.node_came(node),
            Event::NodeGone { connection } => {
                if self.node.as_ref().is_some_and(|node| node.connection == connection) {
                    self.node = None;
                }
            }
            Event::Command { connection, command } => {
                // One of a node that was replaced meanwhile is not answered: the new one asks itself.
                if self.node.as_ref().is_some_and(|node| node.connection == connection) {
                    return self.command(command);
                }
            }
            Event::Receiver(receiver) => {
                self.receivers.retain(Receiver::is_open);
                if self.receivers.len() >= RECEIVERS {
                    self.receivers.remove(0);
                }
                self.receivers.push(receiver);
                self.hand_over_all();
            }
            Event::Arrived { hello, stream, turn } => {
                self.arrived(hello, stream);
                drop(turn);
            }
            Event::Made { sandbox_id, made } => {
                self.under_way -= 1;
                self.made(sandbox_id, made);
            }
            Event::Recovered { sandbox_id, tasks, result } => {
                self.under_way -= 1;
                self.recovered(sandbox_id, tasks, result);
            }
            Event::Frostbitten { sandbox_id, frozen } => {
                let state = match self.machine.look(sandbox_id) {
                    Look::Runs if frozen => Look::Frozen,
                    state => state,
                };
                self.tell(FromHost::Looked { sandbox_id, state });
            }
            Event::Removed { sandbox_id, result } => {
                self.under_way -= 1;
                self.removed(sandbox_id, result);
            }
            Event::Frozen { sandbox_id, result } => {
                self.under_way -= 1;
                let effects = self.machine.frozen(sandbox_id, result);
                self.run_all(effects);
            }
            // Another one may have taken its place.
            Event::InitEnded { sandbox_id, init, .. }
                if self.entries.get(&sandbox_id).is_some_and(|entry| entry.init_before == Some(init)) => {}
            Event::InitEnded { sandbox_id, cause, .. } => {
                tracing::info!(%sandbox_id, ?cause, "a sandbox ended by itself");
                if let Some(entry) = self.entries.get_mut(&sandbox_id) {
                    entry.record.ended = Some(Cause::from(&cause));
                    entry.hello = None;
                    self.persist(sandbox_id);
                }
                let effects = self.machine.init_ended(sandbox_id, cause);
                self.run_all(effects);
            }
            Event::Usage { usages, round } => {
                if round {
                    self.measuring = false;
                }
                for (sandbox_id, usage) in usages {
                    let entry = self.entries.get_mut(&sandbox_id).filter(|_| round);
                    let outdated = entry.is_some_and(|entry| {
                        entry.disk_bytes = usage.disk_bytes;
                        entry.asked
                    });
                    // Who asked takes what comes next for the answer, and what a round found may be older than the question.
                    if !outdated {
                        self.tell(FromHost::Usage { sandbox_id, usage });
                    }
                }
            }
        }
        false
    }

    fn node_came(&mut self, node: Node) {
        let older = self.node.as_ref().is_some_and(|now| now.name == node.name && now.incarnation > node.incarnation);
        if older {
            tracing::warn!(node = node.name, incarnation = node.incarnation, "refused a node older than the one here");
            return;
        }
        tracing::info!(node = node.name, incarnation = node.incarnation, "a node is here");
        // With the one before, its connection's tasks end.
        self.node = Some(node);
        let held = self.machine.held();
        self.tell(FromHost::Welcome { name: self.name.clone(), isolation: self.isolation.clone(), held });
        self.hand_over_all();
    }

    fn command(&mut self, command: ToHost) -> bool {
        match command {
            ToHost::Leave => return true,
            ToHost::Hello { .. } => {}
            ToHost::AskUsage { sandbox_id } => self.measure_asked(sandbox_id),
            ToHost::Look { sandbox_id } => self.look(sandbox_id),
            command => {
                let effects = self.machine.command(command, |id| self.records.has_ended(id));
                self.run_all(effects);
            }
        }
        false
    }

    fn tell(&mut self, frame: FromHost) {
        let Some(node) = &self.node else { return };
        if node.out.try_send(frame).is_err() {
            tracing::warn!(node = node.name, "a node does not read and is dropped");
            self.node = None;
        }
    }

    fn run_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Tell(frame) => self.tell(frame),
                Effect::Persist { sandbox_id, epoch } => {
                    if let Some(entry) = self.entries.get_mut(&sandbox_id) {
                        entry.record.epoch = epoch;
                        self.persist(sandbox_id);
                    }
                }
                Effect::Make { spec, epoch } => self.make(spec, epoch),
                Effect::Recover { spec } => self.recover(spec),
                Effect::Remove { sandbox_id } => self.remove(sandbox_id),
                Effect::Freeze { sandbox_id, frozen } => self.freeze(sandbox_id, frozen),
            }
        }
    }

    fn persist(&self, sandbox_id: Uuid) {
        if let Some(entry) = self.entries.get(&sandbox_id)
            && let Err(error) = self.records.write(&entry.record)
        {
            // What it would have said is still in memory; it is lost only if this process dies too.
            tracing::error!(%sandbox_id, %error, "a sandbox's record could not be written");
        }
    }

    fn beat(&mut self, measure: bool) {
        self.tell(FromHost::Beat);
        for entry in self.entries.values_mut() {
            if entry.hello.as_ref().is_some_and(|(_, _, since)| since.elapsed() > HELLO_HELD) {
                // Closed, so that the agent dials anew.
                entry.hello = None;
            }
        }
        if measure && !self.measuring {
            self.measuring = true;
            self.measure_all();
        }
    }

    fn leave(self, run_dir: &std::path::Path) {
        for name in [CONTROL_SOCKET, AGENTS_SOCKET] {
            // A successor replaces them anyway.
            let _ = std::fs::remove_file(run_dir.join(name));
        }
        if self.entries.is_empty() && !self.records.leaves_any() {
            self.driver.leave_nothing();
            let _ = std::fs::remove_dir(run_dir);
        }
    }
}

async fn driver(config: &HostConfig, paths: Paths) -> (Driver, Result<String, Vec<String>>) {
    if config.insecure {
        let driver = Driver::plain(paths);
        let isolation = Ok(driver.isolation().to_owned());
        return (driver, isolation);
    }
    let home = config.owner_uid.and_then(place::home_of);
    let contained = paths.clone();
    let made = tokio::task::spawn_blocking(move || {
        match contained.rights {
            Rights::Root => probe::isolation()?,
            // All that it needs was looked for when it took these rights.
            Rights::Rootless(_) => tracing::warn!("{}", rootless::NO_QUOTA),
        }
        Driver::contained(contained, home.as_deref()).map_err(|error| vec![error.to_string()])
    })
    .await
    .unwrap_or_else(|error| Err(vec![error.to_string()]));
    match made {
        Ok(driver) => {
            let isolation = Ok(driver.isolation().to_owned());
            (driver, isolation)
        }
        Err(missing) => {
            tracing::error!(?missing, "no sandbox can be made here");
            // It makes nothing, but it can end what a host before this one left.
            (Driver::plain(paths), Err(missing))
        }
    }
}

/// The slot, also after a thread panicked with it: what it holds is only ever replaced as a whole.
fn lock(slot: &SharedSlot) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
