//! Output as text: characters stay whole wherever reads cut them.

use playhouse_blackbox::{Options, Workspace, on_shared};
use serde_json::json;

async fn printed(ws: &Workspace, script: &str) -> (String, u64) {
    let run = ws.run(json!(["python3", "-uc", script])).await;
    let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
    stream.end_of(run.process_id).await;
    let tape = stream.model.tape(run.process_id);
    assert!(tape.is_whole());
    (tape.text(), tape.events)
}

const SLOWLY: &str = "
import sys, time
def slowly(data, n=1):
    for i in range(0, len(data), n):
        sys.stdout.buffer.write(data[i:i+n]); sys.stdout.buffer.flush(); time.sleep(0.06)
";

#[test]
fn a_character_cut_by_reads_is_held_back_until_it_is_whole() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (text, events) = printed(&ws, &format!("{SLOWLY}\nslowly('aé€😀z'.encode())")).await;
        assert_eq!(text, "aé€😀z");
        assert!(events > 4, "it came in pieces: {events}");
    });
}

#[test]
fn bytes_that_are_no_utf_8_become_replacement_characters() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (text, _) = printed(&ws, "import sys; sys.stdout.buffer.write(b'a\\xff\\xfeb\\xc3(c')").await;
        assert_eq!(text, "a\u{fffd}\u{fffd}b\u{fffd}(c");
    });
}

#[test]
fn a_cut_character_followed_by_something_else_is_replaced_and_loses_nothing() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (text, _) = printed(&ws, &format!("{SLOWLY}\nslowly(b'\\xe2\\x82X')")).await;
        assert_eq!(text, "\u{fffd}X");
        let (text, _) = printed(&ws, &format!("{SLOWLY}\nslowly(b'\\xf0\\x9f\\xe2\\x82\\xac')")).await;
        assert_eq!(text, "\u{fffd}€");
    });
}

#[test]
fn a_rest_at_the_very_end_comes_as_one_more_event_before_the_status() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (text, _) = printed(&ws, "import sys; sys.stdout.buffer.write(b'end\\xe2\\x82')").await;
        assert_eq!(text, "end\u{fffd}");
    });
}

#[test]
fn stdout_and_stderr_hold_back_their_own_characters() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let script = "
import sys, time
def put(f, b): f.buffer.write(b); f.buffer.flush(); time.sleep(0.1)
put(sys.stdout, b'\\xc3'); put(sys.stderr, b'\\xe2\\x82'); put(sys.stdout, b'\\xa9'); put(sys.stderr, b'\\xac')";
        let run = ws.run(json!(["python3", "-uc", script])).await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.end_of(run.process_id).await;
        let tape = stream.model.tape(run.process_id);
        assert_eq!((tape.text().as_str(), &*tape.kept_stderr), ("é", "€".as_bytes()));
    });
}

#[test]
fn a_megabyte_of_multi_byte_text_comes_whole() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let (text, _) = printed(&ws, "import sys; sys.stdout.buffer.write(('€😀é'*120000).encode())").await;
        assert!(text == "€😀é".repeat(120_000), "{} bytes", text.len());
    });
}

#[test]
fn text_resumes_in_the_middle_of_a_character() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run(json!(["python3", "-uc", format!("{SLOWLY}\nslowly('x€y😀z'.encode())")])).await;
        let mut whole = ws.stream(run.sandbox_id, Options::default()).await;
        whole.end_of(run.process_id).await;
        let last = whole.model.tape(run.process_id).cursor.expect("events").sequence;
        for seen in 0..last {
            let mut head = String::new();
            let mut first = ws.stream(run.sandbox_id, Options::default()).await;
            while first.model.tapes.get(&run.process_id).and_then(|tape| tape.cursor).map_or(0, |id| id.sequence) < seen
            {
                let _ = first.next().await.expect("it stays open");
                head = first.model.tapes.get(&run.process_id).map(|tape| tape.text()).unwrap_or_default();
            }
            let mut tail = ws.stream(run.sandbox_id, Options { from: Some("resume"), ..Options::default() }).await;
            tail.send(json!({"type": "resume", "processes": {run.process_id.to_string(): format!("0-{seen}")}})).await;
            tail.end_of(run.process_id).await;
            assert_eq!(format!("{head}{}", tail.model.tape(run.process_id).text()), "x€y😀z", "resumed after 0-{seen}");
        }
    });
}
