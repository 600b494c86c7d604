//! Programs that count aloud, and the check that every number came once.

use playhouse_blackbox::{Run, Workspace, model::Tape, os, wait};
use serde_json::json;

/// A program that counts, and the mark by which the host knows it.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) run: Run,
    pub(crate) marker: String,
    pub(crate) pid: u32,
    pty: bool,
}

/// Counts from 1 as `n:<number>` lines until its input says `stop`; then says `total:<number>` and ends.
const COUNT: &str = "
import select, sys, time
pause = float(sys.argv[1]); n = 0
while not select.select([sys.stdin], [], [], pause)[0]:
    n += 1
    print(f'n:{n}', flush=True)
sys.stdin.readline()
print(f'total:{n}', flush=True)
";

impl Counter {
    /// Starts one that pauses for so many seconds between numbers.
    pub(crate) async fn start(ws: &Workspace, pause: &str, pty: bool) -> Self {
        let marker = format!("counter-{:016x}", rand::random::<u64>());
        let body = json!({"command": ["python3", "-c", COUNT, pause, marker], "pty": pty});
        let run = ws.run_with(body).await;
        let pid = wait::until("the counter on the host", async || os::with_argument(&marker).first().copied()).await;
        Self { run, marker, pid, pty }
    }

    /// Checks that it still runs, as the same process.
    pub(crate) fn goes_on(&self) {
        assert_eq!(os::with_argument(&self.marker), [self.pid], "the program goes on, as the same process");
    }

    /// Tells it to stop, over HTTP.
    pub(crate) async fn stop(&self, ws: &Workspace) {
        let body = json!({"data": "stop\n", "seq": 1, "writer": "the test"});
        wait::until("the program to be told", async || {
            let path = format!("/api/processes/{}/input", self.run.process_id);
            let answer = ws.client.try_send(ws.client.request(reqwest::Method::POST, &path).json(&body)).await.ok()?;
            (answer.status == 202).then_some(())
        })
        .await;
    }

    /// Checks that what came is each number once, in order, up to its total.
    pub(crate) fn check(&self, tape: &Tape) {
        assert!(tape.truncated.is_empty(), "nothing is lost: {:?}", tape.truncated);
        assert!(tape.is_whole());
        let text = tape.text();
        let mut expected = 0u64;
        let mut total = None;
        for line in text.lines() {
            // A PTY shows what was typed too.
            let line = line.trim_end_matches('\r');
            if let Some(number) = line.strip_prefix("n:") {
                expected += 1;
                assert_eq!(number.parse(), Ok(expected), "each number once and in order");
            } else if let Some(number) = line.strip_prefix("total:") {
                total = number.parse().ok();
            } else {
                assert!(self.pty && line.starts_with("stop"), "an odd line {line:?}");
            }
        }
        assert_eq!(total, Some(expected), "all that it printed came");
        assert_eq!(tape.end.as_ref().and_then(|end| end.exit_code), Some(0));
    }
}
