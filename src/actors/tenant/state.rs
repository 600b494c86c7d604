//! An organisation in memory: its users, the index of its workspaces, and the one-time words that were used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use playhouse_protocol::ids;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{UserRow, WorkspaceRow};
use crate::{
    actors::{Caller, Code, PageRequest, Paged, Refused, paging, quota::Quota, views::SharingMode},
    store::metadata::Commit,
};

/// The longest name of a user or an organisation, in characters.
pub const NAME_CHARS: usize = 64;
/// The longest one-time word, in bytes.
pub const NONCE_BYTES: usize = 128;
/// How long a deleted workspace's row is remembered, so that none that was sent before brings it back.
const DELETED_KEPT: Duration = Duration::hours(24);

/// What an organisation is: row `org`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgRow {
    /// Its name.
    pub name: String,
}

/// A workspace in the index: row `workspace/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexed {
    /// As its workspace says.
    pub row: WorkspaceRow,
    /// When it was heard that it is gone.
    #[serde(with = "time::serde::rfc3339::option")]
    pub deleted_at: Option<OffsetDateTime>,
}

/// A used one-time word: row `once/<hash>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnceRow {
    /// Until when it is remembered.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

type Place = (OffsetDateTime, Uuid);

/// How many workspaces a user owns, and owned until a short while ago.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Owned {
    there: usize,
    deleted: usize,
}

/// An organisation in memory.
#[derive(Debug, Default)]
pub struct State {
    /// Its id.
    pub id: Uuid,
    /// What it is; `None` before its first user.
    pub org: Option<OrgRow>,
    users: BTreeMap<Uuid, UserRow>,
    names: HashMap<String, Uuid>,
    workspaces: HashMap<Uuid, Indexed>,
    by_user: HashMap<Uuid, BTreeSet<Place>>,
    owned: HashMap<Uuid, Owned>,
    open: BTreeSet<Place>,
    deleted: BTreeSet<Place>,
    /// Only in memory: the workspaces tell of theirs again when they start.
    sandboxes: HashMap<Uuid, BTreeSet<Uuid>>,
    once: HashMap<String, OffsetDateTime>,
    once_ends: BTreeSet<(OffsetDateTime, String)>,
}

/// Rows that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("row {key}: {error}")]
pub struct LoadError {
    key: String,
    error: serde_json::Error,
}

/// A change to be committed, and to be taken over when it has landed.
#[derive(Debug)]
pub enum Change {
    /// A user is new, or has another tier.
    User(Option<OrgRow>, UserRow),
    /// A workspace's row.
    Workspace(Indexed),
    /// A one-time word is used up.
    Once(String, OffsetDateTime),
}

fn check_name(name: &str) -> Result<(), Refused> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-');
    if (1..=NAME_CHARS).contains(&name.chars().count()) && name.chars().all(plain) {
        return Ok(());
    }
    let rule = format!("a name has 1 to {NAME_CHARS} characters: letters, digits and `.`, `_`, `@`, `-`");
    Err(Refused::new(Code::NameInvalid, rule))
}

fn once_key(nonce: &str) -> String {
    blake3::hash(nonce.as_bytes()).to_hex().as_str()[..32].to_owned()
}

impl State {
    /// The organisation of these rows.
    ///
    /// # Errors
    /// Rows that can't be read.
    pub fn load(id: Uuid, rows: &BTreeMap<String, Vec<u8>>) -> Result<Self, LoadError> {
        let mut state = Self { id, ..Self::default() };
        for (key, bytes) in rows {
            let broken = |error| LoadError { key: key.clone(), error };
            match key.split_once('/') {
                Some(("user", _)) => {
                    let user: UserRow = serde_json::from_slice(bytes).map_err(broken)?;
                    state.apply(&Change::User(None, user));
                }
                Some(("workspace", _)) => {
                    let row: Indexed = serde_json::from_slice(bytes).map_err(broken)?;
                    state.apply(&Change::Workspace(row));
                }
                Some(("once", word)) => {
                    let row: OnceRow = serde_json::from_slice(bytes).map_err(broken)?;
                    state.apply(&Change::Once(word.to_owned(), row.expires_at));
                }
                Some(_) | None => state.org = Some(serde_json::from_slice(bytes).map_err(broken)?),
            }
        }
        Ok(state)
    }

