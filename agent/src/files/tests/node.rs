//! A node as the agent sees it: a tree, blobs by hash, a version for each commit, and one ordered queue to the agent.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use playhouse_protocol::{
    agent::{AgentFrame, Change, Content, Entry, Hash, INLINE_BYTES, Node, NodeFrame, PIECE_BYTES, Settings},
    path as paths,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::files::Files;

/// What the node has.
#[derive(Debug, Default)]
pub struct State {
    pub tree: BTreeMap<String, Node>,
    pub blobs: HashMap<Hash, Vec<u8>>,
    pub version: u64,
    /// Every commit's changes, contents inline, by version.
    pub log: BTreeMap<u64, Vec<Change>>,
    pub left_out: BTreeMap<String, String>,
    pub notices: Vec<String>,
    pub ready: Option<Vec<String>>,
    pub flushed: BTreeSet<u64>,
    pub reports: u64,
    pub voids: u64,
    pub pack: Vec<u8>,
    pub pack_left_out: Option<Vec<(String, String)>>,
    pub pack_failed: Option<String>,
    pub wanted: usize,
    /// Paths that the agent has asked to be pushed again.
    pub lacking: BTreeSet<String>,
    /// Answers to reports that wait, while there is a list for them.
    pub held: Option<Vec<NodeFrame>>,
    last_batch: u64,
}

/// The ordered queue, with marks that are answered when everything before them is done.
type Queue = mpsc::UnboundedSender<Result<NodeFrame, oneshot::Sender<()>>>;

/// One node and one agent.
#[derive(Debug)]
pub struct Pair {
    pub directory: tempfile::TempDir,
    pub files: Files,
    pub state: Arc<Mutex<State>>,
    pub settings: Settings,
    changed: watch::Sender<u64>,
    queue: Option<Queue>,
    tasks: Vec<JoinHandle<()>>,
    tags: u64,
}

pub fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

pub fn file(bytes: &[u8], executable: bool) -> Node {
    Node::File { hash: hash(bytes), size: bytes.len() as u64, executable }
}

impl State {
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put { path, node, .. } => {
                    self.make_parents(path);
                    if *node != Node::Directory || self.tree.get(path) != Some(&Node::Directory) {
                        self.remove(path);
                    }
                    self.tree.insert(path.clone(), node.clone());
                }
                Change::Remove { path } => self.remove(path),
                Change::Move { from, to } => {
                    let moved: Vec<String> =
                        self.tree.keys().filter(|path| paths::is_within(path, from)).cloned().collect();
                    self.make_parents(to);
                    for path in moved {
                        if let Some(node) = self.tree.remove(&path) {
                            self.tree.insert(format!("{to}{}", &path[from.len()..]), node);
                        }
                    }
                }
            }
        }
    }

    fn make_parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/').skip(1) {
            let parent = &path[..at];
            if self.tree.get(parent) != Some(&Node::Directory) {
                self.remove(parent);
                self.tree.insert(parent.to_owned(), Node::Directory);
            }
        }
    }

    fn remove(&mut self, path: &str) {
        self.tree.retain(|at, _| !paths::is_within(at, path));
    }

    /// As the node does: what only sets a mode must know the content, else it is refused.
    fn refuse(&self, changes: &mut Vec<Change>) -> Vec<(String, String)> {
        let mut refused = Vec::new();
        changes.retain(|change| {
            let Change::Put { path, node: Node::File { hash, .. }, content: None } = change else { return true };
            let known = matches!(self.tree.get(path), Some(Node::File { hash: known, .. }) if known == hash);
            if !known {
                refused.push((path.clone(), "content_missing".to_owned()));
            }
            known
        });
        refused
    }

    /// Commits, and returns the frames that carry the commit to the agent.
    pub fn commit(&mut self, changes: Vec<Change>) -> Vec<NodeFrame> {
        self.version += 1;
        self.apply(&changes);
        self.log.insert(self.version, changes.clone());
        self.push_frames(self.version, &changes)
    }

    fn push_frames(&self, version: u64, changes: &[Change]) -> Vec<NodeFrame> {
        let mut frames = Vec::new();
        let mut transfer = version * 1000;
        let changes = changes.iter().map(|change| match change {
            Change::Put { path, node: node @ Node::File { hash, .. }, content: Some(_) } => {
                let bytes = &self.blobs[hash];
                let content = if bytes.len() <= INLINE_BYTES {
                    Content::Inline(bytes.clone())
                } else {
                    transfer += 1;
                    frames.extend(
                        bytes.chunks(PIECE_BYTES).map(|piece| NodeFrame::Content { transfer, bytes: piece.to_vec() }),
                    );
                    Content::Transfer(transfer)
                };
                Change::Put { path: path.clone(), node: node.clone(), content: Some(content) }
            }
            other => other.clone(),
        });
        let push = NodeFrame::Push { version, changes: changes.collect() };
        frames.push(push);
        frames
    }
}

