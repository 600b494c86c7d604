//! The running rows: what starts, how it ends, and how that is told.

use playhouse_blackbox::{on_shared, shape, wait};
use serde_json::json;

#[test]
fn run_answers_202_and_makes_the_sandbox() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("echo hello").await;
        let process = ws.ended(run.process_id).await;
        assert_eq!(process["status"], "completed");
        assert_eq!(
            (&process["exit_code"], &process["signal"], &process["reason"]),
            (&json!(0), &json!(null), &json!(null))
        );
        assert_eq!(process["command"], "echo hello");
        assert_eq!(process["pty"], false);
        assert_eq!(shape::id(&process, "sandbox_id"), run.sandbox_id);
        assert_eq!(shape::id(&process, "workspace_id"), ws.id);
        assert!(process["started_at"].is_string(), "{process}");
        assert_eq!(ws.output(run.process_id).await, b"hello\n");
        assert_eq!(shape::id(&ws.get().await["sandbox"], "id"), run.sandbox_id);
    });
}

#[test]
fn a_string_runs_under_a_shell_and_an_array_does_not() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        assert_eq!(ws.sh("echo $((1+2)) | tr 3 x").await.good(), "x\n");
        let done = ws.run_to_end(json!({"command": ["echo", "$HOME", "a  b", ";", "é"]})).await;
        assert_eq!(done.good(), "$HOME a  b ; é\n");
        assert_eq!(done.process["command"], json!(["echo", "$HOME", "a  b", ";", "é"]));
    });
}

#[test]
fn env_and_cwd_are_taken() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        ws.create("/sub/file", "x").await;
        let body =
            json!({"command": "pwd; ls; echo \"$GREETING\"", "cwd": "/workspace/sub", "env": {"GREETING": "hé llo"}});
        assert_eq!(ws.run_to_end(body).await.good(), "/workspace/sub\nfile\nhé llo\n");
        assert_eq!(ws.sh("pwd").await.good(), "/workspace\n", "the default");
        assert_eq!(ws.run_to_end(json!({"command": "pwd", "cwd": "/tmp"})).await.good(), "/tmp\n");
    });
}

#[test]
fn a_missing_cwd_is_failed_with_reason_cwd_not_found() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let done = ws.run_to_end(json!({"command": "true", "cwd": "/workspace/none"})).await;
        assert_eq!((&done.process["status"], &done.process["reason"]), (&json!("failed"), &json!("cwd_not_found")));
    });
}

#[test]
fn malformed_runs_are_refused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for body in [
            json!({}),
            json!({"command": []}),
            json!({"command": 7}),
            json!({"command": ["a", 7]}),
            json!({"command": "true", "env": {"A": 1}}),
            json!({"command": "true", "env": ["A=1"]}),
            json!({"command": "true", "pty": "yes"}),
            json!({"command": "true", "pty": true, "cols": -1, "rows": 2}),
            json!({"command": "true", "pty": true, "cols": 70000, "rows": 2}),
            json!({"command": "true\u{0}", "cwd": "/workspace"}),
            json!({"command": "true", "env": {"A=B": "x"}}),
            json!({"command": "true", "cwd": "relative"}),
        ] {
            let answer = ws.post_run(body.clone()).await;
            assert!(matches!(answer.status, 400 | 422), "{body} answers {}", answer.status);
            answer.problem_of_status(answer.status);
        }
    });
}

#[test]
fn any_other_exit_is_failed_with_its_code() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for code in [1, 3, 255] {
            let process = ws.sh(&format!("exit {code}")).await.process;
            assert_eq!((&process["status"], &process["exit_code"]), (&json!("failed"), &json!(code)));
            assert!(process["signal"].is_null() && process["reason"].is_null(), "{process}");
        }
    });
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_be_run_126() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let gone = ws.run_to_end(json!({"command": ["no-such-program"]})).await.process;
        assert_eq!((&gone["status"], &gone["exit_code"]), (&json!("failed"), &json!(127)));
        let gone = ws.run_to_end(json!({"command": ["/workspace/none"]})).await.process;
        assert_eq!((&gone["status"], &gone["exit_code"]), (&json!("failed"), &json!(127)));
        ws.create("/plain.txt", "not a program").await;
        let plain = ws.run_to_end(json!({"command": ["/workspace/plain.txt"]})).await.process;
        assert_eq!((&plain["status"], &plain["exit_code"]), (&json!("failed"), &json!(126)));
        let directory = ws.run_to_end(json!({"command": ["/workspace"]})).await.process;
        assert_eq!(directory["exit_code"], 126);
        assert_eq!(ws.sh("no-such-program").await.process["exit_code"], 127);
        let pty = ws.run_to_end(json!({"command": ["no-such-program"], "pty": true})).await.process;
        assert_eq!(pty["exit_code"], 127);
    });
}

