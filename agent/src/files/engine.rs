//! The reporting side: events and scans make paths pending, due paths become reports, one of which is under way at a
//! time; flushes and packs wait until what they came upon is committed.
//!
//! It never waits for the link itself: frames are sent by tasks, so that the end of a link is always heard.

mod answers;
mod looking;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::Duration,
};

use playhouse_protocol::agent::AgentFrame;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use super::{
    core::{Core, Link},
    flight::Flight,
    pending::{Due, Pending},
    report::{self, Built},
    stamp::Disk,
    upload::{UploadEnd, Uploaded, upload},
    watch::Watcher,
};
use crate::environment::{self, Packed};

/// After events were read, the next ones may gather for so long.
const GATHER: Duration = Duration::from_millis(20);
/// How often everything is scanned where not everything can be watched.
const SCAN_EVERY: Duration = Duration::from_secs(2);
/// So long after events were read everything is looked at once: a file may have changed through a second name that came
/// and went before it was looked at, of which no event tells.
const DOUBT: Duration = Duration::from_secs(5);
/// And after at least so many times as long as that took last.
const DOUBT_FACTOR: u32 = 50;
/// The most paths that one report looks at.
const LOOKS: usize = 2000;
/// The most folders that are told apart of those that were compared during a report.
const COMPARED: usize = 256;
/// The most left-out paths that are named, and remembered as named.
const NAMED: usize = 10_000;
/// The most of them in one report.
const NAMED_AT_ONCE: usize = 256;
/// The most paths that the node is asked for at once.
const LACKING_AT_ONCE: usize = 256;

/// What the engine is told.
#[derive(Debug)]
pub enum Command {
    /// The link is another; answered once nothing of the old one is under way.
    Link(Link, oneshot::Sender<()>),
    /// A report is committed.
    Reported {
        /// Its number.
        batch: u64,
        /// The tree's version after it.
        version: u64,
        /// What was not taken.
        refused: Vec<(String, String)>,
    },
    /// Report everything, then say so.
    Flush(u64),
    /// The same, then pack the environment.
    Pack(u64),
}

enum Done {
    Built { generation: u64, built: Built, named: Vec<(String, String)>, started: Duration },
    Uploaded { generation: u64, end: UploadEnd, started: Duration },
    Packed { generation: u64, tag: u64, result: anyhow::Result<Packed> },
    Sent,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    core: Arc<Core>,
    commands: mpsc::Receiver<Command>,
    watcher: Arc<Mutex<Watcher>>,
    readiness: Option<AsyncFd<OwnedFd>>,
    epoch: Instant,
    link: Link,
    active: bool,
    lost_track: bool,
    listen_at: Duration,
    scan_at: Option<Duration>,
    /// Not everything can be watched, and it was said.
    blind: bool,
    /// How long the last scan of everything took.
    scanned_in: Duration,
    pending: Pending,
    flight: Flight,
    batch: u64,
    transfer: u64,
    large: VecDeque<Due>,
    /// Directories to be looked through.
    emptied: Vec<String>,
    /// What was compared with the records while a report was under way, whose own records were not there yet.
    compared: BTreeSet<String>,
    uploading: Option<bool>,
    uploaded: Vec<Uploaded>,
    named: BTreeMap<String, String>,
    to_name: VecDeque<(String, String)>,
    flushes: Vec<u64>,
    packs: Vec<u64>,
    jobs: JoinSet<Done>,
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Done")
    }
}

#[allow(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
fn register(fd: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is returned, and never replaced or closed before it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.ok()
}

