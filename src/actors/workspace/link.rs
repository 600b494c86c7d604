//! The link to its sandbox's agent: what it begins with, what the agent says over it, and saving.

use std::time::Duration;

use playhouse_protocol::{
    agent::{AgentFrame, NodeFrame, Settings},
    client::ServerMessage,
};
use time::OffsetDateTime;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use uuid::Uuid;

use super::{
    Own, SaveOutcome, WorkspaceMessage,
    actor::Shell,
    intake::Intake,
    own::{Taken, TaskResult},
    pusher::{Begin, Pusher},
    report::{Reported, Rules},
    rows::{self, EnvironmentRow},
    save::{Programs, Save, SaveEvent, SaveStep},
};
use crate::{
    actors::{agent_link::LinkRef, sandbox::SandboxMessage},
    clock,
    store::{blobs::BlobRef, metadata::Commit},
};

/// The most that a packed environment may weigh, by tier, in bytes.
const ENVIRONMENT_BYTES: u64 = 1024 * 1024 * 1024;
const ENVIRONMENT_BYTES_PAID: u64 = 4 * ENVIRONMENT_BYTES;
/// How long a report that could not be committed waits until it is tried again.
const REPORT_AGAIN: Duration = Duration::from_millis(500);
/// How long a path counts as lately vacated while an agent is there to hear of it.
const VACATED_FOR: Duration = Duration::from_secs(60);
/// How many paths that are left out are told at once, and remembered for sessions to come.
const LEFT_OUT: usize = 100;
/// The most paths that an agent may ask for at once.
const LACKING: usize = 256;
/// The most bytes of refused paths that one answer to a report names: a frame has 1 MiB.
const REFUSED_BYTES: usize = 512 * 1024;

/// A link and its tasks.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) link: LinkRef,
    pub(super) ready: bool,
    pub(super) pusher: Pusher,
    pub(super) intake: Intake,
    /// It is of an agent that only brings in what a lost one left, since then.
    pub(super) harvest: Option<OffsetDateTime>,
}

impl Shell {
    fn max_environment(&self) -> u64 {
        let paid = self.state.as_ref().is_some_and(|state| state.meta.owner.tier == "paid");
        if paid { ENVIRONMENT_BYTES_PAID } else { ENVIRONMENT_BYTES }
    }

    /// The sandbox's agent is linked.
    pub(super) fn link_up(&mut self, sandbox_id: Uuid, link: LinkRef, ready: bool, harvest: bool) {
        let max_environment = self.max_environment();
        let Some(state) = self.state.as_mut().filter(|state| !state.meta.deleting) else { return };
        if link.number <= self.newest_link || state.active().is_none_or(|(active, _)| active != sandbox_id) {
            return;
        }
        self.newest_link = link.number;
        if harvest && !ready && state.batches.remove(&sandbox_id).is_some() {
            // Another agent's reports are numbered anew.
            self.stale.push(rows::batch(sandbox_id));
        }
        let generated = state.template().generated_folders;
        let max_upload = self.node.settings.max_upload;
        let settings = Settings {
            generated_folders: generated.iter().map(|folder| (*folder).to_owned()).collect(),
            max_file_bytes: max_upload,
            max_environment_bytes: max_environment,
            fresh: !ready,
        };
        let entries = state.tree.iter().map(|(_, entry)| (entry.path.clone(), entry.row.node.clone())).collect();
        let begin = if harvest {
            Begin::Harvest { settings, entries: state.known() }
        } else {
            let environment = state.environment.as_ref().filter(|_| !ready).map(|row| row.blob.clone());
            Begin::Fill { settings, environment, version: state.meta.tree_version, entries }
        };
        let pusher = Pusher::begin(&self.node, self.id, &link, begin, ready && !harvest);
        if !harvest {
            for item in self.unstarted(sandbox_id) {
                pusher.push(item);
            }
        }
        let rules = Rules { generated, max_upload };
        let intake = Intake::begin(&self.node, self.id, link.number, rules, max_environment, self.myself.clone());
        let harvest = harvest.then(clock::now);
        self.link = Some(Linked { link, ready, pusher, intake, harvest });
        if ready {
            // It may not have been heard before.
            self.tell_filled();
            self.step_save(SaveEvent::LinkUp);
        } else if let Some(save) = self.save.take() {
            // What a fresh agent has is not yet what is to be kept.
            self.tell_saved(save.sandbox_id, save.number, SaveOutcome::Failed("its agent is another".to_owned()));
        }
        if ready {
            self.tell_busy(true);
        }
    }

