//! Who may do what with a workspace: its owner, its members, what share links granted, and its mode.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::actors::{
    Caller, Code, Refused, Role,
    quota::{GRANTS, LINKS, MEMBERS},
    tenant::WorkspaceRow,
    views::{LinkView, MemberView, SharingMode},
};

/// The longest life of a link that has one, in seconds: ten years.
pub const LINK_TTL_SECONDS: u64 = 10 * 365 * 24 * 3600;

/// A member, as kept in `member/<user>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user.
    pub user_id: Uuid,
    /// The user's name.
    pub name: String,
    /// The user's organisation.
    pub org_id: Uuid,
    /// `View` or `Edit`.
    pub role: Role,
}

/// A share link, as kept in `link/<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id.
    pub id: Uuid,
    /// What its url ends with. Kept as it is: the owner's list shows the url again.
    pub secret: String,
    /// What it grants.
    pub role: Role,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

/// What a link granted to one user, as kept in `grant/<link>/<user>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// By which link.
    pub link_id: Uuid,
    /// To whom.
    pub user_id: Uuid,
    /// The user's organisation.
    pub org_id: Uuid,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The owner.
    pub owner: Caller,
    /// Who of the owner's organisation it is open to.
    pub mode: SharingMode,
    /// Members by user.
    pub members: BTreeMap<Uuid, Member>,
    /// Links by id, which is their age.
    pub links: BTreeMap<Uuid, Link>,
    /// Grants by link and user.
    pub grants: BTreeMap<(Uuid, Uuid), Grant>,
}

