//! A disk without room for output: programs wait, nothing else does, and nothing is lost once there is room again.

use std::{fs, io::Write, os::unix::fs::symlink, path::PathBuf};

use playhouse_blackbox::{Options, on_own, os, wait};
use serde_json::json;

use crate::counters::Counter;

/// A small file system over a directory, as long as it lives.
struct Small(PathBuf);

impl Small {
    /// None where the machine lets us mount nothing.
    fn over(dir: PathBuf, size: &str) -> Option<Self> {
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], &dir);
        mounted.then_some(Self(dir))
    }

    fn grow(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], &self.0), "it grows");
    }
}

fn mount(arguments: &[&str], dir: &PathBuf) -> bool {
    os::as_root("mount").args(arguments).arg(dir).status().is_ok_and(|status| status.success())
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the server may still have files there. What can't be unmounted goes with the machine.
        let _ = os::as_root("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_the_flood_alone_until_there_is_room() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let typed = ws.run("cat").await;
        let _ = ws.input(typed.process_id, json!({"data": "before\n", "seq": 1})).await.expect(202);
        ws.printed(typed.process_id, "before").await;
        server.kill_serve();
        let small = Small::over(server.data().join("replay"), "2m");
        server.start_again();
        let Some(small) = small else { return eprintln!("not tried: nothing can be mounted here") };
        wait::until("the agent to be back", async || {
            let answer = ws.input(typed.process_id, json!({"data": "back\n", "seq": 2})).await;
            (answer.status == 202).then_some(())
        })
        .await;
        let flood = ws.run("yes 0123456789abcdef | head -c 8000000").await;
        let mut stream = ws.stream(flood.sandbox_id, Options::default()).await;
        // It comes to stand: for as long as the server waits between two tries at most, nothing more of it comes.
        wait::until("the flood to stand", async || {
            let before = stream.model.tapes.get(&flood.process_id).map_or(0, |tape| tape.bytes);
            while stream.next_within(std::time::Duration::from_secs(2)).await.is_some() {}
            let now = stream.model.tapes.get(&flood.process_id).map_or(0, |tape| tape.bytes);
            (now > 0 && now == before).then_some(())
        })
        .await;
        assert!(stream.model.tape(flood.process_id).end.is_none(), "it has not ended");
        assert!(stream.model.tape(flood.process_id).bytes < 8_000_000);
        // Others are not stopped: what they print is shown before it is stored.
        stream.input(typed.process_id, "while it is full\n", 3).await;
        stream.shows(typed.process_id, "while it is full").await;
        assert_eq!(ws.process(flood.process_id).await["status"], "running");
        small.grow("64m");
        assert_eq!(stream.end_of(flood.process_id).await.status, "completed");
        let tape = stream.model.tape(flood.process_id);
        assert!(tape.is_whole(), "{:?}", tape.truncated);
        assert_eq!(tape.bytes, 8_000_000);
        assert_eq!(ws.output(flood.process_id).await.len(), 8_000_000, "and all of it is stored");
        ws.cancel(typed.process_id).await;
    });
}

#[test]
fn a_log_that_can_not_be_written_ends_nothing() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let counter = Counter::start(&ws, "0.01", false).await;
        server.kill_serve();
        let full = server.data().join("full");
        fs::create_dir(&full).expect("made");
        let Some(full) = Small::over(full, "4k") else { return eprintln!("not tried: nothing can be mounted here") };
        let mut fill = fs::File::create(full.0.join("fill")).expect("made");
        while fill.write_all(&[0; 512]).is_ok() {}
        let log = full.0.join("log");
        fs::remove_file(server.stderr_path()).expect("it has logged");
        symlink(&log, server.stderr_path()).expect("linked");
        server.start_again();
        // New entities, new sandboxes and a host that dies are all logged.
        server.kill_host().await;
        assert_eq!(arena.workspace().await.sh("echo new").await.good(), "new\n");
        counter.goes_on();
        assert_eq!(ws.sh("echo old").await.good(), "old\n");
        assert_eq!(fs::metadata(log).expect("the log").len(), 0, "it was tried");
        counter.stop(&ws).await;
    });
}

#[test]
fn metadata_that_could_not_be_written_can_be_once_there_is_room() {
    on_own(&[], async |arena| {
        let server = arena.server();
        let ws = arena.workspace().await;
        let counter = Counter::start(&ws, "0.01", false).await;
        server.kill_serve();
        let dir = server.data().join("metadata");
        let aside = server.data().join("aside");
        fs::rename(&dir, &aside).expect("moved");
        fs::create_dir(&dir).expect("made");
        let Some(small) = Small::over(dir.clone(), "24m") else {
            return eprintln!("not tried: nothing can be mounted here");
        };
        for file in fs::read_dir(&aside).expect("read").flatten() {
            fs::copy(file.path(), dir.join(file.file_name())).expect("copied");
        }
        server.start_again();
        let kept = arena.workspace().await;
        let mut fill = fs::File::create(small.0.join("fill")).expect("made");
        while fill.write_all(&[0; 4096]).is_ok() {}
        let mut made = Vec::new();
        let refused = wait::until("a commit to fail", async || {
            let name = "x".repeat(100);
            let answer = kept.client.post("/api/workspaces", json!({"name": name, "template": "blank"})).await;
            if answer.status == 201 {
                made.push(answer.json()["id"].as_str().expect("an id").to_owned());
                return None;
            }
            Some(answer)
        })
        .await;
        assert!(refused.status == 503 || refused.status == 500, "{refused:?}");
        drop(fill);
        fs::remove_file(small.0.join("fill")).expect("removed");
        wait::until("a commit to succeed", async || {
            let answer = kept.client.post("/api/workspaces", json!({"name": "after", "template": "blank"})).await;
            (answer.status == 201).then_some(())
        })
        .await;
        for id in made {
            let _ = kept.client.get(&format!("/api/workspaces/{id}")).await.expect(200);
        }
        assert_eq!(kept.sh("echo new").await.good(), "new\n");
        counter.goes_on();
        assert_eq!(ws.sh("echo old").await.good(), "old\n");
        counter.stop(&ws).await;
    });
}
