//! The agent, run outside a sandbox, against a node that speaks its protocol.

mod node;

use std::time::{Duration, Instant};

use node::{Agent, Model, PATIENCE, shell};
use playhouse_protocol::{
    agent::{INPUT_BYTES, InputOutcome, NodeFrame, PtySize, Signal, Start},
    handshake::token_hash,
    stream::Stream,
};

#[tokio::test]
async fn exits_are_told_as_a_shell_tells_them() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let absent = Start { argv: vec!["no-such-program".into()], ..shell(&agent, "", false) };
    let on_terminal = Start { argv: vec!["no-such-program".into()], ..shell(&agent, "", true) };
    let unrunnable = Start { argv: vec!["/etc/passwd".into()], ..shell(&agent, "", false) };
    let nowhere = Start { cwd: "/no/such/place".into(), ..shell(&agent, "true", false) };
    let cases = [
        (shell(&agent, "echo out; echo err >&2; exit 7", false), Some(7), None, None, "out\nerr\n"),
        (shell(&agent, "kill -9 $$", false), None, Some(9), None, ""),
        (absent, Some(127), None, None, "no-such-program: not found\n"),
        (on_terminal, Some(127), None, None, "no-such-program: not found\r\n"),
        (unrunnable, Some(126), None, None, "/etc/passwd: Permission denied (os error 13)\n"),
        (nowhere, Some(1), None, Some("cwd_not_found"), "/no/such/place: no such directory\n"),
    ];
    for (start, code, signal, reason, text) in cases {
        let mut model = Model::default();
        node.start(&start).await;
        let exit = node.finish(start.process_id, &mut model).await;
        assert_eq!((exit.code, exit.signal, exit.reason.as_deref()), (code, signal, reason), "{start:?}");
        let mut lines: Vec<_> = model.text().split_inclusive('\n').map(String::from).collect();
        lines.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(lines.concat(), text, "{start:?}");
    }
}

#[tokio::test]
async fn a_program_has_its_streams_its_variables_and_nothing_of_the_agents() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let script = "echo $A $TERM; env | grep -c PLAYHOUSE_; ls /proc/self/fd | tr '\\n' ' '; pwd; ps -o sid= -p $$ >/dev/null; echo x >&2";
    let mut start = shell(&agent, script, false);
    start.env = vec![("A".into(), "b c".into()), ("TERM".into(), "mine".into())];
    node.start(&start).await;
    let mut model = Model::default();
    node.finish(start.process_id, &mut model).await;
    let of = |stream| -> String {
        let bytes: Vec<u8> =
            model.chunks.iter().filter(|chunk| chunk.stream == stream).flat_map(|chunk| chunk.bytes.clone()).collect();
        String::from_utf8(bytes).unwrap()
    };
    // Descriptor 3 is the directory that ls itself reads.
    assert_eq!(of(Stream::Stdout), format!("b c mine\n0\n0 1 2 3 {}\n", agent.workspace()));
    assert_eq!(of(Stream::Stderr), "x\n");
}

#[tokio::test]
async fn a_terminal_echoes_and_input_counts_once() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let start = shell(&agent, "stty size; while read line; do echo \"<$line>\"; done; stty size", true);
    let id = start.process_id;
    node.start(&start).await;
    let mut model = Model::default();
    node.take(id, &mut model, |model| model.text() == "24 80\r\n").await;
    assert_eq!(node.input(id, 1, b"one\n", false).await, InputOutcome::Taken);
    assert_eq!(node.input(id, 1, b"one\n", false).await, InputOutcome::Taken);
    assert_eq!(node.input(id, 5, b"five\n", false).await, InputOutcome::Taken);
    assert_eq!(node.input(id, 4, b"four\n", false).await, InputOutcome::Taken);
    node.take(id, &mut model, |model| model.text().contains("<five>")).await;
    node.send(NodeFrame::Resize { process_id: id, size: PtySize { cols: 100, rows: 30 } }).await;
    assert_eq!(node.input(id, 6, b"", true).await, InputOutcome::Taken);
    let exit = node.finish(id, &mut model).await;
    assert_eq!(exit.code, Some(0));
    let text = model.text();
    assert_eq!(text.matches("<one>").count(), 1, "{text}");
    assert!(!text.contains("four") && text.ends_with("30 100\r\n"), "{text}");
    assert_eq!(node.input(id, 7, b"late", false).await, InputOutcome::Ended);
    assert_eq!(node.input(id, 6, b"", true).await, InputOutcome::Taken);
}

