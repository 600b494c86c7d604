//! A hundred megabytes through sockets that break at random, compared by hash.

use std::time::Duration;

use playhouse_blackbox::{Model, Options, Stream, Workspace, on_own, stream, wait};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use uuid::Uuid;

/// How much is printed.
const BYTES: usize = 100 * 1024 * 1024;
/// Retained, so that a client that is away for a moment misses nothing.
const RETENTION: &str = "268435456";

/// The sizes of its writes.
const SIZES: [usize; 7] = [1, 7, 100, 4096, 32_768, 65_536, 300_000];

/// A program that writes `bytes` of reproducible noise in writes of all sizes; [`expected`] knows what it writes.
fn printer(bytes: usize) -> String {
    format!(
        "import sys
s = 42
def draw():
    global s
    s = (s * 6364136223846793005 + 1442695040888963407) % 2**64
    return s >> 33
pool = bytes(draw() & 255 for _ in range(1 << 20))
left = {bytes}; out = sys.stdout.buffer; sizes = {SIZES:?}
while left:
    n = min(left, sizes[draw() % 7]); at = draw() % (len(pool) - 300000)
    out.write(pool[at:at + n]); out.flush(); left -= n"
    )
}

/// The hash of what [`printer`] prints.
fn expected(bytes: usize) -> blake3::Hash {
    let mut state = 42u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let pool: Vec<u8> = (0..1 << 20).map(|_| (draw() & 255) as u8).collect();
    let mut hasher = blake3::Hasher::new();
    let mut left = bytes;
    while left > 0 {
        let n = left.min(SIZES[draw() % 7]);
        let at = draw() % (pool.len() - 300_000);
        hasher.update(&pool[at..at + n]);
        left -= n;
    }
    hasher.finalize()
}

/// Follows a process to its end over sockets that break whenever `breaks` says so.
async fn follow(ws: &Workspace, sandbox: Uuid, process: Uuid, binary: bool, seed: u64) -> (Model, u32) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = Model::new(sandbox);
    let mut sockets = 0;
    loop {
        let token = stream::token(&ws.client, sandbox).await;
        let options = Options { binary, flow_ack: random.random(), ..Options::default() };
        let mut stream = match Stream::resume(&ws.client, sandbox, &token, options, model).await {
            Ok(stream) => stream,
            Err((_, error)) => panic!("{error}"),
        };
        sockets += 1;
        let breaks_after: u64 = random.random_range(0..6 * 1024 * 1024);
        let start = stream.model.tapes.get(&process).map_or(0, |tape| tape.bytes);
        loop {
            let _ = stream.next().await.expect("it stays open");
            let Some(tape) = stream.model.tapes.get(&process) else { continue };
            if tape.end.is_some() {
                return (stream.model, sockets);
            }
            if tape.bytes - start >= breaks_after {
                break;
            }
        }
        model = stream.break_off();
    }
}

#[test]
fn a_hundred_megabytes_survive_random_disconnects_byte_for_byte() {
    on_own(&["--retention-bytes", RETENTION], async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(json!(["python3", "-c", printer(BYTES)])).await;
        let seed = rand::random();
        eprintln!("seed {seed}");
        let (model, sockets) = follow(&ws, run.sandbox_id, run.process_id, true, seed).await;
        let tape = model.tape(run.process_id);
        assert_eq!(tape.end.as_ref().and_then(|end| end.exit_code), Some(0));
        assert!(tape.truncated.is_empty(), "{:?}", tape.truncated);
        assert_eq!(tape.bytes, BYTES as u64);
        assert_eq!(tape.hash(), expected(BYTES), "over {sockets} sockets");
        assert!(sockets > 10, "{sockets} sockets");
    });
}

#[test]
fn two_clients_with_different_breaks_see_the_same_events() {
    on_own(&["--retention-bytes", RETENTION], async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(json!(["python3", "-c", printer(12 << 20)])).await;
        let ((one, _), (two, _)) = tokio::join!(
            follow(&ws, run.sandbox_id, run.process_id, true, 11),
            follow(&ws, run.sandbox_id, run.process_id, true, 12),
        );
        let (one, two) = (one.tape(run.process_id), two.tape(run.process_id));
        assert_eq!((one.hash(), one.bytes, one.events), (two.hash(), two.bytes, two.events));
        assert_eq!(one.hash(), expected(12 << 20));
    });
}

#[test]
fn text_survives_disconnects_too() {
    on_own(&["--retention-bytes", RETENTION], async |arena| {
        let ws = arena.workspace().await;
        let run = ws
            .run(json!(["python3", "-c", "import sys\nfor i in range(400000): sys.stdout.write(f'{i} ünï€😀\\n')"]))
            .await;
        let (model, _) = follow(&ws, run.sandbox_id, run.process_id, false, 5).await;
        let expected: String = (0..400_000).map(|i| format!("{i} ünï€😀\n")).collect();
        let tape = model.tape(run.process_id);
        assert_eq!((tape.bytes, tape.hash()), (expected.len() as u64, blake3::hash(expected.as_bytes())));
    });
}

#[test]
fn a_flood_does_not_grow_the_servers_memory_without_bound() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let resident = || -> u64 {
            let status = std::fs::read_to_string(format!("/proc/{}/status", arena.server().pid())).expect("its status");
            let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS").to_owned();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
        };
        let run = ws.run("yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
        let options = Options { flow_ack: true, hold_acks: true, ..Options::default() };
        let mut stuck = Vec::new();
        for _ in 0..5 {
            stuck.push(ws.stream(run.sandbox_id, options.clone()).await);
        }
        let before = resident();
        let mut reader = ws.stream(run.sandbox_id, Options::default()).await;
        let start = tokio::time::Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            let _ = reader.next().await.expect("it stays open");
        }
        let after = resident();
        ws.cancel(run.process_id).await;
        wait::until("it to end", async || (ws.process(run.process_id).await["finished_at"].is_string()).then_some(()))
            .await;
        assert!(after < before + 200 * 1024, "{before} KiB, then {after} KiB");
    });
}
