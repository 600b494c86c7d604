//! Two sandboxes side by side: what is one's is not the other's.

use playhouse_blackbox::{on_shared, os, wait};
use serde_json::json;

use crate::probe::{all_denied, script};

#[test]
fn neighbours_share_no_files_processes_ports_or_shared_memory() {
    on_shared(async |arena| {
        let user = arena.user("u").await;
        let (one, two) = (arena.workspace_of(&user, "python").await, arena.workspace_of(&user, "python").await);
        let setup = "
import time
write('/tmp/secret', b's'); write('/dev/shm/secret', b's'); write('/workspace/secret', b's'); write('/home/sandbox/secret', b's')
s = socket.create_server(('127.0.0.1', 4567)); u = socket.socket(socket.AF_UNIX); u.bind('\\0neighbour'); u.listen()
shm = call(29, 4242, 4096, 0o1666)
print('up', flush=True); time.sleep(1000)
";
        let code = format!("{}\n{setup}", include_str!("probe.py"));
        let run = one.run(json!(["python3", "-c", code])).await;
        one.printed(run.process_id, "up").await;
        let body = "
for path in ['/tmp/secret', '/dev/shm/secret', '/workspace/secret', '/home/sandbox/secret']:
    attempt(path, lambda: read(path))
def connect():
    s = socket.socket(socket.AF_UNIX); s.connect('\\0neighbour'); return True
attempt('port', lambda: socket.create_connection(('127.0.0.1', 4567), timeout=5))
attempt('abstract socket', connect)
attempt('System V memory', lambda: call(29, 4242, 4096, 0o666))
attempt('process', lambda: must([p for p in os.listdir('/proc') if p.isdigit() and b'neighbour' in read('/proc/%s/cmdline' % p, 100000) and int(p) != os.getpid() and int(p) != os.getppid()]))
";
        all_denied(&script(&two, body).await, 8);
        one.cancel(run.process_id).await;
    });
}

#[test]
fn a_sandboxs_programs_run_as_nobody_in_particular_on_the_host() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let marker = format!("98763.{}", rand::random::<u32>());
        let run = ws.run(json!(["sleep", marker])).await;
        let pid = wait::until("the program on the host", async || os::with_argument(&marker).first().copied()).await;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        let line = |key: &str| status.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        let uid: u32 = line("Uid:").split_whitespace().nth(1).and_then(|uid| uid.parse().ok()).expect("a number");
        assert!(uid >= 100_000, "an id of its own range: {uid}");
        assert!(line("Seccomp:").ends_with('2'), "{}", line("Seccomp:"));
        assert!(line("NoNewPrivs:").ends_with('1'), "{}", line("NoNewPrivs:"));
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert!(line(set).ends_with("0000000000000000"), "{}", line(set));
        }
        for name in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            assert_ne!(os::namespace(pid, name), os::namespace(std::process::id(), name));
        }
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn two_sandboxes_have_different_ids_on_the_host() {
    on_shared(async |arena| {
        let mut uids = Vec::new();
        for _ in 0..2 {
            let ws = arena.workspace().await;
            let marker = format!("98762.{}", rand::random::<u32>());
            ws.run(json!(["sleep", marker])).await;
            let pid =
                wait::until("the program on the host", async || os::with_argument(&marker).first().copied()).await;
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
            uids.push(status.lines().find(|line| line.starts_with("Uid:")).expect("Uid").to_owned());
        }
        assert_ne!(uids[0], uids[1]);
    });
}