#[test]
fn ended_by_a_signal_is_its_name_and_no_exit_code() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for (kill, name) in [("KILL", "KILL"), ("TERM", "TERM"), ("USR1", "USR1")] {
            let process = ws.sh(&format!("kill -{kill} $$")).await.process;
            assert_eq!((&process["status"], &process["signal"]), (&json!("failed"), &json!(name)), "{process}");
            assert!(process["exit_code"].is_null(), "{process}");
        }
    });
}

#[test]
fn every_signal_reaches_the_program() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let script = "import signal,sys,time\n\
            def got(n, f): print('got', signal.Signals(n).name, flush=True)\n\
            for s in ['INT','TERM','HUP','QUIT','USR1','USR2']: signal.signal(getattr(signal,'SIG'+s), got)\n\
            print('ready', flush=True)\n\
            while True: signal.pause()\n";
        let run = ws.run(json!(["python3", "-c", script])).await;
        ws.printed(run.process_id, "ready").await;
        let send = async |signal: &str| {
            let path = format!("/api/processes/{}/signal", run.process_id);
            ws.client.post(&path, json!({"signal": signal})).await
        };
        for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"] {
            let _ = send(signal).await.expect(202);
            ws.printed(run.process_id, &format!("got SIG{signal}")).await;
        }
        for wrong in ["STOP", "9", "SIGINT", "int", ""] {
            send(wrong).await.refused_as_malformed();
        }
        let _ = send("KILL").await.expect(202);
        let process = ws.ended(run.process_id).await;
        assert_eq!((&process["status"], &process["signal"]), (&json!("failed"), &json!("KILL")));
        send("TERM").await.problem(409, "process_ended");
    });
}

#[test]
fn cancel_is_term_to_the_group_then_kill_and_idempotent() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let polite = ws.run("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done").await;
        ws.printed(polite.process_id, "up").await;
        ws.cancel(polite.process_id).await;
        ws.cancel(polite.process_id).await;
        let process = ws.ended(polite.process_id).await;
        assert_eq!((&process["status"], &process["exit_code"]), (&json!("cancelled"), &json!(7)), "{process}");
        assert!(ws.printed(polite.process_id, "bye").await.contains("bye"));

        let deaf = ws.run("trap '' TERM; (trap '' TERM; sleep 1000) & echo up; while :; do sleep 1000; done").await;
        ws.printed(deaf.process_id, "up").await;
        let start = tokio::time::Instant::now();
        ws.cancel(deaf.process_id).await;
        let process = ws.ended(deaf.process_id).await;
        assert_eq!((&process["status"], &process["signal"]), (&json!("cancelled"), &json!("KILL")), "{process}");
        assert!(start.elapsed().as_secs() < 20, "KILL after 5 s: {:?}", start.elapsed());
        ws.cancel(deaf.process_id).await;
        assert_eq!(ws.process(deaf.process_id).await, process, "cancelling an ended process changes nothing");
        wait::until("the group to be gone", async || {
            (!ws.sh("ps ax -o args 2>/dev/null || cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
                .await
                .text()
                .contains("sleep 1000"))
            .then_some(())
        })
        .await;
    });
}

#[test]
fn cancel_of_a_completed_process_is_202_and_leaves_it_completed() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("true").await.process;
        ws.cancel(shape::id(&done, "id")).await;
        assert_eq!(ws.process(shape::id(&done, "id")).await["status"], "completed");
    });
}

#[test]
fn processes_are_listed_with_all_their_fields() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("echo a").await.process;
        let running = ws.run(json!(["sleep", "1000"])).await;
        wait::until("it to run", async || (ws.process(running.process_id).await["status"] == "running").then_some(()))
            .await;
        let listed = ws.client.get(&ws.path("/processes")).await.expect(200).json();
        let items = listed["items"].as_array().expect("items");
        items.iter().for_each(shape::process);
        assert_eq!(items.len(), 2, "{listed}");
        assert!(items.contains(&done), "{done} in {listed}");
        assert!(listed["next_cursor"].is_null());
    });
}

#[test]
fn a_pty_has_the_size_asked_for_and_resize_changes_it() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let script = "stty size; trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done";
        let run = ws.run_with(json!({"command": script, "pty": true, "cols": 91, "rows": 33})).await;
        assert!(ws.printed(run.process_id, "ready").await.starts_with("33 91\r\n"), "rows and columns");
        let path = format!("/api/processes/{}/resize", run.process_id);
        let _ = ws.client.post(&path, json!({"cols": 120, "rows": 40})).await.expect(202);
        ws.printed(run.process_id, "40 120").await;
        ws.client.post(&path, json!({"cols": 0, "rows": 40})).await.refused_as_malformed();
        ws.client.post(&path, json!({"cols": 120})).await.refused_as_malformed();
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn without_a_pty_there_is_no_terminal_and_stderr_is_apart() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("test -t 0 || echo no-tty; echo out; echo err >&2").await;
        let id = shape::id(&done.process, "id");
        let only = async |stream: &str| {
            let answer = ws.client.get(&format!("/api/processes/{id}/output?stream={stream}")).await.expect(200);
            assert_eq!(answer.header("content-type"), "application/octet-stream");
            String::from_utf8(answer.body.to_vec()).expect("UTF-8")
        };
        assert_eq!(only("stdout").await, "no-tty\nout\n");
        assert_eq!(only("stderr").await, "err\n");
        assert_eq!(done.output.len(), "no-tty\nout\nerr\n".len());
        let tty =
            ws.run_to_end(json!({"command": "test -t 0 && test -t 1 && test -t 2 && echo tty", "pty": true})).await;
        assert_eq!(tty.good(), "tty\r\n");
    });
}

