//! What is decided about a workspace's name and mode, its members and its links.

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    WorkspaceAnswer,
    access::{Access, LINK_TTL_SECONDS, Link, Member},
    rows::{self, Meta},
    state::{Decision, State, check_name},
};
use crate::actors::{
    Caller, Code, PageRequest, Paged, Refused, Role, paging,
    tenant::UserRow,
    views::{LinkView, MemberView, SharingMode},
};

fn grantable(role: Role) -> Result<Role, Refused> {
    match role {
        Role::View | Role::Edit => Ok(role),
        Role::Owner => Err(Refused::new(Code::BodyInvalid, "`role` is `view` or `edit`")),
    }
}

impl State {
    /// Renames it, or opens or closes it.
    ///
    /// # Errors
    /// `name_invalid`.
    pub fn update(
        &self,
        name: Option<String>,
        sharing_mode: Option<SharingMode>,
        now: OffsetDateTime,
    ) -> Result<Decision, Refused> {
        if let Some(name) = &name {
            check_name(name)?;
        }
        let mut meta = Meta { updated_at: now, ..self.meta.clone() };
        meta.name = name.unwrap_or(meta.name);
        meta.sharing_mode = sharing_mode.unwrap_or(meta.sharing_mode);
        let mut view = self.view(Role::Owner);
        view.name.clone_from(&meta.name);
        view.sharing_mode = meta.sharing_mode;
        view.updated_at = now;
        let mut decision = Decision::answer(WorkspaceAnswer::Workspace(view));
        if meta.sharing_mode != self.meta.sharing_mode {
            decision.access = Some(Access { mode: meta.sharing_mode, ..self.access.clone() });
        }
        decision.commit.put_json(rows::META, &meta);
        decision.meta = Some(meta);
        Ok(decision)
    }

    /// Its members, by name.
    ///
    /// # Errors
    /// `cursor_invalid`.
    pub fn members(&self, page: &PageRequest) -> Result<Paged<MemberView>, Refused> {
        let list = format!("members/{}", self.id);
        let after = paging::after(&list, page)?;
        let key = |member: &MemberView| format!("{}\0{}", member.name, member.user_id);
        let mut members: Vec<MemberView> = self.access.members.values().map(Member::view).collect();
        members.sort_by_cached_key(key);
        let rest = members.into_iter().filter(|member| after.as_ref().is_none_or(|after| key(member) > *after));
        Ok(paging::cut(&list, rest, page.limit, key))
    }

    /// Makes a user a member, or changes what it may do.
    ///
    /// # Errors
    /// `body_invalid`, `quota_exceeded`.
    pub fn put_member(&self, user: &UserRow, role: Role) -> Result<Decision, Refused> {
        let org_id = self.meta.owner.org_id;
        let member = Member { user_id: user.id, name: user.name.clone(), org_id, role: grantable(role)? };
        let mut access = self.access.clone();
        let view = access.put_member(member.clone())?;
        let mut decision = Decision::answer(WorkspaceAnswer::Member(view));
        decision.commit.put_json(rows::member(user.id), &member);
        decision.access = Some(access);
        Ok(decision)
    }

    /// The member with this id or name.
    #[must_use]
    pub fn member(&self, user: &str) -> Option<Uuid> {
        let by_name = self.access.members.values().find(|member| member.name == user);
        let by_id = || user.parse::<Uuid>().ok().filter(|id| self.access.members.contains_key(id));
        by_name.map(|member| member.user_id).or_else(by_id)
    }

    /// Makes a member none.
    #[must_use]
    pub fn remove_member(&self, user: Uuid) -> Decision {
        let mut access = self.access.clone();
        access.members.remove(&user);
        let mut decision = Decision::answer(WorkspaceAnswer::Done);
        decision.commit.delete(rows::member(user));
        decision.access = Some(access);
        decision
    }

    /// Its links, oldest first.
    ///
    /// # Errors
    /// `cursor_invalid`.
    pub fn links(&self, page: &PageRequest, public_url: &str) -> Result<Paged<LinkView>, Refused> {
        let list = format!("links/{}", self.id);
        let after = paging::after(&list, page)?;
        let links = self.access.links.values().map(|link| link.view(public_url, self.id));
        let rest = links.filter(|link| after.as_ref().is_none_or(|after| link.id.to_string() > *after));
        Ok(paging::cut(&list, rest, page.limit, |link| link.id.to_string()))
    }

    /// Makes a link with this secret.
    ///
    /// # Errors
    /// `body_invalid`, `quota_exceeded`.
    pub fn create_link(
        &self,
        role: Role,
        ttl_seconds: Option<u64>,
        secret: String,
        public_url: &str,
        now: OffsetDateTime,
    ) -> Result<Decision, Refused> {
        let expires_at = match ttl_seconds {
            None => None,
            Some(ttl) => {
                let ttl = i64::try_from(ttl).ok().filter(|ttl| (1..=LINK_TTL_SECONDS.cast_signed()).contains(ttl));
                let why = || Refused::new(Code::BodyInvalid, format!("`ttl_seconds` is 1 to {LINK_TTL_SECONDS}"));
                Some(now + Duration::seconds(ttl.ok_or_else(why)?))
            }
        };
        let link = Link { id: self.fresh_id(), secret, role: grantable(role)?, expires_at };
        let mut access = self.access.clone();
        access.put_link(link.clone())?;
        let mut decision = Decision::answer(WorkspaceAnswer::Link(link.view(public_url, self.id)));
        decision.commit.put_json(rows::link(link.id), &link);
        decision.access = Some(access);
        Ok(decision)
    }

    /// Removes links and all that they granted. `None` when there are none of these.
    #[must_use]
    pub fn remove_links(&self, ids: &[Uuid]) -> Option<Decision> {
        let mut access = self.access.clone();
        let mut decision = Decision::answer(WorkspaceAnswer::Done);
        let mut any = false;
        for id in ids {
            if access.remove_link(*id) {
                any = true;
                decision.commit.delete(rows::link(*id));
                let granted = self.access.grants.keys().filter(|(link, _)| link == id);
                decision.commit.deletes.extend(granted.map(|(link, user)| rows::grant(*link, *user)));
            }
        }
        decision.access = Some(access);
        any.then_some(decision)
    }

    /// Grants a link's role to the caller.
    ///
    /// # Errors
    /// `link_not_found`.
    pub fn accept_link(
        &self,
        id: Uuid,
        secret: &str,
        caller: &Caller,
        now: OffsetDateTime,
    ) -> Result<Decision, Refused> {
        let mut access = self.access.clone();
        let changed = access.accept(id, secret, caller, now)?;
        let role = access.role(caller, now).ok_or(Code::LinkNotFound)?;
        let mut decision = Decision::answer(WorkspaceAnswer::Workspace(self.view(role)));
        if let Some(grant) = access.grants.get(&(id, caller.user_id)).filter(|_| changed) {
            decision.commit.put_json(rows::grant(id, caller.user_id), grant);
            decision.access = Some(access);
        }
        Ok(decision)
    }
}
