//! Logs of output whose end a crash took, or that are damaged, or gone: the agent sends again what it has, and what
//! nobody has is named.

use std::{fs, path::PathBuf};

use playhouse_blackbox::{Arena, EventId, Options, Run, Workspace, on_own, wait};
use serde_json::json;
use uuid::Uuid;

/// What is done to a log.
type Damage = fn(&PathBuf, Vec<u8>);

/// Each kind of damage to a log's only segment.
const DAMAGES: &[(&str, Damage)] = &[
    ("cut by a byte", |path, bytes| fs::write(path, &bytes[..bytes.len() - 1]).unwrap()),
    ("cut in half", |path, bytes| fs::write(path, &bytes[..bytes.len() / 2]).unwrap()),
    ("emptied", |path, _| fs::write(path, "").unwrap()),
    ("removed", |path, _| fs::remove_file(path).unwrap()),
    ("flipped in its midst", |path, mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(path, bytes).unwrap();
    }),
    ("followed by zeros", |path, mut bytes| {
        bytes.resize(bytes.len() + 70_000, 0);
        fs::write(path, bytes).unwrap();
    }),
];

fn expected() -> String {
    (1..=3000).map(|n| format!("line {n}\n")).collect()
}

fn segment(arena: &Arena, ws: &Workspace, process: Uuid) -> PathBuf {
    let dir = arena.server().data().join("replay").join(ws.id.to_string()).join(process.to_string());
    let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut segments: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    assert_eq!(segments.len(), 1, "{segments:?}");
    segments.remove(0)
}

/// Runs the command once for each kind of damage, prints 3000 lines each, and damages the logs while nothing serves.
async fn damaged(arena: &Arena, ws: &Workspace, then: &str) -> Vec<(&'static str, Run)> {
    let mut runs = Vec::new();
    for (what, _) in DAMAGES {
        let run = ws.run(format!("seq -f 'line %.0f' 3000; {then}")).await;
        ws.printed(run.process_id, "line 3000\n").await;
        runs.push((*what, run));
    }
    if then == "true" {
        for (_, run) in &runs {
            ws.ended(run.process_id).await;
        }
    }
    arena.server().kill_serve();
    for ((_, damage), (_, run)) in DAMAGES.iter().zip(&runs) {
        let path = segment(arena, ws, run.process_id);
        let bytes = fs::read(&path).unwrap();
        damage(&path, bytes);
    }
    arena.server().start_again();
    runs
}

#[test]
fn the_agent_sends_again_what_a_damaged_log_lacks() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        for (what, run) in damaged(arena, &ws, "cat").await {
            wait::until("the agent to be back", async || {
                let answer = ws.input(run.process_id, json!({"data": "after\n", "seq": 1})).await;
                (answer.status == 202).then_some(())
            })
            .await;
            let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
            stream.shows(run.process_id, "after\n").await;
            let tape = stream.model.tape(run.process_id);
            assert!(tape.is_whole(), "{what}: {:?}", tape.truncated);
            assert!(tape.text() == expected() + "after\n", "{what}: {} bytes", tape.bytes);
            ws.cancel(run.process_id).await;
        }
    });
}

#[test]
fn what_a_damaged_log_lacks_of_an_ended_process_is_named_with_its_bytes() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let runs = damaged(arena, &ws, "true").await;
        let mut stream = ws.stream(runs[0].1.sandbox_id, Options::default()).await;
        for (what, run) in runs {
            let listed = stream.model.hello.get(&run.process_id).unwrap_or_else(|| panic!("{what}: hello lists it"));
            let last = listed.last.expect("it printed");
            assert_eq!(stream.end_of(run.process_id).await.status, "completed", "{what}");
            let tape = stream.model.tape(run.process_id);
            assert!(expected().starts_with(&tape.text()), "{what}: what is left is its beginning");
            assert_eq!(tape.cursor, Some(last), "{what}: everything came or is named");
            let lost: u64 = tape.truncated.iter().map(|(.., bytes)| bytes).sum();
            assert_eq!(tape.bytes + lost, expected().len() as u64, "{what}: {:?}", tape.truncated);
            assert_eq!(tape.truncated.len(), usize::from(what != "followed by zeros"), "{what}");
            // Whoever had all of it misses nothing.
            let mut had = ws.stream(run.sandbox_id, Options { from: Some("resume"), ..Options::default() }).await;
            assert!(last >= EventId::FIRST);
            had.send(json!({"type": "resume", "process_id": run.process_id, "last_seen_id": last.to_string()})).await;
            had.end_of(run.process_id).await;
            assert_eq!((had.model.tape(run.process_id).events, had.model.tape(run.process_id).truncated.len()), (0, 0));
        }
    });
}
