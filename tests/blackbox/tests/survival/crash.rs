//! The crash test.

use playhouse_blackbox::{Arena, Options, Workspace, on_own, os, shape, wait};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;

use crate::{counters::Counter, reconnect::Viewer};

/// Kept for all the while that it runs.
const RETENTION: &[&str] = &["--retention-bytes", "67108864"];

fn kills() -> u32 {
    std::env::var("PLAYHOUSE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Serve,
    Host,
    Both,
}

async fn kill(arena: &Arena, victim: Victim) {
    let server = arena.server();
    match victim {
        Victim::Serve => {
            server.kill_serve();
            server.start_again();
        }
        Victim::Host => {
            let old = server.kill_host().await;
            wait::until("another host", async || {
                os::of_data_dir(server.data(), "host").into_iter().find(|pid| *pid != old)
            })
            .await;
        }
        Victim::Both => {
            server.kill_serve();
            server.kill_host().await;
            server.start_again();
        }
    }
}

/// Waits until the API runs something again.
async fn serves(ws: &Workspace) {
    wait::within(std::time::Duration::from_secs(60), "a program to run again", async || {
        let request =
            ws.client.request(reqwest::Method::POST, &ws.path("/run")).json(&json!({"command": "echo alive"}));
        let answer = ws.client.try_send(request).await.ok()?;
        if answer.status != 202 {
            assert!(
                matches!(answer.status, 500..=599),
                "while it comes back only 5xx: {} {}",
                answer.status,
                answer.start()
            );
            return None;
        }
        let process = shape::id(&answer.json(), "process_id");
        let ended = ws.ended(process).await;
        (ended["status"] == "completed").then_some(())
    })
    .await;
}

#[test]
fn programs_and_viewers_survive_twenty_kills_without_a_lost_or_doubled_number() {
    on_own(RETENTION, async |arena| {
        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (one, two) = (arena.workspace().await, arena.workspace().await);
        let mut counters = Vec::new();
        for (ws, pause, pty) in
            [(&one, "0.001", false), (&one, "0.02", true), (&two, "0.005", false), (&two, "0.3", true)]
        {
            counters.push((ws, Counter::start(ws, pause, pty).await));
        }
        let mut viewers: Vec<Viewer> = counters
            .iter()
            .enumerate()
            .map(|(n, (ws, counter))| {
                let options = Options { binary: n % 2 == 0, flow_ack: n % 3 == 0, ..Options::default() };
                Viewer::new(ws, counter.run.sandbox_id, options)
            })
            .collect();
        for (viewer, (_, counter)) in viewers.iter_mut().zip(&counters) {
            viewer.more_events(counter.run.process_id, 3).await;
        }
        for n in 0..kills() {
            let victim = *[Victim::Serve, Victim::Host, Victim::Both].choose(&mut random).expect("some");
            eprintln!("kill {n}: {victim:?}");
            if random.random_bool(0.2) {
                viewers[random.random_range(0..4)].break_off();
            }
            kill(arena, victim).await;
            for (viewer, (_, counter)) in viewers.iter_mut().zip(&counters) {
                counter.goes_on();
                viewer.more_events(counter.run.process_id, 2).await;
            }
        }
        for (viewer, (ws, counter)) in viewers.iter_mut().zip(&counters) {
            counter.stop(ws).await;
            let tape = viewer.ended(counter.run.process_id).await;
            counter.check(&tape);
            // Who comes late sees the same.
            let mut late = Viewer::new(ws, counter.run.sandbox_id, Options { binary: true, ..Options::default() });
            let replayed = late.ended(counter.run.process_id).await;
            assert_eq!((replayed.events, replayed.bytes), (tape.events, tape.bytes));
            counter.check(&replayed);
        }
        serves(&one).await;
        serves(&two).await;
    });
}

#[test]
fn after_each_kind_of_death_everything_works_again() {
    on_own(RETENTION, async |arena| {
        let ws = arena.workspace().await;
        let counter = Counter::start(&ws, "0.01", false).await;
        for victim in [Victim::Serve, Victim::Host, Victim::Both] {
            kill(arena, victim).await;
            counter.goes_on();
            serves(&ws).await;
            // A new sandbox can be made, not only the old ones served.
            let fresh = arena.workspace().await;
            serves(&fresh).await;
            assert_eq!(ws.process(counter.run.process_id).await["status"], "running", "after {victim:?}");
            let again = ws.sandbox().await;
            assert_eq!(shape::id(&again, "id"), counter.run.sandbox_id, "the same sandbox after {victim:?}");
        }
        let mut viewer = Viewer::new(&ws, counter.run.sandbox_id, Options::default());
        counter.stop(&ws).await;
        counter.check(&viewer.ended(counter.run.process_id).await);
    });
}

#[test]
fn a_program_that_ends_while_the_server_is_dead_is_known_with_all_its_output() {
    on_own(RETENTION, async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let marker = format!("ends-{:x}", rand::random::<u64>());
        let script = format!("echo begin; sleep 3; seq 1 2000; exit 5 # {marker}");
        let run = ws.run(json!(["sh", "-c", script, marker])).await;
        ws.printed(run.process_id, "begin").await;
        server.kill_serve();
        wait::until("the program to end", async || os::with_argument(&marker).is_empty().then_some(())).await;
        server.start_again();
        let process = ws.ended(run.process_id).await;
        assert_eq!((&process["status"], &process["exit_code"]), (&json!("failed"), &json!(5)));
        let expected: String =
            std::iter::once("begin\n".to_owned()).chain((1..=2000).map(|n| format!("{n}\n"))).collect();
        assert_eq!(String::from_utf8_lossy(&ws.output(run.process_id).await), expected);
    });
}

