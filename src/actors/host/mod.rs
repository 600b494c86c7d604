//! The Host: one sandbox machine as this node knows it, and the link to it.

use playhouse_protocol::host::ToHost;
use tokio::sync::mpsc;

/// How this node's actors send to the host beside it. What is sent while the host is away is dropped: when it comes
/// back, every sandbox is told by `HostUp` and sends what it still needs.
#[derive(Debug, Clone)]
pub struct HostLink {
    frames: mpsc::UnboundedSender<ToHost>,
}

impl HostLink {
    /// A handle on this queue.
    #[must_use]
    pub const fn new(frames: mpsc::UnboundedSender<ToHost>) -> Self {
        Self { frames }
    }

    /// Sends a command.
    pub fn send(&self, frame: ToHost) {
        // As said above: a host that is away is told again when it is back.
        let _ = self.frames.send(frame);
    }
}
