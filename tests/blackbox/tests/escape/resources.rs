//! What one sandbox takes, its neighbours keep.

use std::time::Duration;

use playhouse_blackbox::{Workspace, on_shared, shape, wait};
use serde_json::json;

use crate::probe::script;

/// A neighbour answers within this while another sandbox misbehaves (the machine has few processors and is shared).
const NEIGHBOUR: Duration = Duration::from_secs(20);

async fn neighbour_is_well(neighbour: &Workspace) {
    let start = tokio::time::Instant::now();
    assert_eq!(neighbour.sh("echo well > well; cat well").await.good(), "well\n");
    assert!(start.elapsed() < NEIGHBOUR, "a neighbour waited {:?}", start.elapsed());
}

async fn neighbour(arena: &playhouse_blackbox::Arena) -> Workspace {
    let neighbour = arena.workspace().await;
    neighbour_is_well(&neighbour).await;
    neighbour
}

#[test]
fn a_fork_bomb_is_bounded_and_neighbours_are_unharmed() {
    on_shared(async |arena| {
        let neighbour = neighbour(arena).await;
        let ws = arena.workspace().await;
        let bomb = "
import os, sys, time
n = 0
while True:
    try:
        if os.fork() == 0:
            time.sleep(1000); os._exit(0)
        n += 1
    except OSError as error:
        print('stopped at', n, error, flush=True)
        break
time.sleep(1000)
";
        let run = ws.run(json!(["python3", "-c", bomb])).await;
        let text = ws.printed(run.process_id, "stopped at").await;
        let count: u64 = text.split(' ').nth(2).and_then(|n| n.parse().ok()).expect("a count");
        assert!(count < 20_000, "bounded: {count}");
        neighbour_is_well(&neighbour).await;
        ws.cancel(run.process_id).await;
        ws.ended(run.process_id).await;
        wait::until("the sandbox to be well again", async || {
            (ws.sh("echo well").await.text() == "well\n").then_some(())
        })
        .await;
    });
}

#[test]
fn a_bomb_that_never_stops_forking_can_be_cancelled() {
    on_shared(async |arena| {
        let neighbour = neighbour(arena).await;
        let ws = arena.workspace().await;
        let run = ws.run("echo go; b() { b | b & }; b; while :; do b; sleep 0.1; done").await;
        ws.printed(run.process_id, "go").await;
        neighbour_is_well(&neighbour).await;
        let _ = ws.client.delete(&format!("/api/sandboxes/{}", run.sandbox_id)).await.expect(204);
        wait::within(Duration::from_secs(60), "it to be terminated", async || {
            (ws.sandbox_status(run.sandbox_id).await == "terminated").then_some(())
        })
        .await;
        neighbour_is_well(&neighbour).await;
        assert_eq!(ws.sh("echo well").await.good(), "well\n");
    });
}

#[test]
fn a_memory_hog_dies_of_its_own_limit_and_neighbours_are_unharmed() {
    on_shared(async |arena| {
        let neighbour = neighbour(arena).await;
        let theirs = neighbour.run("cat").await;
        let ws = arena.workspace().await;
        let hog = "keep = []\nwhile True: keep.append(bytearray(16 << 20)); keep[-1][::4096] = b'x' * 4096";
        let process = ws.run_to_end(json!({"command": ["python3", "-c", hog]})).await.process;
        assert_eq!(process["reason"], "out_of_memory", "{process}");
        neighbour_is_well(&neighbour).await;
        assert_eq!(neighbour.process(theirs.process_id).await["status"], "running");
        assert_eq!(ws.sh("echo well").await.good(), "well\n", "the sandbox itself goes on");
    });
}

#[test]
fn temporary_file_systems_are_bounded() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = "
for place in ['/tmp', '/dev/shm', '/var/tmp', '/run', '/dev']:
    try:
        with open(place + '/fill', 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, 64 << 30)
        print(place, 'took 64 GiB')
    except OSError as error: print(place, 'refused', errno.errorcode[error.errno])
    try: os.unlink(place + '/fill')
    except OSError: pass
";
        let text = script(&ws, body).await;
        assert!(!text.contains("took"), "{text}");
    });
}