    /// The link over which its agent hears what is committed.
    pub(super) fn pushes_to(&self) -> Option<&Linked> {
        self.link.as_ref().filter(|linked| linked.harvest.is_none())
    }

    /// An agent that still lives so long after a removal has heard of it.
    pub(super) fn forget_vacated(&mut self, now: Instant) {
        if self.pushes_to().is_some() || self.state.as_ref().is_none_or(|state| state.active().is_none()) {
            self.vacated.retain(|_, at| now - *at < VACATED_FOR);
        }
    }

    /// The agent could not do what it was told of these paths: it is told what is there by now.
    fn push_again(&self, mut paths: Vec<String>) {
        let (Some(state), Some(linked)) = (&self.state, self.pushes_to()) else { return };
        paths.truncate(LACKING);
        linked.pusher.push_again(state.meta.tree_version, || state.as_it_stands(paths));
    }

    /// A link is gone.
    pub(super) fn link_down(&mut self, number: u64) {
        if self.link.as_ref().is_some_and(|linked| linked.link.number == number) {
            self.link = None;
            self.step_save(SaveEvent::LinkDown);
        }
    }

    /// The agent says something about files.
    pub(super) fn agent_says(&mut self, number: u64, frame: AgentFrame, permit: Option<OwnedSemaphorePermit>) {
        let Some(linked) = self.link.as_mut().filter(|linked| linked.link.number == number) else { return };
        let last = self.state.as_ref().and_then(|state| state.batches.get(&linked.link.sandbox_id));
        let last_batch = last.map_or(0, |last| last.batch);
        match frame {
            // Nothing is pushed to it and nothing started: it is only to be saved.
            AgentFrame::Ready { .. } if linked.harvest.is_some() => {
                linked.ready = true;
                self.tell_filled();
            }
            AgentFrame::Ready { notes } => {
                linked.ready = true;
                linked.pusher.ready();
                self.tell_filled();
                for note in notes.into_iter().take(LEFT_OUT) {
                    self.say(&ServerMessage::Notice { code: "not_restored".to_owned(), detail: note });
                }
                self.tell_busy(true);
            }
            AgentFrame::Want { hashes } => linked.pusher.want(hashes),
            AgentFrame::Report { batch, .. } if last.is_some() && batch <= last_batch => self.tell_reported(batch),
            frame @ (AgentFrame::Upload { .. } | AgentFrame::UploadVoid { .. } | AgentFrame::Report { .. }) => {
                linked.intake.take(frame, permit);
            }
            AgentFrame::Environment { tag, .. } => {
                if self.save.as_ref().is_some_and(|save| save.packing(tag)) {
                    linked.intake.take(frame, permit);
                    self.step_save(SaveEvent::Piece { tag });
                }
            }
            AgentFrame::Flushed { tag } => self.step_save(SaveEvent::Flushed { tag }),
            AgentFrame::PackFailed { tag, detail } => self.step_save(SaveEvent::PackFailed { tag, detail }),
            AgentFrame::Lacking { paths } => self.push_again(paths),
            AgentFrame::Notice { code, detail } => self.say(&ServerMessage::Notice { code, detail }),
            AgentFrame::Beat
            | AgentFrame::State { .. }
            | AgentFrame::Started { .. }
            | AgentFrame::Output { .. }
            | AgentFrame::Exited { .. }
            | AgentFrame::InputTaken { .. } => {}
        }
    }

    fn reported_before(&self, batch: u64) -> bool {
        let Some(linked) = &self.link else { return false };
        let last = self.state.as_ref().and_then(|state| state.batches.get(&linked.link.sandbox_id));
        last.is_some_and(|last| batch <= last.batch)
    }