impl Pair {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("workspace")).unwrap();
        std::fs::create_dir(directory.path().join("home")).unwrap();
        let files = Files::spawn(directory.path().join("workspace"), directory.path().join("home"));
        Self {
            directory,
            files,
            state: Arc::new(Mutex::new(State::default())),
            settings: Settings {
                generated_folders: vec!["node_modules".to_owned(), "target".to_owned(), "__pycache__".to_owned()],
                max_file_bytes: 64 * 1024 * 1024,
                max_environment_bytes: 64 * 1024 * 1024,
                fresh: true,
            },
            changed: watch::Sender::new(0),
            queue: None,
            tasks: Vec::new(),
            tags: 0,
        }
    }

    pub fn workspace(&self) -> std::path::PathBuf {
        self.directory.path().join("workspace")
    }

    pub fn home(&self) -> std::path::PathBuf {
        self.directory.path().join("home")
    }

    pub fn seed(&self, path: &str, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.blobs.insert(hash(bytes), bytes.to_vec());
        let change =
            Change::Put { path: path.to_owned(), node: file(bytes, false), content: Some(Content::Transfer(0)) };
        state.apply(std::slice::from_ref(&change));
        state.version += 1;
        let version = state.version;
        state.log.insert(version, vec![change]);
    }

    /// Begins a stream: settings, environment if fresh, and either the whole tree or what followed the agent's version.
    pub async fn up(&mut self, environment: &[u8], whole: bool) {
        let (outbox, frames) = mpsc::channel(16);
        let (marked, ordered) = mpsc::unbounded_channel();
        let queue = FrameQueue(&marked);
        let version = self.files.tree_version();
        let ready = self.files.ready();
        self.files.link_up(outbox).await;
        let mut settings = self.settings.clone();
        settings.fresh = !ready;
        queue.send(NodeFrame::Settings(settings)).unwrap();
        if !ready {
            let mut pieces = environment.chunks(PIECE_BYTES).enumerate().peekable();
            if pieces.peek().is_none() {
                queue.send(NodeFrame::Environment { offset: 0, bytes: Vec::new(), last: true }).unwrap();
            }
            while let Some((n, bytes)) = pieces.next() {
                let last = pieces.peek().is_none();
                let offset = (n * PIECE_BYTES) as u64;
                queue.send(NodeFrame::Environment { offset, bytes: bytes.to_vec(), last }).unwrap();
            }
        }
        {
            let state = self.state.lock().unwrap();
            if whole || !ready {
                let entries: Vec<Entry> =
                    state.tree.iter().map(|(path, node)| Entry { path: path.clone(), node: node.clone() }).collect();
                for part in entries.chunks(1000) {
                    let entries = part.to_vec();
                    queue.send(NodeFrame::Manifest { version: state.version, entries, last: false }).unwrap();
                }
                let last = NodeFrame::Manifest { version: state.version, entries: Vec::new(), last: true };
                queue.send(last).unwrap();
            } else {
                for (version, changes) in state.log.range(version + 1..) {
                    for frame in state.push_frames(*version, changes) {
                        queue.send(frame).unwrap();
                    }
                }
            }
        }
        self.queue = Some(marked);
        self.tasks.push(tokio::spawn(order(self.files.clone(), ordered)));
        self.tasks.push(tokio::spawn(answer(
            self.files.clone(),
            Arc::clone(&self.state),
            frames,
            self.changed.clone(),
        )));
    }

    pub async fn down(&mut self) {
        self.queue = None;
        // The reader of frames goes away with whatever was on its way.
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        self.files.link_down().await;
    }

    pub fn commit(&self, changes: Vec<Change>) {
        let frames = self.state.lock().unwrap().commit(changes);
        if let Some(queue) = &self.queue {
            frames.into_iter().for_each(|frame| queue.send(Ok(frame)).unwrap());
        }
    }

    /// Sends a frame of the ordered kind.
    pub fn send(&self, frame: NodeFrame) {
        self.queue.as_ref().expect("a link").send(Ok(frame)).unwrap();
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.put_as(path, bytes, false);
    }

    pub fn put_as(&self, path: &str, bytes: &[u8], executable: bool) {
        self.state.lock().unwrap().blobs.insert(hash(bytes), bytes.to_vec());
        let node = file(bytes, executable);
        self.commit(vec![Change::Put { path: path.to_owned(), node, content: Some(Content::Transfer(0)) }]);
    }

    /// Waits until the node's state is as `holds` says.
    pub async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !holds(&self.state.lock().unwrap()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), wait).await.is_err() {
            panic!("waited in vain for: {what}\n{:?}", self.state.lock().unwrap().tree);
        }
    }

    pub async fn ready(&self) -> Vec<String> {
        self.until("ready", |state| state.ready.is_some()).await;
        self.state.lock().unwrap().ready.clone().unwrap()
    }

    pub async fn flush(&mut self) {
        self.tags += 1;
        let tag = self.tags;
        self.files.now(NodeFrame::Flush { tag }).await;
        self.until("flushed", |state| state.flushed.contains(&tag)).await;
    }

    /// From now on reports are committed, and their answers wait.
    pub fn hold(&self) {
        self.state.lock().unwrap().held = Some(Vec::new());
    }

    /// Asks for a flush, lets the answers that waited go after it, and waits for the flush.
    pub async fn flush_and_release(&mut self) {
        self.tags += 1;
        let tag = self.tags;
        self.files.now(NodeFrame::Flush { tag }).await;
        let held = self.state.lock().unwrap().held.take().unwrap_or_default();
        for reply in held {
            self.files.now(reply).await;
        }
        self.until("flushed", |state| state.flushed.contains(&tag)).await;
    }

    /// Waits until everything that was committed is done on the agent's side.
    pub async fn in_order(&self) {
        let (done, answer) = oneshot::channel();
        self.queue.as_ref().unwrap().send(Err(done)).unwrap();
        answer.await.unwrap();
    }

    /// The workspace as a tree.
    pub fn disk(&self) -> BTreeMap<String, Node> {
        let mut tree = BTreeMap::new();
        read(&self.workspace(), "", &self.settings.generated_folders, &mut tree);
        tree
    }

    /// Flushes until disk and tree are alike, which must not take long once nobody changes anything.
    pub async fn converge(&mut self) {
        for _ in 0..20 {
            self.in_order().await;
            self.flush().await;
            if self.disk() == self.state.lock().unwrap().tree {
                return;
            }
        }
        self.differ()
    }

    /// Waits until disk and tree are alike by themselves: nothing asks the agent to look everywhere.
    pub async fn rest(&self) {
        self.in_order().await;
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
        while self.disk() != self.state.lock().unwrap().tree {
            if tokio::time::Instant::now() > deadline {
                self.differ();
            }
            // A push that is on its way changes the disk without a word.
            let _ = tokio::time::timeout(Duration::from_millis(50), changed.changed()).await;
        }
    }

    fn differ(&self) {
        let (disk, tree) = (self.disk(), self.state.lock().unwrap().tree.clone());
        let differ: BTreeSet<_> =
            disk.keys().chain(tree.keys()).filter(|path| disk.get(*path) != tree.get(*path)).collect();
        for path in differ {
            let record = self.files.core.tree().records.get(path).cloned();
            eprintln!("{path}: {}", short(&(disk.get(path), tree.get(path), record)));
        }
        panic!("disk and tree stay apart; {:?}", self.state.lock().unwrap().notices);
    }
}

