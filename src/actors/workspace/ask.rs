//! Commands: whether the caller may, what is decided, and the answer.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::RngCore;

use super::{
    WorkspaceAnswer, WorkspaceCommand,
    actor::Shell,
    files::Limits,
    land::{Answer, Asked},
    lives::Wish,
    own::TaskResult,
    rows::{self, MadeUnder},
    runs,
    state::{Decision, State},
};
use crate::{
    actors::{Code, Refused, Role, quota::Quota, tenant::UserRow},
    clock,
    store::blobs::BlobRef,
};

/// What a command needs (`None`: nothing, its own secret is enough), and what is not there for somebody who may not see
/// the workspace.
const fn needed(command: &WorkspaceCommand) -> (Option<Role>, Code) {
    match command {
        WorkspaceCommand::Create { .. } => (None, Code::WorkspaceNotFound),
        WorkspaceCommand::AcceptLink { .. } => (None, Code::LinkNotFound),
        WorkspaceCommand::Get
        | WorkspaceCommand::Members(_)
        | WorkspaceCommand::Files { .. }
        | WorkspaceCommand::Processes(_) => (Some(Role::View), Code::WorkspaceNotFound),
        WorkspaceCommand::File { .. } => (Some(Role::View), Code::FileNotFound),
        WorkspaceCommand::CreateFiles { .. } | WorkspaceCommand::Run(_) | WorkspaceCommand::EnsureSandbox { .. } => {
            (Some(Role::Edit), Code::WorkspaceNotFound)
        }
        WorkspaceCommand::PutFile { .. } | WorkspaceCommand::MoveFile { .. } | WorkspaceCommand::DeleteFile { .. } => {
            (Some(Role::Edit), Code::FileNotFound)
        }
        WorkspaceCommand::Update { .. }
        | WorkspaceCommand::Delete
        | WorkspaceCommand::PutMember { .. }
        | WorkspaceCommand::RemoveMember { .. }
        | WorkspaceCommand::CreateLink { .. }
        | WorkspaceCommand::Links(_)
        | WorkspaceCommand::RemoveLink { .. } => (Some(Role::Owner), Code::WorkspaceNotFound),
    }
}

/// The content that was stored for a command before it came here.
fn staged(command: &WorkspaceCommand) -> Vec<BlobRef> {
    match command {
        WorkspaceCommand::CreateFiles { files, .. } => files.iter().filter_map(|file| file.content.clone()).collect(),
        WorkspaceCommand::PutFile { content, .. } => vec![content.clone()],
        WorkspaceCommand::Create { .. }
        | WorkspaceCommand::Get
        | WorkspaceCommand::Update { .. }
        | WorkspaceCommand::Delete
        | WorkspaceCommand::Members(_)
        | WorkspaceCommand::PutMember { .. }
        | WorkspaceCommand::RemoveMember { .. }
        | WorkspaceCommand::CreateLink { .. }
        | WorkspaceCommand::Links(_)
        | WorkspaceCommand::RemoveLink { .. }
        | WorkspaceCommand::AcceptLink { .. }
        | WorkspaceCommand::Files { .. }
        | WorkspaceCommand::File { .. }
        | WorkspaceCommand::MoveFile { .. }
        | WorkspaceCommand::DeleteFile { .. }
        | WorkspaceCommand::Run(_)
        | WorkspaceCommand::Processes(_)
        | WorkspaceCommand::EnsureSandbox { .. } => Vec::new(),
    }
}

impl Shell {
    /// Takes a command.
    pub(super) async fn command(&mut self, asked: Asked, command: WorkspaceCommand) {
        // What stays unnamed of it goes; what the tree names by then is spared.
        let staged = staged(&command);
        self.decide(asked, command).await;
        self.bury_unnamed(staged);
    }

    fn bury_unnamed(&mut self, staged: Vec<BlobRef>) {
        if staged.is_empty() || self.broken {
            return;
        }
        let named = |state: &State, blob: &BlobRef| {
            state.tree.iter().any(|(_, entry)| entry.row.node.blob().is_some_and(|named| named.key == blob.key))
        };
        let unnamed = match (&self.state, staged.first()) {
            // All of a command's content is named, or none of it.
            (Some(state), Some(first)) => !named(state, first),
            (None, _) | (_, None) => true,
        };
        if unnamed {
            self.bury(staged);
        }
    }

