//! What the sandbox's agent sees, and what becomes of what it says.

use std::time::{Duration, Instant};

use playhouse_protocol::agent::{AgentFrame, Change, Content, Node, NodeFrame};
use uuid::Uuid;

use super::world::{Agent, Listener, World, content, file, paths, until};
use crate::actors::{
    Caller, Code, Role,
    process::{ProcessAnswer, ProcessCommand},
    sandbox::{SandboxCommand, SandboxMessage},
    session::SessionMessage,
    views::{ProcessStatus, RunCommand, SandboxStatus},
    workspace::{Programs, RunRequest, SaveOutcome, WorkspaceAnswer, WorkspaceCommand, WorkspaceMessage, WorkspaceRef},
};
use playhouse_protocol::client::ServerMessage;

async fn sandbox(workspace: &WorkspaceRef, caller: &Caller) -> Uuid {
    let ensure = WorkspaceCommand::EnsureSandbox { instance_type: None };
    match workspace.command(caller, ensure, None).await.unwrap() {
        WorkspaceAnswer::Sandbox { sandbox, .. } => sandbox.id,
        other => panic!("{other:?}"),
    }
}

async fn run(workspace: &WorkspaceRef, caller: &Caller) -> (Uuid, Uuid) {
    let request =
        RunRequest { command: RunCommand::Line("ls".into()), pty: None, env: Vec::new(), cwd: "/workspace".into() };
    match workspace.command(caller, WorkspaceCommand::Run(request), None).await.unwrap() {
        WorkspaceAnswer::Ran { process_id, sandbox_id } => (process_id, sandbox_id),
        other => panic!("{other:?}"),
    }
}

/// Takes what a stream begins with; says the environment's bytes and the tree's paths.
async fn begin(agent: &mut Agent, fresh: bool) -> (Vec<u8>, Vec<String>) {
    let NodeFrame::Settings(settings) = agent.next().await else { panic!("settings come first") };
    assert_eq!(settings.fresh, fresh);
    let mut environment = Vec::new();
    let mut whole = !fresh;
    while !whole {
        let NodeFrame::Environment { bytes, last, .. } = agent.next().await else { panic!("then the environment") };
        environment.extend(bytes);
        whole = last;
    }
    let mut paths = Vec::new();
    loop {
        let NodeFrame::Manifest { entries, last, .. } = agent.next().await else { panic!("then the tree") };
        paths.extend(entries.into_iter().map(|entry| entry.path));
        if last {
            return (environment, paths);
        }
    }
}

fn put(path: &str, bytes: &[u8]) -> Change {
    let node = Node::File { hash: *blake3::hash(bytes).as_bytes(), size: bytes.len() as u64, executable: false };
    Change::Put { path: path.into(), node, content: Some(Content::Inline(bytes.into())) }
}

async fn report(agent: &mut Agent, batch: u64, changes: Vec<Change>) -> (u64, Vec<(String, String)>) {
    agent.says(AgentFrame::Report { batch, changes, left_out: Vec::new() }).await;
    loop {
        if let NodeFrame::Reported { batch: of, version, refused } = agent.at_once().await
            && of == batch
        {
            return (version, refused);
        }
    }
}