#[test]
fn a_processor_hog_leaves_neighbours_their_share() {
    on_shared(async |arena| {
        let neighbour = neighbour(arena).await;
        let ws = arena.workspace().await;
        let run = ws.run("for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; echo burning; wait").await;
        ws.printed(run.process_id, "burning").await;
        for _ in 0..3 {
            neighbour_is_well(&neighbour).await;
        }
        ws.cancel(run.process_id).await;
        ws.ended(run.process_id).await;
    });
}

#[test]
fn a_full_disk_is_the_sandboxs_own_and_named() {
    on_shared(async |arena| {
        let neighbour = neighbour(arena).await;
        let ws = arena.workspace().await;
        let fill = "
size = 1 << 30
total = 0
file = open('/workspace/fill', 'wb')
while size >= 4096:
    try:
        os.posix_fallocate(file.fileno(), total, size); total += size
    except OSError: size //= 2
    if total > 1 << 40: break
print(total)
";
        let total: u64 = script(&ws, fill).await.trim().parse().expect("a number");
        let types = ws.client.get("/api/instance-types").await.expect(200).json();
        let small = types["items"]
            .as_array()
            .and_then(|all| all.iter().find(|t| t["name"] == "cpu-small"))
            .expect("cpu-small")
            .clone();
        let quota = small["disk_bytes"].as_u64().expect("a number");
        assert!(total <= quota, "{total} of {quota}");
        neighbour_is_well(&neighbour).await;
        let process = ws.sh("head -c 10000000 /dev/zero > /workspace/more").await.process;
        assert_eq!((&process["status"], &process["reason"]), (&json!("failed"), &json!("disk_full")), "{process}");
        assert_eq!(ws.sh("exit 4").await.process["reason"], json!(null), "its own failure, whatever the disk");
        // Large writes are refused with more left than small ones.
        let large = "truncate -s -20M /workspace/fill; exec dd if=/dev/zero of=/workspace/large bs=1M";
        let process = ws.sh(large).await.process;
        assert_eq!((&process["status"], &process["reason"]), (&json!("failed"), &json!("disk_full")), "{process}");
        let cleared = ws
            .sh("rm /workspace/fill /workspace/more /workspace/large; echo fits > /workspace/fits; cat /workspace/fits")
            .await;
        assert_eq!(cleared.good(), "fits\n");
        neighbour_is_well(&neighbour).await;
    });
}

#[test]
fn a_hundred_thousand_small_files_harm_nobody() {
    on_shared(async |arena| {
        let neighbour = neighbour(arena).await;
        let ws = arena.workspace().await;
        let many = "
os.makedirs('/workspace/target')
n = 0
try:
    for n in range(100000):
        os.close(os.open('/workspace/target/%d' % n, os.O_CREAT | os.O_WRONLY))
except OSError as error: print(error)
print('made', n)
";
        let text = script(&ws, many).await;
        assert!(text.contains("made"), "{text}");
        neighbour_is_well(&neighbour).await;
        assert!(ws.paths().await.is_empty(), "a generated folder is not listed");
        let sandbox = shape::id(&ws.sh("rm -r target").await.process, "sandbox_id");
        assert!(["running", "idle"].contains(&&*ws.sandbox_status(sandbox).await));
    });
}

#[test]
fn a_flood_of_descriptors_and_watches_is_bounded() {
    on_shared(async |arena| {
        let neighbour = neighbour(arena).await;
        let ws = arena.workspace().await;
        let flood = "
kept = []
try:
    while True: kept.append(os.open('/dev/null', os.O_RDONLY))
except OSError as error: print('descriptors', len(kept), errno.errorcode[error.errno])
for fd in kept[100:]: os.close(fd)
n = 0
try:
    while True: call(294, 0); n += 1
except OSError as error: print('inotify', n, errno.errorcode[error.errno])
";
        let text = script(&ws, flood).await;
        let number = |word: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(word)).expect(word);
            line.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number")
        };
        assert!(number("descriptors") <= 8192, "{text}");
        assert!(number("inotify") <= 128, "{text}");
        neighbour_is_well(&neighbour).await;
        ws.create("/after", "x").await;
        assert_eq!(ws.sh("cat after").await.good(), "x");
    });
}
