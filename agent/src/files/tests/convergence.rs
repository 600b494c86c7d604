//! Random changes on both sides, with links that come and go: in the end disk and tree are alike.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::{Duration, Instant},
};

use playhouse_protocol::{
    agent::{Change, Node},
    path as paths,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::node::Pair;

fn random_path(random: &mut StdRng) -> String {
    let depth = random.random_range(1..=3);
    (0..depth).map(|_| format!("/{}", ["a", "b", "c"][random.random_range(0..3)])).collect()
}

fn random_bytes(random: &mut StdRng) -> Vec<u8> {
    let length =
        if random.random_bool(0.1) { random.random_range(60_000..400_000) } else { random.random_range(0..40) };
    let byte = random.random_range(b'a'..=b'e');
    vec![byte; length]
}

/// What a program does; that it fails half of the time is part of it.
fn on_disk(root: &Path, random: &mut StdRng) {
    let path = root.join(&random_path(random)[1..]);
    let _ = match random.random_range(0..11) {
        0..3 => fs::write(&path, random_bytes(random)),
        3 => {
            let temp = root.join("d.tmp");
            fs::write(&temp, random_bytes(random)).and_then(|()| fs::rename(&temp, &path))
        }
        4 => fs::create_dir_all(&path),
        5 => fs::remove_file(&path),
        6 => fs::remove_dir_all(&path),
        7 => fs::rename(&path, root.join(&random_path(random)[1..])),
        8 => symlink("../x", &path),
        9 => fs::hard_link(&path, root.join(&random_path(random)[1..])),
        _ => fs::metadata(&path).and_then(|metadata| {
            if metadata.is_file() { fs::set_permissions(&path, fs::Permissions::from_mode(0o744)) } else { Ok(()) }
        }),
    };
}

fn on_node(pair: &Pair, random: &mut StdRng) {
    let path = random_path(random);
    let tree = pair.state.lock().unwrap().tree.clone();
    match random.random_range(0..8) {
        0..4 => {
            let bytes = random_bytes(random);
            pair.put_as(&path, &bytes, random.random_bool(0.3));
        }
        4 => pair.commit(vec![Change::Put { path, node: Node::Directory, content: None }]),
        5 => pair.commit(vec![Change::Remove { path }]),
        6 => {
            let to = random_path(random);
            let taken = tree.contains_key(&to) || paths::is_within(&to, &path) || !tree.contains_key(&path);
            let parents_are_directories = {
                let mut above = paths::parent(&to);
                let mut all = true;
                while let Some(parent) = above {
                    all &= tree.get(parent) == Some(&Node::Directory);
                    above = paths::parent(parent);
                }
                all
            };
            if !taken && parents_are_directories {
                pair.commit(vec![Change::Move { from: path, to }]);
            }
        }
        _ => {
            let target = "elsewhere".to_owned();
            pair.commit(vec![Change::Put { path, node: Node::Symlink { target }, content: None }]);
        }
    }
}

async fn run(seed: u64, flaps: bool) {
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = Pair::new();
    pair.up(b"", true).await;
    pair.ready().await;
    for _ in 0..120 {
        match random.random_range(0..20) {
            0..8 => on_disk(&pair.workspace(), &mut random),
            8..15 => on_node(&pair, &mut random),
            15 if flaps => {
                pair.down().await;
                for _ in 0..random.random_range(0..4) {
                    on_disk(&pair.workspace(), &mut random);
                    on_node(&pair, &mut random);
                }
                let whole = random.random_bool(0.5);
                pair.up(b"", whole).await;
            }
            16 => pair.flush().await,
            _ => tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await,
        }
    }
    pair.rest().await;
    pair.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_meet_on_a_steady_link() {
    for seed in 0..seeds() {
        run(seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_meet_on_a_link_that_comes_and_goes() {
    for seed in 1000..1000 + seeds() {
        run(seed, true).await;
    }
}

/// A program that waits for nobody: its changes fall between any two steps of ours.
async fn run_at_once(seed: u64) {
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = Pair::new();
    pair.up(b"", true).await;
    pair.ready().await;
    let root = pair.workspace();
    let until = Instant::now() + Duration::from_millis(700);
    let program = std::thread::spawn(move || {
        let mut random = StdRng::seed_from_u64(seed ^ u64::MAX);
        while Instant::now() < until {
            for _ in 0..random.random_range(1..8) {
                on_disk(&root, &mut random);
            }
            std::thread::park_timeout(Duration::from_millis(random.random_range(0..12)));
        }
    });
    while !program.is_finished() {
        for _ in 0..random.random_range(1..4) {
            on_node(&pair, &mut random);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..12))).await;
    }
    program.join().expect("a program that ends");
    pair.rest().await;
    pair.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_meet_when_they_change_at_the_same_moment() {
    for seed in 2000..2000 + seeds() {
        run_at_once(seed).await;
    }
}

/// More by `PLAYHOUSE_FILES_SEEDS`.
fn seeds() -> u64 {
    std::env::var("PLAYHOUSE_FILES_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}
