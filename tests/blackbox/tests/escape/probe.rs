//! Runs attempts inside a sandbox and reads the verdicts.

use playhouse_blackbox::{Arena, Workspace, on_shared};
use serde_json::json;

const PRELUDE: &str = include_str!("probe.py");

/// Runs a script after the prelude, and answers what it printed.
pub(crate) async fn script(ws: &Workspace, body: &str) -> String {
    let code = format!("{PRELUDE}\n{body}\n");
    ws.run_to_end(json!({"command": ["python3", "-c", code]})).await.good()
}

/// Checks that `attempts` attempts were made and each was denied.
pub(crate) fn all_denied(printed: &str, attempts: usize) {
    let verdicts: Vec<&str> =
        printed.lines().filter(|line| line.contains(": denied") || line.contains(": ALLOWED")).collect();
    assert_eq!(verdicts.len(), attempts, "every attempt has a verdict:\n{printed}");
    let allowed: Vec<&&str> = verdicts.iter().filter(|line| line.contains(": ALLOWED")).collect();
    assert!(allowed.is_empty(), "allowed: {allowed:#?}\nall of it:\n{printed}");
}

/// Makes the attempts in a fresh sandbox; each must be denied, and the sandbox must be well afterwards.
pub(crate) fn denied(body: &str) {
    // Only calls of `attempt` at the beginning of a line count; those in loops say how many themselves.
    let attempts = body.lines().filter(|line| line.starts_with("attempt(")).count();
    denied_times(body, attempts);
}

/// As [`denied`], for scripts that attempt in loops.
pub(crate) fn denied_times(body: &str, attempts: usize) {
    on_shared(async |arena: &Arena| {
        let ws = arena.workspace().await;
        all_denied(&script(&ws, body).await, attempts);
        assert_eq!(ws.sh("echo well").await.good(), "well\n");
    });
}

#[test]
fn the_probe_itself_tells_allowed_from_denied() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = "attempt('getpid', lambda: call(39))\nattempt('nonsense', lambda: call(9999))\n\
            attempt('crash', lambda: os.kill(os.getpid(), signal.SIGSEGV))\nattempt('code', lambda: machine(b'\\xb8\\x2a\\0\\0\\0\\xc3'))";
        let printed = script(&ws, body).await;
        let lines: Vec<_> = printed.lines().collect();
        assert!(lines[0].starts_with("getpid: ALLOWED"), "{printed}");
        assert!(lines[1].starts_with("nonsense: denied"), "{printed}");
        assert!(lines[2].starts_with("crash: denied by signal 11"), "{printed}");
        assert!(lines[3].starts_with("code: ALLOWED 42"), "machine code can be run: {printed}");
    });
}