    /// Acknowledges a batch that is committed.
    fn tell_reported(&self, batch: u64) {
        let (Some(linked), Some(state)) = (&self.link, &self.state) else { return };
        let last = state.batches.get(&linked.link.sandbox_id).filter(|last| last.batch == batch);
        let mut bytes = 0;
        let refused = last.map_or(&[][..], |last| &last.refused).iter().take_while(|(path, why)| {
            bytes += path.len() + why.len() + 16;
            bytes <= REFUSED_BYTES
        });
        linked.link.now(NodeFrame::Reported {
            batch,
            version: last.map_or(state.meta.tree_version, |last| last.version),
            refused: refused.cloned().collect(),
        });
    }

    /// The intake has stored something.
    pub(super) async fn taken(&mut self, number: u64, taken: Taken) {
        let sandbox = self.link.as_ref().filter(|linked| linked.link.number == number);
        let sandbox = sandbox.map(|linked| linked.link.sandbox_id);
        match (taken, sandbox) {
            (Taken::Report { batch, changes, refused, left_out }, Some(sandbox)) => {
                self.report(number, sandbox, batch, changes, refused, left_out).await;
            }
            // Its successor's agent reports it again, with its content.
            (Taken::Report { changes, .. }, None) => self.bury(contents(changes)),
            (Taken::Environment { tag, stored }, Some(sandbox)) => self.environment(sandbox, tag, stored).await,
            (Taken::Environment { stored, .. }, None) => self.bury(stored.into_iter().map(|(blob, _)| blob).collect()),
        }
    }

    async fn report(
        &mut self,
        number: u64,
        sandbox: Uuid,
        batch: u64,
        changes: Vec<Reported>,
        refused: Vec<(String, String)>,
        left_out: Vec<(String, String)>,
    ) {
        if self.reported_before(batch) {
            self.bury(contents(changes));
            return self.tell_reported(batch);
        }
        let begun = self.link.as_ref().and_then(|linked| linked.harvest);
        let Some(state) = self.state.as_mut() else { return };
        let (changes, refused) = match begun {
            Some(begun) => state.outdone(changes, refused, begun, &self.vacated),
            None => {
                // What a program has made anew is not gone.
                self.vacated.retain(|path, _| !changes.iter().any(|change| change.makes(path)));
                (changes, refused)
            }
        };
        let outcome = state.report(sandbox, batch, &changes, refused.clone(), clock::now());
        let (row, unused) = (outcome.batch, outcome.unused);
        if self.land(outcome.decision, None).await.is_err() {
            // The agent waits for its answer, and nothing else makes it report again.
            let myself = self.myself.clone();
            self.spawn(async move {
                tokio::time::sleep(REPORT_AGAIN).await;
                let taken = Taken::Report { batch, changes, refused, left_out };
                // One that has ended has no link either: a new one has it reported again.
                let _ = myself.send_message(WorkspaceMessage::Own(Own::Intake { link: number, taken }));
                TaskResult::Done
            });
            return;
        }
        if let Some(state) = self.state.as_mut() {
            state.batches.insert(sandbox, row);
        }
        self.bury(unused);
        self.tell_reported(batch);
        self.tell_left_out(left_out);
    }

    fn tell_left_out(&mut self, left_out: Vec<(String, String)>) {
        for (path, why) in left_out.into_iter().take(LEFT_OUT) {
            let path: String = path.chars().take(playhouse_protocol::path::PATH_BYTES).collect();
            self.say(&left_out_notice(&path, &why));
            if self.left_out.len() < LEFT_OUT {
                self.left_out.insert(path, why);
            }
        }
    }