impl Access {
    /// Nobody's but this owner's.
    #[must_use]
    pub const fn of(owner: Caller) -> Self {
        Self {
            owner,
            mode: SharingMode::Private,
            members: BTreeMap::new(),
            links: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }

    fn explicit(&self, user: Uuid, now: OffsetDateTime) -> Option<Role> {
        if user == self.owner.user_id {
            return Some(Role::Owner);
        }
        let member = self.members.get(&user).map(|member| member.role);
        let granted = self
            .links
            .values()
            .filter(|link| live(link, now) && self.grants.contains_key(&(link.id, user)))
            .map(|link| link.role)
            .max();
        member.max(granted)
    }

    /// What this user may do; `None`: not even see it. The greatest of what it has counts.
    #[must_use]
    pub fn role(&self, caller: &Caller, now: OffsetDateTime) -> Option<Role> {
        let open = match self.mode {
            SharingMode::View if caller.org_id == self.owner.org_id => Some(Role::View),
            SharingMode::Edit if caller.org_id == self.owner.org_id => Some(Role::Edit),
            SharingMode::Private | SharingMode::View | SharingMode::Edit => None,
        };
        self.explicit(caller.user_id, now).max(open)
    }

    /// Makes a user a member, or changes what it may do.
    ///
    /// # Errors
    /// The owner can't be a member; there are [`MEMBERS`] already.
    pub fn put_member(&mut self, member: Member) -> Result<MemberView, Refused> {
        if member.user_id == self.owner.user_id {
            return Err(Refused::new(Code::BodyInvalid, "the owner of a workspace can't be its member"));
        }
        if !self.members.contains_key(&member.user_id) && self.members.len() >= MEMBERS {
            return Err(Refused::new(Code::QuotaExceeded, format!("a workspace has at most {MEMBERS} members")));
        }
        let view = member.view();
        self.members.insert(member.user_id, member);
        Ok(view)
    }

    /// Makes a link.
    ///
    /// # Errors
    /// There are [`LINKS`] already.
    pub fn put_link(&mut self, link: Link) -> Result<(), Refused> {
        if self.links.len() >= LINKS {
            return Err(Refused::new(Code::QuotaExceeded, format!("a workspace has at most {LINKS} links")));
        }
        self.links.insert(link.id, link);
        Ok(())
    }

    /// Removes a link and all that it granted. False when there is none.
    pub fn remove_link(&mut self, id: Uuid) -> bool {
        self.grants.retain(|(link, _), _| *link != id);
        self.links.remove(&id).is_some()
    }

    /// Grants a link's role to the caller. Says whether anything changed.
    ///
    /// # Errors
    /// `link_not_found` for a link that isn't there, has ended, or has another secret.
    pub fn accept(&mut self, id: Uuid, secret: &str, caller: &Caller, now: OffsetDateTime) -> Result<bool, Refused> {
        let link = self.links.get(&id).filter(|link| live(link, now)).ok_or(Code::LinkNotFound)?;
        // Compared by hash, so that the time it takes says nothing about the secret.
        if blake3::hash(secret.as_bytes()) != blake3::hash(link.secret.as_bytes()) {
            return Err(Code::LinkNotFound.into());
        }
        if caller.user_id == self.owner.user_id || self.grants.contains_key(&(id, caller.user_id)) {
            return Ok(false);
        }
        if self.grants.len() >= GRANTS {
            return Err(Refused::new(Code::QuotaExceeded, "too many people have used this workspace's links"));
        }
        let grant = Grant { link_id: id, user_id: caller.user_id, org_id: caller.org_id };
        self.grants.insert((id, caller.user_id), grant);
        Ok(true)
    }

    /// The links that have ended by now.
    #[must_use]
    pub fn ended(&self, now: OffsetDateTime) -> Vec<Uuid> {
        self.links.values().filter(|link| !live(link, now)).map(|link| link.id).collect()
    }

    /// The organisations whose index shows it: the home first among them.
    #[must_use]
    pub fn orgs(&self) -> BTreeSet<Uuid> {
        let members = self.members.values().map(|member| member.org_id);
        let granted = self.grants.values().map(|grant| grant.org_id);
        members.chain(granted).chain([self.owner.org_id]).collect()
    }

    /// What the index of the organisation `org` shows of it.
    #[must_use]
    pub fn row(&self, org: Uuid, of: Projected, now: OffsetDateTime) -> WorkspaceRow {
        let members = self.members.values().filter(|member| member.org_id == org).map(|member| member.user_id);
        let granted = self.grants.values().filter(|grant| grant.org_id == org).map(|grant| grant.user_id);
        let owner = Some(self.owner.user_id).filter(|_| self.owner.org_id == org);
        let users: BTreeSet<Uuid> = members.chain(granted).chain(owner).collect();
        WorkspaceRow {
            id: of.id,
            version: of.version,
            owner_id: self.owner.user_id,
            members: users.into_iter().filter_map(|user| Some((user, self.explicit(user, now)?))).collect(),
            sharing_mode: self.mode,
            home: self.owner.org_id == org,
            deleted: of.deleted,
            created_at: of.created_at,
        }
    }
}

/// What a projection holds beside who may do what.
#[derive(Debug, Clone, Copy)]
pub struct Projected {
    /// The workspace.
    pub id: Uuid,
    /// Of its partition, after the commit.
    pub version: u64,
    /// It is gone.
    pub deleted: bool,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

fn live(link: &Link, now: OffsetDateTime) -> bool {
    link.expires_at.is_none_or(|at| at > now)
}

impl Member {
    /// As the API shows it.
    #[must_use]
    pub fn view(&self) -> MemberView {
        MemberView { user_id: self.user_id, name: self.name.clone(), role: self.role }
    }
}

impl Link {
    /// As the API shows it.
    #[must_use]
    pub fn view(&self, public_url: &str, workspace: Uuid) -> LinkView {
        let url = format!("{public_url}/share/{workspace}/{}/{}", self.id, self.secret);
        LinkView { id: self.id, url, role: self.role, expires_at: self.expires_at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;

    use super::*;

    const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn user(n: u128) -> Caller {
        let org_id = Uuid::from_u128(1000 + n % 2);
        Caller { user_id: Uuid::from_u128(n), name: format!("u{n}"), org_id, org: "o".into(), tier: "free".into() }
    }

    fn link(n: u128, role: Role, ttl: Option<i64>) -> Link {
        let expires_at = ttl.map(|ttl| T0 + Duration::seconds(ttl));
        Link { id: Uuid::from_u128(n), secret: "s".into(), role, expires_at }
    }

    #[test]
    fn what_a_link_granted_ends_with_it() {
        let mut access = Access::of(user(0));
        access.put_link(link(1, Role::Edit, Some(10))).unwrap();
        assert_eq!(access.accept(Uuid::from_u128(1), "x", &user(3), T0).unwrap_err().code, Code::LinkNotFound);
        assert_eq!(access.accept(Uuid::from_u128(1), "s", &user(3), T0), Ok(true));
        assert_eq!(access.role(&user(3), T0), Some(Role::Edit));
        assert_eq!(access.role(&user(3), T0 + Duration::seconds(10)), None);
        assert_eq!(access.ended(T0 + Duration::seconds(10)), [Uuid::from_u128(1)]);
        assert!(access.remove_link(Uuid::from_u128(1)));
        assert_eq!(access.role(&user(3), T0), None);
    }

    #[test]
    fn the_owner_stays_the_owner() {
        let mut access = Access::of(user(0));
        access.put_link(link(1, Role::View, None)).unwrap();
        assert_eq!(access.accept(Uuid::from_u128(1), "s", &user(0), T0), Ok(false));
        assert_eq!(access.role(&user(0), T0), Some(Role::Owner));
        let owner = Member { user_id: user(0).user_id, name: "u0".into(), org_id: user(0).org_id, role: Role::View };
        assert_eq!(access.put_member(owner).unwrap_err().code, Code::BodyInvalid);
    }

    proptest! {
        #[test]
        fn a_role_is_the_greatest_of_what_one_has(
            mode in prop::sample::select(vec![SharingMode::Private, SharingMode::View, SharingMode::Edit]),
            members in prop::collection::vec((1..6_u128, any::<bool>()), 0..6),
            links in prop::collection::vec((any::<bool>(), prop::option::of(1..4_i64), prop::collection::vec(1..6_u128, 0..4)), 0..4),
            at in 0..5_i64,
        ) {
            let role = |edit| if edit { Role::Edit } else { Role::View };
            let mut access = Access::of(user(0));
            access.mode = mode;
            for (n, edit) in &members {
                let who = user(*n);
                access.put_member(Member { user_id: who.user_id, name: who.name, org_id: who.org_id, role: role(*edit) }).unwrap();
            }
            for (n, (edit, ttl, users)) in links.iter().enumerate() {
                access.put_link(link(n as u128, role(*edit), *ttl)).unwrap();
                for user_n in users {
                    access.accept(Uuid::from_u128(n as u128), "s", &user(*user_n), T0).unwrap();
                }
            }
            let now = T0 + Duration::seconds(at);
            for n in 1..6 {
                let mut expected = members.iter().rev().find(|(m, _)| *m == n).map(|(_, edit)| role(*edit));
                for (edit, ttl, users) in &links {
                    if users.contains(&n) && ttl.is_none_or(|ttl| ttl > at) {
                        expected = expected.max(Some(role(*edit)));
                    }
                }
                let explicit = expected;
                if n % 2 == 0 && mode != SharingMode::Private {
                    expected = expected.max(Some(role(mode == SharingMode::Edit)));
                }
                prop_assert_eq!(access.role(&user(n), now), expected);
                // The index of the user's organisation says the same of what it has itself.
                let of = Projected { id: Uuid::nil(), version: 1, deleted: false, created_at: T0 };
                let row = access.row(user(n).org_id, of, now);
                let listed = row.members.iter().find(|(id, _)| *id == user(n).user_id).map(|(_, role)| *role);
                prop_assert_eq!(listed, explicit);
            }
        }
    }
}
