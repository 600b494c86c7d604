//! What the disk could not be given at first.

use std::fs;

use playhouse_protocol::agent::{Change, Content, NodeFrame};

use super::node::{Pair, file, hash};

/// A file that was committed, and whose content gets lost on its way.
async fn lost(path: &str, bytes: &[u8]) -> Pair {
    let mut pair = Pair::new();
    pair.up(b"", true).await;
    pair.ready().await;
    let (node, lost) = (file(bytes, false), Some(Content::Transfer(77)));
    let put = Change::Put { path: path.to_owned(), node, content: lost };
    let version = {
        let mut state = pair.state.lock().unwrap();
        state.blobs.insert(hash(bytes), bytes.to_vec());
        state.commit(vec![put.clone()]);
        state.version
    };
    pair.send(NodeFrame::Push { version, changes: vec![put] });
    pair.until("it is asked for", |state| state.lacking.contains(path)).await;
    pair
}

fn push_again(pair: &Pair, path: &str, bytes: &[u8]) {
    let content = Some(Content::Inline(bytes.to_vec()));
    let changes = vec![Change::Put { path: path.to_owned(), node: file(bytes, false), content }];
    let version = pair.state.lock().unwrap().version;
    pair.send(NodeFrame::Push { version, changes });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_written_is_asked_for_and_told_once() {
    let mut pair = lost("/d/f", b"content").await;
    assert!(!pair.workspace().join("d/f").exists());
    pair.state.lock().unwrap().lacking.clear();
    pair.until("it is asked for again, since nothing came", |state| state.lacking.contains("/d/f")).await;
    push_again(&pair, "/d/f", b"content");
    pair.converge().await;
    assert_eq!(fs::read(pair.workspace().join("d/f")).unwrap(), b"content");
    let notices = pair.state.lock().unwrap().notices.clone();
    assert!(matches!(&notices[..], [one] if one.starts_with("file_not_written: /d/f")), "{notices:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moved_before_it_could_be_written_is_asked_for_where_it_is() {
    let mut pair = lost("/d/f", b"content").await;
    pair.commit(vec![Change::Move { from: "/d".to_owned(), to: "/e".to_owned() }]);
    pair.until("it is asked for under its new name", |state| state.lacking.contains("/e/f")).await;
    push_again(&pair, "/e/f", b"content");
    pair.converge().await;
    assert_eq!(fs::read(pair.workspace().join("e/f")).unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_has_made_there_meanwhile_stays() {
    let mut pair = lost("/f", b"older").await;
    // In one go, so that it is not reported before it is pushed again.
    fs::write(pair.workspace().join("f"), "the program's").unwrap();
    push_again(&pair, "/f", b"older");
    pair.converge().await;
    assert_eq!(fs::read(pair.workspace().join("f")).unwrap(), b"the program's");
}
