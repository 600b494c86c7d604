//! What is allowed: the usual container list, less what a sandbox without any capability has no honest use for.
//!
//! Everything that is not named here answers `ENOSYS`, as if the kernel were older: programs know how to live with that.

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Allow,
    /// It fails with this error number.
    Errno(u16),
}

impl Verdict {
    /// The value that a filter returns for it.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Errno(number) => 0x0005_0000 | number as u32,
        }
    }
}

/// A test of the low 32 bits of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// None of these bits is set.
    NoneOf(u32),
    /// It is one of these.
    In(&'static [u32]),
    /// It is none of these.
    NotIn(&'static [u32]),
}

/// A test that a call must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Which argument, from 0.
    pub argument: u8,
    /// What must hold.
    pub test: Test,
}

/// A call that is allowed when all its checks hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The call's number.
    pub number: u32,
    /// All must hold.
    pub checks: Vec<Check>,
    /// The answer when one doesn't.
    pub otherwise: Verdict,
}

/// A whole filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The `AUDIT_ARCH_*` it is for; calls of any other get the default.
    pub architecture: u32,
    /// What calls without a rule get.
    pub default: Verdict,
    /// Sorted by number, each number once.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// What becomes of a call: the meaning that the compiled filter must have.
    #[must_use]
    pub fn judge(&self, number: u32, arguments: [u64; 6]) -> Verdict {
        let Ok(place) = self.rules.binary_search_by_key(&number, |rule| rule.number) else { return self.default };
        let rule = &self.rules[place];
        let holds = |check: &Check| {
            let value = (arguments[usize::from(check.argument)] & 0xffff_ffff) as u32;
            match check.test {
                Test::NoneOf(bits) => value & bits == 0,
                Test::In(values) => values.contains(&value),
                Test::NotIn(values) => !values.contains(&value),
            }
        };
        if rule.checks.iter().all(holds) { Verdict::Allow } else { rule.otherwise }
    }
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}`. `CLONE_NEWTIME` lies in the byte that clone(2) reads as a signal.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
/// Unix, IPv4, IPv6, netlink. No packet, vsock or crypto sockets.
const SOCKET_FAMILIES: &[u32] = &[1, 2, 10, 16];
/// Requests that push input into another program's terminal.
const TERMINAL_INJECTION: &[u32] = &[0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */];
/// Linux, Linux without address randomisation (debuggers), their 32-bit uname twins, and asking.
const PERSONALITIES: &[u32] = &[0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, 0xffff_ffff];

/// The filter of every sandbox.
#[must_use]
pub fn container() -> Policy {
    let mut rules: Vec<Rule> = PLAIN
        .iter()
        .chain(LEGACY)
        .filter_map(|number| u32::try_from(*number).ok())
        .map(|number| Rule { number, checks: Vec::new(), otherwise: Verdict::Allow })
        .collect();
    let mut checked = |number: libc::c_long, argument: u8, test: Test, errno: i32| {
        if let (Ok(number), Ok(errno)) = (u32::try_from(number), u16::try_from(errno)) {
            rules.push(Rule { number, checks: vec![Check { argument, test }], otherwise: Verdict::Errno(errno) });
        }
    };
    checked(libc::SYS_clone, 0, Test::NoneOf(NAMESPACE_FLAGS), libc::EPERM);
    checked(libc::SYS_socket, 0, Test::In(SOCKET_FAMILIES), libc::EAFNOSUPPORT);
    checked(libc::SYS_socketpair, 0, Test::In(SOCKET_FAMILIES), libc::EAFNOSUPPORT);
    checked(libc::SYS_ioctl, 1, Test::NotIn(TERMINAL_INJECTION), libc::EPERM);
    checked(libc::SYS_personality, 0, Test::In(PERSONALITIES), libc::EPERM);
    rules.sort_by_key(|rule| rule.number);
    Policy { architecture: ARCHITECTURE, default: Verdict::Errno(ENOSYS), rules }
}

const ENOSYS: u16 = 38;

macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// Allowed whatever the arguments, on every architecture.
const PLAIN: &[libc::c_long] = calls! {
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_getres
    SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_close_range SYS_connect SYS_copy_file_range SYS_dup SYS_dup3
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit
    SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fchdir SYS_fchmod SYS_fchmodat
    SYS_fchmodat2 SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock
    SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_getcpu
    SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername
    SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_getrlimit
    SYS_get_robust_list SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday
    SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel SYS_io_destroy
    SYS_io_getevents SYS_ioprio_get SYS_ioprio_set SYS_io_setup SYS_io_submit SYS_kill
    SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen
    SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier SYS_memfd_create
    SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect SYS_mq_getsetattr
    SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_msgctl SYS_msgget
    SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_name_to_handle_at SYS_nanosleep
    SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_getfd SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2
    SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2
    SYS_prlimit64 SYS_process_mrelease SYS_process_vm_readv SYS_process_vm_writev SYS_pselect6 SYS_ptrace SYS_pwrite64
    SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg
    SYS_remap_file_pages SYS_removexattr SYS_renameat SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction
    SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_rt_tgsigqueueinfo SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_get_priority_max
    SYS_sched_get_priority_min SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity
    SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget
    SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid SYS_setfsuid SYS_setgid
    SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid
    SYS_setrlimit SYS_set_robust_list SYS_setsid SYS_setsockopt SYS_set_tid_address SYS_setuid SYS_setxattr SYS_shmat
    SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_splice SYS_statfs SYS_statx
    SYS_symlinkat SYS_sync SYS_sync_file_range SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create
    SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime
    SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice
    SYS_wait4 SYS_waitid SYS_write SYS_writev
};

/// The older calls that only x86-64 has.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[libc::c_long] = calls! {
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_ctl_old
    SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_inotify_init
    SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename
    SYS_rmdir SYS_select SYS_signalfd SYS_stat SYS_symlink SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
};
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[libc::c_long] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_sorted_and_each_number_has_one() {
        let policy = container();
        assert!(policy.rules.windows(2).all(|pair| pair[0].number < pair[1].number));
    }

    #[test]
    fn what_a_sandbox_must_refuse_is_refused() {
        let policy = container();
        for denied in [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_fsopen,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_clone3,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_perf_event_open,
            libc::SYS_open_by_handle_at,
            libc::SYS_syslog,
            libc::SYS_init_module,
            libc::SYS_reboot,
            libc::SYS_sethostname,
            libc::SYS_clock_settime,
            libc::SYS_kexec_load,
        ] {
            let number = u32::try_from(denied).expect("a small number");
            assert_ne!(policy.judge(number, [0; 6]), Verdict::Allow, "{denied}");
        }
        let judge = |number: libc::c_long, arguments| policy.judge(u32::try_from(number).expect("small"), arguments);
        assert_eq!(judge(libc::SYS_clone, [0x1000_0000, 0, 0, 0, 0, 0]), Verdict::Errno(1), "CLONE_NEWUSER");
        assert_eq!(judge(libc::SYS_clone, [0x003d_0f00, 0, 0, 0, 0, 0]), Verdict::Allow, "a thread");
        assert_eq!(judge(libc::SYS_ioctl, [0, 0x5412, 0, 0, 0, 0]), Verdict::Errno(1), "TIOCSTI");
        assert_eq!(judge(libc::SYS_ioctl, [0, 0xffff_ffff_0000_5412, 0, 0, 0, 0]), Verdict::Errno(1), "its twin");
        assert_eq!(judge(libc::SYS_ioctl, [0, 0x5413, 0, 0, 0, 0]), Verdict::Allow);
        assert_eq!(judge(libc::SYS_socket, [40, 0, 0, 0, 0, 0]), Verdict::Errno(97), "vsock");
        assert_eq!(judge(libc::SYS_socket, [10, 0, 0, 0, 0, 0]), Verdict::Allow);
    }
}