#[tokio::test]
async fn unread_input_is_bounded_and_a_pipe_ends() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let start = shell(&agent, "exec sleep 100", false);
    let id = start.process_id;
    // Input that comes before the start is answered is kept for it.
    node.send(NodeFrame::Start(start)).await;
    assert_eq!(node.input(id, 0, b"", false).await, InputOutcome::Taken);
    let piece = vec![b'x'; 64 * 1024];
    let mut taken = 0;
    let mut seq = 1;
    while node.input(id, seq, &piece, false).await == InputOutcome::Taken {
        (taken, seq) = (taken + piece.len(), seq + 1);
    }
    assert!(taken <= INPUT_BYTES && taken > INPUT_BYTES - 2 * piece.len(), "{taken}");
    let mut model = Model::default();
    node.send(NodeFrame::Cancel { process_id: id }).await;
    assert_eq!(node.finish(id, &mut model).await.signal, Some(15));

    let start = shell(&agent, "exec wc -c", false);
    let id = start.process_id;
    node.start(&start).await;
    for seq in 1..=40 {
        let since = Instant::now();
        while node.input(id, seq, &piece, seq == 40).await == InputOutcome::Full {
            assert!(since.elapsed() < PATIENCE, "it reads no more");
        }
    }
    let mut model = Model::default();
    assert_eq!(node.finish(id, &mut model).await.code, Some(0));
    assert_eq!(model.text().trim(), (40 * piece.len()).to_string());
}

#[tokio::test]
async fn cancel_asks_then_kills_what_stays() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let polite = shell(&agent, "echo up; exec sleep 100", false);
    let stubborn = shell(&agent, "trap '' TERM; echo up; sleep 100; sleep 100", false);
    let caught = shell(&agent, "trap 'echo usr1; exit 3' USR1; echo up; while :; do sleep 0.1; done", true);
    let mut models = [Model::default(), Model::default(), Model::default()];
    for (start, model) in [&polite, &stubborn, &caught].into_iter().zip(&mut models) {
        node.start(start).await;
        node.take(start.process_id, model, |model| model.text().starts_with("up")).await;
    }
    let since = Instant::now();
    for start in [&polite, &stubborn] {
        node.send(NodeFrame::Cancel { process_id: start.process_id }).await;
        node.send(NodeFrame::Cancel { process_id: start.process_id }).await;
    }
    node.send(NodeFrame::Signal { process_id: caught.process_id, signal: Signal::Usr1 }).await;
    assert_eq!(node.finish(polite.process_id, &mut models[0]).await.signal, Some(15));
    assert_eq!(node.finish(caught.process_id, &mut models[2]).await.code, Some(3));
    assert!(since.elapsed() < Duration::from_secs(4));
    assert_eq!(node.finish(stubborn.process_id, &mut models[1]).await.signal, Some(9));
    assert!((5..8).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

#[tokio::test]
async fn children_that_hold_the_output_do_not_hold_up_the_end() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    for pty in [false, true] {
        let start = shell(&agent, "setsid sleep 30 & echo done", pty);
        let since = Instant::now();
        node.start(&start).await;
        let mut model = Model::default();
        assert_eq!(node.finish(start.process_id, &mut model).await.code, Some(0));
        assert_eq!(model.text().trim_end(), "done");
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn a_new_stream_goes_on_where_the_old_one_was_lost() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let start = shell(&agent, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); echo line $i; done; read x; exit 5", false);
    let id = start.process_id;
    node.start(&start).await;
    let mut model = Model::default();
    for round in 2..8 {
        let have = model.chunks.len();
        node.take(id, &mut model, |model| model.chunks.len() > have + 3).await;
        assert_eq!(node.input(id, round, b"", false).await, InputOutcome::Taken);
        drop(node);
        node = agent.node(round).await;
        assert!(node.is_ready);
        let state = &node.states[&id];
        assert_eq!(state.writers, [("w".to_owned(), round)]);
        assert!(state.first_sequence <= model.chunks.len() as u64 + 1);
        // The same start again is only answered.
        node.start(&start).await;
        node.resume(id, &mut model).await;
    }
    node.take(id, &mut model, |model| model.bytes().ends_with(b"line 200000\n")).await;
    assert_eq!(node.input(id, 9, b"go\n", false).await, InputOutcome::Taken);
    assert_eq!(node.finish(id, &mut model).await.code, Some(5));
    let expected: String = (1..=200_000).map(|number| format!("line {number}\n")).collect();
    assert!(model.text() == expected, "output differs");
    // The end is told again on a stream that resumes there, until it is forgotten.
    drop(node);
    let mut node = agent.node(9).await;
    assert_eq!(node.states[&id].exit, model.exit);
    model.exit = None;
    node.resume(id, &mut model).await;
    node.finish(id, &mut model).await;
    node.send(NodeFrame::Forget { process_id: id }).await;
    drop(node);
    assert!(!agent.node(10).await.states.contains_key(&id));
}

/// A start may come after the word that its end is known: a node that began anew sent it before it had heard of the end.
#[tokio::test]
async fn what_ran_and_was_forgotten_does_not_run_again() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let start = shell(&agent, "echo ran >> ran", false);
    let id = start.process_id;
    node.start(&start).await;
    node.finish(id, &mut Model::default()).await;
    node.send(NodeFrame::Forget { process_id: id }).await;
    node.start(&start).await;
    let look = shell(&agent, "cat ran", false);
    node.start(&look).await;
    let mut model = Model::default();
    node.finish(look.process_id, &mut model).await;
    assert_eq!(model.text(), "ran\n");
    drop(node);
    assert!(!agent.node(2).await.states.contains_key(&id), "it is not there again");
}

