//! Mounts, namespaces, cgroups.

use crate::probe::{denied, denied_times};

#[test]
fn mount_fsopen_pivot_root_and_chroot_are_denied() {
    denied(
        r#"
s = lambda text: ctypes.c_char_p(text.encode())
attempt('mount tmpfs', lambda: call(165, s('none'), s('/tmp'), s('tmpfs'), 0, s('')))
attempt('mount proc', lambda: call(165, s('proc'), s('/tmp'), s('proc'), 0, s('')))
attempt('bind', lambda: call(165, s('/usr'), s('/tmp'), s(''), 4096, s('')))
attempt('remount /usr rw', lambda: call(165, s(''), s('/usr'), s(''), 32 | 4096, s('')))
attempt('umount', lambda: call(166, s('/proc'), 2))
attempt('fsopen', lambda: call(430, s('tmpfs'), 0))
attempt('fsmount', lambda: call(432, 0, 0, 0))
attempt('fspick', lambda: call(433, -100, s('/'), 0))
attempt('open_tree', lambda: call(428, -100, s('/'), 1))
attempt('move_mount', lambda: call(429, -100, s('/usr'), -100, s('/tmp'), 0))
attempt('mount_setattr', lambda: call(442, -100, s('/usr'), 0, s(''), 0))
attempt('pivot_root', lambda: call(155, s('/tmp'), s('/tmp')))
attempt('chroot', lambda: os.chroot('/tmp'))
attempt('swapon', lambda: call(167, s('/tmp/x'), 0))
"#,
    );
}

#[test]
fn unshare_setns_and_clone_into_new_namespaces_are_denied() {
    denied_times(
        r#"
flags = {'NEWTIME': 0x80, 'NEWNS': 0x20000, 'NEWCGROUP': 0x2000000, 'NEWUTS': 0x4000000, 'NEWIPC': 0x8000000, 'NEWUSER': 0x10000000, 'NEWPID': 0x20000000, 'NEWNET': 0x40000000}
for name, flag in flags.items():
    attempt('unshare ' + name, lambda: call(272, flag))
def clone(flag):
    child = call(56, flag | 17, 0, 0, 0, 0)
    if child == 0: os._exit(0)
    return child
for name, flag in flags.items():
    if name != 'NEWTIME': attempt('clone ' + name, lambda: clone(flag))
attempt('clone NEWUSER|NEWNS', lambda: clone(0x10020000))
class Args(ctypes.Structure): _fields_ = [(n, ctypes.c_uint64) for n in 'flags pidfd child_tid parent_tid exit_signal stack stack_size tls'.split()]
def clone3(flag):
    arguments = Args(flags=flag, exit_signal=17)
    child = call(435, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if child == 0: os._exit(0)
    return child
attempt('clone3', lambda: clone3(0))
attempt('clone3 NEWUSER', lambda: clone3(0x10000000))
for name in ['mnt', 'pid', 'net', 'user', 'uts', 'ipc', 'cgroup']:
    attempt('setns own ' + name, lambda: call(308, os.open('/proc/self/ns/' + name, os.O_RDONLY), 0))
for name in ['mnt', 'pid', 'net']:
    attempt('setns 1 ' + name, lambda: call(308, os.open('/proc/1/ns/' + name, os.O_RDONLY), 0))
"#,
        8 + 7 + 1 + 2 + 7 + 3,
    );
}

#[test]
fn cgroups_can_not_be_mounted_or_seen() {
    denied(
        r#"
s = lambda text: ctypes.c_char_p(text.encode())
attempt('mount cgroup', lambda: call(165, s('none'), s('/tmp'), s('cgroup'), 0, s('memory')))
attempt('mount cgroup2', lambda: call(165, s('none'), s('/tmp'), s('cgroup2'), 0, s('')))
attempt('/sys/fs/cgroup', lambda: must(os.listdir('/sys/fs/cgroup')))
attempt('release_agent', lambda: write('/sys/fs/cgroup/memory/release_agent', b'/x'))
attempt('/sys', lambda: must(os.listdir('/sys')))
attempt('the real cgroup path', lambda: must([l for l in open('/proc/self/cgroup') if not l.rstrip().endswith(':/')]))
"#,
    );
}

#[test]
fn names_and_clocks_of_the_host_can_not_be_set() {
    denied(
        r#"
import time
attempt('sethostname', lambda: socket.sethostname('evil'))
attempt('setdomainname', lambda: call(171, ctypes.c_char_p(b'evil'), 4))
attempt('clock_settime', lambda: time.clock_settime(time.CLOCK_REALTIME, time.time() + 1))
attempt('settimeofday', lambda: call(164, ctypes.c_char_p(b'\0' * 16), 0))
attempt('adjtimex', lambda: call(159, ctypes.c_char_p(struct.pack('I', 1) + b'\0' * 204)))
attempt('clock_adjtime', lambda: call(305, 0, ctypes.c_char_p(struct.pack('I', 1) + b'\0' * 204)))
"#,
    );
}
