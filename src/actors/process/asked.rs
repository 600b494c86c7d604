//! Commands of callers: made once under their idempotency keys.

use playhouse_protocol::agent::{NodeFrame, PtySize};
use ractor::RpcReplyPort;

use super::{
    ProcessAnswer, ProcessCommand, ProcessRecord,
    rows::{self, After, Asked, Kept, Rows},
    shell::{Reload, Shell},
    state::Life,
};
use crate::{
    actors::{Caller, Code, Idempotency, Refused, Role, sandbox::SandboxMessage},
    clock,
    store::metadata::{ActivateError, Commit, Kind, Partition},
};

/// How many answers one process keeps; past that the oldest go first, within a minute.
const KEPT_ANSWERS: usize = 1024;
/// The most columns or rows a terminal may have.
const CELLS: std::ops::RangeInclusive<u16> = 1..=1000;

type Answer = Result<ProcessAnswer, Refused>;

/// A key whose first request is under way.
#[derive(Debug)]
pub(super) struct Asking {
    fingerprint: String,
    also: Vec<RpcReplyPort<Answer>>,
}

impl Shell {
    /// It is new.
    pub(super) async fn init(
        &mut self,
        record: ProcessRecord,
        reply: RpcReplyPort<Result<(), Refused>>,
    ) -> Result<(), Reload> {
        // Whoever asked may have gone, here and below.
        if let Some(life) = &self.life {
            let again =
                if life.record == record { Ok(()) } else { Err(Refused::new(Code::Internal, "the id is taken")) };
            let _ = reply.send(again);
            return Ok(());
        }
        if self.rows.is_none() {
            let partition = Partition { kind: Kind::Process, id: self.id };
            match self.node.store.metadata.activate(partition, self.node.epoch).await {
                Ok(activated) => {
                    let guard = activated.guard;
                    self.inputs = super::inputs::Inputs::new((guard.epoch, guard.version));
                    self.rows = Some(Rows::new(self.node.store.metadata.clone(), partition, guard));
                }
                Err(ActivateError::Store(error)) => {
                    let _ = reply.send(Err(Refused::retry(error.to_string())));
                    return Ok(());
                }
                Err(error @ ActivateError::Fenced) => return Err(Reload { id: self.id, why: error.to_string() }),
            }
        }
        let life = Life::new(record);
        if let Some(rows) = &mut self.rows {
            rows.keep(&life, Some(After::Made(reply)), &self.myself);
        }
        self.life = Some(life);
        Ok(())
    }

    /// A caller's command.
    pub(super) fn command(
        &mut self,
        caller: &Caller,
        role: Role,
        command: ProcessCommand,
        idempotency: Option<Idempotency>,
        reply: RpcReplyPort<Answer>,
    ) {
        let needed = if command == ProcessCommand::Get { Role::View } else { Role::Edit };
        let early: Option<Answer> = match &self.life {
            None => Some(Err(Code::ProcessNotFound.into())),
            Some(_) if role < needed => Some(Err(Code::NotPermitted.into())),
            Some(life) if command == ProcessCommand::Get => Some(Ok(ProcessAnswer::Process(life.view()))),
            Some(_) => None,
        };
        if let Some(answer) = early {
            // Whoever asked may have gone, here and below.
            let _ = reply.send(answer);
            return;
        }
        let mut kept = None;
        if let Some(idempotency) = &idempotency {
            let key = rows::kept_key(caller, idempotency);
            let reused = || Err(Refused::from(Code::IdempotencyKeyReused));
            let now = clock::now_ms();
            if let Some(known) = self.kept.get(&key).filter(|known| !known.is_over(now)) {
                let same = known.fingerprint == idempotency.fingerprint;
                let _ = reply.send(if same { known.answer.clone() } else { reused() });
                return;
            }
            if let Some(asking) = self.asking.get_mut(&key) {
                if asking.fingerprint == idempotency.fingerprint {
                    asking.also.push(reply);
                } else {
                    let _ = reply.send(reused());
                }
                return;
            }
            let asking = Asking { fingerprint: idempotency.fingerprint.clone(), also: Vec::new() };
            self.asking.insert(key.clone(), asking);
            kept = Some((key, idempotency.fingerprint.clone()));
        }
        self.act(caller, command, Asked { reply, kept });
    }

    fn act(&mut self, caller: &Caller, command: ProcessCommand, asked: Asked) {
        let process_id = self.id;
        let Some(life) = &mut self.life else { return self.answer(asked, Err(Code::ProcessNotFound.into())) };
        let ended = life.is_over();
        let frame = match command {
            ProcessCommand::Get => {
                let view = life.view();
                return self.answer(asked, Ok(ProcessAnswer::Process(view)));
            }
            ProcessCommand::Cancel => return self.cancel(asked),
            ProcessCommand::Input { .. } | ProcessCommand::Signal(_) | ProcessCommand::Resize(_) if ended => {
                return self.answer(asked, Err(Code::ProcessEnded.into()));
            }
            ProcessCommand::Input { bytes, eof, seq, writer } => {
                let once = asked.kept.as_ref().map(|(key, _)| *blake3::hash(key.as_bytes()).as_bytes());
                let numbered = seq.map(|seq| (writer.unwrap_or_else(|| caller.user_id.to_string()), seq));
                return self.request_input(asked, numbered, once, bytes, eof);
            }
            ProcessCommand::Signal(signal) => {
                self.wake_sandbox();
                NodeFrame::Signal { process_id, signal }
            }
            ProcessCommand::Resize(_) if !life.record.pty => return self.answer(asked, Err(Code::NoPty.into())),
            ProcessCommand::Resize(PtySize { cols, rows }) if !CELLS.contains(&cols) || !CELLS.contains(&rows) => {
                let refused = Refused::new(Code::BodyInvalid, "cols and rows are 1 to 1000");
                return self.answer(asked, Err(refused));
            }
            ProcessCommand::Resize(size) => NodeFrame::Resize { process_id, size },
        };
        let answer = if self.send_program(frame) {
            Ok(ProcessAnswer::Done)
        } else {
            Err(Refused::retry("the sandbox is away, and too much waits for it"))
        };
        self.answer(asked, answer);
    }