    async fn decide(&mut self, asked: Asked, command: WorkspaceCommand) {
        if let WorkspaceCommand::Create { name, template } = command {
            return self.create(asked, name, template).await;
        }
        let now = clock::now();
        let role = self.state.as_ref().and_then(|state| state.role(&asked.caller, now));
        let deleting = self.state.as_ref().is_none_or(|state| state.meta.deleting);
        let (needed, missing) = needed(&command);
        if deleting || (needed.is_some() && role.is_none()) {
            return self.reply(asked, Err(missing.into()), false);
        }
        let Some(asked) = self.answered_before(asked) else { return };
        if let Some(needed) = needed
            && role.is_none_or(|role| role < needed)
        {
            let why = format!("this needs the role {}", needed.as_str());
            return self.reply(asked, Err(Refused::new(Code::NotPermitted, why)), false);
        }
        match self.read(&command, role) {
            Some(answer) => self.reply(asked, answer, false),
            None => self.write(asked, command).await,
        }
    }

    /// Answers what changes nothing; `None` for what does.
    fn read(&self, command: &WorkspaceCommand, role: Option<Role>) -> Option<Answer> {
        let state = self.state.as_ref()?;
        Some(match command {
            WorkspaceCommand::Get => Ok(WorkspaceAnswer::Workspace(state.view(role?))),
            WorkspaceCommand::Members(page) => state.members(page).map(WorkspaceAnswer::Members),
            WorkspaceCommand::Links(page) => {
                state.links(page, &self.node.settings.public_url).map(WorkspaceAnswer::Links)
            }
            WorkspaceCommand::Files { prefix, all, page, unless } => {
                let version = state.meta.tree_version;
                if *unless == Some(version) {
                    Ok(WorkspaceAnswer::Tree { version, files: None })
                } else {
                    let files = state.files(prefix, *all, page.as_ref());
                    files.map(|files| WorkspaceAnswer::Tree { version, files: Some(files) })
                }
            }
            WorkspaceCommand::File { id } => state.file(*id),
            WorkspaceCommand::Processes(page) => state.listed(page).map(WorkspaceAnswer::Processes),
            WorkspaceCommand::Create { .. }
            | WorkspaceCommand::Update { .. }
            | WorkspaceCommand::Delete
            | WorkspaceCommand::PutMember { .. }
            | WorkspaceCommand::RemoveMember { .. }
            | WorkspaceCommand::CreateLink { .. }
            | WorkspaceCommand::RemoveLink { .. }
            | WorkspaceCommand::AcceptLink { .. }
            | WorkspaceCommand::CreateFiles { .. }
            | WorkspaceCommand::PutFile { .. }
            | WorkspaceCommand::MoveFile { .. }
            | WorkspaceCommand::DeleteFile { .. }
            | WorkspaceCommand::Run(_)
            | WorkspaceCommand::EnsureSandbox { .. } => return None,
        })
    }

    async fn write(&mut self, asked: Asked, command: WorkspaceCommand) {
        let now = clock::now();
        let max_upload = self.node.settings.max_upload;
        let public_url = self.node.settings.public_url.clone();
        let Some(state) = self.state.as_mut() else { return };
        let limits = Limits { max_upload, tree_bytes: Quota::of(state.tier(&asked.caller)).tree_bytes };
        let decision = match command {
            WorkspaceCommand::Update { name, sharing_mode } => state.update(name, sharing_mode, now),
            WorkspaceCommand::Delete => return self.remove(asked).await,
            WorkspaceCommand::PutMember { user, role } => return self.find_user(asked, user, Some(role)),
            WorkspaceCommand::RemoveMember { user } => match state.member(&user) {
                Some(user) => Ok(state.remove_member(user)),
                None => return self.find_user(asked, user, None),
            },
            WorkspaceCommand::CreateLink { role, ttl_seconds } => {
                let mut secret = [0_u8; 24];
                rand::rng().fill_bytes(&mut secret);
                state.create_link(role, ttl_seconds, BASE64_URL_SAFE_NO_PAD.encode(secret), &public_url, now)
            }
            WorkspaceCommand::RemoveLink { id } => state.remove_links(&[id]).ok_or_else(|| Code::LinkNotFound.into()),
            WorkspaceCommand::AcceptLink { id, secret } => state.accept_link(id, &secret, &asked.caller, now),
            WorkspaceCommand::CreateFiles { files, overwrite } => state.create_files(files, overwrite, &limits, now),
            WorkspaceCommand::PutFile { id, content, if_match } => {
                state.put_file(id, content, if_match.as_deref(), &limits, now)
            }
            WorkspaceCommand::MoveFile { id, path, if_match } => state.move_file(id, &path, if_match.as_deref(), now),
            WorkspaceCommand::DeleteFile { id, if_match } => state.delete_file(id, if_match.as_deref(), now),
            WorkspaceCommand::Run(request) => match runs::check(&request) {
                Ok(()) => return self.wish(asked, Wish::Run(Box::new(request))).await,
                Err(refused) => Err(refused),
            },
            WorkspaceCommand::EnsureSandbox { instance_type } => {
                let known = |name: &String| self.node.settings.instance_types.iter().any(|known| known.name == *name);
                if instance_type.as_ref().is_none_or(known) {
                    return self.wish(asked, Wish::Sandbox(instance_type)).await;
                }
                Err(Code::InstanceTypeUnknown.into())
            }
            WorkspaceCommand::Create { .. }
            | WorkspaceCommand::Get
            | WorkspaceCommand::Members(_)
            | WorkspaceCommand::Links(_)
            | WorkspaceCommand::Files { .. }
            | WorkspaceCommand::File { .. }
            | WorkspaceCommand::Processes(_) => return,
        };
        self.conclude(asked, decision).await;
    }

