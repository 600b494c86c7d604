//! The Host entity: what the host holds, and which sandboxes want to hear of it.

use std::collections::{BTreeMap, BTreeSet};

use playhouse_protocol::{
    host::{EndCause, FromHost},
    ids,
};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use uuid::Uuid;

use crate::{
    actors::{Node, sandbox::SandboxMessage},
    cluster::{CallError, Entity, EntityRef, StartError},
};

/// The Host entity. Its id is the hash of its name.
#[derive(Debug)]
pub struct Host;

/// A reference to a host.
pub type HostRef = EntityRef<Host>;

/// Messages.
#[derive(Debug)]
pub enum HostMessage {
    /// What the host says.
    Frame(FromHost),
    /// The link to it is gone.
    Down,
    /// A living sandbox wants to hear of the host, now and whenever it comes back.
    Register {
        /// Which one.
        sandbox: Uuid,
        /// The host has just been told to make it.
        fresh: bool,
    },
    /// A sandbox is over.
    Forget(Uuid),
    /// Answered once the host is here.
    Here {
        /// By this.
        reply: RpcReplyPort<()>,
    },
    /// Which sandboxes are not over, as far as is known here.
    Living {
        /// Their ids.
        reply: RpcReplyPort<Vec<Uuid>>,
    },
}

impl ractor::Message for HostMessage {}

impl Node {
    /// The host beside this node.
    #[must_use]
    pub fn host_entity(&self) -> HostRef {
        EntityRef::<Host>::new(ids::named_id("host", &self.name), self.clone())
    }
}

impl HostRef {
    /// Registers a living sandbox: it is told `HostUp` at once if the host is here, and whenever it comes back.
    /// One that the host has just been told to make is `fresh`.
    pub async fn register(&self, sandbox: Uuid, fresh: bool) {
        self.tell(HostMessage::Register { sandbox, fresh }).await;
    }

    /// Forgets a sandbox that is over.
    pub async fn forget(&self, sandbox: Uuid) {
        self.tell(HostMessage::Forget(sandbox)).await;
    }

    /// Waits until the host is here and has said what it holds.
    ///
    /// # Errors
    /// When the host's actor can't be asked, or the host does not come.
    pub async fn here(&self) -> Result<(), CallError> {
        self.call(|reply| HostMessage::Here { reply }).await
    }

    /// The sandboxes that are not over, as far as is known here: a node that stops ends them.
    ///
    /// # Errors
    /// When the host's actor can't be asked.
    pub async fn living(&self) -> Result<Vec<Uuid>, CallError> {
        self.call(|reply| HostMessage::Living { reply }).await
    }

    async fn tell(&self, message: HostMessage) {
        if let Err(error) = self.cast(message).await {
            tracing::warn!(%error, "the host's actor can't be reached");
        }
    }
}

impl Entity for Host {
    type Message = HostMessage;
    type Node = Node;
    const KIND: &'static str = "host";

    async fn start(_: Uuid, node: Node, region: ActorCell) -> Result<ActorRef<HostMessage>, StartError> {
        let (actor, _) = Actor::spawn_linked(None, HostActor, node, region)
            .await
            .map_err(|error| StartError::Failed(error.to_string()))?;
        Ok(actor)
    }
}

struct State {
    node: Node,
    /// What the host held when it last came, and what happened since; `None` while it is away.
    held: Option<BTreeMap<Uuid, Option<EndCause>>>,
    registered: BTreeSet<Uuid>,
    /// Those who wait for the host.
    waiting: Vec<RpcReplyPort<()>>,
}

impl State {
    fn tell(&self, sandbox: Uuid, message: SandboxMessage) {
        let sandbox = self.node.sandbox(sandbox);
        tokio::spawn(async move {
            if let Err(error) = sandbox.cast(message).await {
                tracing::warn!(%error, "a sandbox was not told of its host");
            }
        });
    }

    /// Tells those who wait for the host that it is here.
    fn answer(&mut self) {
        for reply in self.waiting.drain(..) {
            // Whoever no longer waits needs no answer.
            let _ = reply.send(());
        }
    }
}

#[derive(Debug)]
struct HostActor;

impl Actor for HostActor {
    type Msg = HostMessage;
    type State = State;
    type Arguments = Node;

    async fn pre_start(&self, _: ActorRef<HostMessage>, node: Node) -> Result<State, ActorProcessingErr> {
        Ok(State { node, held: None, registered: BTreeSet::new(), waiting: Vec::new() })
    }

    async fn handle(
        &self,
        _: ActorRef<HostMessage>,
        message: HostMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            HostMessage::Down => state.held = None,
            HostMessage::Register { sandbox, fresh } => {
                state.registered.insert(sandbox);
                if let Some(held) = &mut state.held {
                    if fresh {
                        held.insert(sandbox, None);
                    } else {
                        let held = held.get(&sandbox).cloned();
                        state.tell(sandbox, SandboxMessage::HostUp { held });
                    }
                }
            }
            HostMessage::Forget(sandbox) => {
                state.registered.remove(&sandbox);
                if let Some(held) = &mut state.held {
                    held.remove(&sandbox);
                }
            }
            HostMessage::Here { reply } => {
                state.waiting.push(reply);
                if state.held.is_some() {
                    state.answer();
                }
            }
            HostMessage::Living { reply } => {
                // Whoever no longer waits needs no answer.
                let _ = reply.send(state.registered.iter().copied().collect());
            }
            HostMessage::Frame(FromHost::Welcome { name, isolation, held }) => {
                match &isolation {
                    Ok(isolation) => tracing::info!(name, isolation, sandboxes = held.len(), "the host is here"),
                    Err(missing) => {
                        tracing::warn!(name, missing = missing.join("; "), "the host is here but can't isolate")
                    }
                }
                let held: BTreeMap<Uuid, Option<EndCause>> =
                    held.into_iter().map(|held| (held.sandbox_id, held.ended)).collect();
                let ids: BTreeSet<Uuid> = held.keys().copied().chain(state.registered.iter().copied()).collect();
                for id in ids {
                    state.registered.insert(id);
                    state.tell(id, SandboxMessage::HostUp { held: held.get(&id).cloned() });
                }
                state.held = Some(held);
                state.answer();
            }
            HostMessage::Frame(FromHost::Done { command_id, result }) => {
                if let Some(sandbox) = state.node.host.settle(command_id) {
                    state.tell(sandbox, SandboxMessage::HostDone { command_id, result });
                }
            }
            HostMessage::Frame(FromHost::Ended { sandbox_id, cause }) => {
                if let Some(held) = &mut state.held {
                    held.insert(sandbox_id, Some(cause.clone()));
                }
                state.tell(sandbox_id, SandboxMessage::HostEnded(cause));
            }
            HostMessage::Frame(FromHost::Usage { sandbox_id, usage }) => {
                state.tell(sandbox_id, SandboxMessage::HostUsage(usage));
            }
            HostMessage::Frame(FromHost::Looked { sandbox_id, state: look }) => {
                state.tell(sandbox_id, SandboxMessage::HostLooked(look));
            }
            HostMessage::Frame(FromHost::Beat) => {}
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<HostMessage>,
        _: SupervisionEvent,
        _: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}
