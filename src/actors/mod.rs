//! The entities, and the actors of one node: who decides what, and what they say to each other.
//!
//! Every entity is reached through its [`EntityRef`](crate::cluster::EntityRef) and answers *commands*: plain data that
//! says who asks ([`Caller`]) and what. A command is refused with a [`Refused`], whose [`Code`] is the contract's word.

pub mod refusal;
pub mod views;
pub mod paging;
pub mod idempotency;
pub mod quota;
pub mod node;
pub mod tenant;
pub mod workspace;
pub mod sandbox;
pub mod process;
pub mod session;
pub mod agent_link;
pub mod host;

pub use node::Node;
pub use refusal::{Code, Refused};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A signed-in user, as its token names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The user.
    pub user_id: Uuid,
    /// Its name, unique in its organisation.
    pub name: String,
    /// Its organisation.
    pub org_id: Uuid,
    /// Its organisation's name.
    pub org: String,
    /// `free` or `paid`.
    pub tier: String,
}

/// What a user may do with a workspace; a greater one includes the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads files, watches output.
    View,
    /// Writes, runs, types.
    Edit,
    /// Manages members, links and the workspace itself.
    Owner,
}

impl Role {
    /// Its word in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Edit => "edit",
            Self::Owner => "owner",
        }
    }
}

/// A POST that carries an `Idempotency-Key`: the entity keeps its answer in the commit of its effect, for 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The key, at most 128 characters, unique per user.
    pub key: String,
    /// Hash of method, path, query and body: another one under the same key is `idempotency_key_reused`.
    pub fingerprint: String,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest {
    /// At most this many items, 1..=1000.
    pub limit: usize,
    /// Goes on after what this cursor of an earlier answer names.
    pub cursor: Option<String>,
}

/// A page's items, and the cursor of the next page if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paged<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// For the next request.
    pub next_cursor: Option<String>,
}

impl From<crate::store::metadata::ActivateError> for crate::cluster::StartError {
    fn from(error: crate::store::metadata::ActivateError) -> Self {
        match error {
            crate::store::metadata::ActivateError::Fenced => Self::Fenced,
            error @ crate::store::metadata::ActivateError::Store(_) => Self::Failed(error.to_string()),
        }
    }
}