    async fn conclude(&mut self, asked: Asked, decision: Result<Decision, Refused>) {
        let answer = match decision {
            Ok(decision) => self.land(decision, Some(&asked)).await,
            Err(refused) => Err(refused),
        };
        self.answer(asked, answer).await;
    }

    async fn create(&mut self, asked: Asked, name: String, template: Option<String>) {
        let now = clock::now();
        let made_before = match (&self.state, &self.gone) {
            (Some(state), _) => Some((state.meta.owner.user_id, state.meta.made_under.as_ref())),
            (None, Some(gone)) => Some((gone.owner_id, gone.made_under.as_ref())),
            (None, None) => None,
        };
        if let Some((owner, made_under)) = made_before {
            // The id is derived from user and key, so whoever else comes to it has guessed it.
            let answer = match (made_under, &asked.idempotency) {
                (Some(made), Some(asks)) if owner == asked.caller.user_id && made.fingerprint == asks.fingerprint => {
                    Ok(made.answer.clone())
                }
                (Some(_), Some(_)) if owner == asked.caller.user_id => Err(Code::IdempotencyKeyReused.into()),
                (_, _) => Err(Code::WorkspaceNotFound.into()),
            };
            return self.reply(asked, answer, true);
        }
        let mut state = match State::create(self.id, &asked.caller, name, template.as_deref(), now) {
            Ok(state) => state,
            Err(refused) => return self.reply(asked, Err(refused), false),
        };
        // Only made when it may be: whoever makes many at once may have that many more than the quota.
        let tenant = self.node.tenant(asked.caller.org_id);
        if let Err(refused) = tenant.room_for_workspace(&asked.caller).await {
            return self.reply(asked, Err(refused), false);
        }
        let answer = WorkspaceAnswer::Workspace(state.view(Role::Owner));
        state.meta.made_under = asked
            .idempotency
            .as_ref()
            .map(|asks| MadeUnder { fingerprint: asks.fingerprint.clone(), answer: answer.clone() });
        let mut decision = Decision::answer(answer);
        decision.commit.put_json(rows::META, &state.meta);
        decision.access = Some(state.access.clone());
        self.state = Some(Box::new(state));
        let answer = self.land(decision, None).await;
        if answer.is_err() {
            self.state = None;
        }
        self.answer(asked, answer).await;
    }

    fn find_user(&mut self, asked: Asked, user: String, role: Option<Role>) {
        let Some(org) = self.state.as_ref().map(|state| state.meta.owner.org_id) else { return };
        self.in_flight(&asked);
        let tenant = self.node.tenant(org);
        self.spawn(async move {
            let user = tenant.find_user(&user).await;
            TaskResult::UserFound { asked, role, user }
        });
    }

    /// The user that a membership is about was looked up.
    pub(super) async fn user_found(
        &mut self,
        asked: Asked,
        role: Option<Role>,
        user: Result<Option<UserRow>, Refused>,
    ) {
        let now = clock::now();
        let decision = match (&self.state, user) {
            (None, _) => Err(Code::WorkspaceNotFound.into()),
            // What the caller may do may have changed meanwhile.
            (Some(state), _) if state.role(&asked.caller, now) != Some(Role::Owner) => Err(Code::NotPermitted.into()),
            (Some(_), Err(refused)) => Err(refused),
            (Some(_), Ok(None)) => Err(Code::UserNotFound.into()),
            (Some(state), Ok(Some(user))) => match role {
                Some(role) => state.put_member(&user, role),
                None if state.access.members.contains_key(&user.id) => Ok(state.remove_member(user.id)),
                None => Err(Code::MemberNotFound.into()),
            },
        };
        self.conclude(asked, decision).await;
    }
}
