//! What callers see.

use super::world::{Listener, World, content, file, key, paths, stage, try_files, until, view};
use crate::{
    actors::{
        Code, PageRequest, Role,
        sandbox::{SandboxCommand, SandboxMessage},
        tenant::org_id,
        views::{LinkView, SandboxView, SharingMode},
        workspace::{WorkspaceAnswer, WorkspaceCommand, WorkspaceRef},
    },
    store::metadata::{Kind, Partition},
};
use playhouse_protocol::{client::ServerMessage, ids};
use uuid::Uuid;

fn page() -> PageRequest {
    PageRequest { limit: 100, cursor: None }
}

async fn ensure(workspace: &WorkspaceRef, caller: &crate::actors::Caller) -> (SandboxView, bool) {
    let ensure = WorkspaceCommand::EnsureSandbox { instance_type: None };
    match workspace.command(caller, ensure, None).await.unwrap() {
        WorkspaceAnswer::Sandbox { sandbox, created } => (sandbox, created),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_id_leaves_nothing_behind() {
    let world = World::new().await;
    let ann = world.user("ann").await;
    let id = ids::fresh_workspace_id();
    assert_eq!(view(&world.node.workspace(id), &ann).await, Err(Code::WorkspaceNotFound));
    let status = |reply| SandboxMessage::Command { role: Role::Owner, command: SandboxCommand::Status, reply };
    let refused = world.node.sandbox(id).call(status).await.unwrap().unwrap_err();
    assert_eq!(refused.code, Code::SandboxNotFound);
    for kind in [Kind::Workspace, Kind::Sandbox] {
        let activate = async |id| {
            let activated = world.store.metadata.activate(Partition::new(kind, id), world.node.epoch).await;
            activated.unwrap().guard
        };
        assert_eq!(
            activate(id).await,
            activate(ids::fresh_workspace_id()).await,
            "{kind:?}: fenced for the first time"
        );
    }
}

#[tokio::test]
async fn a_workspace_is_its_owners_until_it_is_shared() {
    let world = World::new().await;
    let (ann, ben) = (world.user("ann").await, world.user("ben").await);
    let workspace = world.workspace(&ann).await;
    let tenant = world.node.tenant(org_id("default"));
    assert_eq!(tenant.workspaces(&ann, page()).await.unwrap().items, [workspace.id()], "it is listed at once");
    assert_eq!(view(&workspace, &ann).await.unwrap().role, Role::Owner);
    assert_eq!(view(&workspace, &ben).await, Err(Code::WorkspaceNotFound));

    let share = WorkspaceCommand::Update { name: Some("new".into()), sharing_mode: Some(SharingMode::View) };
    workspace.command(&ann, share, None).await.unwrap();
    let seen = view(&workspace, &ben).await.unwrap();
    assert_eq!((seen.name.as_str(), seen.role), ("new", Role::View));
    assert_eq!(tenant.workspaces(&ben, page()).await.unwrap().items, [workspace.id()]);
    let refused = try_files(&workspace, &ben, &[("/f", Some("x"))], false, None).await.unwrap_err();
    assert_eq!(refused.code, Code::NotPermitted);
    let far = world.user_of("other", "ben").await;
    assert_eq!(view(&workspace, &far).await, Err(Code::WorkspaceNotFound), "another organisation's");

    for name in ["", "  ", &"x".repeat(201)] {
        let create = WorkspaceCommand::Create { name: name.into(), template: None };
        let refused = world.node.workspace(ids::fresh_workspace_id()).command(&ann, create, None).await.unwrap_err();
        assert_eq!(refused.code, Code::NameInvalid);
    }
    let create = WorkspaceCommand::Create { name: "x".into(), template: Some("cobol".into()) };
    let refused = world.node.workspace(ids::fresh_workspace_id()).command(&ann, create, None).await.unwrap_err();
    assert_eq!(refused.code, Code::TemplateUnknown);
}

#[tokio::test]
async fn a_creation_is_done_once_per_key_and_outlives_a_deletion() {
    let mut world = World::new().await;
    let ann = world.user("ann").await;
    let id = ids::derived_workspace_id(ann.user_id, "k");
    let create = || WorkspaceCommand::Create { name: "w".into(), template: Some("rust".into()) };
    let first = world.node.workspace(id).command(&ann, create(), key("k", "f")).await.unwrap();
    assert_eq!(world.node.workspace(id).command(&ann, create(), key("k", "f")).await.unwrap(), first);
    world.crash().await;
    let workspace = world.node.workspace(id);
    assert_eq!(workspace.command(&ann, create(), key("k", "f")).await.unwrap(), first);
    assert_eq!(workspace.command(&ann, create(), key("k", "g")).await.unwrap_err().code, Code::IdempotencyKeyReused);
    file(&workspace, &ann, "/f", "x").await;
    workspace.command(&ann, WorkspaceCommand::Delete, None).await.unwrap();
    assert_eq!(view(&workspace, &ann).await, Err(Code::WorkspaceNotFound));
    let tenant = world.node.tenant(org_id("default"));
    assert!(tenant.workspaces(&ann, page()).await.unwrap().items.is_empty());
    until("the rows' end", async || {
        let partition = crate::store::Partition::new(crate::store::Kind::Workspace, id);
        let rows = world.store.metadata.scan(partition, "").await.unwrap();
        (rows.len() == 1 && rows[0].0 == "gone").then_some(())
    })
    .await;
    assert_eq!(workspace.command(&ann, create(), key("k", "f")).await.unwrap(), first);
    assert_eq!(view(&workspace, &ann).await, Err(Code::WorkspaceNotFound));
}

#[tokio::test]
async fn files_are_made_written_moved_and_removed_and_outlive_a_crash() {
    let mut world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    let made = file(&workspace, &ann, "/src/main.py", "one").await;
    assert_eq!(world.store.metadata.owner_of(made.id).await.unwrap(), Some(workspace.id()));
    let refusals = [
        ("/src/main.py", Code::PathExists),
        ("/src", Code::PathExists),
        ("/src/main.py/below", Code::NotADirectory),
        ("/a/node_modules/b", Code::GeneratedFolder),
        ("/a/../b", Code::PathInvalid),
    ];
    for (path, code) in refusals {
        let refused = try_files(&workspace, &ann, &[("/all-or-none", Some("x")), (path, Some("x"))], false, None).await;
        assert_eq!(refused.unwrap_err().code, code, "{path}");
    }
    assert_eq!(paths(&workspace, &ann).await, ["/src", "/src/main.py"]);

    let put = |content, if_match: Option<&str>| WorkspaceCommand::PutFile {
        id: made.id,
        content,
        if_match: if_match.map(str::to_owned),
    };
    let two = stage(&workspace, "two").await;
    let conflict = workspace.command(&ann, put(two.clone(), Some("\"nonsense\"")), None).await.unwrap_err();
    assert_eq!(conflict.code, Code::VersionConflict);
    let two = stage(&workspace, "two").await;
    let quoted = format!("\"{}\"", made.etag);
    let WorkspaceAnswer::File { file: after, .. } =
        workspace.command(&ann, put(two, Some(&quoted)), None).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((after.id, after.size, after.etag != made.etag), (made.id, 3, true));
    let big = stage(&workspace, vec![0_u8; (1 << 20) + 1]).await;
    assert_eq!(workspace.command(&ann, put(big, None), None).await.unwrap_err().code, Code::TooLarge);

    let directory = try_files(&workspace, &ann, &[("/d", None)], false, None).await.unwrap().remove(0);
    let onto = WorkspaceCommand::PutFile { id: directory.id, content: stage(&workspace, "x").await, if_match: None };
    assert_eq!(workspace.command(&ann, onto, None).await.unwrap_err().code, Code::IsADirectory);
    let (src, _) = (try_files(&workspace, &ann, &[("/src", None)], true, None).await.unwrap().remove(0), ());
    let moved = |path: &str| WorkspaceCommand::MoveFile { id: src.id, path: path.into(), if_match: None };
    assert_eq!(workspace.command(&ann, moved("/src/x"), None).await.unwrap_err().code, Code::PathInvalid);
    assert_eq!(workspace.command(&ann, moved("/d"), None).await.unwrap_err().code, Code::PathExists);
    assert_eq!(workspace.command(&ann, moved("/target/x"), None).await.unwrap_err().code, Code::GeneratedFolder);
    workspace.command(&ann, moved("/lib/src"), None).await.unwrap();
    let all = ["/d", "/lib", "/lib/src", "/lib/src/main.py"];
    assert_eq!(paths(&workspace, &ann).await, all);

    let old = world.crash().await;
    let again = world.again(&workspace);
    assert_eq!(paths(&again, &ann).await, all);
    assert_eq!(content(&again, &ann, "/lib/src/main.py").await, "two");
    // The old node's actor was fenced: it commits nothing, ends, and can't be started again.
    let late = old.workspace(workspace.id());
    let refused = try_files(&late, &ann, &[("/late", Some("x"))], false, None).await.unwrap_err();
    assert_eq!(refused.code, Code::Retry);
    assert_eq!(paths(&again, &ann).await, all);

    let delete = WorkspaceCommand::DeleteFile { id: src.id, if_match: Some("*".into()) };
    again.command(&ann, delete.clone(), None).await.unwrap();
    assert_eq!(again.command(&ann, delete, None).await.unwrap_err().code, Code::FileNotFound);
    assert_eq!(paths(&again, &ann).await, ["/d", "/lib"]);
    assert_eq!(world.store.metadata.owner_of(made.id).await.unwrap(), None);
}

#[tokio::test]
async fn listing_pages_and_hides_git() {
    let world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    let names: Vec<String> = (0..25).map(|n| format!("/f{n:02}")).collect();
    let files: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some("x"))).collect();
    try_files(&workspace, &ann, &files, false, None).await.unwrap();
    file(&workspace, &ann, "/.git/config", "x").await;
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest { limit: 10, cursor };
        let list = WorkspaceCommand::Files { prefix: "/".into(), all: false, page: Some(page), unless: None };
        let answer = workspace.command(&ann, list, None).await.unwrap();
        let WorkspaceAnswer::Tree { files: Some(files), .. } = answer else { panic!("{answer:?}") };
        seen.extend(files.items.into_iter().map(|file| file.path));
        cursor = files.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
}

