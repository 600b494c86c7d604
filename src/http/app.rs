//! What handlers share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use metrics_exporter_prometheus::PrometheusHandle;

use super::{limits::Limits, tokens::Keys};
use crate::actors::Node;

/// The parts.
#[derive(Debug)]
pub struct Parts {
    /// The node whose entities are asked.
    pub node: Node,
    /// The key that signs tokens.
    pub keys: Arc<Keys>,
    /// What the operator allows.
    pub limits: Limits,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// The node owns its shards and does not stop.
    pub ready: AtomicBool,
}

/// What handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Whether the node owns its shards and does not stop.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// The node owns its shards, or begins to stop.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}
