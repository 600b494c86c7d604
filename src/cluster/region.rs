//! The Region: one actor per node that starts entities, finds them, and lets idle ones go.
//!
//! It is every entity's supervisor: one that ends, for whatever reason, is forgotten and started again by its next
//! message. With one node every shard is owned here; the look-up of a shard's owner belongs in [`Region::find`].

use std::{collections::HashMap, future::Future, pin::Pin};

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, concurrency::oneshot,
};
use uuid::Uuid;

use super::entity::{Entity, StartError};

type Key = (&'static str, Uuid);
type Start = Box<dyn FnOnce(ActorCell) -> Pin<Box<dyn Future<Output = Result<ActorCell, StartError>> + Send>> + Send>;

/// What the Region takes.
pub enum RegionMessage {
    /// Find an entity, or start it.
    Find {
        /// Which one.
        key: Key,
        /// How to start it.
        start: Start,
        /// Its actor.
        reply: RpcReplyPort<Result<ActorCell, StartError>>,
    },
    /// A start has ended.
    Started {
        /// Whose.
        key: Key,
        /// How.
        result: Result<ActorCell, StartError>,
    },
    /// An idle entity asks to go passive: it handles what is queued, and ends.
    Passivate {
        /// Which one.
        key: Key,
        /// Its actor.
        actor: ActorCell,
    },
    /// Let every entity handle what is queued, and end; answered when they have.
    Drain {
        /// Done.
        reply: RpcReplyPort<()>,
    },
}

impl ractor::Message for RegionMessage {}

impl std::fmt::Debug for RegionMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Find { key, .. } => write!(f, "Find({key:?})"),
            Self::Started { key, .. } => write!(f, "Started({key:?})"),
            Self::Passivate { key, .. } => write!(f, "Passivate({key:?})"),
            Self::Drain { .. } => write!(f, "Drain"),
        }
    }
}

/// A handle on the node's Region.
#[derive(Debug, Clone)]
pub struct Region(ActorRef<RegionMessage>);

impl Region {
    /// Starts the Region.
    ///
    /// # Errors
    /// When the actor can't be spawned.
    pub async fn start() -> Result<Self, ractor::SpawnErr> {
        let (region, _) = Actor::spawn(None, RegionActor, ()).await?;
        Ok(Self(region))
    }

    /// The actor of an entity, started if need be.
    ///
    /// # Errors
    /// When it can't be activated.
    pub async fn find<E: Entity>(&self, id: Uuid, node: &E::Node) -> Result<ActorRef<E::Message>, StartError> {
        let node = node.clone();
        let start: Start = Box::new(move |region| {
            Box::pin(async move { E::start(id, node, region).await.map(|actor| actor.get_cell()) })
        });
        let (reply, found) = oneshot();
        let gone = || StartError::Failed("the node is stopping".to_owned());
        self.0
            .send_message(RegionMessage::Find { key: (E::KIND, id), start, reply: reply.into() })
            .map_err(|_| gone())?;
        found.await.map_err(|_| gone())?.map(ActorRef::from)
    }

    /// Lets an idle entity go: its queue is handled, then it ends; the next message starts it anew.
    pub fn passivate<E: Entity>(&self, id: Uuid, actor: ActorCell) {
        // A Region that is gone has let go of everything already.
        let _ = self.0.send_message(RegionMessage::Passivate { key: (E::KIND, id), actor });
    }

    /// Lets every entity handle what is queued, and ends them.
    pub async fn drain(&self) {
        let (reply, done) = oneshot();
        if self.0.send_message(RegionMessage::Drain { reply: reply.into() }).is_ok() {
            // An error says that the Region is gone, and the entities with it.
            let _ = done.await;
        }
    }
}

enum Slot {
    Starting(Vec<RpcReplyPort<Result<ActorCell, StartError>>>),
    Running(ActorCell),
}

#[derive(Debug)]
struct RegionActor;

#[derive(Default)]
struct State {
    slots: HashMap<Key, Slot>,
    keys: HashMap<ActorId, Key>,
}

impl State {
    fn forget(&mut self, actor: ActorId) {
        if let Some(key) = self.keys.remove(&actor)
            && matches!(self.slots.get(&key), Some(Slot::Running(cell)) if cell.get_id() == actor)
        {
            self.slots.remove(&key);
        }
    }
}