#[test]
fn input_numbers_outlive_the_server() {
    on_own(RETENTION, async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        for (data, seq) in [("a", 1), ("b", 2)] {
            let _ = ws.input(run.process_id, json!({"data": data, "seq": seq})).await.expect(202);
        }
        for victim in [Victim::Serve, Victim::Both] {
            kill(arena, victim).await;
            // Sent again, as a client does that did not see the answer.
            wait::until("input to be taken", async || {
                let path = format!("/api/processes/{}/input", run.process_id);
                let request = ws.client.request(reqwest::Method::POST, &path).json(&json!({"data": "b", "seq": 2}));
                (ws.client.try_send(request).await.ok()?.status == 202).then_some(())
            })
            .await;
        }
        let _ = ws.input(run.process_id, json!({"data": "c\n", "seq": 3, "eof": true})).await.expect(202);
        ws.ended(run.process_id).await;
        assert_eq!(ws.output(run.process_id).await, b"abc\n");
        assert!(os::alive(server.pid()));
    });
}

#[test]
fn a_flood_survives_kills_too() {
    on_own(&["--retention-bytes", "134217728"], async |arena| {
        let ws = arena.workspace().await;
        // 8 MB in numbered lines, as fast as it is taken.
        let run = ws.run("seq 1 1200000").await;
        let options = Options { binary: true, ..Options::default() };
        let mut viewer = Viewer::new(&ws, run.sandbox_id, options);
        for victim in [Victim::Serve, Victim::Host, Victim::Both] {
            viewer.more_events(run.process_id, 3).await;
            kill(arena, victim).await;
        }
        let tape = viewer.ended(run.process_id).await;
        let mut hasher = blake3::Hasher::new();
        for n in 1..=1_200_000 {
            hasher.update(format!("{n}\n").as_bytes());
        }
        assert!(tape.truncated.is_empty(), "{:?}", tape.truncated);
        assert_eq!(tape.hash(), hasher.finalize(), "{} bytes", tape.bytes);
    });
}

#[test]
fn a_run_with_an_idempotency_key_survives_the_death_in_between() {
    on_own(RETENTION, async |arena| {
        let ws = arena.workspace().await;
        let _ = ws.sh("true").await.good();
        let keyed = || {
            let request = ws.client.request(reqwest::Method::POST, &ws.path("/run"));
            request.header("idempotency-key", "once").json(&json!({"command": "echo done >> log"}))
        };
        let first = ws.client.send(keyed()).await.expect(202).json();
        kill(arena, Victim::Serve).await;
        let second = wait::until("the same answer", async || {
            let answer = ws.client.try_send(keyed()).await.ok()?;
            (answer.status == 202).then(|| answer.json())
        })
        .await;
        assert_eq!(first["process_id"], second["process_id"]);
        ws.ended(shape::id(&second, "process_id")).await;
        assert_eq!(ws.sh("cat log").await.good(), "done\n");
    });
}
