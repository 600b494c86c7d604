//! A node without a host, its users, and what they ask.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use playhouse_protocol::{
    agent::{AgentFrame, NodeFrame},
    host::ToHost,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    actors::{
        Caller, Code, Idempotency, Node, Refused, Role,
        agent_link::{LinkRef, ORDERED_FRAMES},
        host::HostLink,
        node::{Parts, Settings},
        session::{SessionMessage, SessionRef},
        tenant::org_id,
        views::{FileView, InstanceType, WorkspaceView},
        workspace::{NewFile, WorkspaceAnswer, WorkspaceCommand, WorkspaceMessage, WorkspaceRef},
    },
    cluster::Region,
    store::{Retention, Store, blobs::BlobRef},
};

/// The longest that anything in these tests is waited for.
pub const SOON: Duration = Duration::from_secs(30);

/// A node on a directory of its own.
pub struct World {
    pub node: Node,
    pub store: Store,
    _to_host: mpsc::UnboundedReceiver<ToHost>,
    _dir: tempfile::TempDir,
}

async fn node(store: Store, data_dir: PathBuf) -> (Node, mpsc::UnboundedReceiver<ToHost>) {
    let claim = store.metadata.claim("n1").await.unwrap();
    let (frames, to_host) = mpsc::unbounded_channel();
    let cpu_small = InstanceType {
        name: "cpu-small".into(),
        cpu: 2.0,
        memory_bytes: 4 << 30,
        disk_bytes: 1 << 30,
        gpu: None,
        runtime: "auto".into(),
    };
    let settings = Settings {
        max_upload: 1 << 20,
        public_url: "http://play.test".into(),
        egress: Vec::new(),
        instance_types: vec![cpu_small],
        idle_after: Duration::from_secs(600),
        isolation: "hardened-container",
        data_dir,
    };
    let node = Node::new(Parts {
        name: "n1".into(),
        incarnation: claim.incarnation,
        epoch: claim.epoch,
        store,
        settings,
        region: Region::start().await.unwrap(),
        host: HostLink::new(frames),
        sessions: Default::default(),
    });
    (node, to_host)
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Retention::default()).await.unwrap();
        let (node, to_host) = node(store.clone(), dir.path().to_owned()).await;
        Self { node, store, _to_host: to_host, _dir: dir }
    }

    /// A successor takes the stores over, as after a crash: nothing of this node is drained or told.
    pub async fn crash(&mut self) -> Node {
        let (node, to_host) = node(self.store.clone(), self._dir.path().to_owned()).await;
        self._to_host = to_host;
        std::mem::replace(&mut self.node, node)
    }

    pub async fn user(&self, name: &str) -> Caller {
        self.user_of("default", name).await
    }

    pub async fn user_of(&self, org: &str, name: &str) -> Caller {
        self.node.tenant(org_id(org)).ensure_user(org, name, None).await.unwrap()
    }

    pub async fn workspace(&self, owner: &Caller) -> WorkspaceRef {
        let workspace = self.node.workspace(playhouse_protocol::ids::fresh_workspace_id());
        let create = WorkspaceCommand::Create { name: "w".into(), template: None };
        workspace.command(owner, create, None).await.unwrap();
        workspace
    }

    /// The same workspace on the node of now.
    pub fn again(&self, workspace: &WorkspaceRef) -> WorkspaceRef {
        self.node.workspace(workspace.id())
    }
}

pub fn key(key: &str, fingerprint: &str) -> Option<Idempotency> {
    Some(Idempotency { key: key.into(), fingerprint: fingerprint.into() })
}

pub async fn stage(workspace: &WorkspaceRef, content: impl Into<Bytes>) -> BlobRef {
    let mut staged = workspace.stage().await.unwrap();
    staged.write(content.into()).await.unwrap();
    staged.finish().await.unwrap()
}

pub async fn try_files(
    workspace: &WorkspaceRef,
    caller: &Caller,
    files: &[(&str, Option<&str>)],
    overwrite: bool,
    idempotency: Option<Idempotency>,
) -> Result<Vec<FileView>, Refused> {
    let mut new = Vec::new();
    for (path, content) in files {
        let content = match content {
            Some(content) => Some(stage(workspace, content.as_bytes().to_vec()).await),
            None => None,
        };
        new.push(NewFile { path: (*path).into(), content });
    }
    let create = WorkspaceCommand::CreateFiles { files: new, overwrite };
    match workspace.command(caller, create, idempotency).await? {
        WorkspaceAnswer::Files(files) => Ok(files.items),
        other => panic!("{other:?}"),
    }
}

pub async fn file(workspace: &WorkspaceRef, caller: &Caller, path: &str, content: &str) -> FileView {
    try_files(workspace, caller, &[(path, Some(content))], false, None).await.unwrap().remove(0)
}

pub async fn view(workspace: &WorkspaceRef, caller: &Caller) -> Result<WorkspaceView, Code> {
    match workspace.command(caller, WorkspaceCommand::Get, None).await {
        Ok(WorkspaceAnswer::Workspace(view)) => Ok(view),
        Ok(other) => panic!("{other:?}"),
        Err(refused) => Err(refused.code),
    }
}