    /// The user with this name, and what is to be committed if it is new or has another tier.
    ///
    /// # Errors
    /// `name_invalid`, `body_invalid`.
    pub fn ensure_user(&self, org: &str, name: &str, tier: Option<&str>) -> Result<(Caller, Option<Change>), Refused> {
        check_name(name)?;
        check_name(org)?;
        if super::org_id(org) != self.id {
            return Err(Refused::new(Code::Internal, "the organisation's id is not its name's"));
        }
        if let Some(tier) = tier
            && !matches!(tier, "free" | "paid")
        {
            return Err(Refused::new(Code::BodyInvalid, "`tier` is `free` or `paid`"));
        }
        let known = self.names.get(name).and_then(|id| self.users.get(id));
        let user = UserRow {
            id: known.map_or_else(|| ids::named_id("user", &format!("{org}/{name}")), |known| known.id),
            name: name.to_owned(),
            tier: tier.or(known.map(|known| known.tier.as_str())).unwrap_or("free").to_owned(),
        };
        let caller = Caller {
            user_id: user.id,
            name: user.name.clone(),
            org_id: self.id,
            org: org.to_owned(),
            tier: user.tier.clone(),
        };
        let org_row = self.org.is_none().then(|| OrgRow { name: org.to_owned() });
        let change = (known != Some(&user)).then_some(Change::User(org_row, user));
        Ok((caller, change))
    }

    /// The user with this name or id.
    #[must_use]
    pub fn find_user(&self, user: &str) -> Option<&UserRow> {
        let by_id = || user.parse::<Uuid>().ok().and_then(|id| self.users.get(&id));
        self.names.get(user).and_then(|id| self.users.get(id)).or_else(by_id)
    }

    /// The caller's own and shared workspaces, oldest first.
    ///
    /// # Errors
    /// `cursor_invalid`.
    pub fn workspaces(&self, caller: &Caller, page: &PageRequest) -> Result<Paged<Uuid>, Refused> {
        let list = format!("workspaces/{}", caller.user_id);
        let after =
            paging::after(&list, page)?.map(|after| parse_place(&after).ok_or(Code::CursorInvalid)).transpose()?;
        let nothing = BTreeSet::new();
        let own = self.by_user.get(&caller.user_id).unwrap_or(&nothing);
        let open = if caller.org_id == self.id { &self.open } else { &nothing };
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = (from, std::ops::Bound::Unbounded);
        // Enough of both for the page and the one that says that there is more.
        let many = page.limit.min(paging::PAGE_ITEMS) + 1;
        let places: BTreeSet<Place> =
            own.range(range).take(many).chain(open.range(range).take(many)).copied().collect();
        let page = paging::cut(&list, places, page.limit, |(at, id)| format!("{}:{id}", at.unix_timestamp_nanos()));
        Ok(Paged { items: page.items.into_iter().map(|(_, id)| id).collect(), next_cursor: page.next_cursor })
    }

    /// A user's tier as it is by now: a token says what it was.
    fn tier<'a>(&'a self, caller: &'a Caller) -> &'a str {
        self.users.get(&caller.user_id).map_or(&caller.tier, |user| &user.tier)
    }