fn read(directory: &Path, path: &str, generated: &[String], tree: &mut BTreeMap<String, Node>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let Ok(name) = entry.file_name().into_string() else { continue };
        if generated.contains(&name) || (path.is_empty() && name == ".playhouse-tmp") {
            continue;
        }
        let child = format!("{path}/{name}");
        let metadata = entry.path().symlink_metadata().unwrap();
        if metadata.is_dir() {
            tree.insert(child.clone(), Node::Directory);
            read(&entry.path(), &child, generated, tree);
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(entry.path()).unwrap().into_os_string().into_string().unwrap();
            tree.insert(child, Node::Symlink { target });
        } else if metadata.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            tree.insert(child, file(&bytes, metadata.permissions().mode() & 0o100 != 0));
        }
    }
}

struct FrameQueue<'a>(&'a Queue);

impl FrameQueue<'_> {
    fn send(&self, frame: NodeFrame) -> Result<(), ()> {
        self.0.send(Ok(frame)).map_err(|_| ())
    }
}

async fn order(files: Files, mut ordered: mpsc::UnboundedReceiver<Result<NodeFrame, oneshot::Sender<()>>>) {
    while let Some(next) = ordered.recv().await {
        if let (Ok(frame), true) = (&next, std::env::var_os("PLAYHOUSE_FILES_TRACE").is_some()) {
            eprintln!("> {}", short(frame));
        }
        match next {
            Ok(frame) => files.ordered(frame).await,
            Err(mark) => mark.send(()).unwrap(),
        }
    }
}

fn short(frame: &impl std::fmt::Debug) -> String {
    let mut text = format!("{frame:?}");
    // Contents and hashes are long and say nothing.
    while let Some((at, length)) = text.find('[').and_then(|_| long_list(&text)) {
        text.replace_range(at..at + length, "…");
    }
    text
}

