//! What programs do reaches the node, and what the node commits reaches the disk.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::{Duration, Instant},
};

use playhouse_protocol::agent::{Change, Node, NodeFrame};

use super::node::{Pair, file};

async fn pair() -> Pair {
    let mut pair = Pair::new();
    pair.up(b"", true).await;
    pair.ready().await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_sandbox_gets_the_tree_and_says_ready() {
    let mut pair = Pair::new();
    pair.seed("/src/main.py", b"print(1)\n");
    pair.seed("/empty", b"");
    let big: Vec<u8> = (0..5_000_000u32).map(|n| (n / 7) as u8).collect();
    pair.seed("/data/big", &big);
    pair.seed("/data/same", &big);
    pair.up(b"", true).await;
    assert!(pair.ready().await.is_empty());
    assert!(pair.files.ready() && pair.files.tree_version() == 4);
    assert_eq!(pair.disk(), pair.state.lock().unwrap().tree);
    pair.flush().await;
    assert_eq!(pair.state.lock().unwrap().reports, 0, "its own writes are not reported");
    assert_eq!(pair.state.lock().unwrap().wanted, 3, "each content once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_writes_is_seen_within_a_second_without_a_flush() {
    let pair = pair().await;
    let root = pair.workspace();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/c.txt"), "hello").unwrap();
    symlink("../nowhere", root.join("a/link")).unwrap();
    let started = Instant::now();
    pair.until("the file", |state| state.tree.get("/a/b/c.txt") == Some(&file(b"hello", false))).await;
    pair.until("the link", |state| {
        state.tree.get("/a/link") == Some(&Node::Symlink { target: "../nowhere".to_owned() })
    })
    .await;
    fs::write(root.join("a/b/c.txt"), "hello again").unwrap();
    fs::set_permissions(root.join("a/b/c.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    pair.until("mode and content", |state| state.tree.get("/a/b/c.txt") == Some(&file(b"hello again", true))).await;
    fs::rename(root.join("a"), root.join("z")).unwrap();
    pair.until("the move", |state| state.tree.contains_key("/z/b/c.txt") && !state.tree.contains_key("/a")).await;
    fs::write(root.join("z/b/new"), "in a moved folder").unwrap();
    pair.until("a file in it", |state| state.tree.contains_key("/z/b/new")).await;
    fs::remove_dir_all(root.join("z")).unwrap();
    pair.until("nothing", |state| state.tree.is_empty()).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_two_names_changes_under_both() {
    let pair = pair().await;
    let root = pair.workspace();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("one"), "1").unwrap();
    pair.until("the file", |state| state.tree.get("/one") == Some(&file(b"1", false))).await;
    fs::hard_link(root.join("one"), root.join("d/two")).unwrap();
    pair.until("its other name", |state| state.tree.get("/d/two") == Some(&file(b"1", false))).await;
    for (name, content) in [("one", "first"), ("d/two", "second, longer")] {
        fs::write(root.join(name), content).unwrap();
        for path in ["/one", "/d/two"] {
            pair.until(path, |state| state.tree.get(path) == Some(&file(content.as_bytes(), false))).await;
        }
    }
    fs::set_permissions(root.join("one"), fs::Permissions::from_mode(0o755)).unwrap();
    pair.until("the mode", |state| state.tree.get("/d/two") == Some(&file(b"second, longer", true))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_through_a_name_that_is_gone_shows_under_the_other() {
    let pair = pair().await;
    let root = pair.workspace();
    fs::write(root.join("one"), "1").unwrap();
    fs::hard_link(root.join("one"), root.join("two")).unwrap();
    pair.until("both names", |state| state.tree.contains_key("/one") && state.tree.contains_key("/two")).await;
    fs::write(root.join("two"), "through two").unwrap();
    fs::remove_file(root.join("two")).unwrap();
    pair.until("the content", |state| state.tree.get("/one") == Some(&file(b"through two", false))).await;
    // This name was never seen.
    fs::hard_link(root.join("one"), root.join("three")).unwrap();
    fs::write(root.join("three"), "through three").unwrap();
    fs::remove_file(root.join("three")).unwrap();
    pair.until("the content", |state| state.tree.get("/one") == Some(&file(b"through three", false))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_move_while_a_report_is_under_way_are_compared_once_it_is_settled() {
    let mut pair = pair().await;
    let root = pair.workspace();
    fs::create_dir_all(root.join("gone/deep")).unwrap();
    pair.until("the first", |state| state.tree.contains_key("/gone/deep")).await;
    pair.hold();
    // One step, so that one report tells both.
    fs::rename(root.join("gone"), root.join("new")).unwrap();
    pair.until("the report", |state| !state.tree.contains_key("/gone") && state.tree.contains_key("/new")).await;
    // What was told as gone is back, what was told as there is another, and the agent's records still say neither.
    fs::rename(root.join("new"), root.join("gone")).unwrap();
    fs::create_dir_all(root.join("new/sub")).unwrap();
    pair.flush_and_release().await;
    assert_eq!(pair.disk(), pair.state.lock().unwrap().tree);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_are_on_the_disk_when_the_next_ordered_frame_is_done() {
    let mut pair = pair().await;
    pair.put("/a/b", b"one");
    pair.put_as("/run.sh", b"#!/bin/sh\n", true);
    let big = vec![7u8; 700_000];
    pair.put("/big", &big);
    pair.commit(vec![Change::Move { from: "/a".to_owned(), to: "/c/d".to_owned() }]);
    pair.commit(vec![Change::Put {
        path: "/link".to_owned(),
        node: Node::Symlink { target: "/etc/passwd".to_owned() },
        content: None,
    }]);
    pair.commit(vec![Change::Put { path: "/run.sh".to_owned(), node: file(b"#!/bin/sh\n", false), content: None }]);
    pair.flush().await;
    pair.converge().await;
    assert_eq!(fs::read(pair.workspace().join("c/d/b")).unwrap(), b"one");
    assert_eq!(fs::read(pair.workspace().join("big")).unwrap(), big);
    // A file where a directory is, and the other way round.
    pair.put("/c", b"now a file");
    pair.put("/big/inside", b"now a folder");
    pair.commit(vec![Change::Remove { path: "/link".to_owned() }]);
    pair.converge().await;
    assert_eq!(pair.state.lock().unwrap().reports, 0, "its own writes are not reported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_small_files_are_out_within_seconds() {
    let mut pair = pair().await;
    let root = pair.workspace();
    for directory in 0..100 {
        let path = root.join(format!("d{directory}"));
        fs::create_dir(&path).unwrap();
        for n in 0..100 {
            fs::write(path.join(format!("f{n}")), format!("{directory}/{n}").repeat(100)).unwrap();
        }
    }
    let started = Instant::now();
    pair.flush().await;
    let elapsed = started.elapsed();
    assert_eq!(pair.state.lock().unwrap().tree.len(), 10_100);
    pair.converge().await;
    // Two seconds on an idle machine; a test machine may be busy.
    assert!(elapsed < Duration::from_secs(30), "{elapsed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_file_goes_up_in_pieces_and_small_ones_do_not_wait_for_it() {
    let mut pair = pair().await;
    let bytes: Vec<u8> = (0..20_000_000u32).map(|n| (n / 11) as u8).collect();
    fs::write(pair.workspace().join("big"), &bytes).unwrap();
    fs::write(pair.workspace().join("small"), "x").unwrap();
    pair.until("the small one", |state| state.tree.contains_key("/small")).await;
    pair.until("the big one", |state| state.tree.get("/big") == Some(&file(&bytes, false))).await;
    // Touched and made executable: no content goes up.
    let uploads = pair.state.lock().unwrap().blobs.len();
    fs::set_permissions(pair.workspace().join("big"), fs::Permissions::from_mode(0o755)).unwrap();
    pair.flush().await;
    assert_eq!(pair.state.lock().unwrap().tree.get("/big"), Some(&file(&bytes, true)));
    assert_eq!(pair.state.lock().unwrap().blobs.len(), uploads);
    pair.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_never_rests_goes_up_at_its_pace_and_is_whole_in_the_end() {
    let mut pair = pair().await;
    let path = pair.workspace().join("log");
    let writer = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut file = fs::File::create(path).unwrap();
        let ended = Instant::now() + Duration::from_secs(3);
        let mut lines = 0u32;
        while Instant::now() < ended {
            writeln!(file, "line {lines}").unwrap();
            lines += 1;
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    writer.await.unwrap();
    let reports = pair.state.lock().unwrap().reports;
    assert!((2..=6).contains(&reports), "{reports} reports in 3 s");
    let disk = pair.disk();
    pair.until("its end, without a flush", |state| state.tree == disk).await;
    pair.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_folders_are_nobodys_business() {
    let mut pair = pair().await;
    let root = pair.workspace();
    fs::create_dir_all(root.join("app/node_modules/x")).unwrap();
    fs::write(root.join("app/node_modules/x/y"), "z").unwrap();
    fs::write(root.join("app/main.js"), "z").unwrap();
    pair.flush().await;
    let paths: Vec<_> = pair.state.lock().unwrap().tree.keys().cloned().collect();
    assert_eq!(paths, ["/app", "/app/main.js"]);
    // The folder goes with its parent, also when that was removed while nobody was connected.
    pair.down().await;
    pair.commit(vec![Change::Remove { path: "/app".to_owned() }]);
    pair.up(b"", true).await;
    pair.converge().await;
    assert!(!root.join("app").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_link_both_sides_changes_are_there() {
    let mut pair = pair().await;
    let root = pair.workspace();
    for path in ["/both", "/here", "/there", "/gone-here", "/gone-there", "/moved"] {
        pair.put(path, path.repeat(50).as_bytes());
    }
    pair.converge().await;
    pair.down().await;
    fs::write(root.join("here"), "changed by a program").unwrap();
    fs::remove_file(root.join("gone-here")).unwrap();
    fs::write(root.join("both"), "the program's").unwrap();
    fs::write(root.join("new-here"), "new").unwrap();
    pair.put("/there", b"changed by a person");
    pair.put("/both", b"the person's");
    pair.put("/new-there", b"new");
    pair.commit(vec![Change::Remove { path: "/gone-there".to_owned() }]);
    pair.commit(vec![Change::Move { from: "/moved".to_owned(), to: "/deep/moved".to_owned() }]);
    let wanted = pair.state.lock().unwrap().wanted;
    pair.up(b"", true).await;
    pair.converge().await;
    let disk = pair.disk();
    assert_eq!(disk.get("/here"), Some(&file(b"changed by a program", false)));
    assert_eq!(disk.get("/there"), Some(&file(b"changed by a person", false)));
    assert_eq!(disk.get("/both"), Some(&file(b"the program's", false)), "a local change is kept and reported");
    assert!(disk.contains_key("/new-here") && disk.contains_key("/new-there") && disk.contains_key("/deep/moved"));
    assert!(!disk.contains_key("/gone-here") && !disk.contains_key("/gone-there") && !disk.contains_key("/moved"));
    assert_eq!(pair.state.lock().unwrap().wanted - wanted, 2, "what moved is not fetched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_that_cannot_be_read_is_left_out_and_not_removed_from_the_tree() {
    let mut pair = Pair::new();
    pair.seed("/lost", b"lost");
    pair.seed("/kept", b"kept");
    pair.state.lock().unwrap().blobs.remove(&super::node::hash(b"lost"));
    pair.up(b"", true).await;
    let notes = pair.ready().await;
    assert!(notes.len() == 1 && notes[0].contains("/lost"), "{notes:?}");
    pair.flush().await;
    assert!(pair.state.lock().unwrap().tree.contains_key("/lost"));
    // It comes back with a later manifest.
    pair.state.lock().unwrap().blobs.insert(super::node::hash(b"lost"), b"lost".to_vec());
    pair.down().await;
    pair.up(b"", true).await;
    pair.converge().await;
    assert_eq!(fs::read(pair.workspace().join("lost")).unwrap(), b"lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_waits_for_contents_returns_when_the_link_ends() {
    let pair = Pair::new();
    let (outbox, mut frames) = tokio::sync::mpsc::channel(16);
    pair.files.link_up(outbox).await;
    pair.files.ordered(NodeFrame::Settings(pair.settings.clone())).await;
    let files = pair.files.clone();
    let entries = vec![playhouse_protocol::agent::Entry { path: "/a".to_owned(), node: file(b"a", false) }];
    let waiting =
        tokio::spawn(async move { files.ordered(NodeFrame::Manifest { version: 1, entries, last: true }).await });
    assert!(matches!(frames.recv().await, Some(playhouse_protocol::agent::AgentFrame::Want { .. })));
    pair.files.link_down().await;
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert!(!pair.files.ready() && pair.files.tree_version() == 0);
}
