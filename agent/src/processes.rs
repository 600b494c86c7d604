//! All processes of the sandbox, whose turn it is to send, and what is to be killed when.

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    path::PathBuf,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use playhouse_protocol::{
    agent::{AgentFrame, Exit, InputOutcome, ProcessState, PtySize, Signal, Start},
    stream::{CHUNK_BYTES, Stream},
};
use rustix::process::Signal as SystemSignal;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    bells::Bells,
    config::{Config, Places},
    full_disk,
    init::{self, Ended},
    output::Emission,
    process::Process,
    session::{kill_session, signal_group, system_signal},
    spawn::{self, SpawnError, Spawned},
    wires::{Ready, Side, Wires},
};

/// How many processes may run at once.
const LIVE: usize = 512;

/// How many are kept, running, ended or queued: beyond it starts are refused until the node forgets some.
const KEPT: usize = 4096;

/// How many that were forgotten are remembered to have run.
const RAN: usize = 1024;

/// How long a cancelled program has before it is killed.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How long a flood's output waits at most for what follows. A frame for every 4 KiB, which is what a terminal gives at
/// a time, costs the node and the client a wake-up each; in frames of 32 KiB `cat` of 200 MB was about a tenth faster
/// (`playhouse bench bulk`). What is short is never held up.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// Now, in milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// All processes.
#[derive(Debug)]
pub struct Processes {
    all: HashMap<Uuid, Process>,
    by_pid: HashMap<i32, Uuid>,
    /// The last that ran and were forgotten. A start waits for its turn while the node's word that it knows the end does
    /// not, so one that was sent before, by a node that had not heard of the end yet, may come after it.
    ran: VecDeque<Uuid>,
    /// Those that may have something to send, each once.
    queue: VecDeque<Uuid>,
    /// Those that flood, and until when their output may wait; soonest first. A process that says otherwise was sent.
    gathering: VecDeque<(Instant, Uuid)>,
    /// Those that have ended and whose last output is being read.
    draining: Vec<Uuid>,
    /// Sessions to kill, soonest first.
    kills: VecDeque<(Instant, i32)>,
    bells: Bells<Ready>,
    buffer: Box<[u8; CHUNK_BYTES]>,
    variables: Vec<(OsString, OsString)>,
    places: Places,
    /// On the disk that may be full.
    workspace: PathBuf,
}

impl Processes {
    /// None yet.
    #[must_use]
    pub fn new(config: &Config, variables: Vec<(OsString, OsString)>) -> Self {
        Self {
            all: HashMap::new(),
            by_pid: HashMap::new(),
            ran: VecDeque::new(),
            queue: VecDeque::new(),
            gathering: VecDeque::new(),
            draining: Vec::new(),
            kills: VecDeque::new(),
            bells: Bells::new(),
            buffer: Box::new([0; CHUNK_BYTES]),
            variables,
            places: config.places(),
            workspace: config.workspace.clone(),
        }
    }

    /// What became ready, for [`Processes::ready`].
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Ready> {
        self.bells.poll(context)
    }

    /// A start came and is queued: from now on the process takes input.
    pub fn expect(&mut self, start: &Start) {
        if self.all.len() < KEPT && !self.ran.contains(&start.process_id) {
            self.all.entry(start.process_id).or_insert_with(|| Process::waiting(start.pty));
        }
    }

    /// Carries out a start whose turn has come; one that was carried out before is only answered.
    pub fn start(&mut self, start: Start) -> AgentFrame {
        let id = start.process_id;
        if self.ran.contains(&id) {
            return AgentFrame::Started { process_id: id };
        }
        let live = self.live();
        let kept = self.all.len();
        let process = self.all.entry(id).or_insert_with(|| Process::waiting(start.pty));
        if process.is_waiting() {
            let start = Start { pty: process.size(), ..start };
            let spawned = if live >= LIVE || kept > KEPT {
                let cause = std::io::Error::other("too many processes in this sandbox");
                Err(SpawnError::CannotRun { program: start.argv.first().cloned().unwrap_or_default(), cause })
            } else {
                spawn::spawn(&start, &self.places.find(&start.cwd), &self.variables)
            };
            match spawned.and_then(|spawned| Ok((spawned.pid, watched(id, spawned, &start, &self.bells)?))) {
                Ok((pid, wires)) => {
                    self.by_pid.insert(pid, id);
                    // A number is only given anew when the session that had it is empty.
                    self.kills.retain(|(_, session)| *session != pid);
                    process.run(pid, wires, full_disk::is_full(&self.workspace));
                }
                Err(error) => fail(process, &start, &error),
            }
        }
        if !process.has_begun {
            process.has_begun = true;
            process.output.begin();
        }
        self.touch(id);
        AgentFrame::Started { process_id: id }
    }