fn long_list(text: &str) -> Option<(usize, usize)> {
    text.match_indices('[').find_map(|(at, _)| {
        let length = text[at + 1..].find(|c: char| !c.is_ascii_digit() && c != ',' && c != ' ')? + 2;
        (length > 2 && text[at + 1..].starts_with(|c: char| c.is_ascii_digit())).then_some((at, length))
    })
}

async fn answer(
    files: Files,
    state: Arc<Mutex<State>>,
    mut frames: mpsc::Receiver<AgentFrame>,
    changed: watch::Sender<u64>,
) {
    let mut uploads: HashMap<u64, Vec<u8>> = HashMap::new();
    while let Some(frame) = frames.recv().await {
        if std::env::var_os("PLAYHOUSE_FILES_TRACE").is_some() {
            eprintln!("< {}", short(&frame));
        }
        let size = playhouse_protocol::codec::encode(&frame).expect("a frame that fits").len();
        let mut replies = Vec::new();
        {
            let mut state = state.lock().unwrap();
            match frame {
                AgentFrame::Want { hashes } => {
                    assert!(hashes.len() <= 4096);
                    state.wanted += hashes.len();
                    for hash in hashes {
                        let Some(bytes) = state.blobs.get(&hash) else {
                            replies.push(NodeFrame::Wanted {
                                hash,
                                offset: 0,
                                bytes: vec![],
                                last: true,
                                failed: true,
                            });
                            continue;
                        };
                        let count = bytes.len().div_ceil(PIECE_BYTES).max(1);
                        for n in 0..count {
                            let from = n * PIECE_BYTES;
                            let piece = bytes[from..bytes.len().min(from + PIECE_BYTES)].to_vec();
                            let last = n + 1 == count;
                            let offset = from as u64;
                            replies.push(NodeFrame::Wanted { hash, offset, bytes: piece, last, failed: false });
                        }
                    }
                }
                AgentFrame::Upload { transfer, bytes } => {
                    assert!(bytes.len() <= PIECE_BYTES);
                    uploads.entry(transfer).or_default().extend(bytes);
                }
                AgentFrame::UploadVoid { transfer } => {
                    uploads.remove(&transfer);
                    state.voids += 1;
                }
                AgentFrame::Report { batch, changes, left_out } => {
                    assert!(size <= 512 * 1024, "a report of {size} bytes");
                    if batch <= state.last_batch {
                        // From a stream that has ended: its paths were reported anew on the next.
                        continue;
                    }
                    state.last_batch = batch;
                    state.reports += 1;
                    state.left_out.extend(left_out);
                    let mut changes: Vec<Change> = changes
                        .into_iter()
                        .map(|change| match change {
                            Change::Put { path, node: node @ Node::File { .. }, content: Some(content) } => {
                                let bytes = match content {
                                    Content::Inline(bytes) => bytes,
                                    Content::Transfer(number) => uploads.remove(&number).expect("an upload"),
                                };
                                let Node::File { hash: named, size, .. } = node else { unreachable!() };
                                assert_eq!((hash(&bytes), bytes.len() as u64), (named, size), "{path}");
                                state.blobs.insert(named, bytes);
                                Change::Put { path, node, content: Some(Content::Transfer(0)) }
                            }
                            other => other,
                        })
                        .collect();
                    let refused = state.refuse(&mut changes);
                    if !changes.is_empty() {
                        // Not pushed: the agent has it.
                        let _ = state.commit(changes);
                    }
                    if std::env::var_os("PLAYHOUSE_FILES_TRACE").is_some() {
                        eprintln!("committed {batch} at {}", state.version);
                    }
                    let reply = NodeFrame::Reported { batch, version: state.version, refused };
                    match &mut state.held {
                        Some(held) => held.push(reply),
                        None => replies.push(reply),
                    }
                }
                AgentFrame::Ready { notes } => state.ready = Some(notes),
                AgentFrame::Flushed { tag } => {
                    state.flushed.insert(tag);
                }
                AgentFrame::Environment { offset, bytes, last, left_out, .. } => {
                    assert!(bytes.len() <= PIECE_BYTES);
                    if offset == 0 {
                        state.pack.clear();
                    }
                    assert_eq!(offset, state.pack.len() as u64);
                    state.pack.extend(bytes);
                    if last {
                        state.pack_left_out = Some(left_out);
                    }
                }
                AgentFrame::Lacking { paths } => state.lacking.extend(paths),
                AgentFrame::PackFailed { detail, .. } => state.pack_failed = Some(detail),
                AgentFrame::Notice { code, detail } => state.notices.push(format!("{code}: {detail}")),
                other => panic!("no frame of the files' side: {other:?}"),
            }
        }
        changed.send_modify(|n| *n += 1);
        for reply in replies {
            files.now(reply).await;
        }
    }
}
