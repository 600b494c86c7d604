//! What is no longer retained is said, not silent.

use playhouse_blackbox::{EventId, Frame, Model, Options, Stream, model::Tape, on_own, shape, stream};
use serde_json::json;

/// Prints half a megabyte in numbered lines.
const HALF_A_MEGABYTE: &str = "seq -f '%07.0f................................................' 8192";

#[test]
fn a_range_that_is_gone_comes_as_truncated_and_the_rest_is_whole() {
    on_own(&["--retention-bytes", "131072"], async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh(HALF_A_MEGABYTE).await.process;
        let (process, sandbox) = (shape::id(&done, "id"), shape::id(&done, "sandbox_id"));
        let mut stream = ws.stream(sandbox, Options { from: Some("resume"), ..Options::default() }).await;
        let listed = stream.model.hello[&process].clone();
        let first = listed.first.expect("something is retained");
        assert!(first > EventId::FIRST, "the beginning is gone: {listed:?}");
        stream.send(json!({"type": "resume", "processes": {process.to_string(): "0-0"}})).await;
        assert_eq!(stream.end_of(process).await.status, "completed");
        let tape = stream.model.tape(process);
        assert_eq!(tape.truncated.len(), 1, "one event: {:?}", tape.truncated);
        let (from, to, bytes) = tape.truncated[0];
        assert_eq!((from, to.next()), (EventId::FIRST, tape.first.expect("a rest")));
        assert_eq!(bytes + tape.bytes, 8192 * 56, "what is gone and what came are all of it");
        assert!(tape.text().ends_with("0008192................................................\n"));
        assert!(tape.bytes <= 131_072 * 2 && tape.bytes > 131_072 / 4, "{} bytes retained", tape.bytes);
    });
}

#[test]
fn from_earliest_starts_at_the_first_retained_event() {
    on_own(&["--retention-bytes", "131072"], async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh(HALF_A_MEGABYTE).await.process;
        let (process, sandbox) = (shape::id(&done, "id"), shape::id(&done, "sandbox_id"));
        let mut stream = ws.stream(sandbox, Options::default()).await;
        let listed = stream.model.hello[&process].clone();
        stream.end_of(process).await;
        assert_eq!(stream.model.tape(process).first, listed.first);
        assert_eq!(stream.model.tape(process).cursor, listed.last);
        // The HTTP form agrees.
        let answer = ws.client.get(&format!("/api/processes/{process}/output")).await.expect(200);
        assert_eq!(answer.body.len() as u64, stream.model.tape(process).bytes);
        assert_eq!(answer.header("playhouse-last-id"), listed.last.expect("events").to_string());
    });
}

#[test]
fn a_slow_client_is_told_what_retention_took_while_it_slept() {
    on_own(&["--retention-bytes", "131072"], async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(format!("read _; {HALF_A_MEGABYTE}")).await;
        let options = Options { flow_ack: true, hold_acks: true, ..Options::default() };
        let mut slow = ws.stream(run.sandbox_id, options).await;
        let _ = ws.input(run.process_id, json!({"data": "\n"})).await.expect(202);
        ws.ended(run.process_id).await;
        loop {
            match slow.next().await.expect("it stays open") {
                Frame::Output(output) => {
                    slow.send(json!({"type": "ack", "process_id": output.process, "id": output.id.to_string()})).await;
                }
                Frame::Truncated { process, to, .. } => {
                    slow.send(json!({"type": "ack", "process_id": process, "id": to.to_string()})).await;
                }
                Frame::Status(_, status) if status.is_end() => break,
                _ => {}
            }
        }
        let tape = slow.model.tape(run.process_id);
        let lost: u64 = tape.truncated.iter().map(|(_, _, bytes)| bytes).sum();
        // Ids are contiguous (the model sees to that), so what is missing in the text is what the losses must count.
        assert_eq!(lost, 8192 * 56 - tape.bytes, "{:?}", tape.truncated);
        assert!(lost > 0, "retention took some of it");
    });
}

