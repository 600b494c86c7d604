//! Input, resize and cancel over the socket.

use playhouse_blackbox::{Arena, Frame, Options, Stream, Workspace, on_shared, wait};
use serde_json::json;
use uuid::Uuid;

#[test]
fn typed_input_is_acknowledged_and_echoed() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run_pty("cat").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.input(run.process_id, "hé\r", 1).await;
        stream.input_taken(run.process_id, 1).await;
        stream.shows(run.process_id, "hé\r\nhé\r\n").await;
        stream.send(json!({"type": "input", "process_id": run.process_id, "data": "unnumbered\r"})).await;
        stream.shows(run.process_id, "unnumbered\r\nunnumbered").await;
        stream.input(run.process_id, "\u{4}", 2).await;
        assert_eq!(stream.end_of(run.process_id).await.status, "completed");
    });
}

#[test]
fn input_seq_outlives_sockets_and_is_shared_with_http() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        for (data, seq) in [("a", 1), ("b", 2), ("b", 2), ("d", 5)] {
            stream.input(run.process_id, data, seq).await;
        }
        stream.input_taken(run.process_id, 5).await;
        drop(stream);
        let mut again = ws.stream(run.sandbox_id, Options::default()).await;
        assert_eq!(again.model.hello[&run.process_id].input_seq, 5);
        again.input(run.process_id, "d", 5).await;
        again.input(run.process_id, "e", 6).await;
        again.input_taken(run.process_id, 6).await;
        let _ = ws.input(run.process_id, json!({"data": "e", "seq": 6})).await.expect(202);
        let _ = ws.input(run.process_id, json!({"data": "f\n", "seq": 7, "eof": true})).await.expect(202);
        again.end_of(run.process_id).await;
        assert_eq!(again.model.tape(run.process_id).text(), "abdef\n");
    });
}

#[test]
fn writers_count_apart() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let named = |writer: &str| Options { writer: Some(writer.to_owned()), ..Options::default() };
        let mut one = ws.stream(run.sandbox_id, named("tab 1")).await;
        let mut two = ws.stream(run.sandbox_id, named("tab 2")).await;
        one.input(run.process_id, "1", 1).await;
        one.input_taken(run.process_id, 1).await;
        two.input(run.process_id, "2", 1).await;
        two.input_taken(run.process_id, 1).await;
        let mut again = ws.stream(run.sandbox_id, named("tab 1")).await;
        assert_eq!(again.model.hello[&run.process_id].input_seq, 1);
        again.input(run.process_id, "1", 1).await;
        again.input(run.process_id, "3\n", 2).await;
        again.shows(run.process_id, "3\n").await;
        assert_eq!(again.model.tape(run.process_id).text(), "123\n");
        let other = ws.stream(run.sandbox_id, named("tab 3")).await;
        assert_eq!(other.model.hello[&run.process_id].input_seq, 0);
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_writers_name_of_65_characters_is_refused() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let token = playhouse_blackbox::stream::token(&ws.client, run.sandbox_id).await;
        let options = Options { writer: Some("w".repeat(65)), ..Options::default() };
        let model = playhouse_blackbox::Model::new(run.sandbox_id);
        if let Ok(mut stream) = Stream::connect(&ws.client, run.sandbox_id, &token, options, model).await {
            let first = stream.next().await;
            assert!(!matches!(first, Ok(playhouse_blackbox::Frame::Hello { .. })), "{first:?}");
        }
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn resize_and_cancel_work_over_the_socket() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run_pty("trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.shows(run.process_id, "ready").await;
        stream.send(json!({"type": "resize", "process_id": run.process_id, "cols": 133, "rows": 44})).await;
        stream.shows(run.process_id, "44 133").await;
        stream.send(json!({"type": "cancel", "process_id": run.process_id})).await;
        assert_eq!(stream.end_of(run.process_id).await.status, "cancelled");
    });
}

#[test]
fn input_after_the_end_is_an_error_about_that_process() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("true").await;
        ws.ended(run.process_id).await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.input(run.process_id, "late", 1).await;
        assert_eq!(stream.error().await, ("process_ended".to_owned(), Some(run.process_id)));
    });
}