#[tokio::test]
async fn only_an_owner_that_proves_itself_and_is_not_stale_gets_a_stream() {
    let agent = Agent::start();
    assert!(agent.accept(9, token_hash(&[8; 32])).await.is_none(), "it does not know the token");
    let (node, first) = agent.accept(5, token_hash(&[7; 32])).await.unwrap();
    drop(node);
    assert!(agent.accept(4, token_hash(&[7; 32])).await.is_none(), "its epoch is over");
    let (_node, second) = agent.accept(5, token_hash(&[7; 32])).await.unwrap();
    assert_eq!(first.instance, second.instance);
    assert!(second.attempt > first.attempt && second.nonce != first.nonce);
}

#[tokio::test]
async fn a_silent_node_is_left() {
    let agent = Agent::start();
    let _silent = agent.node(1).await;
    let since = Instant::now();
    agent.node(1).await;
    assert!((2..6).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_flood_delays_no_key_and_no_cancel() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let flood = shell(&agent, "exec yes", true);
    let cat = shell(&agent, "stty -echo; echo up; exec cat", true);
    let mut flooded = Model::default();
    let mut typed = Model::default();
    node.start(&flood).await;
    node.start(&cat).await;
    node.take(cat.process_id, &mut typed, |model| model.text().contains("up")).await;
    node.take(flood.process_id, &mut flooded, |model| model.chunks.len() > 100).await;
    for seq in 1..=20 {
        let line = format!("{seq}\n");
        node.input(cat.process_id, seq, line.as_bytes(), false).await;
        node.take(cat.process_id, &mut typed, |model| model.text().ends_with(&format!("{seq}\r\n"))).await;
        let have = flooded.chunks.len();
        node.take(flood.process_id, &mut flooded, |model| model.chunks.len() > have + 5).await;
    }
    node.send(NodeFrame::Input {
        process_id: flood.process_id,
        writer: "w".into(),
        seq: 1,
        bytes: vec![3],
        eof: false,
        tag: 1,
    })
    .await;
    assert_eq!(node.finish(flood.process_id, &mut flooded).await.signal, Some(2));
}

#[tokio::test]
async fn a_pack_stops_what_runs_and_a_term_ends_all() {
    let mut agent = Agent::start();
    let mut node = agent.ready_node().await;
    let start = shell(&agent, "echo up; exec sleep 100", false);
    node.start(&start).await;
    let mut model = Model::default();
    node.take(start.process_id, &mut model, |model| !model.chunks.is_empty()).await;
    node.send(NodeFrame::Pack { tag: 1 }).await;
    assert_eq!(node.finish(start.process_id, &mut model).await.signal, Some(15));
    let start = shell(&agent, "trap '' TERM; echo $$; sleep 100", false);
    node.start(&start).await;
    let mut model = Model::default();
    node.take(start.process_id, &mut model, |model| !model.chunks.is_empty()).await;
    let program = rustix::process::Pid::from_raw(model.text().trim().parse().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_child(&agent.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    ends_with_its_program(&mut agent, program).await;
}

async fn ends_with_its_program(agent: &mut Agent, program: rustix::process::Pid) {
    let since = Instant::now();
    let status = loop {
        if let Some(status) = agent.child.try_wait().unwrap() {
            break status;
        }
        assert!(since.elapsed() < PATIENCE, "it does not end");
        tokio::task::yield_now().await;
    };
    assert!(status.success());
    // It is reaped by whoever inherits it; until then it is a zombie.
    let stat = format!("/proc/{}/stat", program.as_raw_nonzero());
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(since.elapsed() < PATIENCE, "a program outlives its agent");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_agent_whose_directory_is_removed_ends_with_its_programs() {
    let mut agent = Agent::start();
    let mut node = agent.ready_node().await;
    let start = shell(&agent, "echo $$; exec sleep 600", false);
    let mut model = Model::default();
    node.start(&start).await;
    node.take(start.process_id, &mut model, |model| model.text().ends_with('\n')).await;
    let program = rustix::process::Pid::from_raw(model.text().trim().parse().unwrap()).unwrap();
    std::fs::remove_dir_all(agent.dir.path()).unwrap();
    drop(node);
    ends_with_its_program(&mut agent, program).await;
}

#[tokio::test]
async fn as_init_it_reaps_orphans_and_leaves_nothing_running() {
    let Some(mut agent) = Agent::start_as_init() else {
        return eprintln!("not tried: no PID namespace can be made here");
    };
    let mut node = agent.ready_node().await;
    let script = "for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'exit 3' &); done; (setsid tail -f /dev/null &); \
                  while ps -eo stat= | grep -q Z; do sleep 0.02; done; \
                  until [ \"$(ps -o ppid= -C tail | tr -d ' ')\" = 1 ]; do sleep 0.02; done";
    let start = shell(&agent, script, true);
    node.start(&start).await;
    let mut model = Model::default();
    assert_eq!(node.finish(start.process_id, &mut model).await.code, Some(0));
    // Nothing of a sandbox runs while it is packed.
    node.send(NodeFrame::Pack { tag: 3 }).await;
    let start = shell(&agent, "while ps -C tail >/dev/null; do sleep 0.02; done", false);
    node.start(&start).await;
    assert_eq!(node.finish(start.process_id, &mut Model::default()).await.code, Some(0));
    let children = format!("/proc/{0}/task/{0}/children", agent.child.id());
    let init = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let init = rustix::process::Pid::from_raw(init).unwrap();
    // No signal from inside ends the first process; its host kills it, and everything goes with it.
    let start = shell(&agent, "kill -TERM 1; kill -INT 1; kill -KILL 1; exit 0", false);
    node.start(&start).await;
    assert_eq!(node.finish(start.process_id, &mut Model::default()).await.code, Some(0));
    assert!(rustix::process::test_kill_process(init).is_ok());
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    let (status, _agent) = tokio::task::spawn_blocking(move || (agent.child.wait(), agent)).await.unwrap();
    assert!(!status.unwrap().success());
}

#[tokio::test]
async fn many_processes_at_once_all_end_well() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    let starts: Vec<_> = (0..60).map(|number| shell(&agent, &format!("seq {number} 2000"), number % 2 == 0)).collect();
    for start in &starts {
        node.send(NodeFrame::Start(start.clone())).await;
    }
    for (number, start) in starts.iter().enumerate() {
        let mut model = Model::default();
        assert_eq!(node.finish(start.process_id, &mut model).await.code, Some(0));
        let expected: String = (number..=2000).map(|line| format!("{line}\n")).collect();
        assert!(model.text().replace('\r', "") == expected, "{number}");
    }
}

#[tokio::test]
async fn programs_hear_signals_that_the_agents_parent_ignores() {
    let agent = Agent::start_deaf();
    let mut node = agent.ready_node().await;
    let start = shell(&agent, "echo up; exec sleep 100", true);
    let id = start.process_id;
    node.start(&start).await;
    let mut model = Model::default();
    node.take(id, &mut model, |model| model.text().contains("up")).await;
    assert_eq!(node.input(id, 1, &[3], false).await, InputOutcome::Taken);
    assert_eq!(node.finish(id, &mut model).await.signal, Some(2));
}

#[tokio::test]
async fn a_flood_comes_in_large_chunks_and_its_end_needs_nothing_to_follow() {
    let agent = Agent::start();
    let mut node = agent.ready_node().await;
    // The last 4000 bytes are no short read and less than what is gathered: only time sends them.
    let command = "stty raw -echo; head -c 4000000 /dev/zero; read -r -n 1; head -c 4000 /dev/zero; read -r -n 1";
    let flood = Start { argv: vec!["bash".into(), "-c".into(), command.into()], ..shell(&agent, "", true) };
    let (id, mut model) = (flood.process_id, Model::default());
    let bytes = |model: &Model| model.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
    node.start(&flood).await;
    node.take(id, &mut model, |model| bytes(model) == 4_000_000).await;
    let chunks = model.chunks.len();
    assert!(chunks < 4_000_000 / 8192, "{chunks} chunks");
    node.input(id, 1, b"x", false).await;
    node.take(id, &mut model, |model| bytes(model) == 4_004_000).await;
    node.input(id, 2, b"x", false).await;
    node.finish(id, &mut model).await;
}
