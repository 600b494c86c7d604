//! The rows of a workspace's partition. All of them are JSON.
//!
//! | key | row |
//! |---|---|
//! | `meta` | [`Meta`] |
//! | `file/<id>` | [`FileRow`](super::tree::FileRow) |
//! | `member/<user>`, `link/<id>`, `grant/<link>/<user>` | see [`super::access`] |
//! | `sandbox/<id>` | [`SandboxRow`]; `batch/<sandbox>`: [`BatchRow`] |
//! | `process/<id>` | [`ProcessRow`] |
//! | `environment` | [`EnvironmentRow`] |
//! | `idem/<user>/<hash>` | [`Kept`](crate::actors::idempotency::Kept) |
//! | `intent/<org>` | a [`WorkspaceRow`](crate::actors::tenant::WorkspaceRow) that the organisation's index may lack |
//! | `gone` | [`Gone`], all that is left of a deleted workspace |

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    RunRequest, WorkspaceAnswer,
    access::{Access, Grant, Link, Member},
    state::State,
    tree::{FileRow, Tree, TreeBroken},
};
use crate::{
    actors::{
        Caller,
        idempotency::{self, Answers, Kept},
        tenant::WorkspaceRow,
        views::{SandboxView, SharingMode},
    },
    store::blobs::BlobRef,
};

/// What a workspace is beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Who made it.
    pub owner: Caller,
    /// Its name.
    pub name: String,
    /// Its template's name.
    pub template: String,
    /// Who of the owner's organisation it is open to.
    pub sharing_mode: SharingMode,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its name, sharing or files last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// Rises with every commit that changes the tree.
    pub tree_version: u64,
    /// It is being deleted: nobody sees it any more, and what is left of it goes.
    pub deleting: bool,
    /// Under which idempotency key it was made.
    pub made_under: Option<MadeUnder>,
}

/// The key that a workspace was made under: its id is derived from it, so it outlives the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeUnder {
    /// Of the request.
    pub fingerprint: String,
    /// The answer to give again.
    pub answer: super::WorkspaceAnswer,
}

/// What is left of a deleted workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Who made it.
    pub owner_id: Uuid,
    /// Under which idempotency key.
    pub made_under: Option<MadeUnder>,
}

/// One life of its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxRow {
    /// How it was last seen; `None` until it has answered.
    pub view: Option<SandboxView>,
    /// Since when it is over.
    #[serde(with = "time::serde::rfc3339::option")]
    pub over_at: Option<OffsetDateTime>,
    /// It is over, and all its processes have been told.
    pub settled: bool,
}

/// The last batch of a sandbox's reports, to answer it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRow {
    /// Its number.
    pub batch: u64,
    /// The tree's version after it.
    pub version: u64,
    /// What was not taken of it, and why.
    pub refused: Vec<(String, String)>,
}

/// A process in the listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// The sandbox it runs in.
    pub sandbox_id: Uuid,
    /// What to start; dropped when it has ended.
    pub run: Option<RunRequest>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
}

/// The environment that the next sandbox begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentRow {
    /// The packed folders.
    pub blob: BlobRef,
    /// Whose they were.
    pub sandbox_id: Uuid,
    /// When they were packed.
    #[serde(with = "time::serde::rfc3339")]
    pub stored_at: OffsetDateTime,
}

/// `meta`.
pub const META: &str = "meta";
/// `environment`.
pub const ENVIRONMENT: &str = "environment";
/// `gone`.
pub const GONE: &str = "gone";

/// `file/<id>`.
#[must_use]
pub fn file(id: Uuid) -> String {
    format!("file/{id}")
}

/// `member/<user>`.
#[must_use]
pub fn member(user: Uuid) -> String {
    format!("member/{user}")
}

/// `link/<id>`.
#[must_use]
pub fn link(id: Uuid) -> String {
    format!("link/{id}")
}

/// `grant/<link>/<user>`.
#[must_use]
pub fn grant(link: Uuid, user: Uuid) -> String {
    format!("grant/{link}/{user}")
}