    fn cancel(&mut self, asked: Asked) {
        let (Some(life), Some(rows)) = (&mut self.life, &mut self.rows) else { return };
        if life.is_over() || life.cancelled {
            return self.answer(asked, Ok(ProcessAnswer::Done));
        }
        // From here on, so that an end that is committed meanwhile says so too.
        life.cancelled = true;
        let mut commit = Commit::default();
        commit.put_json(rows::LIFE, life);
        if let Some((key, fingerprint)) = &asked.kept {
            let kept =
                Kept { fingerprint: fingerprint.clone(), answer: Ok(ProcessAnswer::Done), at_ms: clock::now_ms() };
            commit.put_json(key, &kept);
        }
        rows.commit(commit, Some(After::Cancelled(asked)), &self.myself);
    }

    /// What is asked of a program whose sandbox stands still is to be done all the same.
    pub(super) fn wake_sandbox(&self) {
        let Some(life) = self.life.as_ref().filter(|life| !life.is_over()) else { return };
        let sandbox = self.node.sandbox(life.record.sandbox_id);
        tokio::spawn(async move {
            if let Err(error) = sandbox.cast(SandboxMessage::Wake).await {
                tracing::debug!(%error, ?sandbox, "a sandbox can't be told that it is wanted");
            }
        });
    }

    /// The cancel's commit has ended.
    pub(super) fn cancelled(&mut self, asked: Asked, done: Result<(), Refused>) {
        if done.is_err() {
            if let Some(life) = &mut self.life {
                life.cancelled = false;
            }
        } else if self.on_link {
            self.send_agent(NodeFrame::Cancel { process_id: self.id });
        }
        // An agent that is away, or has not started it, is told when it has it.
        self.wake_sandbox();
        self.give(asked, done.map(|()| ProcessAnswer::Done));
    }

    /// A command is done or refused: that is kept if it has a key, and then told.
    pub(super) fn answer(&mut self, asked: Asked, answer: Answer) {
        let keep = rows::is_kept(&answer);
        if let (Some((key, fingerprint)), Some(rows), true) = (&asked.kept, &mut self.rows, keep) {
            let mut commit = Commit::default();
            let kept = Kept { fingerprint: fingerprint.clone(), answer: answer.clone(), at_ms: clock::now_ms() };
            commit.put_json(key, &kept);
            rows.commit(commit, Some(After::Answered(asked, answer)), &self.myself);
        } else {
            self.give(asked, answer);
        }
    }

    /// Forgets answers that are too old or too many, and their rows.
    pub(super) fn prune_answers(&mut self) {
        let Some(rows) = &mut self.rows else { return };
        let mut commit = Commit::default();
        for key in rows::stale(&self.kept, clock::now_ms(), KEPT_ANSWERS) {
            // One that is asked again is about to be replaced.
            if !self.asking.contains_key(&key) {
                self.kept.remove(&key);
                commit.delete(key);
            }
        }
        if !commit.is_empty() {
            // What is not deleted now is so when the rows are read again.
            rows.commit(commit, None, &self.myself);
        }
    }

    /// Gives the answer to everyone who asked.
    pub(super) fn give(&mut self, asked: Asked, answer: Answer) {
        if let Some((key, fingerprint)) = asked.kept {
            if rows::is_kept(&answer) {
                self.kept.insert(key.clone(), Kept { fingerprint, answer: answer.clone(), at_ms: clock::now_ms() });
            }
            for also in self.asking.remove(&key).map(|asking| asking.also).unwrap_or_default() {
                // Whoever asked may have gone, here and below.
                let _ = also.send(answer.clone());
            }
        }
        let _ = asked.reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ProcessMessage, *};
    use crate::actors::{
        process::tests::{node, record},
        workspace::tests::world::until,
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn the_rows_of_old_answers_go_and_so_do_too_many() {
        let dir = tempfile::tempdir().expect("dir");
        let node = node(dir.path()).await;
        let record = record(false);
        let metadata = node.store.metadata.clone();
        let partition = Partition { kind: Kind::Process, id: record.id };
        let guard = metadata.activate(partition, node.epoch).await.expect("activated").guard;
        let kept = |at_ms| Kept { fingerprint: String::new(), answer: Ok(ProcessAnswer::Done), at_ms };
        let mut commit = Commit::default();
        commit.put_json(rows::LIFE, &Life::new(record.clone()));
        commit.put_json("idem/9-old", &kept(1));
        let now = clock::now_ms();
        for number in 0..KEPT_ANSWERS + 5 {
            commit.put_json(format!("idem/{number:05}"), &kept(now - 10_000 + number as u64));
        }
        metadata.commit(partition, guard, commit).await.expect("committed");
        let found = node.process(record.id).call(|reply| ProcessMessage::Record { reply }).await;
        assert_eq!(found.expect("an answer"), Some(record));
        let left = until("the pruning", async || {
            let left = metadata.scan(partition, rows::KEPT).await.expect("rows");
            (left.len() <= KEPT_ANSWERS).then_some(left)
        })
        .await;
        assert_eq!(left.len(), KEPT_ANSWERS);
        // The old one counts among those that are too many.
        assert_eq!((left[0].0.as_str(), left[KEPT_ANSWERS - 1].0.as_str()), ("idem/00005", "idem/01028"));
    }
}
