//! A program and the API change the same files at random; once both rest, disk and tree are alike.

use std::{collections::BTreeMap, time::Duration};

use playhouse_blackbox::{Workspace, on_shared, shape, wait};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;
use tokio::time::Instant;

/// How long both sides are busy.
const BUSY: Duration = Duration::from_secs(6);
/// A step of the API's side takes two requests, and a user may make 200 a second.
const STEP: Duration = Duration::from_millis(15);
/// Small files that have come to rest are alike within a second; a busy machine may take longer.
const RESTS_WITHIN: Duration = Duration::from_secs(15);

/// Changes files as editors, builds and people do; that half of it fails is part of it.
const PROGRAM: &str = r#"
import os, random, shutil, sys, time
R = random.Random(int(sys.argv[1])); end = time.time() + float(sys.argv[2])
NAMES = ['a', 'b', 'c.txt', '\u00e9', 'x y', '.env']
def path(): return '/'.join(R.choice(NAMES) for _ in range(R.randint(1, 3)))
def content(): return os.urandom(R.randint(0, R.choice([100, 2000, 200000])))
def write(at, mode='wb'):
    with open(at, mode) as file: file.write(content())
def change():
    at, to = path(), path()
    if R.random() < 0.7 and os.path.dirname(at): os.makedirs(os.path.dirname(at), exist_ok=True)
    kind = R.randint(0, 11)
    if kind <= 2: write(at)
    elif kind == 3: write(at + '.tmp'); os.rename(at + '.tmp', at)
    elif kind == 4: os.unlink(at)
    elif kind == 5: shutil.rmtree(at)
    elif kind == 6: os.rename(at, to)
    elif kind == 7: os.path.isfile(at) and not os.path.islink(at) and os.chmod(at, R.choice([0o755, 0o644]))
    elif kind == 8: os.symlink(R.choice(['a', '../b', '/etc/passwd']), at)
    elif kind == 9: os.link(to, at)
    elif kind == 10: write(at, 'ab')
    elif kind == 11: os.unlink(at); write(at)
while time.time() < end:
    for _ in range(R.choice([1, 1, 1, 20])):
        try: change()
        except OSError: pass
    time.sleep(R.choice([0, 0, 0.01, 0.1]))
"#;

const LIST: &str = r"
import hashlib, json, os, stat
found = {}
for at, directories, files in os.walk('.'):
    for name in directories + files:
        path = os.path.join(at, name); state = os.lstat(path)
        if stat.S_ISLNK(state.st_mode): what = 'link ' + os.readlink(path)
        elif stat.S_ISDIR(state.st_mode): what = 'directory'
        else: what = 'file %d %d %s' % (state.st_size, state.st_mode >> 6 & 1, open(path, 'rb').read()[:16].hex())
        found[path[1:]] = what
print(json.dumps(found))
";

async fn disk(ws: &Workspace) -> BTreeMap<String, String> {
    let listed = ws.run_to_end(json!({"command": ["python3", "-c", LIST]})).await.good();
    serde_json::from_str(&listed).expect("a listing")
}

async fn tree(ws: &Workspace) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    for file in ws.client.all(&ws.path("/files?all=true"), 1000).await {
        let path = shape::text(&file, "path");
        let what = if file["is_directory"] == true {
            "directory".to_owned()
        } else if let Some(target) = file["symlink_target"].as_str() {
            format!("link {target}")
        } else {
            let content = ws.read(&path).await.unwrap_or_default();
            let head: String = content.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("file {} {} {head}", file["size"], u8::from(file["executable"] == true))
        };
        tree.insert(path, what);
    }
    tree
}

/// Writes, moves and removes at random. Refusals are part of it; only a server's fault is not.
async fn meddle(ws: &Workspace, random: &mut StdRng) {
    let until = Instant::now() + BUSY;
    let mut pace = tokio::time::interval(STEP);
    while Instant::now() < until {
        pace.tick().await;
        let names = ["a", "b", "c.txt", "\u{e9}", "x y", ".env"];
        let depth = random.random_range(1..=3);
        let path: String = (0..depth).map(|_| format!("/{}", names.choose(random).expect("some"))).collect();
        let files = ws.files().await;
        let any = files.choose(random).map(|file| format!("/api/files/{}", shape::text(file, "id")));
        let content = "api ".repeat(random.random_range(0..500));
        let answer = match (random.random_range(0..6), any) {
            (0 | 1, _) | (_, None) => ws.post_file(&path, &content).await,
            (2 | 3, Some(any)) => ws.client.put(&any, json!({"content": content})).await,
            (4, Some(any)) => ws.client.delete(&any).await,
            (_, Some(any)) => ws.client.post(&format!("{any}/move"), json!({"path": path})).await,
        };
        assert!(answer.status < 500, "{} {}", answer.status, answer.start());
    }
}

#[test]
fn what_a_program_and_the_api_change_at_once_is_alike_on_both_sides_in_the_end() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let seed: u32 = rand::random();
        eprintln!("seed {seed}");
        let run = ws.run(json!(["python3", "-c", PROGRAM, seed.to_string(), BUSY.as_secs().to_string()])).await;
        meddle(&ws, &mut StdRng::seed_from_u64(seed.into())).await;
        let _ = ws.ended(run.process_id).await;
        wait::within(RESTS_WITHIN, "disk and tree to be alike", async || {
            let (disk, tree) = (disk(&ws).await, tree(&ws).await);
            if disk != tree {
                let differ = disk.iter().filter(|entry| !tree.iter().any(|other| other == *entry));
                let other = tree.iter().filter(|entry| !disk.iter().any(|other| other == *entry));
                eprintln!("on the disk {:?}, in the tree {:?}", differ.collect::<Vec<_>>(), other.collect::<Vec<_>>());
            }
            (disk == tree).then_some(())
        })
        .await;
    });
}