#[test]
fn a_pasted_half_megabyte_arrives_whole() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("wc -c").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        for seq in 1..=8u64 {
            stream.input(run.process_id, &"x".repeat(64 * 1024), seq).await;
            stream.input_taken(run.process_id, seq).await;
        }
        let _ = ws.input(run.process_id, json!({"data": "", "eof": true})).await.expect(202);
        stream.end_of(run.process_id).await;
        assert_eq!(stream.model.tape(run.process_id).text().trim(), (512 * 1024).to_string());
    });
}

#[test]
fn a_thousand_keystrokes_arrive_in_order() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        let mut expected = String::new();
        for seq in 1..=1000u64 {
            let key = format!("{seq},");
            stream.input(run.process_id, &key, seq).await;
            expected.push_str(&key);
        }
        stream.input(run.process_id, "end\n", 1001).await;
        expected.push_str("end\n");
        stream.shows(run.process_id, "end\n").await;
        assert_eq!(stream.model.tape(run.process_id).text(), expected);
        ws.cancel(run.process_id).await;
    });
}

/// Types, and answers whether it was acknowledged; else the error's code.
async fn typed(stream: &mut Stream, process: Uuid, data: &str, seq: u64) -> Result<(), String> {
    stream.input(process, data, seq).await;
    let answer = |frame: &Frame| match frame {
        Frame::InputAck(of, to) if *of == process && *to == seq => Some(Ok(())),
        Frame::Error { code, process: Some(of) } if *of == process => Some(Err(code.clone())),
        _ => None,
    };
    let frame = stream.until("an answer to input", |frame, _| answer(frame).is_some()).await;
    answer(&frame).expect("an answer")
}

/// A program that counts its input once `/go` is there, and was typed as much as it takes until then.
struct Filled {
    ws: Workspace,
    process: Uuid,
    stream: Stream,
    /// The number that was refused, and what it had.
    refused: u64,
    piece: String,
}

impl Filled {
    async fn new(arena: &Arena) -> Self {
        let ws = arena.workspace().await;
        let run = ws.run("while [ ! -e go ]; do sleep 0.1; done; wc -c").await;
        let (process, piece) = (run.process_id, "x".repeat(16_000));
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        for refused in 1..=200 {
            let Err(code) = typed(&mut stream, process, &piece, refused).await else { continue };
            assert_eq!(code, "input_full");
            // It fits, and would make the refused one look as if it had been seen.
            assert_eq!(typed(&mut stream, process, "SMALL", refused + 1).await, Err("input_full".to_owned()));
            ws.create("/go", "").await;
            return Self { ws, process, stream, refused, piece };
        }
        panic!("it does not fill up");
    }

    async fn retry(&mut self) -> Result<(), String> {
        typed(&mut self.stream, self.process, &self.piece, self.refused).await
    }

    async fn next(&mut self) -> Result<(), String> {
        typed(&mut self.stream, self.process, "SMALL", self.refused + 1).await
    }

    /// Ends the input, of which the program has read so many of the pieces and the small one.
    async fn counts(mut self, pieces: u64) {
        let _ = self.ws.input(self.process, json!({"data": "", "eof": true})).await.expect(202);
        self.stream.end_of(self.process).await;
        let expected = pieces * 16_000 + 5;
        assert_eq!(self.stream.model.tape(self.process).text().trim(), expected.to_string());
    }
}

#[test]
fn a_number_after_a_refused_one_waits_for_it() {
    on_shared(async |arena| {
        let mut filled = Filled::new(arena).await;
        while let Err(code) = filled.retry().await {
            assert_eq!(code, "input_full");
        }
        assert_eq!(filled.next().await, Ok(()));
        let pieces = filled.refused;
        filled.counts(pieces).await;
    });
}

#[test]
fn a_refused_number_that_was_given_up_is_never_acknowledged() {
    on_shared(async |arena| {
        let mut filled = Filled::new(arena).await;
        let (process, refused) = (filled.process, filled.refused);
        wait::until("the writer goes on", async || {
            let answer = filled.ws.input(process, json!({"data": "SMALL", "seq": refused + 1})).await;
            (answer.status == 202).then_some(())
        })
        .await;
        assert_eq!(filled.retry().await, Err("message_invalid".to_owned()));
        let late = json!({"data": filled.piece, "seq": refused});
        filled.ws.input(process, late).await.problem(422, "body_invalid");
        assert_eq!(filled.next().await, Ok(()), "it was taken");
        filled.counts(refused - 1).await;
    });
}
