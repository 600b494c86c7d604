//! The AgentLink: one agent's proven stream, and the handle by which owners send on it.

mod open;
mod pump;

pub use open::{Opening, open};
pub use pump::SILENCE;

use playhouse_protocol::agent::NodeFrame;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many ordered frames wait in a link before their sender waits.
pub const ORDERED_FRAMES: usize = 8;

/// How owners send to an agent. A link that is gone takes nothing and says nothing: its end is told by `LinkDown`.
#[derive(Debug, Clone)]
pub struct LinkRef {
    /// Unique on this node; a newer link has a higher number.
    pub number: u64,
    /// Whose agent it is.
    pub sandbox_id: Uuid,
    /// Frames that are done at once. They are small, and their number is bounded by what they answer.
    at_once: mpsc::UnboundedSender<NodeFrame>,
    /// Frames that are done one after the other, and may be bulky.
    ordered: mpsc::Sender<NodeFrame>,
    closed: CancellationToken,
}

impl LinkRef {
    /// A handle on these queues.
    #[must_use]
    pub fn new(
        number: u64,
        sandbox_id: Uuid,
        at_once: mpsc::UnboundedSender<NodeFrame>,
        ordered: mpsc::Sender<NodeFrame>,
    ) -> Self {
        Self { number, sandbox_id, at_once, ordered, closed: CancellationToken::new() }
    }

    /// Ends the link: an agent that is about to stand still can't answer on it, and dials again when it goes on.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Sends a frame that is done at once: input, signals, credits, acknowledgements, wanted content.
    pub fn now(&self, frame: NodeFrame) {
        // A link that is gone is told of by `LinkDown`, and a new one begins from state.
        let _ = self.at_once.send(frame);
    }

    /// Sends an ordered frame, waiting for room. False when the link is gone.
    pub async fn ordered(&self, frame: NodeFrame) -> bool {
        self.ordered.send(frame).await.is_ok()
    }
}