async fn readable(readiness: Option<&AsyncFd<OwnedFd>>) {
    match readiness {
        Some(readiness) => match readiness.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl Engine {
    /// Makes one; must be called within a runtime.
    #[must_use]
    pub fn new(core: Arc<Core>, commands: mpsc::Receiver<Command>) -> Self {
        let watcher = Watcher::start();
        let readiness = watcher.readiness().ok().flatten().and_then(register);
        Self {
            core,
            commands,
            watcher: Arc::new(Mutex::new(watcher)),
            readiness,
            epoch: Instant::now(),
            link: Link::default(),
            active: false,
            lost_track: false,
            listen_at: Duration::ZERO,
            scan_at: None,
            blind: false,
            scanned_in: Duration::ZERO,
            pending: Pending::default(),
            flight: Flight::Idle,
            batch: 0,
            transfer: 0,
            large: VecDeque::new(),
            emptied: Vec::new(),
            compared: BTreeSet::new(),
            uploading: None,
            uploaded: Vec::new(),
            named: BTreeMap::new(),
            to_name: VecDeque::new(),
            flushes: Vec::new(),
            packs: Vec::new(),
            jobs: JoinSet::new(),
        }
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Runs until nobody can command it any more.
    pub async fn run(mut self) {
        loop {
            self.advance().await;
            let core = Arc::clone(&self.core);
            let now = self.now();
            let listens = self.active && self.listen_at <= now;
            let wake = self.next_wake();
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(self.epoch + at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return,
                },
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(_) => self.job_failed(),
                },
                () = core.wake.notified() => {}
                () = readable(self.readiness.as_ref()), if listens => self.drain().await,
                () = timer => {}
            }
        }
    }

    fn next_wake(&self) -> Option<Duration> {
        let can_report = self.active && self.link.outbox.is_some() && self.flight == Flight::Idle;
        let due = if can_report { self.pending.next() } else { None };
        let listen = (self.active && self.listen_at > self.now()).then_some(self.listen_at);
        let can_ask = self.active && self.link.outbox.is_some();
        let lacking = if can_ask { self.core.tree().lacking.next() } else { None };
        due.into_iter().chain(listen).chain(self.scan_at).chain(lacking).min()
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Link(link, heard) => {
                self.new_link(link);
                // Nobody waits any more: then it need not be told.
                let _ = heard.send(());
            }
            Command::Reported { batch, version, refused } => self.reported(batch, version, refused),
            Command::Flush(tag) => {
                self.flushes.push(tag);
                self.look_everywhere().await;
            }
            Command::Pack(tag) => {
                self.packs.push(tag);
                self.look_everywhere().await;
            }
        }
    }

    fn new_link(&mut self, link: Link) {
        self.link = link;
        self.flushes.clear();
        self.packs.clear();
        let now = self.now();
        for upload in std::mem::take(&mut self.uploaded) {
            self.pending.give_back(upload.due, now);
        }
        if let Some((told, named)) = self.flight.give_up() {
            // Whether it was committed is unknown: what it spoke of is reported anew, whatever it looks like by then.
            let mut tree = self.core.tree();
            tree.versions.end();
            for (path, disk) in told {
                if disk == Disk::Absent {
                    // If it was committed, the tree has lost all below.
                    let below: Vec<String> = tree.records.below(&path).map(|(below, _)| below.to_owned()).collect();
                    for below in below {
                        self.pending.force(&below, now);
                        tree.forced.insert(below, Disk::Absent);
                    }
                }
                self.pending.force(&path, now);
                tree.forced.insert(path, disk);
            }
            drop(tree);
            self.to_name.extend(named);
        }
    }

    /// Makes everything that has changed by now pending, and urgent.
    async fn look_everywhere(&mut self) {
        if self.active {
            self.drain().await;
            self.scan("".to_owned()).await;
        }
        self.absorb();
        self.pending.urge();
        self.large.iter_mut().for_each(|due| due.urgent = true);
        self.uploaded.iter_mut().for_each(|upload| upload.due.urgent = true);
        if let Some(urgent) = &mut self.uploading {
            *urgent = true;
        }
    }

    fn absorb(&mut self) {
        let now = self.now();
        let mut tree = self.core.tree();
        for (path, forced) in std::mem::take(&mut tree.marks) {
            self.pending.mark(&path, true, now);
            if forced {
                self.pending.force(&path, now);
            }
        }
        let notices = if self.link.outbox.is_some() { std::mem::take(&mut tree.notices) } else { Vec::new() };
        drop(tree);
        for (code, detail) in notices {
            self.send(AgentFrame::Notice { code: code.to_owned(), detail });
        }
    }

    async fn advance(&mut self) {
        if !self.active && self.core.tree().ready {
            self.active = true;
            self.lost_track = true;
        }
        let now = self.now();
        if self.active && (self.lost_track || self.scan_at.is_some_and(|at| at <= now)) {
            self.lost_track = false;
            self.scan("".to_owned()).await;
            if !(self.flushes.is_empty() && self.packs.is_empty()) {
                self.pending.urge();
            }
        }
        for path in std::mem::take(&mut self.emptied) {
            self.scan(path).await;
            if !(self.flushes.is_empty() && self.packs.is_empty()) {
                self.pending.urge();
            }
        }
        self.absorb();
        if !self.active || self.link.outbox.is_none() {
            return;
        }
        self.ask_for_lacking();
        self.start_upload();
        loop {
            self.answer_flushes();
            if self.flight != Flight::Idle || !self.start_build() {
                break;
            }
        }
    }

    fn is_urgent(&self) -> bool {
        self.flight != Flight::Idle
            || self.pending.is_urgent()
            || self.uploading == Some(true)
            || self.large.iter().any(|due| due.urgent)
            || self.uploaded.iter().any(|upload| upload.due.urgent)
    }

    fn answer_flushes(&mut self) {
        if (self.flushes.is_empty() && self.packs.is_empty()) || self.is_urgent() {
            return;
        }
        for tag in std::mem::take(&mut self.flushes) {
            self.send(AgentFrame::Flushed { tag });
        }
        for tag in std::mem::take(&mut self.packs) {
            let (core, generation) = (Arc::clone(&self.core), self.link.generation);
            let Some(outbox) = self.link.outbox.clone() else { return };
            self.jobs.spawn_blocking(move || {
                let settings = core.settings();
                let result = environment::pack(&core.workspace, &core.home, &settings, tag, &outbox);
                Done::Packed { generation, tag, result }
            });
        }
    }

    fn start_build(&mut self) -> bool {
        let now = self.now();
        let due = self.pending.take(LOOKS, now);
        let uploaded = std::mem::take(&mut self.uploaded);
        if due.is_empty() && uploaded.is_empty() && self.to_name.is_empty() {
            return false;
        }
        let named: Vec<_> = self.to_name.drain(..self.to_name.len().min(NAMED_AT_ONCE)).collect();
        self.core.tree().versions.begin();
        self.compared.clear();
        self.flight = Flight::Building;
        let (core, generation) = (Arc::clone(&self.core), self.link.generation);
        self.jobs.spawn_blocking(move || {
            let built = report::build(&core, due, uploaded);
            Done::Built { generation, built, named, started: now }
        });
        true
    }

    fn start_upload(&mut self) {
        let Some(outbox) = self.link.outbox.clone() else { return };
        if self.uploading.is_some() {
            return;
        }
        let Some(due) = self.large.pop_front() else { return };
        self.uploading = Some(due.urgent);
        self.transfer += 1;
        let (core, generation) = (Arc::clone(&self.core), self.link.generation);
        let (transfer, started) = (self.transfer, self.now());
        self.jobs.spawn_blocking(move || {
            let end = upload(&core, due, transfer, &outbox);
            Done::Uploaded { generation, end, started }
        });
    }

    fn ask_for_lacking(&mut self) {
        if self.core.tree().lacking.next().is_none_or(|next| next > self.now()) {
            return;
        }
        let free = self.core.root.free();
        let paths = self.core.tree().due_again(LACKING_AT_ONCE, self.now(), free);
        if !paths.is_empty() {
            self.send(AgentFrame::Lacking { paths });
        }
    }

    /// Sends a frame from a task of its own. A link that ends first needs it no more.
    fn send(&mut self, frame: AgentFrame) {
        if let Some(outbox) = self.link.outbox.clone() {
            self.jobs.spawn(async move {
                let _ = outbox.send(frame).await;
                Done::Sent
            });
        }
    }
}