#[tokio::test]
async fn a_post_is_done_once_per_key() {
    let mut world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    let make = async |workspace: &WorkspaceRef, fingerprint: &str| {
        try_files(workspace, &ann, &[("/f", Some("x"))], false, key("k", fingerprint)).await
    };
    let first = make(&workspace, "a").await.unwrap();
    assert_eq!(make(&workspace, "a").await.unwrap(), first);
    assert_eq!(make(&workspace, "b").await.unwrap_err().code, Code::IdempotencyKeyReused);
    let refused = try_files(&workspace, &ann, &[("/f", Some("x"))], false, key("l", "c")).await.unwrap_err();
    assert_eq!(refused.code, Code::PathExists);
    world.crash().await;
    let workspace = world.again(&workspace);
    assert_eq!(make(&workspace, "a").await.unwrap(), first);
    let delete = WorkspaceCommand::DeleteFile { id: first[0].id, if_match: None };
    workspace.command(&ann, delete, None).await.unwrap();
    let again = try_files(&workspace, &ann, &[("/f", Some("x"))], false, key("l", "c")).await.unwrap_err();
    assert_eq!(again.code, Code::PathExists, "a refusal that was given is given again");
}

#[tokio::test]
async fn members_and_links_come_and_go_and_open_sockets_hear_it() {
    let world = World::new().await;
    let (ann, ben, cat) = (world.user("ann").await, world.user("ben").await, world.user_of("far", "cat").await);
    let workspace = world.workspace(&ann).await;
    let put = |user: &str, role| WorkspaceCommand::PutMember { user: user.into(), role };
    assert_eq!(workspace.command(&ann, put("nobody", Role::View), None).await.unwrap_err().code, Code::UserNotFound);
    assert_eq!(workspace.command(&ann, put("ann", Role::View), None).await.unwrap_err().code, Code::BodyInvalid);
    workspace.command(&ann, put("ben", Role::Edit), None).await.unwrap();
    assert_eq!(workspace.command(&ben, put("ben", Role::Edit), None).await.unwrap_err().code, Code::NotPermitted);
    let tenant = world.node.tenant(org_id("default"));
    assert_eq!(tenant.workspaces(&ben, page()).await.unwrap().items, [workspace.id()]);

    let (sandbox, created) = ensure(&workspace, &ben).await;
    assert!(created);
    assert!(!ensure(&workspace, &ann).await.1);
    let (mut bens, mut cats) = (Listener::new(1).await, Listener::new(2).await);
    assert_eq!(bens.attach(&workspace, &ben, sandbox.id).await.unwrap().role, Role::Edit);
    assert!(bens.attach(&workspace, &ben, Uuid::nil()).await.is_err());
    assert!(cats.attach(&workspace, &cat, sandbox.id).await.is_err());

    let link = async |ttl_seconds| -> LinkView {
        let make = WorkspaceCommand::CreateLink { role: Role::Edit, ttl_seconds };
        match workspace.command(&ann, make, None).await.unwrap() {
            WorkspaceAnswer::Link(link) => link,
            other => panic!("{other:?}"),
        }
    };
    let accept = |link: &LinkView| WorkspaceCommand::AcceptLink {
        id: link.id,
        secret: link.url.rsplit_once('/').unwrap().1.into(),
    };
    let first = link(None).await;
    assert!(first.url.starts_with(&format!("http://play.test/share/{}/{}/", workspace.id(), first.id)));
    let wrong = WorkspaceCommand::AcceptLink { id: first.id, secret: "x".into() };
    assert_eq!(workspace.command(&cat, wrong, None).await.unwrap_err().code, Code::LinkNotFound);
    let WorkspaceAnswer::Workspace(seen) = workspace.command(&cat, accept(&first), None).await.unwrap() else {
        panic!()
    };
    assert_eq!(seen.role, Role::Edit);
    let far = world.node.tenant(org_id("far"));
    assert_eq!(far.workspaces(&cat, page()).await.unwrap().items, [workspace.id()]);
    assert_eq!(cats.attach(&workspace, &cat, sandbox.id).await.unwrap().role, Role::Edit);
    file(&workspace, &cat, "/from-cat", "x").await;
    bens.hears("a file's event", |message| match message {
        crate::actors::session::SessionMessage::Say(ServerMessage::Files { changed, .. }) => {
            (changed[0].path == "/from-cat").then_some(())
        }
        _ => None,
    })
    .await;

    workspace.command(&ann, WorkspaceCommand::RemoveLink { id: first.id }, None).await.unwrap();
    cats.hears_role(None).await;
    assert_eq!(view(&workspace, &cat).await, Err(Code::WorkspaceNotFound));
    assert!(far.workspaces(&cat, page()).await.unwrap().items.is_empty());

    let short = link(Some(1)).await;
    workspace.command(&cat, accept(&short), None).await.unwrap();
    cats.attach(&workspace, &cat, sandbox.id).await.unwrap();
    cats.hears_role(None).await;
    assert_eq!(workspace.command(&cat, accept(&short), None).await.unwrap_err().code, Code::LinkNotFound);

    workspace.command(&ann, put(&ben.user_id.to_string(), Role::View), None).await.unwrap();
    bens.hears_role(Some(Role::View)).await;
    let remove = |user: &str| WorkspaceCommand::RemoveMember { user: user.into() };
    workspace.command(&ann, remove("ben"), None).await.unwrap();
    bens.hears_role(None).await;
    assert_eq!(workspace.command(&ann, remove("ben"), None).await.unwrap_err().code, Code::MemberNotFound);
    assert_eq!(workspace.command(&ann, remove("nobody"), None).await.unwrap_err().code, Code::UserNotFound);
}