    /// Whether the caller may own one workspace more.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub fn room_for_workspace(&self, caller: &Caller) -> Result<(), Refused> {
        let quota = Quota::of(self.tier(caller));
        let owned = self.owned.get(&caller.user_id).copied().unwrap_or_default();
        let why = if owned.there >= quota.workspaces {
            format!("you own {} workspaces, and may own no more: delete some", quota.workspaces)
        } else if owned.deleted >= quota.deleted() {
            format!("you have deleted {} workspaces within a day: wait until they are forgotten", quota.deleted())
        } else {
            return Ok(());
        };
        Err(Refused::new(Code::QuotaExceeded, why))
    }

    /// Whether an owner's workspaces may have this sandbox too; if so it counts.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub fn room_for_sandbox(&mut self, owner: &Caller, sandbox_id: Uuid) -> Result<(), Refused> {
        let most = Quota::of(self.tier(owner)).sandboxes;
        if self.sandboxes.get(&owner.user_id).is_some_and(|there| there.len() >= most) {
            let why = format!("the workspaces of one owner have at most {most} sandboxes at a time: end some");
            return Err(Refused::new(Code::QuotaExceeded, why));
        }
        self.sandbox(owner.user_id, sandbox_id, true);
        Ok(())
    }

    /// A sandbox of an owner's workspace is there, or is not any more.
    pub fn sandbox(&mut self, owner_id: Uuid, sandbox_id: Uuid, there: bool) {
        let sandboxes = self.sandboxes.entry(owner_id).or_default();
        if there {
            sandboxes.insert(sandbox_id);
        } else {
            sandboxes.remove(&sandbox_id);
        }
        if sandboxes.is_empty() {
            self.sandboxes.remove(&owner_id);
        }
    }

    /// Whether anybody's workspaces have one.
    #[must_use]
    pub fn has_sandboxes(&self) -> bool {
        !self.sandboxes.is_empty()
    }

    fn count(&mut self, indexed: &Indexed, by: isize) {
        if !indexed.row.home {
            return;
        }
        let owned = self.owned.entry(indexed.row.owner_id).or_default();
        let count = if indexed.deleted_at.is_some() { &mut owned.deleted } else { &mut owned.there };
        *count = count.saturating_add_signed(by);
        if *owned == Owned::default() {
            self.owned.remove(&indexed.row.owner_id);
        }
    }

    /// What is to be committed so that the index holds a workspace's row; `None` when it holds one as new.
    #[must_use]
    pub fn project(&self, row: WorkspaceRow, now: OffsetDateTime) -> Option<Change> {
        let newer = self.workspaces.get(&row.id).is_none_or(|known| known.row.version < row.version);
        newer.then(|| {
            let deleted_at = row.deleted.then_some(now);
            let row = if row.deleted { WorkspaceRow { members: Vec::new(), ..row } } else { row };
            Change::Workspace(Indexed { row, deleted_at })
        })
    }

    /// What is to be committed so that a one-time word is used up; `None` when it was, or has expired.
    ///
    /// # Errors
    /// `body_invalid` for a word that is too long.
    pub fn use_once(
        &self,
        nonce: &str,
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Change>, Refused> {
        if nonce.is_empty() || nonce.len() > NONCE_BYTES {
            return Err(Refused::new(Code::BodyInvalid, format!("a one-time word has 1 to {NONCE_BYTES} bytes")));
        }
        let word = once_key(nonce);
        let first = !self.once.contains_key(&word) && expires_at > now;
        Ok(first.then_some(Change::Once(word, expires_at)))
    }

    /// Forgets what need not be remembered any more; says which rows.
    pub fn prune(&mut self, now: OffsetDateTime) -> Vec<String> {
        let mut rows = Vec::new();
        while self.once_ends.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, word)) = self.once_ends.pop_first()
        {
            self.once.remove(&word);
            rows.push(format!("once/{word}"));
        }
        while self.deleted.first().is_some_and(|(at, _)| now - *at >= DELETED_KEPT)
            && let Some((_, id)) = self.deleted.pop_first()
        {
            if let Some(gone) = self.workspaces.remove(&id) {
                self.count(&gone, -1);
            }
            rows.push(format!("workspace/{id}"));
        }
        rows
    }

    /// The rows of a change.
    #[must_use]
    pub fn commit(&self, change: &Change) -> Commit {
        let mut commit = Commit::default();
        match change {
            Change::User(org, user) => {
                if let Some(org) = org {
                    commit.put_json("org", org);
                }
                commit.put_json(format!("user/{}", user.id), user);
                commit.index.push((user.id, self.id));
            }
            Change::Workspace(indexed) => commit.put_json(format!("workspace/{}", indexed.row.id), indexed),
            Change::Once(word, expires_at) => {
                commit.put_json(format!("once/{word}"), &OnceRow { expires_at: *expires_at });
            }
        }
        commit
    }

    /// A change has landed.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::User(org, user) => {
                if let Some(org) = org {
                    self.org = Some(org.clone());
                }
                self.names.insert(user.name.clone(), user.id);
                self.users.insert(user.id, user.clone());
            }
            Change::Workspace(indexed) => self.index(indexed.clone()),
            Change::Once(word, expires_at) => {
                self.once.insert(word.clone(), *expires_at);
                self.once_ends.insert((*expires_at, word.clone()));
            }
        }
    }

    fn index(&mut self, indexed: Indexed) {
        let id = indexed.row.id;
        if let Some(old) = self.workspaces.remove(&id) {
            self.count(&old, -1);
            let place = (old.row.created_at, id);
            for (user, _) in &old.row.members {
                if let Some(places) = self.by_user.get_mut(user) {
                    places.remove(&place);
                    if places.is_empty() {
                        self.by_user.remove(user);
                    }
                }
            }
            self.open.remove(&place);
            if let Some(at) = old.deleted_at {
                self.deleted.remove(&(at, id));
            }
        }
        self.count(&indexed, 1);
        let place = (indexed.row.created_at, id);
        if let Some(at) = indexed.deleted_at {
            self.deleted.insert((at, id));
        } else {
            for (user, _) in &indexed.row.members {
                self.by_user.entry(*user).or_default().insert(place);
            }
            if indexed.row.home && indexed.row.sharing_mode != SharingMode::Private {
                self.open.insert(place);
            }
        }
        self.workspaces.insert(id, indexed);
    }
}

fn parse_place(text: &str) -> Option<Place> {
    let (nanos, id) = text.split_once(':')?;
    Some((OffsetDateTime::from_unix_timestamp_nanos(nanos.parse().ok()?).ok()?, id.parse().ok()?))
}

#[cfg(test)]
mod tests;
