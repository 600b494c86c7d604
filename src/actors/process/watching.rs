//! Who watches: what viewers are told, and where they begin.

use playhouse_protocol::{EventId, client::ServerMessage};
use ractor::RpcReplyPort;

use super::{
    Allowance, Done, From, ProcessInfo, ResumeInvalid,
    shell::Shell,
    viewers::{Effect, Place},
};
use crate::actors::session::{SessionMessage, SessionRef};

/// A session that watches.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) session: SessionRef,
    pub(super) subscription: u64,
}

impl Shell {
    /// Its status as viewers are told.
    pub(super) fn status(&self) -> Option<ServerMessage> {
        let view = self.life.as_ref()?.view();
        Some(ServerMessage::Status {
            process_id: self.id,
            status: view.status.as_str(),
            exit_code: view.exit_code,
            signal: view.signal,
            reason: view.reason,
        })
    }

    /// Tells a viewer something. One that is gone is a viewer no longer.
    fn tell(&mut self, viewer: u64, message: impl FnOnce(u64) -> SessionMessage) {
        let gone = self
            .sessions
            .get(&viewer)
            .is_none_or(|to| to.session.actor.send_message(message(to.subscription)).is_err());
        if gone {
            self.sessions.remove(&viewer);
            self.viewers.remove(viewer);
        }
    }

    /// Tells a viewer something of the process.
    pub(super) fn say(&mut self, viewer: u64, message: ServerMessage, ended: bool) {
        let process_id = self.id;
        self.tell(viewer, |subscription| SessionMessage::OfProcess { process_id, subscription, message, ended });
    }

    /// Tells a viewer that the number it waits for was never reached. It is a viewer no longer.
    pub(super) fn never_reached(&mut self, viewer: u64) {
        let process_id = self.id;
        self.tell(viewer, |subscription| SessionMessage::ResumeInvalid { process_id, subscription });
        self.viewers.remove(viewer);
        self.sessions.remove(&viewer);
    }

    /// Runs what the viewers need.
    pub(super) fn run(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Output { viewer, generation, chunks } => {
                    let process_id = self.id;
                    self.tell(viewer, |subscription| SessionMessage::Output {
                        process_id,
                        subscription,
                        generation,
                        chunks,
                    });
                }
                Effect::Truncated { viewer, lost } => {
                    let said = ServerMessage::Truncated {
                        process_id: self.id,
                        from_id: lost.from,
                        to_id: lost.to,
                        bytes: lost.bytes,
                        reason: lost.reason.as_str(),
                    };
                    self.say(viewer, said, false);
                }
                Effect::Read { viewer, token, after, max_bytes } => {
                    let Some(log) = self.log() else { continue };
                    let replay = self.node.store.replay.clone();
                    self.background(async move {
                        let read = replay.read(log, after, max_bytes).await;
                        let page = read.inspect_err(|error| tracing::warn!(%error, ?log, "a log is not read")).ok();
                        Done::Page { viewer, token, page }
                    });
                }
                Effect::Ended { viewer } => {
                    if let Some(status) = self.status() {
                        self.say(viewer, status, true);
                    }
                    self.sessions.remove(&viewer);
                }
            }
        }
    }

    /// Serves all viewers.
    pub(super) fn serve_all(&mut self) {
        let mut effects = Vec::new();
        let now = self.now_ms();
        self.viewers.serve_all(&self.tail, now, &mut effects);
        self.run(effects);
    }

    /// Serves one viewer.
    pub(super) fn serve(&mut self, viewer: u64) {
        let mut effects = Vec::new();
        let now = self.now_ms();
        self.viewers.serve(viewer, &self.tail, now, &mut effects);
        self.run(effects);
    }

    /// A session subscribes: events come after the one that is answered.
    pub(super) fn subscribe(
        &mut self,
        to: Subscriber,
        from: From,
        may_type: bool,
        allowance: Allowance,
    ) -> Result<EventId, ResumeInvalid> {
        let life = self.life.as_ref().ok_or(ResumeInvalid)?;
        let end = self.tail.received();
        let ended = life.outcome().is_some();
        let cursor = match from {
            From::Earliest => EventId::ZERO,
            From::Live => end,
            From::After(id) => {
                // Numbers may exist that only the agent has: until it is back, one beyond the log is waited for.
                let known = ended || self.heard;
                let beyond = id.generation == end.generation && id.sequence > self.reached.max(end.sequence) && known;
                if id.generation > end.generation || beyond || (id.sequence == 0 && id.generation > 0) {
                    return Err(ResumeInvalid);
                }
                id
            }
        };
        let viewer = to.session.id;
        self.sessions.insert(viewer, to);
        if !ended && let Some(status) = self.status() {
            self.say(viewer, status, false);
        }
        let bytes = match cursor {
            EventId::ZERO => Some(0),
            _ => (cursor >= self.tail.start() && cursor <= end).then(|| self.tail.bytes_up_to(cursor)),
        };
        self.viewers.add(viewer, Place { cursor, bytes }, may_type, allowance);
        Ok(cursor)
    }

    /// Answers what `hello` says of it; the log is asked in the background.
    pub(super) fn inform(&self, writer: &str, reply: RpcReplyPort<Option<ProcessInfo>>) {
        // Whoever asked may have gone, here and below.
        let (Some(life), Some(log)) = (&self.life, self.log()) else {
            let _ = reply.send(None);
            return;
        };
        let end = self.tail.received();
        let info = ProcessInfo {
            status: life.status().as_str(),
            first_id: self.tail.first().or((end.sequence > 0).then(|| EventId::new(end.generation, end.sequence + 1))),
            last_id: (end.sequence > 0).then_some(end),
            input_seq: self.inputs.last(writer),
            retained: true,
        };
        let may_have_expired = self.may_have_expired();
        let replay = self.node.store.replay.clone();
        tokio::spawn(async move {
            let bounds = match replay.bounds(log).await {
                Ok(bounds) => bounds,
                Err(error) => {
                    tracing::warn!(%error, ?log, "a log's bounds are not read");
                    None
                }
            };
            let retained = bounds.filter(|bounds| bounds.last.sequence > 0);
            let expired = may_have_expired && info.last_id.is_some() && retained.is_none();
            let first_id = retained.map(|bounds| bounds.first).or(info.first_id).filter(|_| info.last_id.is_some());
            let _ = reply.send(Some(ProcessInfo { first_id, retained: !expired, ..info }));
        });
    }
}