#[tokio::test]
async fn a_run_waits_for_the_tree_and_sees_every_write_before_it() {
    let mut world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    file(&workspace, &ann, "/a", "one").await;
    let (first, sandbox_id) = run(&workspace, &ann).await;
    let mut agent = Agent::link(&workspace, 1, sandbox_id, false).await;
    assert_eq!(begin(&mut agent, true).await, (Vec::new(), vec!["/a".to_owned()]));
    let wanted = *blake3::hash(b"one").as_bytes();
    agent.says(AgentFrame::Want { hashes: vec![wanted, [7; 32]] }).await;
    let got = agent.next().await;
    let NodeFrame::Wanted { hash, bytes, last: true, failed: false, .. } = got else { panic!("{got:?}") };
    assert_eq!((hash, bytes.as_slice()), (wanted, &b"one"[..]));
    assert!(matches!(agent.next().await, NodeFrame::Wanted { failed: true, last: true, .. }));
    let big = "x".repeat(300_000);
    file(&workspace, &ann, "/big", &big).await;
    let (second, same) = run(&workspace, &ann).await;
    assert_eq!(same, sandbox_id);
    assert!(agent.rests().await, "nothing starts before the agent is ready");
    agent.says(AgentFrame::Ready { notes: vec![] }).await;
    assert!(matches!(agent.next().await, NodeFrame::Start(start) if start.process_id == first));
    let mut pieces = 0;
    loop {
        match agent.next().await {
            NodeFrame::Content { bytes, .. } => pieces += bytes.len(),
            NodeFrame::Push { changes, .. } => {
                assert!(
                    matches!(&changes[..], [Change::Put { path, content: Some(Content::Transfer(_)), .. }] if path == "/big")
                );
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pieces, big.len());
    assert!(matches!(agent.next().await, NodeFrame::Start(start) if start.process_id == second));

    // Another node: what was not started yet is started there, and the tree shown again.
    world.crash().await;
    let again = world.again(&workspace);
    let mut agent = Agent::link(&again, 2, sandbox_id, true).await;
    assert_eq!(begin(&mut agent, false).await.1, ["/a", "/big"]);
    let started = [agent.next().await, agent.next().await];
    for (frame, id) in started.iter().zip([first, second]) {
        assert!(matches!(frame, NodeFrame::Start(start) if start.process_id == id), "{frame:?}");
    }
    let list = WorkspaceCommand::Processes(crate::actors::PageRequest { limit: 1, cursor: None });
    let WorkspaceAnswer::Processes(page) = again.command(&ann, list, None).await.unwrap() else { panic!() };
    assert_eq!((page.items, page.next_cursor.is_some()), (vec![first], true));
}

#[tokio::test]
async fn what_the_agent_lacks_is_pushed_as_it_stands() {
    let world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    for path in ["/d/a", "/d/e/b", "/d-", "/other"] {
        file(&workspace, &ann, path, path).await;
    }
    let sandbox_id = sandbox(&workspace, &ann).await;
    let mut agent = Agent::link(&workspace, 1, sandbox_id, true).await;
    begin(&mut agent, false).await;
    let paths = ["/gone", "/d", "/d-", "/d/e/b", "/d/../x", "/d/e"].map(str::to_owned).to_vec();
    agent.says(AgentFrame::Lacking { paths }).await;
    let NodeFrame::Push { changes, .. } = agent.next().await else { panic!("a push") };
    let pushed: Vec<(String, bool)> = changes
        .into_iter()
        .map(|change| match change {
            Change::Put { path, content, .. } => (path, content.is_some()),
            Change::Remove { path } => (format!("-{path}"), false),
            Change::Move { .. } => panic!("nothing moved"),
        })
        .collect();
    let expected = [("/d", false), ("/d/a", true), ("/d/e", false), ("/d/e/b", true), ("/d-", true), ("-/gone", false)];
    assert_eq!(pushed, expected.map(|(path, content)| (path.to_owned(), content)));
}

#[tokio::test]
async fn what_the_agent_reports_is_the_tree() {
    let mut world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    file(&workspace, &ann, "/old", "x").await;
    let sandbox_id = sandbox(&workspace, &ann).await;
    let mut agent = Agent::link(&workspace, 1, sandbox_id, false).await;
    begin(&mut agent, true).await;
    agent.says(AgentFrame::Ready { notes: vec![] }).await;
    let mut listener = Listener::new(1).await;
    listener.attach(&workspace, &ann, sandbox_id).await.unwrap();

    let large = vec![7_u8; 200_000];
    agent.says(AgentFrame::Upload { transfer: 1, bytes: large[..100_000].to_vec() }).await;
    agent.says(AgentFrame::Upload { transfer: 1, bytes: large[100_000..].to_vec() }).await;
    agent.says(AgentFrame::Upload { transfer: 2, bytes: vec![0; 10] }).await;
    agent.says(AgentFrame::UploadVoid { transfer: 2 }).await;
    let node =
        |bytes: &[u8]| Node::File { hash: *blake3::hash(bytes).as_bytes(), size: bytes.len() as u64, executable: true };
    let by = |path: &str, bytes: &[u8], transfer| Change::Put {
        path: path.into(),
        node: node(bytes),
        content: Some(Content::Transfer(transfer)),
    };
    let lie =
        Change::Put { path: "/lie".into(), node: node(b"truth"), content: Some(Content::Inline(b"lies!".into())) };
    let changes = vec![
        put("/new/file", b"content"),
        by("/large", &large, 1),
        by("/void", &[0; 10], 2),
        lie,
        Change::Remove { path: "/old".into() },
        put("/../etc/passwd", b"x"),
        put("/target/debug/x", b"x"),
        Change::Put { path: "/link".into(), node: Node::Symlink { target: "../..".into() }, content: None },
        Change::Move { from: "/a".into(), to: "/b".into() },
    ];
    let (version, refused) = report(&mut agent, 1, changes.clone()).await;
    let refused: Vec<(&str, &str)> = refused.iter().map(|(path, why)| (path.as_str(), why.as_str())).collect();
    let expected = [
        ("/void", "content_missing"),
        ("/lie", "content_differs"),
        ("/../etc/passwd", "path_invalid"),
        ("/target/debug/x", "generated_folder"),
        ("/a", "move_unexpected"),
    ];
    assert_eq!(refused, expected);
    let all = ["/large", "/link", "/new", "/new/file"];
    assert_eq!(paths(&workspace, &ann).await, all);
    assert_eq!(content(&workspace, &ann, "/new/file").await, "content");
    listener
        .hears("what changed", |message| match message {
            SessionMessage::Say(ServerMessage::Files { version: v, changed, removed, .. }) if *v == version => {
                assert_eq!((changed.len(), removed.as_slice()), (4, &["/old".to_owned()][..]));
                Some(())
            }
            _ => None,
        })
        .await;
    assert!(agent.rests().await, "what the agent reported is not pushed back to it");

    // The same batch again is answered again and not done again, on a new node too.
    assert_eq!(report(&mut agent, 1, changes.clone()).await.0, version);
    world.crash().await;
    let again = world.again(&workspace);
    let mut agent = Agent::link(&again, 2, sandbox_id, true).await;
    begin(&mut agent, false).await;
    assert_eq!(report(&mut agent, 1, changes).await.0, version);
    assert_eq!(paths(&again, &ann).await, all);
    let mode = Change::Put { path: "/new/file".into(), node: node(b"content"), content: None };
    assert_eq!(report(&mut agent, 2, vec![mode]).await, (version + 1, vec![]));
    let over = vec![put("/new", b"a file now"), put("/link/below", b"x")];
    assert_eq!(report(&mut agent, 3, over).await, (version + 2, vec![]));
    assert_eq!(paths(&again, &ann).await, ["/large", "/link", "/link/below", "/new"]);
}

#[tokio::test]
async fn ten_thousand_files_come_in_quickly() {
    let mut world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    let sandbox_id = sandbox(&workspace, &ann).await;
    let mut agent = Agent::link(&workspace, 1, sandbox_id, false).await;
    begin(&mut agent, true).await;
    agent.says(AgentFrame::Ready { notes: vec![] }).await;
    let began = Instant::now();
    for batch in 0..25_u64 {
        let changes =
            (0..400).map(|n| put(&format!("/repo/d{batch}/f{n}"), format!("{batch}-{n}").repeat(100).as_bytes()));
        assert_eq!(report(&mut agent, batch + 1, changes.collect()).await.1, []);
    }
    let took = began.elapsed();
    eprintln!("10 000 files in {took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    world.crash().await;
    let began = Instant::now();
    assert_eq!(paths(&world.again(&workspace), &ann).await.len(), 10_026);
    eprintln!("loaded and listed in {:?}", began.elapsed());
}

#[tokio::test]
async fn saving_keeps_the_environment_for_the_next_sandbox() {
    let world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    let (process_id, sandbox_id) = run(&workspace, &ann).await;
    let mut agent = Agent::link(&workspace, 1, sandbox_id, false).await;
    begin(&mut agent, true).await;
    agent.says(AgentFrame::Ready { notes: vec![] }).await;
    assert!(matches!(agent.next().await, NodeFrame::Start(_)));
    let mut listener = Listener::new(1).await;
    let attached = listener.attach(&workspace, &ann, sandbox_id).await.unwrap();
    assert_eq!(attached.processes, [process_id]);

    workspace.cast(WorkspaceMessage::Save { sandbox_id, number: 1, programs: Programs::Stop }).await.unwrap();
    let tag = loop {
        if let NodeFrame::Flush { tag } = agent.at_once().await {
            break tag;
        }
    };
    report(&mut agent, 1, vec![put("/last", b"words")]).await;
    agent.says(AgentFrame::Flushed { tag }).await;
    let NodeFrame::Pack { tag } = agent.at_once().await else { panic!() };
    let pack = b"a pack".repeat(100_000);
    let halves = pack.chunks(200_000).collect::<Vec<_>>();
    let mut offset = 0;
    for (n, half) in halves.iter().enumerate() {
        let last = n + 1 == halves.len();
        let (bytes, left_out) = (half.to_vec(), Vec::new());
        agent.says(AgentFrame::Environment { tag, offset, bytes, last, left_out }).await;
        offset += half.len() as u64;
    }
    until("the environment's row", async || {
        let partition = crate::store::Partition::new(crate::store::Kind::Workspace, workspace.id());
        world.store.metadata.row(partition, "environment").await.unwrap()
    })
    .await;

    // The sandbox ends: its process ends with the sandbox's reason, then its sessions.
    let sandbox = world.node.sandbox(sandbox_id);
    let ended =
        sandbox.call(|reply| SandboxMessage::Command { role: Role::Owner, command: SandboxCommand::Status, reply });
    let mut view = ended.await.unwrap().unwrap();
    (view.status, view.reason) = (SandboxStatus::Terminated, Some("idle".into()));
    workspace.cast(WorkspaceMessage::SandboxChanged(view)).await.unwrap();
    listener.hears("the sandbox's end", |m| matches!(m, SessionMessage::SandboxEnded).then_some(())).await;
    let get = world.node.process(process_id).command(&ann, ProcessCommand::Get, None).await.unwrap();
    let ProcessAnswer::Process(process) = get else { panic!() };
    assert_eq!((process.status, process.reason.as_deref()), (ProcessStatus::Failed, Some("idle")));
    let mut late = Listener::new(2).await;
    let attached = late.attach(&workspace, &ann, sandbox_id).await.unwrap();
    assert_eq!((attached.status, attached.processes), (SandboxStatus::Terminated, vec![process_id]));
    late.hears("the sandbox's end", |m| matches!(m, SessionMessage::SandboxEnded).then_some(())).await;

    let (_, next) = run(&workspace, &ann).await;
    assert_ne!(next, sandbox_id);
    let mut agent = Agent::link(&workspace, 2, next, false).await;
    assert_eq!(begin(&mut agent, true).await, (pack, vec!["/last".to_owned()]));
}

#[tokio::test]
async fn an_unfilled_or_absent_sandbox_is_not_saved() {
    let world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    let sandbox_id = sandbox(&workspace, &ann).await;
    let mut agent = Agent::link(&workspace, 1, sandbox_id, false).await;
    begin(&mut agent, true).await;
    workspace.cast(WorkspaceMessage::Save { sandbox_id, number: 1, programs: Programs::Stop }).await.unwrap();
    agent.says(AgentFrame::Environment { tag: 1, offset: 0, bytes: vec![1], last: true, left_out: vec![] }).await;
    // Commands are taken in order: by now the frame was, too.
    assert_eq!(paths(&workspace, &ann).await, [] as [&str; 0]);
    let partition = crate::store::Partition::new(crate::store::Kind::Workspace, workspace.id());
    assert_eq!(world.store.metadata.row(partition, "environment").await.unwrap(), None);
    assert_ne!(SaveOutcome::Saved, SaveOutcome::Failed(String::new()));
}

#[tokio::test]
async fn two_racing_runs_get_one_sandbox_and_a_key_gets_one_process() {
    let world = World::new().await;
    let ann = world.user("ann").await;
    let workspace = world.workspace(&ann).await;
    let ((_, one), (_, two)) = tokio::join!(run(&workspace, &ann), run(&workspace, &ann));
    assert_eq!(one, two);
    let keyed = async || {
        let request =
            RunRequest { command: RunCommand::Argv(vec!["ls".into()]), pty: None, env: vec![], cwd: "/".into() };
        let key = super::world::key("k", "f");
        workspace.command(&ann, WorkspaceCommand::Run(request), key).await.unwrap()
    };
    let (one, two) = tokio::join!(keyed(), keyed());
    assert_eq!(one, two);
    let list = WorkspaceCommand::Processes(crate::actors::PageRequest { limit: 10, cursor: None });
    let WorkspaceAnswer::Processes(page) = workspace.command(&ann, list, None).await.unwrap() else { panic!() };
    assert_eq!(page.items.len(), 3);
    let bad = RunRequest { command: RunCommand::Line(" ".into()), pty: None, env: vec![], cwd: "/".into() };
    let refused = workspace.command(&ann, WorkspaceCommand::Run(bad), None).await.unwrap_err();
    assert_eq!(refused.code, Code::BodyInvalid);
}
