//! Programs that mean harm, and things that no tree can hold.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::node::{Pair, file};

async fn pair() -> Pair {
    let mut pair = Pair::new();
    pair.settings.max_file_bytes = 1024 * 1024;
    pair.up(b"", true).await;
    pair.ready().await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_leads_a_push_out_of_the_workspace() {
    let mut pair = pair().await;
    let outside = pair.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("f"), "untouched").unwrap();
    pair.put("/d/f", b"one");
    pair.converge().await;
    fs::remove_dir_all(pair.workspace().join("d")).unwrap();
    symlink(&outside, pair.workspace().join("d")).unwrap();
    pair.put("/d/f", b"two");
    pair.put("/d/g/h", b"three");
    pair.converge().await;
    symlink(&outside, pair.workspace().join("e")).unwrap();
    pair.commit(vec![playhouse_protocol::agent::Change::Remove { path: "/e/f".to_owned() }]);
    pair.flush().await;
    assert_eq!(fs::read_to_string(outside.join("f")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_swapped_for_a_link_all_the_time_lets_nothing_in_or_out() {
    let mut pair = pair().await;
    let outside = pair.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (root, away, stopped) = (pair.workspace(), outside.clone(), Arc::clone(&stop));
    let swapper = tokio::task::spawn_blocking(move || {
        let directory = root.join("d");
        while !stopped.load(Ordering::Relaxed) {
            let _ = fs::create_dir(&directory);
            let _ = fs::write(directory.join("secret"), "harmless");
            let _ = fs::rename(&directory, root.join("old"));
            let _ = symlink(&away, &directory);
            let _ = fs::remove_dir_all(root.join("old"));
            let _ = fs::remove_file(&directory);
        }
    });
    for n in 0..150u32 {
        pair.put(&format!("/d/f{n}"), &n.to_le_bytes());
        if n % 10 == 0 {
            pair.flush().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    swapper.await.unwrap();
    pair.converge().await;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was written outside");
    assert!(!pair.state.lock().unwrap().blobs.contains_key(&super::node::hash(b"secret")), "nothing was read outside");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_tree_can_hold_is_named_once_and_left_alone() {
    let mut pair = pair().await;
    let root = pair.workspace();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"bad\xff")), "x").unwrap();
    symlink(OsStr::from_bytes(b"to\xff"), root.join("link")).unwrap();
    fs::write(root.join("large"), vec![0; 2 * 1024 * 1024]).unwrap();
    fs::write(root.join("node_modules"), "no folder").unwrap();
    fs::create_dir_all(root.join("sub/node_modules")).unwrap();
    fs::write(root.join("good"), "x").unwrap();
    pair.flush().await;
    pair.flush().await;
    {
        let mut state = pair.state.lock().unwrap();
        let whys: Vec<(String, String)> = std::mem::take(&mut state.left_out).into_iter().collect();
        let expected = [
            ("/bad\u{fffd}", "not_utf8"),
            ("/fifo", "fifo"),
            ("/large", "too_large"),
            ("/link", "not_utf8"),
            ("/node_modules", "named_like_a_generated_folder"),
            ("/socket", "socket"),
        ];
        assert_eq!(whys, expected.map(|(path, why)| (path.to_owned(), why.to_owned())));
        assert_eq!(state.tree.keys().collect::<Vec<_>>(), ["/good", "/sub"]);
    }
    fs::write(root.join("good"), "y").unwrap();
    pair.flush().await;
    assert!(pair.state.lock().unwrap().left_out.is_empty(), "once each");
    // A file that becomes a fifo leaves the tree; one that becomes a file again returns.
    fs::remove_file(root.join("good")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("good"), rustix::fs::Mode::RWXU).unwrap();
    pair.flush().await;
    assert_eq!(pair.state.lock().unwrap().tree.keys().collect::<Vec<_>>(), ["/sub"]);
    for name in ["good", "fifo"] {
        fs::remove_file(root.join(name)).unwrap();
        fs::write(root.join(name), "a file").unwrap();
    }
    pair.flush().await;
    assert_eq!(pair.state.lock().unwrap().tree.get("/fifo"), Some(&file(b"a file", false)));
    assert_eq!(pair.state.lock().unwrap().tree.get("/good"), Some(&file(b"a file", false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_deep_folders_are_bounded_and_can_be_removed() {
    let mut pair = pair().await;
    fs::create_dir(pair.workspace().join("deep")).unwrap();
    let mut at = rustix::fs::open(
        pair.workspace().join("deep"),
        rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let name = "n".repeat(100);
    for _ in 0..400 {
        rustix::fs::mkdirat(&at, &name, rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    drop(at);
    pair.flush().await;
    {
        let state = pair.state.lock().unwrap();
        assert!(state.tree.keys().all(|path| path.len() <= 4096) && state.tree.len() > 30);
        assert_eq!(state.left_out.values().collect::<Vec<_>>(), ["path_too_long"]);
    }
    pair.commit(vec![playhouse_protocol::agent::Change::Remove { path: "/deep".to_owned() }]);
    pair.converge().await;
    assert!(!pair.workspace().join("deep").exists());
    assert_eq!(fs::read_dir(pair.workspace()).unwrap().count(), 0, "nor the hidden folder");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hidden_folder_is_seldom_there_and_may_be_replaced() {
    let mut pair = pair().await;
    let hidden = pair.workspace().join(".playhouse-tmp");
    pair.put("/a", b"a");
    pair.converge().await;
    assert!(hidden.symlink_metadata().is_err(), "it is there only while it is needed");
    symlink(pair.directory.path(), &hidden).unwrap();
    pair.put("/b", b"b");
    pair.converge().await;
    assert!(hidden.symlink_metadata().is_err());
    assert_eq!(fs::read_dir(pair.directory.path()).unwrap().count(), 2);
}
