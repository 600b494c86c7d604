//! The environment of one sandbox in the next.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use playhouse_protocol::agent::NodeFrame;

use super::node::Pair;

async fn pack(pair: &Pair) -> (Vec<u8>, Vec<(String, String)>) {
    pair.files.now(NodeFrame::Pack { tag: 77 }).await;
    pair.until("a pack", |state| state.pack_left_out.is_some() || state.pack_failed.is_some()).await;
    let state = pair.state.lock().unwrap();
    assert_eq!(state.pack_failed, None);
    (state.pack.clone(), state.pack_left_out.clone().unwrap())
}

fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut x = seed | 1;
    (0..length)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_back_as_it_was() {
    let mut pair = Pair::new();
    pair.up(b"", true).await;
    pair.ready().await;
    let (root, home) = (pair.workspace(), pair.home());
    let long = "l".repeat(120);
    fs::create_dir_all(root.join("app/node_modules").join(&long)).unwrap();
    fs::write(root.join("app/node_modules").join(&long).join("index.js"), noise(700_000, 3)).unwrap();
    fs::write(root.join("app/main.js"), "in the tree").unwrap();
    fs::create_dir_all(home.join(".cache/pip")).unwrap();
    fs::write(home.join(".cache/pip/wheel"), "wheel").unwrap();
    fs::hard_link(home.join(".cache/pip/wheel"), home.join(".cache/pip/same")).unwrap();
    fs::write(home.join(".bashrc"), "alias x=y\n").unwrap();
    fs::create_dir_all(home.join("bin")).unwrap();
    fs::write(home.join("bin/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(home.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/usr/bin/env", home.join("bin/env")).unwrap();
    fs::create_dir(home.join("bin/frozen")).unwrap();
    fs::write(home.join("bin/frozen/file"), "x").unwrap();
    fs::set_permissions(home.join("bin/frozen"), fs::Permissions::from_mode(0o555)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, home.join("bin/fifo"), rustix::fs::Mode::RWXU).unwrap();
    let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().append(true).open(home.join("bin/tool")).unwrap().set_modified(then).unwrap();
    let (packed, left_out) = pack(&pair).await;
    assert!(left_out.is_empty(), "{left_out:?}");
    assert!(pair.state.lock().unwrap().tree.contains_key("/app/main.js"), "what changed was reported before");

    let mut next = Pair::new();
    next.state.lock().unwrap().tree = pair.state.lock().unwrap().tree.clone();
    next.state.lock().unwrap().blobs = pair.state.lock().unwrap().blobs.clone();
    next.state.lock().unwrap().version = 9;
    next.up(&packed, true).await;
    assert_eq!(next.ready().await, Vec::<String>::new());
    let (root, home) = (next.workspace(), next.home());
    assert_eq!(fs::read(root.join("app/node_modules").join(&long).join("index.js")).unwrap(), noise(700_000, 3));
    assert_eq!(fs::read_to_string(root.join("app/main.js")).unwrap(), "in the tree");
    assert_eq!(fs::read_to_string(home.join(".bashrc")).unwrap(), "alias x=y\n");
    let tool = fs::metadata(home.join("bin/tool")).unwrap();
    assert_eq!((tool.permissions().mode() & 0o777, tool.modified().unwrap()), (0o755, then));
    assert_eq!(fs::read_link(home.join("bin/env")).unwrap().to_str(), Some("/usr/bin/env"));
    let frozen = fs::metadata(home.join("bin/frozen")).unwrap();
    assert_eq!(frozen.permissions().mode() & 0o777, 0o555);
    assert_eq!(fs::read_to_string(home.join("bin/frozen/file")).unwrap(), "x");
    assert!(!home.join("bin/fifo").exists());
    let (one, other) =
        (fs::metadata(home.join(".cache/pip/wheel")).unwrap(), fs::metadata(home.join(".cache/pip/same")).unwrap());
    assert_eq!((one.ino(), one.nlink()), (other.ino(), 2));
    next.flush().await;
    assert_eq!(next.state.lock().unwrap().reports, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_left_out_and_named() {
    let mut pair = Pair::new();
    pair.settings.max_environment_bytes = 300_000;
    pair.up(b"", true).await;
    pair.ready().await;
    let (root, home) = (pair.workspace(), pair.home());
    fs::create_dir_all(home.join(".cache")).unwrap();
    fs::write(home.join(".cache/c"), noise(50_000, 1)).unwrap();
    fs::create_dir_all(root.join("target")).unwrap();
    fs::write(root.join("target/t"), noise(400_000, 2)).unwrap();
    fs::create_dir_all(root.join("x/node_modules")).unwrap();
    fs::write(root.join("x/node_modules/n"), noise(100_000, 3)).unwrap();
    // Large, but it packs to nothing.
    fs::write(home.join("zeros"), vec![0; 2_000_000]).unwrap();
    let (packed, left_out) = pack(&pair).await;
    let names: Vec<_> = left_out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["home/.cache", "workspace/target"]);
    assert!(packed.len() <= 300_000);
    let mut next = Pair::new();
    next.settings.max_environment_bytes = 300_000;
    next.up(&packed, true).await;
    assert_eq!(next.ready().await, Vec::<String>::new());
    assert_eq!(fs::read(next.workspace().join("x/node_modules/n")).unwrap(), noise(100_000, 3));
    assert_eq!(fs::metadata(next.home().join("zeros")).unwrap().len(), 2_000_000);
    assert!(!next.workspace().join("target").exists() && !next.home().join(".cache").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_pack_reaches_nothing_outside() {
    let mut builder = tar::Builder::new(zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap());
    let mut add = |path: &str, kind: tar::EntryType, link: Option<&str>, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o4777);
        header.set_size(bytes.len() as u64);
        if let Some(link) = link {
            header.set_link_name_literal(link).unwrap();
        }
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    };
    let file = tar::EntryType::Regular;
    add("home/../../evil", file, None, b"x");
    add("/home/evil", file, None, b"x");
    add("workspace/src/main.py", file, None, b"overwritten");
    add("home/out", tar::EntryType::Symlink, Some("../../"), b"");
    add("home/out/evil", file, None, b"x");
    add("home/hard", tar::EntryType::Link, Some("home/out/secret"), b"");
    add("home/hard2", tar::EntryType::Link, Some("../secret"), b"");
    add("home/fine", file, None, b"fine");
    let packed = builder.into_inner().unwrap().finish().unwrap();
    let mut pair = Pair::new();
    fs::write(pair.directory.path().join("secret"), "secret").unwrap();
    pair.seed("/src/main.py", b"the tree's");
    pair.up(&packed, true).await;
    let notes = pair.ready().await;
    assert_eq!(notes.len(), 6, "{notes:?}");
    assert_eq!(fs::read_to_string(pair.workspace().join("src/main.py")).unwrap(), "the tree's");
    assert_eq!(fs::metadata(pair.home().join("fine")).unwrap().permissions().mode() & 0o7777, 0o777);
    let names: Vec<_> = fs::read_dir(pair.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(fs::read_dir(pair.directory.path()).unwrap().count(), 3);
    // A cut-off pack is said to be one, and the tree comes all the same.
    let mut pair = Pair::new();
    pair.up(&packed[..packed.len() - 20], true).await;
    assert!(pair.ready().await.iter().any(|note| note.contains("only partly")));
}

/// A pack of one file, `home/before`, and then these blocks.
fn packed_with(blocks: &[&[u8]]) -> Vec<u8> {
    use std::io::Write as _;

    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(head("home/before", tar::EntryType::Regular, 0).as_bytes()).unwrap();
    for block in blocks {
        encoder.write_all(block).unwrap();
    }
    encoder.finish().unwrap()
}

fn head(path: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(path).unwrap();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_size_beyond_all_numbers_is_refused_in_words() {
    let sizes = [u64::MAX, u64::MAX - 511, u64::MAX - 512, u64::MAX - 1024, 1 << 50];
    let plain = sizes.map(|size| (head("home/huge", tar::EntryType::Regular, size), "only partly restored"));
    let name = (head("././@LongLink", tar::EntryType::GNULongName, 32 << 20), "a name in it is too long");
    let target = (head("././@LongLink", tar::EntryType::GNULongLink, 32 << 20), "a name in it is too long");
    for (header, words) in plain.into_iter().chain([name, target]) {
        let mut pair = Pair::new();
        pair.up(&packed_with(&[header.as_bytes(), &[b'n'; 4096]]), true).await;
        let notes = pair.ready().await;
        assert!(notes.len() == 1 && notes[0].contains(words), "{:?}: {notes:?}", header.entry_size());
        assert!(pair.home().join("before").exists(), "what came before it is there");
        assert!(!pair.home().join("huge").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sparse_file_counts_as_what_is_stored_of_it() {
    // It says that it is as large as a number can be, all of it a hole.
    let mut header = head("home/sparse", tar::EntryType::GNUSparse, 0);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.sparse[0].offset = [0xff; 12];
    gnu.sparse[0].offset[..4].copy_from_slice(&[0x80, 0, 0, 0]);
    gnu.sparse[0].numbytes = *b"00000000000\0";
    gnu.realsize = gnu.sparse[0].offset;
    header.set_cksum();
    let after = head("home/after", tar::EntryType::Regular, 0);
    let mut pair = Pair::new();
    pair.up(&packed_with(&[header.as_bytes(), after.as_bytes()]), true).await;
    assert_eq!(pair.ready().await, Vec::<String>::new());
    assert!(pair.home().join("after").exists() && !pair.home().join("sparse").exists());
}