    async fn environment(
        &mut self,
        sandbox_id: Uuid,
        tag: u64,
        stored: Result<(BlobRef, Vec<(String, String)>), String>,
    ) {
        let awaited = self.save.as_ref().is_some_and(|save| save.sandbox_id == sandbox_id && save.packing(tag));
        let (blob, left_out) = match stored {
            Ok((blob, _)) if !awaited => return self.bury(vec![blob]),
            Ok(stored) => stored,
            Err(detail) => return self.step_save(SaveEvent::Stored { tag, result: Err(detail) }),
        };
        let row = EnvironmentRow { blob, sandbox_id, stored_at: clock::now() };
        let mut commit = Commit::default();
        commit.put_json(rows::ENVIRONMENT, &row);
        let result = self.commit(commit).await.map_err(|refused| refused.to_string());
        if result.is_ok() {
            let old = self.state.as_mut().and_then(|state| state.environment.replace(row));
            self.bury(old.into_iter().map(|old| old.blob).collect());
            self.tell_left_out(left_out);
        } else if !self.broken {
            self.bury(vec![row.blob]);
        }
        self.step_save(SaveEvent::Stored { tag, result });
    }

    /// The sandbox is to be ended: its files and its environment are to be kept.
    pub(super) fn begin_save(&mut self, sandbox_id: Uuid, number: u64, programs: Programs) {
        match self.link.as_ref().filter(|linked| linked.link.sandbox_id == sandbox_id) {
            Some(linked) if linked.ready => {
                self.save_tag += 1000;
                let (save, frame) = Save::begin(sandbox_id, number, programs, self.save_tag, Instant::now());
                linked.link.now(frame);
                self.save = Some(save);
            }
            // What it holds is not yet what was kept: to pack it would lose that.
            Some(_) => self.tell_saved(sandbox_id, number, SaveOutcome::Failed("it was not filled yet".to_owned())),
            None => self.tell_saved(sandbox_id, number, SaveOutcome::Failed("its agent is away".to_owned())),
        }
    }

    /// Time, or the agent, moves a saving on.
    pub(super) fn step_save(&mut self, event: SaveEvent) {
        let Some(save) = self.save.as_mut() else { return };
        match save.step(event, Instant::now()) {
            SaveStep::Wait => {}
            SaveStep::Send(frame) => {
                if let Some(linked) = &self.link {
                    linked.link.now(frame);
                }
            }
            SaveStep::Over(outcome) => {
                let (sandbox_id, number) = (save.sandbox_id, save.number);
                self.save = None;
                self.tell_saved(sandbox_id, number, outcome);
            }
        }
    }

    /// The sandbox hears that it has its files, and may hold others from now on.
    fn tell_filled(&mut self) {
        let Some(linked) = &self.link else { return };
        let sandbox = self.node.sandbox(linked.link.sandbox_id);
        self.spawn(async move {
            if let Err(error) = sandbox.cast(SandboxMessage::Filled).await {
                tracing::warn!(%error, ?sandbox, "a sandbox can't be told that it is filled");
            }
            TaskResult::Done
        });
    }

    /// The sandbox hears how its saving went.
    pub(super) fn tell_saved(&mut self, sandbox_id: Uuid, number: u64, outcome: SaveOutcome) {
        let sandbox = self.node.sandbox(sandbox_id);
        self.spawn(async move {
            if let Err(error) = sandbox.cast(SandboxMessage::Saved { number, outcome }).await {
                tracing::warn!(%error, ?sandbox, "a sandbox can't be told how its saving went; its clock goes on");
            }
            TaskResult::Done
        });
    }
}

fn contents(changes: Vec<Reported>) -> Vec<BlobRef> {
    changes
        .into_iter()
        .filter_map(|change| match change {
            Reported::Put { node, .. } => node.blob().cloned(),
            Reported::Mode { .. } | Reported::Remove { .. } => None,
        })
        .collect()
}

/// What sessions are told of a path that is left out of the tree.
pub(super) fn left_out_notice(path: &str, why: &str) -> ServerMessage {
    let detail = match why {
        // The environment has it.
        "named_like_a_generated_folder" => {
            format!("`{path}` is not among the files: it is named like a generated folder")
        }
        why => format!("`{path}` is not kept: {why}"),
    };
    ServerMessage::Notice { code: "left_out".to_owned(), detail }
}
