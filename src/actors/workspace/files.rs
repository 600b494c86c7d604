//! What is decided about files: listing, making, writing, moving and removing them.

use std::collections::HashSet;

use playhouse_protocol::path;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    NewFile, WorkspaceAnswer,
    state::{Decision, Push, State, etag},
    tree::{Entry, Node, Over},
};
use crate::{
    actors::{Code, PageRequest, Paged, Refused, paging, views::FileView},
    store::blobs::BlobRef,
};

impl State {
    /// `prefix` and what is below it, in byte order.
    ///
    /// # Errors
    /// `path_invalid`, `cursor_invalid`.
    pub fn files(&self, prefix: &str, all: bool, page: Option<&PageRequest>) -> Result<Paged<FileView>, Refused> {
        path::check_prefix(prefix).map_err(|error| Refused::new(Code::PathInvalid, error.to_string()))?;
        let list = format!("files/{}", self.id);
        let after = page.map(|page| paging::after(&list, page)).transpose()?.flatten();
        let entries = self
            .tree
            .within(prefix, after.as_deref())
            .filter(|(_, entry)| all || !path::is_git(&entry.path))
            .map(|(id, entry)| self.file_view(id, entry));
        Ok(match page {
            None => Paged { items: entries.collect(), next_cursor: None },
            Some(page) => paging::cut(&list, entries, page.limit, |file| file.path.clone()),
        })
    }

    /// One file.
    ///
    /// # Errors
    /// `file_not_found`.
    pub fn file(&self, id: Uuid) -> Result<WorkspaceAnswer, Refused> {
        let entry = self.tree.get(id).ok_or(Code::FileNotFound)?;
        Ok(WorkspaceAnswer::File { file: self.file_view(id, entry), content: entry.row.node.blob().cloned() })
    }