impl Actor for RegionActor {
    type Msg = RegionMessage;
    type State = State;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<State, ActorProcessingErr> {
        Ok(State::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: RegionMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RegionMessage::Find { key, start, reply } => match state.slots.get_mut(&key) {
                Some(Slot::Starting(waiting)) => waiting.push(reply),
                Some(Slot::Running(cell)) if cell.get_status() <= ractor::ActorStatus::Upgrading => {
                    // A caller that no longer waits needs no answer.
                    let _ = reply.send(Ok(cell.clone()));
                }
                Some(Slot::Running(_)) | None => {
                    state.slots.insert(key, Slot::Starting(vec![reply]));
                    let region = myself.get_cell();
                    tokio::spawn(async move {
                        // A task of its own: one that panics must not leave its callers waiting.
                        let result = tokio::spawn(async move { start(region).await }).await;
                        let result = result.unwrap_or_else(|panicked| Err(StartError::Failed(panicked.to_string())));
                        // A Region that is gone has nobody waiting.
                        let _ = myself.send_message(RegionMessage::Started { key, result });
                    });
                }
            },
            RegionMessage::Started { key, result } => {
                let waiting = match state.slots.remove(&key) {
                    Some(Slot::Starting(waiting)) => waiting,
                    Some(running @ Slot::Running(_)) => {
                        state.slots.insert(key, running);
                        Vec::new()
                    }
                    None => Vec::new(),
                };
                if let Ok(cell) = &result {
                    state.keys.insert(cell.get_id(), key);
                    state.slots.insert(key, Slot::Running(cell.clone()));
                }
                for reply in waiting {
                    // As above.
                    let _ = reply.send(result.clone());
                }
            }
            RegionMessage::Passivate { key, actor } => {
                if matches!(state.slots.get(&key), Some(Slot::Running(cell)) if cell.get_id() == actor.get_id()) {
                    state.slots.remove(&key);
                }
                // One that has ended already is as passive as can be.
                let _ = actor.drain();
            }
            RegionMessage::Drain { reply } => {
                let cells: Vec<ActorCell> = state
                    .slots
                    .drain()
                    .filter_map(|(_, slot)| if let Slot::Running(cell) = slot { Some(cell) } else { None })
                    .collect();
                tokio::spawn(async move {
                    for cell in &cells {
                        // As above.
                        let _ = cell.drain();
                    }
                    for cell in cells {
                        // One that ended meanwhile is what is waited for.
                        let _ = cell.wait(Some(std::time::Duration::from_secs(5))).await;
                    }
                    // As above.
                    let _ = reply.send(());
                });
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => state.forget(cell.get_id()),
            SupervisionEvent::ActorFailed(cell, error) => {
                tracing::error!(key = ?state.keys.get(&cell.get_id()), %error, "an entity failed; its next message starts it again");
                state.forget(cell.get_id());
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::*;
    use crate::cluster::{CallError, EntityRef, NodeContext};

    #[derive(Debug, Clone)]
    struct Context {
        region: Region,
        starts: Arc<AtomicUsize>,
    }

    impl NodeContext for Context {
        fn region(&self) -> &Region {
            &self.region
        }
    }

    struct Echo;
    struct EchoActor;
    struct Hello(RpcReplyPort<()>);

    impl ractor::Message for Hello {}

    impl Actor for EchoActor {
        type Msg = Hello;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(
            &self,
            _: ActorRef<Self::Msg>,
            Hello(reply): Hello,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            Ok(reply.send(())?)
        }
    }

    impl Entity for Echo {
        type Message = Hello;
        type Node = Context;
        const KIND: &'static str = "echo";

        async fn start(_: Uuid, node: Context, region: ActorCell) -> Result<ActorRef<Self::Message>, StartError> {
            assert!(node.starts.fetch_add(1, Ordering::Relaxed) > 0, "the first start fails");
            let started = Actor::spawn_linked(None, EchoActor, (), region).await;
            Ok(started.map_err(|error| StartError::Failed(error.to_string()))?.0)
        }
    }

    #[tokio::test]
    async fn a_start_that_panics_is_a_failed_one_and_the_next_may_do() {
        let context = Context { region: Region::start().await.expect("region"), starts: Arc::default() };
        let echo = EntityRef::<Echo>::new(Uuid::nil(), context);
        let asked = tokio::time::timeout(Duration::from_secs(10), echo.call(Hello)).await;
        assert!(matches!(asked, Ok(Err(CallError::NotStarted(StartError::Failed(_))))), "{asked:?}");
        echo.call(Hello).await.expect("an answer");
    }
}
