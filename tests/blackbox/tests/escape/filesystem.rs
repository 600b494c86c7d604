//! The host's files, and the sandbox's own system files.

use playhouse_blackbox::{on_shared, server};

use crate::probe::{denied, denied_times, script};

#[test]
fn etc_shadow_and_root_are_not_there() {
    denied(
        r#"
attempt('/etc/shadow', lambda: read('/etc/shadow'))
attempt('/etc/gshadow', lambda: read('/etc/gshadow'))
attempt('/root', lambda: must(os.listdir('/root')))
attempt('/root/.ssh', lambda: os.listdir('/root/.ssh'))
attempt('/var/lib', lambda: must(os.listdir('/var/lib')))
attempt('/home others', lambda: must([n for n in os.listdir('/home') if n != 'sandbox']))
attempt('/opt', lambda: must([n for n in os.listdir('/opt') if n not in ('toolchains', 'playhouse')]))
"#,
    );
}

#[test]
fn usr_root_and_etc_passwd_can_not_be_written() {
    denied(
        r#"
attempt('write /usr', lambda: write('/usr/evil', b'x'))
attempt('write /usr/bin', lambda: write('/usr/bin/evil', b'x'))
attempt('overwrite /usr/bin/env', lambda: open('/usr/bin/env', 'r+b'))
attempt('write /', lambda: write('/evil', b'x'))
attempt('mkdir /', lambda: os.mkdir('/evil'))
attempt('/etc/passwd', lambda: open('/etc/passwd', 'ab'))
attempt('/etc/hosts', lambda: open('/etc/hosts', 'ab'))
attempt('write /etc', lambda: write('/etc/evil', b'x'))
attempt('replace /etc/passwd', lambda: os.rename('/etc/passwd', '/etc/passwd.old'))
attempt('/opt/toolchains', lambda: write('/opt/toolchains/evil', b'x'))
attempt('/opt/toolchains/python', lambda: write('/opt/toolchains/python/evil', b'x'))
attempt('chmod /usr/bin/env', lambda: os.chmod('/usr/bin/env', 0o777))
"#,
    );
}

#[test]
fn proc_1_root_and_exe_are_closed() {
    denied(
        r#"
attempt('/proc/1/root', lambda: os.listdir('/proc/1/root/'))
attempt('write /proc/1/root', lambda: write('/proc/1/root/tmp/evil', b'x'))
attempt('/proc/1/exe', lambda: open('/proc/1/exe', 'r+b'))
attempt('read /proc/1/exe', lambda: read('/proc/1/exe'))
attempt('/proc/1/cwd', lambda: os.listdir('/proc/1/cwd/'))
"#,
    );
}

#[test]
fn sysrq_and_proc_sys_can_not_be_written() {
    denied(
        r#"
attempt('sysrq-trigger', lambda: write('/proc/sysrq-trigger', b'h'))
attempt('core_pattern', lambda: write('/proc/sys/kernel/core_pattern', b'|/tmp/x'))
attempt('modprobe', lambda: write('/proc/sys/kernel/modprobe', b'/tmp/x'))
attempt('hostname', lambda: write('/proc/sys/kernel/hostname', b'evil'))
attempt('ip_forward', lambda: write('/proc/sys/net/ipv4/ip_forward', b'1'))
attempt('overcommit', lambda: write('/proc/sys/vm/overcommit_memory', b'1'))
attempt('binfmt', lambda: write('/proc/sys/fs/binfmt_misc/register', b'x'))
attempt('/proc/irq', lambda: write('/proc/irq/default_smp_affinity', b'1'))
"#,
    );
}

#[test]
fn kcore_kallsyms_keys_and_config_gz_tell_nothing() {
    denied(
        r#"
attempt('kcore', lambda: must(read('/proc/kcore')))
attempt('kallsyms', lambda: must(read('/proc/kallsyms')))
attempt('keys', lambda: must(read('/proc/keys')))
attempt('config.gz', lambda: must(read('/proc/config.gz')))
attempt('timer_list', lambda: must(read('/proc/timer_list')))
attempt('sched_debug', lambda: must(read('/proc/sched_debug')))
attempt('slabinfo', lambda: must(read('/proc/slabinfo')))
attempt('vmallocinfo', lambda: must(read('/proc/vmallocinfo')))
attempt('kpagecount', lambda: must(read('/proc/kpagecount')))
attempt('/proc/acpi', lambda: must(os.listdir('/proc/acpi')))
attempt('/proc/scsi', lambda: must(os.listdir('/proc/scsi')))
attempt('/sys/firmware', lambda: must(os.listdir('/sys/firmware')))
attempt('/sys/kernel', lambda: must(os.listdir('/sys/kernel')))
"#,
    );
}

