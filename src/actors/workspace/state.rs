//! A workspace in memory, and what a decision about it is: an answer, a commit, and what changes once that has landed.
//!
//! Decisions are pure. One that changes the tree leaves the change in the tree's journal, until [`State::accept`] or
//! [`State::refuse`].

use std::collections::{BTreeMap, BTreeSet};

use playhouse_protocol::{
    client::{ChangedFile, ServerMessage},
    ids::Shard,
    templates::{self, Template},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    WorkspaceAnswer,
    access::{Access, Projected},
    rows::{self, BatchRow, EnvironmentRow, Meta, ProcessRow, SandboxRow},
    tree::{Delta, Entry, Node, Tree, TreeError},
};
use crate::{
    actors::{
        Caller, Code, Refused, Role,
        idempotency::Answers,
        quota,
        tenant::WorkspaceRow,
        views::{FileView, SandboxView, SharingMode, WorkspaceView},
    },
    store::{blobs::BlobRef, metadata::Commit},
};

/// The longest name of a workspace, in characters.
pub const NAME_CHARS: usize = 200;
/// How many bytes of paths one `files` event names: a client's message may have 1 MiB, and JSON may double a path.
const EVENT_BYTES: usize = 256 * 1024;

/// How many sandboxes that are over stay known, however old.
const SANDBOXES_KEPT: usize = 20;
/// How long a sandbox that is over stays known, when there are more.
const SANDBOX_KEPT_FOR: time::Duration = time::Duration::hours(1);

/// A workspace in memory.
#[derive(Debug)]
pub struct State {
    /// Its id.
    pub id: Uuid,
    /// What it is.
    pub meta: Meta,
    /// Who may do what.
    pub access: Access,
    /// Its files.
    pub tree: Tree,
    /// Answers kept under idempotency keys.
    pub answers: Answers<WorkspaceAnswer, { quota::ANSWERS }>,
    /// Its sandboxes, oldest first.
    pub sandboxes: BTreeMap<Uuid, SandboxRow>,
    /// The last batch that each sandbox reported.
    pub batches: BTreeMap<Uuid, BatchRow>,
    /// Its processes, oldest first.
    pub processes: BTreeMap<Uuid, ProcessRow>,
    /// What the next sandbox begins with.
    pub environment: Option<EnvironmentRow>,
    /// What the organisations' indexes may lack.
    pub intents: BTreeMap<Uuid, WorkspaceRow>,
}

/// A change for the sandbox's copy of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// `path` is now this.
    Put {
        /// Where.
        path: String,
        /// What.
        node: Node,
    },
    /// `path` and all below it is gone.
    Remove {
        /// Where.
        path: String,
    },
    /// What was at `from` is at `to`.
    Move {
        /// Where it was.
        from: String,
        /// Where it is.
        to: String,
    },
}

impl Push {
    /// Where nothing is any more after it.
    #[must_use]
    pub fn vacated(&self) -> Option<&str> {
        match self {
            Self::Put { .. } => None,
            Self::Remove { path } | Self::Move { from: path, .. } => Some(path),
        }
    }
}

/// What is decided.
#[derive(Debug)]
pub struct Decision {
    /// The answer, once the commit has landed.
    pub answer: WorkspaceAnswer,
    /// What to commit.
    pub commit: Commit,
    /// What the workspace is then.
    pub meta: Option<Meta>,
    /// Who may do what then.
    pub access: Option<Access>,
    /// What changes in the tree.
    pub tree: Option<Delta>,
    /// What its sandbox is told of that.
    pub pushes: Vec<Push>,
}

impl Decision {
    /// Only an answer.
    #[must_use]
    pub fn answer(answer: WorkspaceAnswer) -> Self {
        Self { answer, commit: Commit::default(), meta: None, access: None, tree: None, pushes: Vec::new() }
    }
}

/// What a landed decision means for others.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Whether roles may have changed.
    pub access: bool,
    /// The tree's version, when the tree has changed.
    pub version: Option<u64>,
    /// What sessions are told.
    pub events: Vec<ServerMessage>,
    /// Content that is no longer named.
    pub freed: Vec<BlobRef>,
}

impl State {
    /// The tier that its quota goes by: its owner's, as new as it is known here.
    #[must_use]
    pub fn tier<'a>(&'a self, caller: &'a Caller) -> &'a str {
        if caller.user_id == self.meta.owner.user_id { &caller.tier } else { &self.meta.owner.tier }
    }

