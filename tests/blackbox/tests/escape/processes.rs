//! Other processes: the host's are not there, and nothing reaches them.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command},
};

use playhouse_blackbox::{on_shared, os};

use crate::probe::{all_denied, denied, script};

/// A process of the host with the user id that programs of a sandbox have inside.
fn canary() -> Child {
    let mut command = Command::new("sleep");
    command.arg("3600");
    // Only root can become somebody else; as anybody else it is the stronger canary anyway.
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        command.uid(1000).gid(1000);
    }
    command.spawn().expect("sleep starts")
}

#[test]
fn the_hosts_processes_are_not_in_proc_and_can_not_be_reached() {
    let mut canary = canary();
    let pid = canary.id();
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let serve = arena.server().pid();
        let body = format!(
            "
for pid in [{pid}, {serve}]:
    attempt('/proc/%d' % pid, lambda: must('sleep' in read('/proc/%d/cmdline' % pid).decode() or 'playhouse' in read('/proc/%d/cmdline' % pid).decode()))
    attempt('kill %d' % pid, lambda: os.kill(pid, 9))
    attempt('ptrace %d' % pid, lambda: call(101, 16, pid, 0, 0))
    attempt('pidfd %d' % pid, lambda: call(424, os.pidfd_open(pid), 9, 0, 0))
    attempt('memory of %d' % pid, lambda: open('/proc/%d/mem' % pid, 'r+b'))
attempt('more than a few processes', lambda: must(len([p for p in os.listdir('/proc') if p.isdigit()]) > 20))
"
        );
        all_denied(&script(&ws, &body).await, 11);
    });
    assert!(os::alive(pid), "the canary lives");
    canary.kill().expect("it can be killed from outside");
    let _ = canary.wait();
}

#[test]
fn kill_minus_one_reaches_nobody_outside() {
    let mut canary = canary();
    let pid = canary.id();
    on_shared(async |arena| {
        let (ws, neighbour) = (arena.workspace().await, arena.workspace().await);
        let theirs = neighbour.run("echo up; cat").await;
        neighbour.printed(theirs.process_id, "up").await;
        let done = ws.sh("kill -9 -1; echo survived").await;
        assert!(done.process["finished_at"].is_string(), "{}", done.process);
        assert!(os::alive(pid), "the canary lives");
        let _ = neighbour.input(theirs.process_id, serde_json::json!({"data": "still here\n"})).await.expect(202);
        neighbour.printed(theirs.process_id, "still here").await;
        assert_eq!(ws.sh("echo well").await.good(), "well\n", "its own agent lives too");
    });
    canary.kill().expect("it can be killed from outside");
    let _ = canary.wait();
}

#[test]
fn a_program_can_not_protect_itself_from_the_oom_killer_or_raise_its_limits() {
    denied(
        r#"
import resource
attempt('oom_score_adj', lambda: write('/proc/self/oom_score_adj', b'-1000'))
attempt('oom_adj', lambda: write('/proc/self/oom_adj', b'-17'))
attempt('nice', lambda: os.nice(-5))
attempt('real time', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))
attempt('NOFILE', lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)))
attempt('core', lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)))
attempt('uid_map', lambda: write('/proc/self/uid_map', b'0 0 1'))
attempt('setgroups', lambda: write('/proc/self/setgroups', b'allow'))
"#,
    );
}

#[test]
fn no_descriptors_are_leaked_into_programs() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = "
for fd in sorted(int(n) for n in os.listdir('/proc/self/fd')):
    try: print(fd, os.readlink('/proc/self/fd/%d' % fd))
    except OSError: pass
";
        let text = script(&ws, body).await;
        let numbers: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(numbers, ["0", "1", "2"], "{text}");
        let pty = ws.run_to_end(serde_json::json!({"command": "ls /proc/self/fd", "pty": true})).await.good();
        let numbers: Vec<&str> = pty.split_whitespace().collect();
        assert!(numbers.len() == 4 && numbers[..3] == ["0", "1", "2"], "ls has the directory open too: {pty}");
    });
}