#[test]
fn what_retention_took_is_counted_exactly_also_for_readers_who_come_again() {
    on_own(&["--retention-bytes", "131072"], async |arena| {
        let ws = arena.workspace().await;
        // Pieces of all lengths, so that no guess is right by luck.
        let script = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); head -c $((i * i % 7001)) /dev/zero | tr '\\0' x; done";
        let expected: u64 = (1..=400_u64).map(|i| i * i % 7001).sum();
        let run = ws.run(format!("read _; {script}")).await;
        let options = || Options { from: Some("resume"), flow_ack: true, hold_acks: true, ..Options::default() };
        let mut whole = ws.stream(run.sandbox_id, Options::default()).await;
        let mut model = None;
        let _ = ws.input(run.process_id, json!({"data": "\n"})).await.expect(202);
        // Each time it takes one event or loss and is gone again, while retention goes on.
        let tape = loop {
            let token = stream::token(&ws.client, run.sandbox_id).await;
            let first = model.is_none();
            let before = model.take().unwrap_or_else(|| Model::new(run.sandbox_id));
            let resumed = Stream::resume(&ws.client, run.sandbox_id, &token, options(), before).await;
            let mut reader = resumed.map_err(|(_, refused)| refused).expect("it resumes");
            reader
                .until("something of it", |frame, _| match frame {
                    Frame::Output(output) => output.process == run.process_id,
                    Frame::Truncated { process, .. } => *process == run.process_id,
                    Frame::Status(of, status) => *of == run.process_id && status.is_end(),
                    _ => false,
                })
                .await;
            if reader.model.tape(run.process_id).end.is_some() {
                break reader.model.tape(run.process_id).clone();
            }
            model = Some(reader.break_off());
            if first {
                // However slow the program is beside its readers: what comes next is gone before the second one asks.
                let printed = |tape: &Tape| tape.bytes + tape.truncated.iter().map(|(.., bytes)| bytes).sum::<u64>();
                whole
                    .until("the program to be far ahead", |_, model| {
                        model.tapes.get(&run.process_id).is_some_and(|tape| printed(tape) > 3 * 131_072)
                    })
                    .await;
            }
        };
        let lost: u64 = tape.truncated.iter().map(|(.., bytes)| bytes).sum();
        assert_eq!(tape.bytes + lost, expected, "{:?}", tape.truncated);
        assert!(!tape.truncated.is_empty(), "retention took some of it");
        whole.end_of(run.process_id).await;
        let all = whole.model.tape(run.process_id);
        assert_eq!(all.bytes + all.truncated.iter().map(|(.., bytes)| bytes).sum::<u64>(), expected);
    });
}

#[test]
fn the_output_of_an_ended_process_goes_after_its_time() {
    on_own(&["--retention-ttl", "2s"], async |arena| {
        let ws = arena.workspace().await;
        let done = ws.sh("echo brief").await;
        assert_eq!(done.good(), "brief\n");
        let (process, sandbox) = (shape::id(&done.process, "id"), shape::id(&done.process, "sandbox_id"));
        playhouse_blackbox::wait::within(std::time::Duration::from_secs(90), "the output to go", async || {
            let answer = ws.client.get(&format!("/api/processes/{process}/output")).await;
            (answer.status != 200 || answer.body.is_empty()).then_some(())
        })
        .await;
        assert_eq!(ws.process(process).await["status"], "completed", "the process is still known");
        let answer = ws.client.get(&format!("/api/processes/{process}/output")).await.expect(200);
        assert_eq!(answer.header("playhouse-last-id"), "0-1");
        assert_eq!(answer.header("playhouse-truncated"), "0-1..0-1");
        let stream = ws.stream(sandbox, Options::default()).await;
        assert!(
            stream.model.hello.get(&process).is_none_or(|listed| listed.first.is_none()),
            "{:?}",
            stream.model.hello
        );
    });
}
