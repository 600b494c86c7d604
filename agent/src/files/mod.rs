//! The sandbox's side of the tree.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use playhouse_protocol::agent::{AgentFrame, NodeFrame};
use tokio::sync::Mutex;

/// Where frames for the node go, one for each stream.
pub type Outbox = tokio::sync::mpsc::Sender<AgentFrame>;

/// A handle to the files.
#[derive(Clone, Debug)]
pub struct Files {
    ready: Arc<AtomicBool>,
    outbox: Arc<Mutex<Option<Outbox>>>,
}

impl Files {
    /// Starts.
    pub fn spawn(_workspace: PathBuf, _home: PathBuf) -> Self {
        Self { ready: Arc::default(), outbox: Arc::default() }
    }

    /// The last version applied.
    pub fn tree_version(&self) -> u64 {
        0
    }

    /// Applied once.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// A stream began.
    pub async fn link_up(&self, outbox: Outbox) {
        *self.outbox.lock().await = Some(outbox);
    }

    /// It ended.
    pub async fn link_down(&self) {
        *self.outbox.lock().await = None;
    }

    /// Ordered frames.
    pub async fn ordered(&self, frame: NodeFrame) {
        if let NodeFrame::Manifest { last: true, .. } = frame
            && !self.ready.swap(true, Ordering::AcqRel)
            && let Some(outbox) = &*self.outbox.lock().await
        {
            let _ = outbox.send(AgentFrame::Ready { notes: Vec::new() }).await;
        }
    }

    /// All others.
    pub async fn now(&self, frame: NodeFrame) {
        if let (NodeFrame::Flush { tag }, Some(outbox)) = (frame, &*self.outbox.lock().await) {
            let _ = outbox.send(AgentFrame::Flushed { tag }).await;
        }
    }
}