    /// A new workspace, and the decision that makes it.
    ///
    /// # Errors
    /// `name_invalid`, `template_unknown`.
    pub fn create(
        id: Uuid,
        caller: &Caller,
        name: String,
        template: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Self, Refused> {
        check_name(&name)?;
        let template = match template {
            None => templates::TEMPLATES.first(),
            Some(template) => templates::find(template),
        };
        let template = template.ok_or(Code::TemplateUnknown)?.name.to_owned();
        let meta = Meta {
            owner: caller.clone(),
            name,
            template,
            sharing_mode: SharingMode::Private,
            created_at: now,
            updated_at: now,
            tree_version: 0,
            deleting: false,
            made_under: None,
        };
        Ok(Self {
            id,
            access: Access::of(caller.clone()),
            meta,
            tree: Tree::default(),
            answers: Answers::default(),
            sandboxes: BTreeMap::new(),
            batches: BTreeMap::new(),
            processes: BTreeMap::new(),
            environment: None,
            intents: BTreeMap::new(),
        })
    }

    /// Sandboxes beyond those that stay known: they ended long ago, and nothing is listed of their processes.
    #[must_use]
    pub fn forgettable_sandboxes(&self, now: OffsetDateTime) -> Vec<Uuid> {
        let many = self.sandboxes.len().saturating_sub(SANDBOXES_KEPT);
        if many == 0 {
            return Vec::new();
        }
        let old = |row: &SandboxRow| row.settled && row.over_at.is_some_and(|at| now - at > SANDBOX_KEPT_FOR);
        let listed: BTreeSet<Uuid> = self.processes.values().map(|row| row.sandbox_id).collect();
        let candidates = self.sandboxes.iter().take(many);
        candidates.filter(|(id, row)| old(row) && !listed.contains(id)).map(|(id, _)| *id).collect()
    }

    /// What the caller may do; nobody may anything with one that is being deleted.
    #[must_use]
    pub fn role(&self, caller: &Caller, now: OffsetDateTime) -> Option<Role> {
        if self.meta.deleting { None } else { self.access.role(caller, now) }
    }

    /// Its template.
    #[must_use]
    pub fn template(&self) -> &'static Template {
        // A template that an older version knew and this one doesn't is run as the default.
        templates::find(&self.meta.template).unwrap_or(&templates::TEMPLATES[0])
    }

    /// A new id in its shard.
    #[must_use]
    pub fn fresh_id(&self) -> Uuid {
        Shard::of(self.id).fresh_id()
    }

    /// The sandbox that is not over, if there is one.
    #[must_use]
    pub fn active(&self) -> Option<(Uuid, &SandboxRow)> {
        self.sandboxes.iter().rev().find(|(_, row)| row.over_at.is_none()).map(|(id, row)| (*id, row))
    }

    /// As the API shows it to somebody with this role.
    #[must_use]
    pub fn view(&self, role: Role) -> WorkspaceView {
        WorkspaceView {
            id: self.id,
            owner_id: self.meta.owner.user_id,
            name: self.meta.name.clone(),
            template: self.meta.template.clone(),
            sharing_mode: self.meta.sharing_mode,
            role,
            created_at: self.meta.created_at,
            updated_at: self.meta.updated_at,
            sandbox: self.active_view().cloned(),
        }
    }

    /// The active sandbox as it was last seen.
    #[must_use]
    pub fn active_view(&self) -> Option<&SandboxView> {
        self.active().and_then(|(_, row)| row.view.as_ref())
    }

