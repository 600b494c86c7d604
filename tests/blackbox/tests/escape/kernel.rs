//! System calls that have no business in a sandbox.

use crate::probe::{denied, denied_times};

#[test]
fn bpf_keyctl_io_uring_userfaultfd_and_perf_are_denied() {
    denied(
        r#"
buffer = lambda n: ctypes.create_string_buffer(n)
s = lambda text: ctypes.c_char_p(text.encode())
attempt('bpf map', lambda: call(321, 0, buffer(128), 128))
attempt('keyctl', lambda: call(250, 0, -3, 0))
attempt('add_key', lambda: call(248, s('user'), s('k'), s('v'), 1, -3))
attempt('request_key', lambda: call(249, s('user'), s('k'), 0, 0))
attempt('io_uring_setup', lambda: call(425, 4, buffer(256)))
attempt('io_uring_enter', lambda: call(426, 0, 0, 0, 0, 0, 0))
attempt('io_uring_register', lambda: call(427, 0, 0, 0, 0))
attempt('userfaultfd', lambda: call(323, 0))
attempt('userfaultfd user mode', lambda: call(323, 1))
attempt('perf_event_open', lambda: call(298, ctypes.create_string_buffer(struct.pack('II', 1, 112) + b'\0' * 104), 0, -1, -1, 0))
attempt('fanotify_init', lambda: call(300, 0, 0))
attempt('lookup_dcookie', lambda: call(212, 0, buffer(64), 64))
attempt('quotactl', lambda: call(179, 0, 0, 0, 0))
attempt('acct', lambda: call(163, s('/tmp/acct')))
attempt('vhangup', lambda: call(153))
"#,
    );
}

#[test]
fn open_by_handle_at_is_denied() {
    denied(
        r#"
handle = ctypes.create_string_buffer(struct.pack('Ii', 8, 1) + struct.pack('Q', 2) + b'\0' * 120)
attempt('open_by_handle_at', lambda: call(304, os.open('/workspace', os.O_RDONLY), handle, 0))
attempt('of /', lambda: call(304, os.open('/', os.O_RDONLY), handle, 0))
attempt('of /usr', lambda: call(304, os.open('/usr', os.O_RDONLY), handle, 0))
"#,
    );
}

#[test]
fn syslog_and_kmsg_tell_nothing() {
    denied(
        r#"
attempt('syslog read', lambda: call(103, 3, ctypes.create_string_buffer(4096), 4096))
attempt('syslog size', lambda: call(103, 10, 0, 0))
attempt('/dev/kmsg', lambda: os.open('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK))
attempt('/proc/kmsg', lambda: must(os.read(os.open('/proc/kmsg', os.O_RDONLY | os.O_NONBLOCK), 100)))
"#,
    );
}

#[test]
fn modules_reboot_kexec_and_ports_are_denied() {
    denied(
        r#"
s = lambda text: ctypes.c_char_p(text.encode())
attempt('init_module', lambda: call(175, s('x'), 1, s('')))
attempt('finit_module', lambda: call(313, os.open('/usr/bin/env', os.O_RDONLY), s(''), 0))
attempt('delete_module', lambda: call(176, s('loop'), 2048))
attempt('reboot', lambda: call(169, 0xfee1dead, 672274793, 0x89abcdef, 0))
attempt('kexec_load', lambda: call(246, 0, 0, 0, 0))
attempt('kexec_file_load', lambda: call(320, -1, -1, 0, s(''), 0))
attempt('iopl', lambda: call(172, 3))
attempt('ioperm', lambda: call(173, 0x80, 1, 1))
"#,
    );
}

#[test]
fn the_other_abis_are_closed() {
    denied(
        r#"
# getpid by int 0x80 is 20; x32 calls have bit 30 set. mov eax, imm32 (; int 0x80 | syscall) ; ret
attempt('int 0x80 getpid', lambda: must(machine(b'\xb8\x14\0\0\0\xcd\x80\xc3') == os.getpid()))
attempt('int 0x80 mount', lambda: must(machine(b'\xb8\x15\0\0\0\xcd\x80\xc3') not in (-1, -38)))
attempt('x32 getpid', lambda: must(machine(b'\xb8\x27\0\0\x40\x0f\x05\xc3') == os.getpid()))
attempt('x32 by libc', lambda: call(0x40000000 | 39))
attempt('x32 ptrace', lambda: call(0x40000000 | 521, 0, 0, 0, 0))
"#,
    );
}

#[test]
fn typing_into_a_terminal_from_a_program_is_denied() {
    denied_times(
        r#"
import fcntl, pty, termios
master, slave = pty.openpty()
attempt('TIOCSTI', lambda: fcntl.ioctl(slave, 0x5412, b'x'))
attempt('TIOCSTI with high bits', lambda: call(16, slave, 0x100005412, ctypes.c_char_p(b'x')))
attempt('TIOCLINUX', lambda: fcntl.ioctl(slave, 0x541C, b'\x03'))
"#,
        3,
    );
}

#[test]
fn an_unknown_system_call_is_enosys_and_harmless() {
    denied_times(
        r#"
for number in [335, 400, 470, 500, 511, 548, 1000, 4096, 65535]:
    attempt('syscall %d' % number, lambda: call(number, 0, 0, 0, 0, 0, 0))
"#,
        9,
    );
}

#[test]
fn debuggers_still_work_within_the_sandbox() {
    playhouse_blackbox::on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = "
child = os.fork()
if child == 0:
    signal.pause()
call(101, 16, child, 0, 0)
os.waitpid(child, 0)
call(101, 17, child, 0, 0)
os.kill(child, 9)
print('traced')
";
        assert_eq!(crate::probe::script(&ws, body).await, "traced\n");
    });
}