/// `sandbox/<id>`.
#[must_use]
pub fn sandbox(id: Uuid) -> String {
    format!("sandbox/{id}")
}

/// `batch/<sandbox>`.
#[must_use]
pub fn batch(sandbox: Uuid) -> String {
    format!("batch/{sandbox}")
}

/// `process/<id>`.
#[must_use]
pub fn process(id: Uuid) -> String {
    format!("process/{id}")
}

/// `intent/<org>`.
#[must_use]
pub fn intent(org: Uuid) -> String {
    format!("intent/{org}")
}

/// What a partition's rows show.
#[derive(Debug)]
pub enum Loaded {
    /// There is no such workspace.
    Absent,
    /// There was one.
    Gone(Box<Gone>),
    /// Here it is.
    Here(Box<State>),
}

/// Rows that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A row is no JSON of its kind.
    #[error("row {key}: {error}")]
    Row {
        /// Which one.
        key: String,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A key names nothing that is known here.
    #[error("a row has the unknown key {0}")]
    Key(String),
    /// The rows of files make no tree.
    #[error(transparent)]
    Tree(#[from] TreeBroken),
}

fn read<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(bytes).map_err(|error| LoadError::Row { key: key.to_owned(), error })
}

fn id(key: &str, text: &str) -> Result<Uuid, LoadError> {
    Uuid::from_str(text).map_err(|_| LoadError::Key(key.to_owned()))
}

/// Reads a partition's rows.
///
/// # Errors
/// Rows that can't be read.
pub fn load(workspace: Uuid, rows: &BTreeMap<String, Vec<u8>>) -> Result<Loaded, LoadError> {
    let Some(meta) = rows.get(META) else {
        return rows.get(GONE).map_or(Ok(Loaded::Absent), |bytes| Ok(Loaded::Gone(Box::new(read(GONE, bytes)?))));
    };
    let meta: Meta = read(META, meta)?;
    let mut access = Access::of(meta.owner.clone());
    access.mode = meta.sharing_mode;
    let mut files: HashMap<Uuid, FileRow> = HashMap::new();
    let mut answers = BTreeMap::new();
    let mut sandboxes = BTreeMap::new();
    let mut batches = BTreeMap::new();
    let mut processes = BTreeMap::new();
    let mut environment = None;
    let mut intents = BTreeMap::new();
    for (key, bytes) in rows {
        match key.split_once('/') {
            None if key == META => {}
            None if key == ENVIRONMENT => environment = Some(read::<EnvironmentRow>(key, bytes)?),
            Some(("file", file)) => drop(files.insert(id(key, file)?, read(key, bytes)?)),
            Some(("member", user)) => drop(access.members.insert(id(key, user)?, read::<Member>(key, bytes)?)),
            Some(("link", link)) => drop(access.links.insert(id(key, link)?, read::<Link>(key, bytes)?)),
            Some(("grant", _)) => {
                let grant: Grant = read(key, bytes)?;
                access.grants.insert((grant.link_id, grant.user_id), grant);
            }
            Some(("sandbox", sandbox)) => drop(sandboxes.insert(id(key, sandbox)?, read::<SandboxRow>(key, bytes)?)),
            Some(("batch", sandbox)) => drop(batches.insert(id(key, sandbox)?, read::<BatchRow>(key, bytes)?)),
            Some(("process", process)) => drop(processes.insert(id(key, process)?, read::<ProcessRow>(key, bytes)?)),
            Some(("idem", _)) => {
                let kept: Kept<WorkspaceAnswer> = read(key, bytes)?;
                let key = idempotency::Key::of_row(key).ok_or_else(|| LoadError::Key(key.clone()))?;
                answers.insert(key, kept);
            }
            Some(("intent", org)) => drop(intents.insert(id(key, org)?, read::<WorkspaceRow>(key, bytes)?)),
            None | Some(_) => return Err(LoadError::Key(key.clone())),
        }
    }
    Ok(Loaded::Here(Box::new(State {
        id: workspace,
        meta,
        access,
        tree: Tree::load(files)?,
        answers: Answers::load(answers),
        sandboxes,
        batches,
        processes,
        environment,
        intents,
    })))
}
