//! The Tenant: an organisation, its users, and the index of its workspaces.

mod handle;
pub mod message;
pub mod state;
mod actor;

pub use message::{TenantMessage, UserRow, WorkspaceRow};

/// The Tenant entity; its id is `named_id("org", name)`.
#[derive(Debug)]
pub struct Tenant;

/// A reference to a tenant.
pub type TenantRef = crate::cluster::EntityRef<Tenant>;

/// The id of the organisation with this name.
#[must_use]
pub fn org_id(name: &str) -> uuid::Uuid {
    playhouse_protocol::ids::named_id("org", name)
}