    /// A descriptor became ready.
    pub fn ready(&mut self, ready: Ready) {
        let Some(process) = self.all.get_mut(&ready.process_id) else { return };
        match ready.side {
            Side::Output(stream) => {
                if process.read(stream, now_ms(), &mut self.buffer) {
                    if process.gathers_until.is_none() {
                        let until = Instant::now() + GATHER_TIME;
                        process.gathers_until = Some(until);
                        self.gathering.push_back((until, ready.process_id));
                    }
                } else {
                    self.touch(ready.process_id);
                }
            }
            Side::Input => process.feed(),
        }
    }

    /// Takes input for a process. A process that is not known has ended and was forgotten.
    pub fn input(&mut self, id: Uuid, writer: &str, seq: u64, bytes: &[u8], eof: bool) -> InputOutcome {
        self.all.get_mut(&id).map_or(InputOutcome::Ended, |process| process.offer(writer, seq, bytes, eof))
    }

    /// Sets a terminal's size.
    pub fn resize(&mut self, id: Uuid, size: PtySize) {
        if let Some(process) = self.all.get_mut(&id) {
            process.resize(size);
        }
    }

    /// Signals a process's group. One whose start is queued ends by the signal, unless it would ignore that.
    pub fn signal(&mut self, id: Uuid, signal: Signal) {
        let Some(process) = self.all.get_mut(&id) else { return };
        let signal = system_signal(signal);
        if let Some(pid) = process.pid() {
            signal_group(pid, signal);
        } else if process.is_waiting() {
            let exit =
                Exit { last_sequence: 0, code: None, signal: Some(signal.as_raw()), reason: None, at_ms: now_ms() };
            process.end_unstarted("", Stream::Stdout, exit);
            self.touch(id);
        }
    }

    /// Ends a process: TERM to its group now, KILL to its session in 5 s.
    pub fn cancel(&mut self, id: Uuid) {
        self.stop(id, CANCEL_GRACE);
    }

    /// Ends all processes, those that wait for their start too, and kills in `grace` what is left of them.
    pub fn stop_all(&mut self, grace: Duration) {
        for id in self.all.keys().copied().collect::<Vec<_>>() {
            self.stop(id, grace);
        }
    }

    fn stop(&mut self, id: Uuid, grace: Duration) {
        if let Some(pid) = self.all.get(&id).and_then(Process::pid) {
            let at = Instant::now() + grace;
            // A second cancel does not put off the kill.
            if !self.kills.iter().any(|(known, session)| *session == pid && *known <= at) {
                self.kills.push_back((at, pid));
                self.kills.make_contiguous().sort_unstable();
            }
        }
        self.signal(id, Signal::Term);
    }

    /// Kills all that was started here at once.
    pub fn kill_all(&mut self) {
        for pid in self.by_pid.keys() {
            signal_group(*pid, SystemSignal::KILL);
            kill_session(*pid);
        }
    }

    /// How many run, or have output that is being read.
    #[must_use]
    pub fn live(&self) -> usize {
        self.all.values().filter(|process| process.is_live()).count()
    }

    /// Children have ended.
    pub fn reap(&mut self) {
        while let Some((pid, how)) = init::reap() {
            let Some(id) = self.by_pid.remove(&pid) else { continue };
            let Some(process) = self.all.get_mut(&id) else { continue };
            let is_full = how != Ended::Code(0) && full_disk::is_full(&self.workspace);
            process.ended(how, is_full.then(|| full_disk::REASON.to_owned()), Instant::now(), now_ms());
            self.draining.push(id);
            self.touch(id);
        }
    }