pub async fn paths(workspace: &WorkspaceRef, caller: &Caller) -> Vec<String> {
    let list = WorkspaceCommand::Files { prefix: "/".into(), all: true, page: None, unless: None };
    match workspace.command(caller, list, None).await.unwrap() {
        WorkspaceAnswer::Tree { files: Some(files), .. } => files.items.into_iter().map(|file| file.path).collect(),
        other => panic!("{other:?}"),
    }
}

pub async fn content(workspace: &WorkspaceRef, caller: &Caller, path: &str) -> String {
    let list = WorkspaceCommand::Files { prefix: path.into(), all: true, page: None, unless: None };
    let id = match workspace.command(caller, list, None).await.unwrap() {
        WorkspaceAnswer::Tree { files: Some(files), .. } => files.items[0].id,
        other => panic!("{other:?}"),
    };
    match workspace.command(caller, WorkspaceCommand::File { id }, None).await.unwrap() {
        WorkspaceAnswer::File { content: Some(blob), .. } => {
            let bytes = workspace.node().store.blobs.read_all(workspace.id(), &blob, 1 << 20).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// Tries until it is so.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let probing = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, probing).await.unwrap_or_else(|_| panic!("{what} did not come about"))
}

/// A session that writes down what it is told.
pub struct Listener {
    pub session: SessionRef,
    told: mpsc::UnboundedReceiver<SessionMessage>,
}

#[derive(Debug)]
struct Ear;

impl Actor for Ear {
    type Msg = SessionMessage;
    type State = mpsc::UnboundedSender<SessionMessage>;
    type Arguments = mpsc::UnboundedSender<SessionMessage>;

    async fn pre_start(
        &self,
        _: ActorRef<SessionMessage>,
        told: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(told)
    }

    async fn handle(
        &self,
        _: ActorRef<SessionMessage>,
        message: SessionMessage,
        told: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let _ = told.send(message);
        Ok(())
    }
}

impl Listener {
    pub async fn new(id: u64) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (actor, _) = Actor::spawn(None, Ear, tell).await.unwrap();
        Self { session: SessionRef { id, actor }, told }
    }

    pub async fn attach(
        &self,
        workspace: &WorkspaceRef,
        caller: &Caller,
        sandbox_id: Uuid,
    ) -> Result<crate::actors::workspace::Attached, crate::actors::workspace::AttachRefused> {
        let (session, caller) = (self.session.clone(), caller.clone());
        workspace.call(|reply| WorkspaceMessage::Attach { session, caller, sandbox_id, reply }).await.unwrap()
    }

    pub async fn hears<T>(&mut self, what: &str, mut wanted: impl FnMut(&SessionMessage) -> Option<T>) -> T {
        let hearing = async {
            loop {
                let message = self.told.recv().await.expect("a session");
                if let Some(found) = wanted(&message) {
                    return found;
                }
            }
        };
        tokio::time::timeout(SOON, hearing).await.unwrap_or_else(|_| panic!("{what} was not heard"))
    }

    pub async fn hears_role(&mut self, wanted: Option<Role>) {
        self.hears("a role", |message| match message {
            SessionMessage::Role(role) if *role == wanted => Some(()),
            _ => None,
        })
        .await;
    }
}

/// The sandbox's agent, played.
pub struct Agent {
    pub link: LinkRef,
    workspace: WorkspaceRef,
    now: mpsc::UnboundedReceiver<NodeFrame>,
    ordered: mpsc::Receiver<NodeFrame>,
}

impl Agent {
    pub async fn link(workspace: &WorkspaceRef, number: u64, sandbox_id: Uuid, ready: bool) -> Self {
        let (at_once, now) = mpsc::unbounded_channel();
        let (ordered_frames, ordered) = mpsc::channel(ORDERED_FRAMES);
        let link = LinkRef::new(number, sandbox_id, at_once, ordered_frames);
        let up = WorkspaceMessage::LinkUp { sandbox_id, link: link.clone(), ready, tree_version: 0, harvest: false };
        workspace.cast(up).await.unwrap();
        Self { link, workspace: workspace.clone(), now, ordered }
    }

    pub async fn says(&self, frame: AgentFrame) {
        let message = WorkspaceMessage::FromAgent { link: self.link.number, frame };
        self.workspace.cast(message).await.unwrap();
    }

    /// The next ordered frame.
    pub async fn next(&mut self) -> NodeFrame {
        tokio::time::timeout(SOON, self.ordered.recv()).await.expect("an ordered frame").expect("a link")
    }

    /// The next frame that is done at once.
    pub async fn at_once(&mut self) -> NodeFrame {
        tokio::time::timeout(SOON, self.now.recv()).await.expect("a frame").expect("a link")
    }

    /// Nothing ordered comes for a while.
    pub async fn rests(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.ordered.recv()).await.is_err()
    }
}
