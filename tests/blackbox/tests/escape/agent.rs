//! The agent is pid 1 of the sandbox; programs share it and must not be able to become or disturb it.

use playhouse_blackbox::{Options, on_own, on_shared, shape};
use serde_json::json;

use crate::probe::{all_denied, denied, script};

#[test]
fn the_agents_memory_environment_and_descriptors_are_closed() {
    denied(
        r#"
attempt('/proc/1/mem', lambda: open('/proc/1/mem', 'rb'))
attempt('write /proc/1/mem', lambda: open('/proc/1/mem', 'r+b'))
attempt('/proc/1/environ', lambda: must(read('/proc/1/environ')))
attempt('/proc/1/fd', lambda: os.listdir('/proc/1/fd'))
attempt('/proc/1/maps', lambda: must(read('/proc/1/maps')))
attempt('/proc/1/cwd', lambda: os.readlink('/proc/1/cwd'))
attempt('ptrace attach', lambda: call(101, 16, 1, 0, 0))
attempt('ptrace seize', lambda: call(101, 0x4206, 1, 0, 0))
own = ctypes.create_string_buffer(8)
mine = ctypes.create_string_buffer(struct.pack('QQ', ctypes.addressof(own), 8))
theirs = ctypes.create_string_buffer(struct.pack('QQ', 0x400000, 8))
attempt('process_vm_readv', lambda: call(310, 1, mine, 1, theirs, 1, 0))
attempt('process_vm_writev', lambda: call(311, 1, mine, 1, theirs, 1, 0))
attempt('pidfd_getfd', lambda: call(438, os.pidfd_open(1), 3, 0))
attempt('kcmp', lambda: call(312, 1, os.getpid(), 0, 0, 0))
"#,
    );
}

#[test]
fn signals_against_the_agent_do_nothing() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        let _ = ws.sh("for s in KILL TERM INT HUP QUIT USR1 USR2 STOP SEGV ABRT PIPE ALRM CONT 34 64; do kill -$s 1; done; true").await;
        stream.input(run.process_id, "well\n", 1).await;
        stream.shows(run.process_id, "well\n").await;
        assert_eq!(ws.sh("echo well").await.good(), "well\n");
        assert_eq!(ws.process(run.process_id).await["status"], "running");
        ws.cancel(run.process_id).await;
    });
}

/// Finds every unix socket in the file system.
const SOCKETS: &str = r#"
def sockets():
    found = []
    for directory, folders, files in os.walk('/'):
        folders[:] = [f for f in folders if os.path.join(directory, f) not in ('/proc', '/usr', '/opt', '/sys')]
        for name in files:
            path = os.path.join(directory, name)
            try:
                if stat.S_ISSOCK(os.lstat(path).st_mode): found.append(path)
            except OSError: pass
    return found
def hello(sandbox, attempt):
    import uuid
    body = b'\x01\x10' + uuid.UUID(sandbox).bytes + os.urandom(16) + bytes([attempt]) + os.urandom(32)
    return struct.pack('>I', len(body)) + body
def talk(path, data, then=b''):
    s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(path); s.sendall(data)
    got = b''
    try:
        while len(got) < 100000:
            more = s.recv(4096)
            if not more: return 'closed after %d bytes' % len(got)
            got += more
            if then:
                s.sendall(then); then = b''
    except socket.timeout: return 'silent after %d bytes' % len(got)
    except OSError as error: return 'reset'
    return 'talks'
"#;