    /// When [`Processes::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let kill = self.kills.front().map(|(at, _)| *at);
        let gathered = self.gathering.front().map(|(at, _)| *at);
        let draining = self.draining.iter().filter_map(|id| self.all.get(id)).filter_map(Process::drains_at);
        draining.chain(kill).chain(gathered).min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        while let Some((_, session)) = self.kills.pop_front_if(|(at, _)| *at <= now) {
            if self.by_pid.contains_key(&session) {
                signal_group(session, SystemSignal::KILL);
            }
            kill_session(session);
        }
        while let Some((until, id)) = self.gathering.pop_front_if(|(at, _)| *at <= now) {
            if self.all.get(&id).is_some_and(|process| process.gathers_until == Some(until)) {
                self.touch(id);
            }
        }
        for id in std::mem::take(&mut self.draining) {
            let Some(process) = self.all.get_mut(&id) else { continue };
            if process.drains_at().is_some_and(|at| at <= now) {
                process.drain(now_ms(), &mut self.buffer);
            }
            if process.is_live() {
                self.draining.push(id);
            }
            self.touch(id);
        }
    }

    /// Output up to `sequence` is stored.
    pub fn stored(&mut self, id: Uuid, sequence: u64) {
        self.with(id, |process| process.output.stored(sequence));
    }

    /// Output flows from `sequence`.
    pub fn resume(&mut self, id: Uuid, sequence: u64, credit: u64) {
        self.with(id, |process| {
            process.has_begun = true;
            process.output.resume(sequence, credit);
        });
    }

    /// So many bytes may be sent.
    pub fn credit(&mut self, id: Uuid, bytes: u64) {
        self.with(id, |process| process.output.credit(bytes));
    }

    /// A process that is over is forgotten.
    pub fn forget(&mut self, id: Uuid) {
        if self.all.get(&id).is_some_and(|process| !process.is_live())
            && self.all.remove(&id).is_some_and(|process| process.has_begun)
        {
            if self.ran.len() == RAN {
                self.ran.pop_front();
            }
            self.ran.push_back(id);
        }
    }

    /// The stream is gone: nothing is sent, and programs run on.
    pub fn detach(&mut self) {
        for process in self.all.values_mut() {
            process.output.detach();
            process.is_queued = false;
            process.watch();
        }
        self.queue.clear();
    }

    /// What a new stream is told.
    #[must_use]
    pub fn states(&self) -> Vec<ProcessState> {
        self.all.iter().filter_map(|(id, process)| process.state(*id)).collect()
    }

    /// The next frame of output: each process that has some gets its turn.
    pub fn next_frame(&mut self) -> Option<AgentFrame> {
        while let Some(process_id) = self.queue.pop_front() {
            let Some(process) = self.all.get_mut(&process_id) else { continue };
            let Some(emission) = process.output.next(CHUNK_BYTES) else {
                process.is_queued = false;
                continue;
            };
            process.watch();
            self.queue.push_back(process_id);
            return Some(match emission {
                Emission::Chunks(chunks) => AgentFrame::Output { process_id, chunks },
                Emission::Exit(exit) => AgentFrame::Exited { process_id, exit },
            });
        }
        None
    }

    fn with(&mut self, id: Uuid, change: impl FnOnce(&mut Process)) {
        if let Some(process) = self.all.get_mut(&id) {
            change(process);
            process.watch();
            self.touch(id);
        }
    }

    /// A process may have something to send.
    fn touch(&mut self, id: Uuid) {
        let Some(process) = self.all.get_mut(&id) else { return };
        process.gathers_until = None;
        if !process.is_queued {
            process.is_queued = true;
            self.queue.push_back(id);
        }
    }
}

fn watched(id: Uuid, spawned: Spawned, start: &Start, bells: &Bells<Ready>) -> Result<Wires, SpawnError> {
    let pid = spawned.pid;
    Wires::new(id, spawned.ends, bells).map_err(|cause| {
        // Nobody would hear of it: it goes, and its end belongs to no process.
        signal_group(pid, SystemSignal::KILL);
        SpawnError::CannotRun { program: start.argv.first().cloned().unwrap_or_default(), cause }
    })
}

/// Ends a process that could not be started, with the line that a shell would have written.
fn fail(process: &mut Process, start: &Start, error: &SpawnError) {
    let reason = matches!(error, SpawnError::NoDirectory(_)).then(|| "cwd_not_found".to_owned());
    let exit = Exit { last_sequence: 0, code: Some(error.code()), signal: None, reason, at_ms: now_ms() };
    let (end, stream) = if start.pty.is_some() { ("\r\n", Stream::Stdout) } else { ("\n", Stream::Stderr) };
    let mut line = error.to_string();
    let longest = (0..=1024).rev().find(|length| line.is_char_boundary(*length)).unwrap_or(0);
    line.truncate(longest);
    process.end_unstarted(&format!("{line}{end}"), stream, exit);
}
