//! `EntityRef`: the only way to talk to an entity, wherever it lives.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ractor::{ActorCell, ActorRef, ActorStatus, RpcReplyPort, concurrency::oneshot};
use uuid::Uuid;

use super::region::Region;

/// How long a call waits for its answer before the outcome counts as unknown.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What an entity is started with: the node's parts. It knows the node's Region.
pub trait NodeContext: Clone + Send + Sync + 'static {
    /// The node's Region.
    fn region(&self) -> &Region;
}

/// A sharded, location-transparent actor. It starts on its first message and goes passive when idle.
pub trait Entity: Send + Sync + Sized + 'static {
    /// What it takes.
    type Message: ractor::Message;
    /// What it is started with.
    type Node: NodeContext;
    /// Its kind, for logs and metrics.
    const KIND: &'static str;

    /// Activates it, supervised by the Region: fences its partition and loads its rows.
    fn start(
        id: Uuid,
        node: Self::Node,
        region: ActorCell,
    ) -> impl Future<Output = Result<ActorRef<Self::Message>, StartError>> + Send;
}

/// Why an entity could not be activated.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// A newer owner has its partition.
    #[error("the partition belongs to a newer owner")]
    Fenced,
    /// The store, or the actor's start, failed.
    #[error("{0}")]
    Failed(String),
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The entity could not be activated: the call certainly had no effect.
    #[error("not activated: {0}")]
    NotStarted(#[from] StartError),
    /// No answer came: the call may have had its effect.
    #[error("no answer came; what was asked may have happened")]
    Unknown,
}

/// A reference to the entity `E` with this id. Cheap to clone; remembers where it was last found.
pub struct EntityRef<E: Entity> {
    id: Uuid,
    node: E::Node,
    found: Arc<Mutex<Option<ActorRef<E::Message>>>>,
}

impl<E: Entity> Clone for EntityRef<E> {
    fn clone(&self) -> Self {
        Self { id: self.id, node: self.node.clone(), found: Arc::clone(&self.found) }
    }
}

impl<E: Entity> fmt::Debug for EntityRef<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", E::KIND, self.id)
    }
}

impl<E: Entity> EntityRef<E> {
    /// A reference; the entity is not started by it.
    pub fn new(id: Uuid, node: E::Node) -> Self {
        Self { id, node, found: Arc::new(Mutex::new(None)) }
    }

    /// The entity's id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// The node's parts.
    #[must_use]
    pub const fn node(&self) -> &E::Node {
        &self.node
    }

    fn remembered(&self) -> Option<ActorRef<E::Message>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().filter(|actor| actor.get_status() <= ActorStatus::Upgrading).cloned()
    }

    /// The running actor, started if need be.
    ///
    /// # Errors
    /// When it can't be activated.
    pub async fn resolve(&self) -> Result<ActorRef<E::Message>, StartError> {
        if let Some(actor) = self.remembered() {
            return Ok(actor);
        }
        let actor = self.node.region().find::<E>(self.id, &self.node).await?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(actor.clone());
        Ok(actor)
    }

    /// Sends without an answer. It is enqueued, no more; an entity that went passive meanwhile is started again.
    ///
    /// # Errors
    /// When it can't be activated.
    pub async fn cast(&self, message: E::Message) -> Result<(), StartError> {
        let mut message = message;
        for _ in 0..3 {
            let actor = self.resolve().await?;
            match actor.send_message(message) {
                Ok(()) => return Ok(()),
                Err(ractor::MessagingErr::SendErr(back)) => {
                    message = back;
                    *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                Err(error) => return Err(StartError::Failed(error.to_string())),
            }
        }
        Err(StartError::Failed(format!("{self:?} ends as soon as it is started")))
    }

    /// Sends, and waits for the answer.
    ///
    /// # Errors
    /// When it can't be activated, or no answer comes within [`CALL_TIMEOUT`].
    pub async fn call<T: Send + 'static>(
        &self,
        make: impl FnOnce(RpcReplyPort<T>) -> E::Message + Send,
    ) -> Result<T, CallError> {
        let (answer, answered) = oneshot();
        let asked = async {
            self.cast(make(RpcReplyPort::from(answer))).await?;
            answered.await.map_err(|_| CallError::Unknown)
        };
        // The look-up counts too: a start may hang as well as an answer.
        tokio::time::timeout(CALL_TIMEOUT, asked).await.unwrap_or(Err(CallError::Unknown))
    }
}
