//! The parts of a node that its actors share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use playhouse_protocol::host::EgressRule;
use uuid::Uuid;

use super::{
    process::{Process, ProcessRef},
    sandbox::{Sandbox, SandboxRef},
    tenant::{Tenant, TenantRef},
    views::InstanceType,
    workspace::{Workspace, WorkspaceRef},
};
use crate::{
    cluster::{EntityRef, NodeContext, Region},
    store::Store,
};

/// What the operator has set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest file, in bytes.
    pub max_upload: u64,
    /// Where share links and login links begin, without a slash at the end.
    pub public_url: String,
    /// What sandboxes may reach.
    pub egress: Vec<EgressRule>,
    /// The instance types, the default first.
    pub instance_types: Vec<InstanceType>,
    /// A sandbox in which nothing ran for so long is ended.
    pub idle_after: Duration,
    /// What isolates the sandboxes of the host that belongs here, until that says it itself.
    pub isolation: &'static str,
    /// Where the host keeps its things; the host link looks for its sockets by it.
    pub data_dir: PathBuf,
}

/// A node's parts.
#[derive(Debug)]
pub struct Parts {
    /// Its name.
    pub name: String,
    /// Its incarnation.
    pub incarnation: u64,
    /// The epoch of its shards.
    pub epoch: u64,
    /// The stores.
    pub store: Store,
    /// What the operator has set.
    pub settings: Settings,
    /// Its Region.
    pub region: Region,
    /// Its link to the host.
    pub host: super::host::HostLink,
    /// Its clients' sockets.
    pub sessions: super::session::Sessions,
}

/// A node, as its actors and handlers hold it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node(Arc<Parts>);

impl std::ops::Deref for Node {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl NodeContext for Node {
    fn region(&self) -> &Region {
        &self.0.region
    }
}

impl Node {
    /// A node of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The workspace with this id.
    #[must_use]
    pub fn workspace(&self, id: Uuid) -> WorkspaceRef {
        EntityRef::<Workspace>::new(id, self.clone())
    }

    /// The sandbox with this id.
    #[must_use]
    pub fn sandbox(&self, id: Uuid) -> SandboxRef {
        EntityRef::<Sandbox>::new(id, self.clone())
    }

    /// The process with this id.
    #[must_use]
    pub fn process(&self, id: Uuid) -> ProcessRef {
        EntityRef::<Process>::new(id, self.clone())
    }

    /// The organisation with this id.
    #[must_use]
    pub fn tenant(&self, id: Uuid) -> TenantRef {
        EntityRef::<Tenant>::new(id, self.clone())
    }
}