#[test]
fn a_forged_hello_on_the_agents_socket_gets_nowhere_and_disturbs_nothing() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let run = ws.run("cat").await;
        let mut stream = ws.stream(run.sandbox_id, Options::default()).await;
        stream.input(run.process_id, "before\n", 1).await;
        stream.shows(run.process_id, "before\n").await;
        let body = format!(
            "{SOCKETS}
proof = struct.pack('>I', 33) + b'\\x01' + os.urandom(32)
for path in sockets():
    print('socket', path)
    for attempt in (1, 100):
        print(path, 'forged', talk(path, hello('{}', attempt), proof), flush=True)
    print(path, 'other sandbox', talk(path, hello('00000000-0000-4000-8000-000000000001', 1), proof), flush=True)
    print(path, 'noise', talk(path, os.urandom(4096)), flush=True)
    print(path, 'huge', talk(path, b'\\xff\\xff\\xff\\xff' + b'x' * 1000), flush=True)
",
            run.sandbox_id
        );
        let printed = script(&ws, &body).await;
        assert!(!printed.contains("talks"), "{printed}");
        stream.input(run.process_id, "after\n", 2).await;
        stream.shows(run.process_id, "after\n").await;
        assert_eq!(ws.sh("echo well").await.good(), "well\n");
        let again = ws.sh("true").await.process;
        assert_eq!(shape::id(&again, "sandbox_id"), run.sandbox_id, "the same sandbox");
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn thousands_of_idle_connections_to_the_agents_socket_do_not_keep_it_from_its_node() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let neighbour = arena.workspace().await;
        let body = format!(
            "{SOCKETS}
import time
kept = []
for path in sockets():
    for _ in range(4000):
        try:
            s = socket.socket(socket.AF_UNIX); s.setblocking(False); s.connect(path); kept.append(s)
        except OSError: break
print('kept', flush=True)
sys.stdin.read()
"
        );
        let code = format!("{}\n{body}", include_str!("probe.py"));
        let run = ws.run(json!(["python3", "-c", code])).await;
        ws.printed(run.process_id, "kept").await;
        assert_eq!(ws.sh("echo well").await.good(), "well\n");
        assert_eq!(neighbour.sh("echo well").await.good(), "well\n");
        ws.cancel(run.process_id).await;
    });
}

#[test]
fn a_program_that_poses_as_the_agent_without_end_disturbs_nobody() {
    on_own(&[], async |arena| {
        let ws = arena.workspace().await;
        let neighbour = arena.workspace().await;
        let sandbox = shape::id(&ws.sh("true").await.process, "sandbox_id");
        let body = format!(
            "{SOCKETS}
import collections
path = [path for path in sockets() if path.endswith('node.sock')][0]
kept = collections.deque(maxlen=200)
for dial in range(1000000):
    s = socket.socket(socket.AF_UNIX); s.connect(path); s.sendall(hello('{sandbox}', 1)); kept.append(s)
    if dial in (300, 600): print('dialled', dial, flush=True)
"
        );
        let code = format!("{}\n{body}", include_str!("probe.py"));
        let run = ws.run(json!(["python3", "-c", code])).await;
        ws.printed(run.process_id, "dialled 300").await;
        assert_eq!(neighbour.sh("echo well").await.good(), "well\n");
        assert_eq!(ws.sh("echo well").await.good(), "well\n");
        ws.printed(run.process_id, "dialled 600").await;
        assert_eq!(ws.process(run.process_id).await["status"], "running", "its agent is the one it was");
        ws.cancel(run.process_id).await;
        let log = arena.server().log_tail(0, 100_000);
        assert_eq!(log.matches("the link to the host is gone").count(), 0, "{log}");
        assert!((1..=2).contains(&log.matches("a second agent beside a living one").count()), "once a minute: {log}");
    });
}

#[test]
fn the_sockets_directory_can_not_be_changed() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = format!(
            "{SOCKETS}
found = sockets()
print(len(found), 'sockets')
for path in found:
    attempt('remove ' + path, lambda: os.unlink(path))
    attempt('beside ' + path, lambda: write(os.path.dirname(path) + '/evil', b'x'))
    attempt('replace ' + path, lambda: os.rename(path, path + '.old'))
"
        );
        let printed = script(&ws, &body).await;
        let count: usize = printed.split(' ').next().and_then(|n| n.parse().ok()).expect("a count");
        assert!(count >= 1, "the agent dials a socket: {printed}");
        all_denied(&printed, count * 3);
    });
}

#[test]
fn the_agents_token_is_nowhere_to_be_read() {
    denied(
        r#"
import glob
attempt('command line', lambda: must([a for a in read('/proc/1/cmdline').split(b'\0') if len(a) >= 32 and b'/' not in a and b'-' not in a]))
attempt('a file', lambda: must([p for p in glob.glob('/run/**/*', recursive=True) + glob.glob('/tmp/**/*', recursive=True) + glob.glob('/etc/*token*') + glob.glob('/etc/*secret*') if os.path.isfile(p) and os.access(p, os.R_OK)]))
attempt('own environment', lambda: must([k for k in os.environ if 'TOKEN' in k or 'SECRET' in k]))
"#,
    );
}