    /// Makes files, all or none.
    ///
    /// # Errors
    /// What stands in the way of one of them.
    pub fn create_files(
        &mut self,
        files: Vec<NewFile>,
        overwrite: bool,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Result<Decision, Refused> {
        if files.is_empty() {
            return Err(Refused::new(Code::BodyInvalid, "no file is named"));
        }
        self.within_quota(limits, |state| state.put_all(files, overwrite, limits, now))
    }

    fn put_all(
        &mut self,
        files: Vec<NewFile>,
        overwrite: bool,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Result<Decision, Refused> {
        let over = if overwrite { Over::Files } else { Over::Nothing };
        let mut named = HashSet::new();
        let mut implied = HashSet::new();
        let mut made = Vec::with_capacity(files.len());
        let mut pushes = Vec::with_capacity(files.len());
        for NewFile { path, content } in files {
            self.check_path(&path)?;
            if let Some(blob) = &content {
                limits.check(blob)?;
            }
            if !named.insert(path.clone()) {
                return Err(Refused::new(Code::PathExists, format!("`{path}` is named twice")));
            }
            let mut at = path.as_str();
            while let Some(parent) = path::parent(at) {
                if self.tree.find(parent).is_some() || !implied.insert(parent.to_owned()) {
                    break;
                }
                at = parent;
            }
            let executable = match self.tree.find(&path) {
                Some((_, Entry { row, .. })) => matches!(row.node, Node::File { executable: true, .. }),
                None => false,
            };
            let node = match content {
                None => Node::Directory,
                Some(blob) => Node::File { blob, executable },
            };
            // A directory that this request made as another one's parent may be named by it too.
            let over = if node.is_directory() && implied.contains(&path) { Over::Files } else { over };
            let id = self.put_node(&path, node.clone(), over, now)?;
            made.push(id);
            pushes.push(Push::Put { path, node });
        }
        let items = made.iter().filter_map(|id| Some(self.file_view(*id, self.tree.get(*id)?))).collect();
        Ok(self.tree_decision(WorkspaceAnswer::Files(Paged { items, next_cursor: None }), pushes, now))
    }

    /// Writes a file. It keeps its id, and whether it may be executed; a symbolic link becomes a file.
    ///
    /// # Errors
    /// `file_not_found`, `is_a_directory`, `version_conflict`, `too_large`.
    pub fn put_file(
        &mut self,
        id: Uuid,
        content: BlobRef,
        if_match: Option<&str>,
        limits: &Limits,
        now: OffsetDateTime,
    ) -> Result<Decision, Refused> {
        limits.check(&content)?;
        let entry = self.matched(id, if_match)?;
        let path = entry.path.to_string();
        let executable = match &entry.row.node {
            Node::Directory => return Err(Code::IsADirectory.into()),
            Node::Symlink { .. } => false,
            Node::File { executable, .. } => *executable,
        };
        let node = Node::File { blob: content, executable };
        self.within_quota(limits, |state| {
            state.put_node(&path, node.clone(), Over::Files, now)?;
            Ok(state.tree_decision(state.file(id)?, vec![Push::Put { path, node }], now))
        })
    }

    /// Moves a file, or a directory with all below it.
    ///
    /// # Errors
    /// `file_not_found`, `version_conflict`, and what stands in the way there.
    pub fn move_file(
        &mut self,
        id: Uuid,
        to: &str,
        if_match: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Decision, Refused> {
        let from = self.matched(id, if_match)?.path.to_string();
        self.check_path(to)?;
        let to = to.to_owned();
        self.done_or_undone(|state| {
            let mut pushes = Vec::new();
            if let Some(parent) = path::parent(&to).filter(|parent| state.tree.find(parent).is_none()) {
                pushes.push(Push::Put { path: parent.to_owned(), node: Node::Directory });
            }
            let (tree, shard) = (&mut state.tree, playhouse_protocol::Shard::of(state.id));
            tree.move_to(id, &to, now, &mut || shard.fresh_id())?;
            pushes.push(Push::Move { from, to });
            Ok(state.tree_decision(state.file(id)?, pushes, now))
        })
    }

    /// Removes a file, or a directory with all below it.
    ///
    /// # Errors
    /// `file_not_found`, `version_conflict`.
    pub fn delete_file(&mut self, id: Uuid, if_match: Option<&str>, now: OffsetDateTime) -> Result<Decision, Refused> {
        let path = self.matched(id, if_match)?.path.to_string();
        self.tree.remove(id);
        Ok(self.tree_decision(WorkspaceAnswer::Done, vec![Push::Remove { path }], now))
    }

    fn put_node(&mut self, path: &str, node: Node, over: Over, now: OffsetDateTime) -> Result<Uuid, Refused> {
        let shard = playhouse_protocol::Shard::of(self.id);
        Ok(self.tree.put(path, node, over, now, &mut || shard.fresh_id())?)
    }

    /// Refuses what would make the files weigh more than they may. A workspace that is over already, since what a
    /// program writes is bounded by its disk alone, may still shrink.
    fn within_quota(
        &mut self,
        limits: &Limits,
        work: impl FnOnce(&mut Self) -> Result<Decision, Refused>,
    ) -> Result<Decision, Refused> {
        let before = self.tree.bytes();
        self.done_or_undone(|state| {
            let decision = work(state)?;
            let after = state.tree.bytes();
            if after > limits.tree_bytes && after > before {
                let why = format!("the files of a workspace have at most {} bytes together", limits.tree_bytes);
                return Err(Refused::new(Code::QuotaExceeded, why));
            }
            Ok(decision)
        })
    }

    fn done_or_undone(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<Decision, Refused>,
    ) -> Result<Decision, Refused> {
        let done = work(self);
        if done.is_err() {
            self.tree.rollback();
        }
        done
    }

    fn check_path(&self, path: &str) -> Result<(), Refused> {
        path::check(path).map_err(|error| Refused::new(Code::PathInvalid, error.to_string()))?;
        if path::is_generated(path, self.template().generated_folders) || path::is_within(path, path::AGENT_FOLDER) {
            let why = format!("`{path}` lies in a folder that belongs to the sandbox, not to the tree");
            return Err(Refused::new(Code::GeneratedFolder, why));
        }
        Ok(())
    }

    fn matched(&self, id: Uuid, if_match: Option<&str>) -> Result<&Entry, Refused> {
        let entry = self.tree.get(id).ok_or(Code::FileNotFound)?;
        match if_match {
            Some(wanted) if !matches(wanted, &etag(id, &entry.row.node)) => Err(Code::VersionConflict.into()),
            Some(_) | None => Ok(entry),
        }
    }
}

/// Whether an `If-Match` (as in the header, or one bare tag) names this etag. A weak tag never does.
fn matches(wanted: &str, etag: &str) -> bool {
    wanted.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag || tag.trim_matches('"') == etag)
}

/// What files may weigh.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One of them, in bytes.
    pub max_upload: u64,
    /// All of a workspace together, in bytes.
    pub tree_bytes: u64,
}

impl Limits {
    fn check(self, blob: &BlobRef) -> Result<(), Refused> {
        if blob.size > self.max_upload {
            let why = format!("a file of {} bytes is over the limit of {}", blob.size, self.max_upload);
            return Err(Refused::new(Code::TooLarge, why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::Caller;

    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const LIMITS: Limits = Limits { max_upload: 100, tree_bytes: 10 };

    fn blob(size: u64) -> BlobRef {
        BlobRef { hash: [1; 32], key: format!("key-{size}"), size }
    }

    fn create(state: &mut State, path: &str, size: u64) -> Result<Uuid, Code> {
        let new = NewFile { path: path.to_owned(), content: Some(blob(size)) };
        let decision = state.create_files(vec![new], false, &LIMITS, T0).map_err(|refused| refused.code)?;
        state.accept(&decision);
        state.tree.find(path).map(|(id, _)| id).ok_or(Code::FileNotFound)
    }

    #[test]
    fn files_weigh_no_more_than_the_quota_together() {
        let name = || "n".to_owned();
        let owner =
            Caller { user_id: Uuid::nil(), name: name(), org_id: Uuid::nil(), org: name(), tier: "free".into() };
        let mut state = State::create(Uuid::now_v7(), &owner, name(), None, T0).expect("a workspace");
        let first = create(&mut state, "/a", 6).expect("within the quota");
        create(&mut state, "/b", 4).expect("just within the quota");
        assert_eq!(create(&mut state, "/c", 1), Err(Code::QuotaExceeded));
        assert!(state.tree.find("/c").is_none(), "nothing is left of what was refused");
        assert!(create(&mut state, "/empty", 0).is_ok());
        let put = |state: &mut State, size| {
            let decision = state.put_file(first, blob(size), None, &LIMITS, T0).map_err(|refused| refused.code)?;
            state.accept(&decision);
            Ok(())
        };
        assert_eq!(put(&mut state, 7), Err(Code::QuotaExceeded));
        assert_eq!(put(&mut state, 5), Ok(()));
        assert!(create(&mut state, "/c", 1).is_ok());
    }
}
