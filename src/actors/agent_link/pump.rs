//! A proven link at work: frames in go to the actor they concern, frames out go at once ones first.

use std::{collections::HashMap, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use playhouse_protocol::{
    Shard,
    agent::{AgentFrame, NodeFrame, ProcessState},
    codec,
};
use playhouse_quiet::Expect;
use ractor::{ActorRef, ActorStatus};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use super::{LinkRef, open::AgentStream};
use crate::actors::{
    Node,
    process::{FromAgent, ProcessMessage},
    workspace::{WorkspaceMessage, WorkspaceRef},
};

/// The agent hears from its owner so often.
const BEAT: Duration = Duration::from_secs(1);
/// An agent that says nothing for so long is taken for gone; it beats every second.
pub const SILENCE: Duration = Duration::from_secs(10);
/// That a link ended so.
pub(super) const SILENT: &str = "it was silent";

/// How many frames of content, of at most 256 KiB each, may be on their way to the store.
const BULK_FRAMES: usize = 32;

/// Which actors a link's frames go to.
#[derive(Debug)]
pub(super) struct Router {
    node: Node,
    link: LinkRef,
    workspace: WorkspaceRef,
    /// Those that live, and one that is none of this sandbox's if it was spoken of last.
    processes: HashMap<Uuid, Option<ActorRef<ProcessMessage>>>,
    /// Content on its way to the store: an agent that sends faster than that is read slower.
    bulk: Arc<Semaphore>,
}

impl Router {
    pub(super) fn new(node: Node, link: LinkRef, workspace: WorkspaceRef) -> Self {
        Self { node, link, workspace, processes: HashMap::new(), bulk: Arc::new(Semaphore::new(BULK_FRAMES)) }
    }

    /// Tells a process what the agent knows of it.
    pub(super) async fn announce(&mut self, state: ProcessState) {
        let id = state.process_id;
        self.introduce(id, Some(state)).await;
    }

    /// The process's actor, told of this link. `None` for one that is none of this sandbox's.
    async fn introduce(&mut self, id: Uuid, state: Option<ProcessState>) -> Option<ActorRef<ProcessMessage>> {
        // A sandbox's programs may say anything: only this sandbox's own processes hear it.
        let process = self.node.process(id);
        let known = Shard::of(id) == Shard::of(self.link.sandbox_id)
            && matches!(
                process.call(|reply| ProcessMessage::Record { reply }).await,
                Ok(Some(record)) if record.sandbox_id == self.link.sandbox_id
            );
        let actor = if known { process.resolve().await.ok() } else { None };
        if let Some(actor) = &actor
            && actor.send_message(ProcessMessage::LinkUp { link: self.link.clone(), state }).is_err()
        {
            return None;
        }
        if actor.is_none() {
            tracing::warn!(process = %id, sandbox = %self.link.sandbox_id, "an agent speaks of a process that is none of its sandbox's");
            self.link.now(NodeFrame::Forget { process_id: id });
        }
        // Whoever has ended since is forgotten here: a link may live for days, and see any number of processes.
        self.processes
            .retain(|_, actor| actor.as_ref().is_some_and(|actor| actor.get_status() <= ActorStatus::Upgrading));
        self.processes.insert(id, actor.clone());
        actor
    }

    async fn tell(&mut self, id: Uuid, event: FromAgent) {
        let actor = match self.processes.get(&id) {
            Some(known) => known.clone(),
            None => self.introduce(id, None).await,
        };
        let Some(actor) = actor else { return };
        let message = ProcessMessage::FromAgent { link: self.link.number, event };
        if let Err(ractor::MessagingErr::SendErr(message)) = actor.send_message(message) {
            // It went passive or failed: its successor is told of the link, and then of this.
            if let Some(actor) = self.introduce(id, None).await
                && actor.send_message(message).is_err()
            {
                tracing::warn!(process = %id, "a process ends as soon as it is started");
            }
        }
    }

    /// Sends a frame where it belongs.
    async fn route(&mut self, frame: AgentFrame) {
        match frame {
            AgentFrame::Beat | AgentFrame::State { .. } => {}
            AgentFrame::Started { process_id } => self.tell(process_id, FromAgent::Started).await,
            AgentFrame::Output { process_id, chunks } => {
                let chunks = chunks.into_iter().map(Arc::new).collect();
                self.tell(process_id, FromAgent::Output(chunks)).await;
            }
            AgentFrame::Exited { process_id, exit } => self.tell(process_id, FromAgent::Exited(exit)).await,
            AgentFrame::InputTaken { process_id, writer, seq, tag, outcome } => {
                self.tell(process_id, FromAgent::InputTaken { writer, seq, tag, outcome }).await;
            }
            frame @ (AgentFrame::Ready { .. }
            | AgentFrame::Want { .. }
            | AgentFrame::Upload { .. }
            | AgentFrame::UploadVoid { .. }
            | AgentFrame::Report { .. }
            | AgentFrame::Flushed { .. }
            | AgentFrame::Environment { .. }
            | AgentFrame::PackFailed { .. }
            | AgentFrame::Notice { .. }
            | AgentFrame::Lacking { .. }) => {
                let link = self.link.number;
                let bulky = matches!(frame, AgentFrame::Upload { .. } | AgentFrame::Environment { .. });
                let permit = if bulky { Arc::clone(&self.bulk).acquire_owned().await.ok() } else { None };
                let message = match permit {
                    Some(permit) => WorkspaceMessage::Bulk { link, frame, permit },
                    None => WorkspaceMessage::FromAgent { link, frame },
                };
                if let Err(error) = self.workspace.cast(message).await {
                    tracing::warn!(%error, "a workspace can't take its agent's frame; the agent keeps what is not acknowledged");
                }
            }
        }
    }

    /// Tells every process that was told of the link that it is gone.
    pub(super) fn down(&mut self) {
        for actor in self.processes.drain().filter_map(|(_, actor)| actor) {
            // One that went passive has no link to lose.
            let _ = actor.send_message(ProcessMessage::LinkDown { link: self.link.number });
        }
    }
}

/// Runs until the stream ends, and says why.
///
/// Both directions are one task: the stream's waker is shared by its halves, so that two tasks would both be woken by
/// every frame, and a second worker of the runtime with them.
pub(super) async fn run(
    stream: AgentStream,
    router: &mut Router,
    at_once: mpsc::UnboundedReceiver<NodeFrame>,
    ordered: mpsc::Receiver<NodeFrame>,
) -> &'static str {
    let expect = stream.get_ref().expect();
    let (sink, source) = stream.split();
    tokio::select! {
        biased;
        why = read(source, router) => why,
        () = write(sink, expect, at_once, ordered) => "it could not be written to",
    }
}