#[test]
fn output_from_an_id_on_goes_on_where_the_last_answer_ended() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("i=0; while read line; do i=$((i+1)); echo \"$i $line\"; done").await;
        let path = format!("/api/processes/{}/output", run.process_id);
        let mut got = String::new();
        let mut next = "0-1".to_owned();
        for n in 1..=5 {
            let _ = ws.input(run.process_id, json!({"data": format!("line{n}\n")})).await.expect(202);
            let wanted = format!("{n} line{n}\n");
            let answer = wait::until("the next line", async || {
                let answer = ws.client.get(&format!("{path}?from={next}")).await;
                (answer.status == 200 && answer.body.ends_with(wanted.as_bytes())).then_some(answer)
            })
            .await;
            got.push_str(&String::from_utf8_lossy(&answer.body));
            let last: playhouse_blackbox::EventId = answer.header("playhouse-last-id").parse().expect("an event id");
            next = last.next().to_string();
        }
        assert_eq!(got, "1 line1\n2 line2\n3 line3\n4 line4\n5 line5\n", "each event once");
        ws.client.get(&format!("{path}?from=x")).await.refused_as_malformed();
        ws.client.get(&format!("{path}?stream=stdin")).await.refused_as_malformed();
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_megabyte_of_binary_output_is_answered_byte_for_byte() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096)";
        let done = ws.run_to_end(json!({"command": ["python3", "-c", script]})).await;
        assert_eq!(done.process["status"], "completed");
        let expected: Vec<u8> = (0..=255u8).cycle().take(1 << 20).collect();
        assert!(done.output == expected, "{} bytes", done.output.len());
    });
}

#[test]
fn a_program_killed_for_memory_says_out_of_memory() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let script = "import os\nkeep=[]\nwhile True: keep.append(os.urandom(1<<20)*64)";
        let process = ws.run_to_end(json!({"command": ["python3", "-c", script]})).await.process;
        assert_eq!((&process["status"], &process["reason"]), (&json!("failed"), &json!("out_of_memory")), "{process}");
        assert_eq!(ws.sh("echo still here").await.good(), "still here\n", "the sandbox goes on");
        // A shell between exits by itself and says of what it ran that it was killed.
        let line = r#"python3 -c "b'x' * (6 << 30)"; exit $?"#;
        let process = ws.run_to_end(json!({ "command": line })).await.process;
        assert_eq!((&process["exit_code"], &process["reason"]), (&json!(137), &json!("out_of_memory")), "{process}");
        // One that runs out as soon as it runs is told from one that was killed before or after it by somebody else.
        for (command, reason) in [
            (json!("kill -KILL $$"), json!(null)),
            (json!(["python3", "-c", "b'x' * (6 << 30)"]), json!("out_of_memory")),
            (json!("kill -KILL $$"), json!(null)),
        ] {
            let process = ws.run_to_end(json!({ "command": command })).await.process;
            assert_eq!((&process["signal"], &process["reason"]), (&json!("KILL"), &reason), "{process}");
        }
    });
}

#[test]
fn background_children_do_not_keep_a_process_from_ending() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("(sleep 1000 >/dev/null 2>&1 </dev/null &) ; echo done").await;
        assert_eq!(done.good(), "done\n");
    });
}

#[test]
fn twenty_programs_at_once_each_have_their_own_output() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let runs = (0..20).map(|n| {
            let ws = ws.clone();
            async move { (n, ws.sh(&format!("for i in 1 2 3; do echo {n}-$i; done")).await) }
        });
        for (n, done) in futures::future::join_all(runs).await {
            assert_eq!(done.good(), format!("{n}-1\n{n}-2\n{n}-3\n"));
        }
    });
}

#[test]
fn a_process_never_ends_before_it_has_started() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        for _ in 0..10 {
            let run = ws.run("true").await;
            let process = ws.ended(run.process_id).await;
            let (started, finished) = (shape::text(&process, "started_at"), shape::text(&process, "finished_at"));
            let instant = |text: &str| {
                // To the same number of digits, RFC 3339 in UTC compares as text.
                let (seconds, fraction) =
                    text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
                format!("{seconds}.{fraction:0<9}")
            };
            assert!(instant(&started) <= instant(&finished), "{started} to {finished}");
        }
    });
}