    /// A file as the API shows it.
    #[must_use]
    pub fn file_view(&self, id: Uuid, entry: &Entry) -> FileView {
        let row = &entry.row;
        let (symlink_target, size, executable) = match &row.node {
            Node::Directory => (None, 0, false),
            Node::Symlink { target } => (Some(target.clone()), 0, false),
            Node::File { blob, executable } => (None, blob.size, *executable),
        };
        FileView {
            id,
            workspace_id: self.id,
            path: entry.path.to_string(),
            is_directory: row.node.is_directory(),
            symlink_target,
            size,
            executable,
            etag: etag(id, &row.node),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    /// The decision that what was done to the tree is to be kept.
    pub fn tree_decision(&self, answer: WorkspaceAnswer, pushes: Vec<Push>, now: OffsetDateTime) -> Decision {
        let mut decision = Decision::answer(answer);
        if self.tree.unchanged() {
            return decision;
        }
        let delta = self.tree.delta();
        for id in &delta.put {
            if let Some(entry) = self.tree.get(*id) {
                decision.commit.put_json(rows::file(*id), &entry.row);
            }
        }
        decision.commit.index.extend(delta.new.iter().map(|id| (*id, self.id)));
        decision.commit.deletes.extend(delta.gone.iter().map(|id| rows::file(*id)));
        decision.commit.unindex.extend(&delta.gone);
        let meta = Meta { tree_version: self.meta.tree_version + 1, updated_at: now, ..self.meta.clone() };
        decision.commit.put_json(rows::META, &meta);
        decision.meta = Some(meta);
        decision.tree = Some(delta);
        decision.pushes = pushes;
        decision
    }

    /// What the organisations' indexes are to hold after a commit that leaves the partition at `version`.
    #[must_use]
    pub fn projections(
        &self,
        after: &Access,
        deleted: bool,
        version: u64,
        now: OffsetDateTime,
    ) -> BTreeMap<Uuid, WorkspaceRow> {
        let of = Projected { id: self.id, version, deleted, created_at: self.meta.created_at };
        let orgs = self.access.orgs().into_iter().chain(after.orgs()).chain(self.intents.keys().copied());
        orgs.map(|org| (org, after.row(org, of, now))).collect()
    }

    /// The decision's commit has landed.
    pub fn accept(&mut self, decision: &Decision) -> Accepted {
        let mut accepted = Accepted::default();
        if let Some(meta) = &decision.meta {
            self.meta = meta.clone();
        }
        if let Some(access) = &decision.access {
            self.access = access.clone();
            accepted.access = true;
        }
        if let Some(delta) = &decision.tree {
            accepted.version = Some(self.meta.tree_version);
            accepted.events = self.events(delta);
            accepted.freed.clone_from(&delta.freed);
        }
        self.tree.accept();
        accepted
    }

    /// The decision's commit has certainly not landed.
    pub fn refuse(&mut self) {
        self.tree.rollback();
    }

    fn events(&self, delta: &Delta) -> Vec<ServerMessage> {
        let mut changed = delta.changed.iter().filter_map(|id| Some((*id, self.tree.get(*id)?))).peekable();
        let mut removed = delta.removed.iter().peekable();
        let mut events = Vec::new();
        while changed.peek().is_some() || removed.peek().is_some() {
            let mut bytes = 0;
            let mut event = (Vec::new(), Vec::new());
            while bytes < EVENT_BYTES
                && let Some(path) = removed.next()
            {
                bytes += path.len() + 8;
                event.1.push(path.to_string());
            }
            while bytes < EVENT_BYTES
                && let Some((id, entry)) = changed.next()
            {
                bytes += entry.path.len() + 128;
                let etag = etag(id, &entry.row.node);
                event.0.push(ChangedFile { path: entry.path.to_string(), id, etag });
            }
            let version = self.meta.tree_version;
            events.push(ServerMessage::Files { workspace_id: self.id, version, changed: event.0, removed: event.1 });
        }
        events
    }
}

/// Changes with what a file holds.
#[must_use]
pub fn etag(id: Uuid, node: &Node) -> String {
    let hash = match node {
        Node::File { blob, .. } => blake3::Hash::from_bytes(blob.hash),
        Node::Symlink { target } => blake3::hash(format!("symlink\0{target}").as_bytes()),
        Node::Directory => blake3::hash(format!("directory\0{id}").as_bytes()),
    };
    hash.to_hex().as_str()[..32].to_owned()
}

/// A workspace's name has 1 to [`NAME_CHARS`] characters, is not blank, and holds no control characters.
///
/// # Errors
/// `name_invalid`.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let chars = name.chars().count();
    if name.trim().is_empty() || chars > NAME_CHARS || name.chars().any(char::is_control) {
        let rule = format!("a name has 1 to {NAME_CHARS} characters, is not blank, and holds no control characters");
        return Err(Refused::new(Code::NameInvalid, rule));
    }
    Ok(())
}

impl From<TreeError> for Refused {
    fn from(error: TreeError) -> Self {
        let code = match &error {
            TreeError::Exists(_) => Code::PathExists,
            TreeError::NotADirectory(_) => Code::NotADirectory,
            TreeError::IntoItself | TreeError::TooLong => Code::PathInvalid,
            TreeError::Full => Code::QuotaExceeded,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_that_ended_long_ago_are_forgotten_beyond_twenty() {
        let name = || "n".to_owned();
        let owner =
            Caller { user_id: Uuid::nil(), name: name(), org_id: Uuid::nil(), org: name(), tier: "free".into() };
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(1);
        let mut state = State::create(Uuid::nil(), &owner, name(), None, now).expect("a workspace");
        let over = |at| SandboxRow { view: None, over_at: Some(at), settled: true };
        let id = |number: usize| Uuid::from_u128(number as u128);
        state.sandboxes = (0..SANDBOXES_KEPT).map(|number| (id(number), over(OffsetDateTime::UNIX_EPOCH))).collect();
        assert!(state.forgettable_sandboxes(now).is_empty());
        state.sandboxes.extend((SANDBOXES_KEPT..25).map(|number| (id(number), over(now))));
        state.sandboxes.insert(id(1), over(now));
        let process = ProcessRow { sandbox_id: id(2), run: None, ended_at: None };
        state.processes.insert(id(2), process);
        assert_eq!(state.forgettable_sandboxes(now), [id(0), id(3), id(4)]);
        state.sandboxes.retain(|sandbox, _| ![id(0), id(3), id(4)].contains(sandbox));
        assert!(state.forgettable_sandboxes(now).is_empty(), "the rest is too young or listed, though too many");
    }
}