async fn read(mut source: SplitStream<AgentStream>, router: &mut Router) -> &'static str {
    let mut heard = Instant::now();
    // Moved on only when it fires: a timer that every frame moves costs more than the frame.
    let mut silence = pin!(tokio::time::sleep_until(heard + SILENCE));
    loop {
        let message = tokio::select! {
            biased;
            message = source.next() => message,
            () = &mut silence => {
                if heard.elapsed() >= SILENCE {
                    return SILENT;
                }
                silence.as_mut().reset(heard + SILENCE);
                continue;
            }
        };
        match message {
            None => return "it was closed",
            Some(Err(error)) => {
                tracing::debug!(%error, "an agent's stream broke");
                return "it broke";
            }
            Some(Ok(Message::Binary(bytes))) => match codec::decode::<AgentFrame>(&bytes) {
                Ok(frame) => router.route(frame).await,
                Err(error) => {
                    tracing::warn!(%error, "an agent sent what is no frame");
                    return "it sent what is no frame";
                }
            },
            Some(Ok(_)) => {}
        }
        heard = Instant::now();
    }
}

async fn write(
    mut sink: SplitSink<AgentStream, Message>,
    expect: Expect,
    mut at_once: mpsc::UnboundedReceiver<NodeFrame>,
    mut ordered: mpsc::Receiver<NodeFrame>,
) {
    let mut beat = tokio::time::interval(BEAT);
    loop {
        let frame = tokio::select! {
            biased;
            frame = at_once.recv() => frame,
            _ = beat.tick() => Some(NodeFrame::Beat),
            frame = ordered.recv() => frame,
        };
        // Both queues end with the last handle: nobody has anything to say any more.
        let Some(frame) = frame else { return };
        let bytes = match codec::encode(&frame) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "a frame for an agent is too long; the link starts over");
                return;
            }
        };
        if sink.send(Message::Binary(bytes.into())).await.is_err() {
            return;
        }
        if matches!(frame, NodeFrame::Input { .. }) {
            expect.soon();
            read_again().await;
        }
    }
}

/// Has this task polled again, and so its reading side, which may wait awake for an echo.
///
/// Coming back by the runtime's queue has a side to it: another worker is woken, and stands in line for this core while
/// this one waits. So the kernel does not take this core for the agent's, which would wait behind us then, and an echo that
/// took 0.16 ms takes 0.13 instead of 0.22.
async fn read_again() {
    poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::process::{
        Process, ProcessRecord,
        tests::{Agent, init, node, record},
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn a_link_forgets_processes_that_have_gone() {
        let dir = tempfile::tempdir().expect("dir");
        let node = node(dir.path()).await;
        let record = record(false);
        let agent = Agent::new(1, record.sandbox_id);
        let mut router = Router::new(node.clone(), agent.link.clone(), node.workspace(record.workspace_id));
        let ids: Vec<Uuid> = std::iter::repeat_with(|| Shard::of(record.sandbox_id).fresh_id()).take(3).collect();
        for &id in &ids {
            let process = init(&node, &ProcessRecord { id, ..record.clone() }).await;
            router.tell(id, FromAgent::Started).await;
            let known = router.processes.iter().map(|(id, actor)| (*id, actor.is_some())).collect::<Vec<_>>();
            assert_eq!(known, [(id, true)], "those before it have gone");
            let actor = process.resolve().await.expect("it runs").get_cell();
            node.region.passivate::<Process>(id, actor.clone());
            actor.wait(None).await.expect("it ends");
        }
        // One that speaks again is found again.
        router.tell(ids[0], FromAgent::Started).await;
        assert!(router.processes.values().all(Option::is_some));
    }
}