/// `core` or `kcore` is a link to /proc/kcore where the kernel has that, which tells nothing (see above).
#[test]
fn devices_can_not_be_made_and_the_hosts_are_not_there() {
    denied_times(
        r#"
for name, kind, major, minor in [('null', stat.S_IFCHR, 1, 3), ('mem', stat.S_IFCHR, 1, 1), ('loop', stat.S_IFBLK, 7, 0), ('sda', stat.S_IFBLK, 8, 0)]:
    attempt('mknod ' + name, lambda: os.mknod('/tmp/' + name, kind | 0o666, os.makedev(major, minor)))
for path in ['/dev/mem', '/dev/kmem', '/dev/port', '/dev/sda', '/dev/vda', '/dev/loop0', '/dev/loop-control', '/dev/kvm', '/dev/fuse', '/dev/net/tun', '/dev/kmsg', '/dev/nvme0n1', '/dev/disk', '/dev/mapper/control', '/dev/vsock', '/dev/uinput']:
    attempt(path, lambda: os.open(path, os.O_RDONLY))
attempt('more in /dev', lambda: must(sorted(set(os.listdir('/dev')) - {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'console', 'ptmx', 'pts', 'shm', 'mqueue', 'fd', 'stdin', 'stdout', 'stderr', 'core', 'kcore'})))
"#,
        21,
    );
}

#[test]
fn set_user_id_programs_gain_nothing() {
    denied(
        r#"
attempt('su', lambda: must(os.system('echo | timeout 5 su -c id root >/tmp/su 2>&1') == 0 and b'uid=0' in read('/tmp/su')))
attempt('chmod u+s stays powerless', lambda: (os.system('cp /usr/bin/id /workspace/id && chmod 4755 /workspace/id'), must(b'euid=0' in os.popen('/workspace/id').read().encode()))[1])
attempt('setuid 0', lambda: os.setuid(0))
attempt('setgid 0', lambda: os.setgid(0))
attempt('setresuid 0', lambda: os.setresuid(0, 0, 0))
attempt('setgroups', lambda: os.setgroups([0]))
attempt('is root', lambda: must(0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid())))
attempt('capabilities', lambda: must([l for l in open('/proc/self/status') if l.startswith('Cap') and int(l.split()[1], 16)]))
attempt('may gain privileges', lambda: must('NoNewPrivs:\t0' in open('/proc/self/status').read()))
attempt('chown to root', lambda: (write('/tmp/f', b''), os.chown('/tmp/f', 0, 0)))
"#,
    );
}

#[test]
fn mountinfo_names_no_path_of_the_host() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let text = script(&ws, "print(open('/proc/self/mountinfo').read() + open('/proc/self/mounts').read())").await;
        let data = arena.server().data().to_string_lossy().into_owned();
        assert!(!text.contains(&data), "the data directory:\n{text}");
        // The sandbox's own disk has directories of these names too, but it is a file system of its own.
        // Without root it is an overlay.
        for line in text.lines().filter(|line| !line.contains("/dev/loop") && !line.contains(" - overlay ")) {
            // The fourth field is the mounted directory's path within its file system: on the host's, a host path.
            let root = line.split(' ').nth(3).unwrap_or_default();
            for host in ["/root", "/home", "/var", "/tmp"] {
                assert!(!root.starts_with(host), "{root} in {line}");
            }
        }
    });
}

#[test]
fn the_hosts_environment_is_not_seen() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = "
import glob
for path in glob.glob('/proc/*/environ'):
    try: print(read(path, 100000).decode(errors='replace').replace('\\0', '\\n'))
    except OSError: pass
";
        let text = script(&ws, body).await;
        assert!(text.contains("HOME="), "{text}");
        assert!(!text.contains(server::CANARY.1) && !text.contains(server::CANARY.0), "{text}");
        assert!(!text.contains("PLAYHOUSE_TOKEN") && !text.contains("AWS_"), "{text}");
    });
}
