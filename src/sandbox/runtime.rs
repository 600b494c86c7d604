//! `playhouse __runtime run`: the process that makes one sandbox and ends.
//!
//! It has one thread, as joining and leaving namespaces needs, and reads its [`Request`] from standard input. Where the
//! steps are: leave the host's mount namespace and set the stage, let libcontainer make the container, bring its
//! loopback up, start its init.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
};

use libcontainer::{container::builder::ContainerBuilder, syscall::syscall::SyscallType};
use nix::sched::{CloneFlags, setns};
use playhouse_protocol::host::TOKEN_FD;

use super::{
    StepError, bundle, cgroup, escape,
    executor::Filtered,
    process::ProcessRef,
    request::{REQUEST_BYTES, Reply, Request},
    seccomp::{bpf, policy},
    skeleton, stage,
};

/// What the hidden subcommand does. It must be called before any thread is started.
#[must_use]
pub fn runtime_main(arguments: Vec<OsString>) -> u8 {
    match arguments.first().and_then(|first| first.to_str()) {
        Some("run") => {}
        Some("probe") => return escape::report(),
        _ => {
            eprintln!("playhouse __runtime is for playhouse itself");
            return 2;
        }
    }
    let reply = match run() {
        Ok(init) => Reply::Started(init),
        Err(StepError { step, detail }) => Reply::Failed { step, detail },
    };
    let failed = matches!(reply, Reply::Failed { .. });
    let told = serde_json::to_vec(&reply).map_err(io::Error::other).and_then(|line| {
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()
    });
    u8::from(failed || told.is_err())
}

fn run() -> Result<ProcessRef, StepError> {
    let mut text = Vec::new();
    io::stdin().lock().take(REQUEST_BYTES).read_to_end(&mut text).map_err(StepError::at("read the request"))?;
    let request: Request = serde_json::from_slice(&text).map_err(StepError::at("read the request"))?;
    offer_token(&request).map_err(StepError::at("hand over the token"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let staged = stage::set(&request)?;
    let config = bundle::config(&request, &staged, &skeleton::unmerged()).map_err(StepError::at("write the bundle"))?;
    fs::create_dir_all(&request.scratch).map_err(StepError::at("write the bundle"))?;
    let json = serde_json::to_vec(&config).map_err(StepError::at("write the bundle"))?;
    fs::write(request.scratch.join("config.json"), json).map_err(StepError::at("write the bundle"))?;

    let null = |write: bool| fs::OpenOptions::new().read(!write).write(write).open("/dev/null").map(OwnedFd::from);
    let log = fs::OpenOptions::new().append(true).create(true).open(&request.log);
    let standard = StepError::at("open the init's standard streams");
    let mut container = ContainerBuilder::new("init".to_owned(), SyscallType::default())
        .with_root_path(request.scratch.clone())
        .map_err(StepError::at("make the container"))?
        .with_preserved_fds(1)
        .with_executor(Filtered::new(bpf::compile(&policy::container())))
        .with_stdin(null(false).map_err(&standard)?)
        .with_stdout(null(true).map_err(&standard)?)
        .with_stderr(log.map_err(&standard)?)
        .as_init(&request.scratch)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|error| StepError::new("make the container", chain(&error)))?;
    let pid = container.pid().ok_or_else(|| StepError::new("make the container", "it has no init"))?.as_raw();
    loopback_up(pid).map_err(StepError::at("bring the loopback interface up"))?;
    cgroup::verify_member(pid, &request.cgroup).map_err(StepError::at("check the limits"))?;
    // Before the start, so that the number is certain to be the init's.
    let init = ProcessRef::of(pid).ok_or_else(|| StepError::new("start the init", "it ended"))?;
    container.start().map_err(|error| StepError::new("start the init", chain(&error)))?;
    Ok(init)
}

/// An error with everything below it: libcontainer's outermost words say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        below = error.source();
    }
    text
}

/// Puts the token, then end of file, on the descriptor where the agent reads it.
fn offer_token(request: &Request) -> io::Result<()> {
    let (read, write) = nix::unistd::pipe()?;
    fs::File::from(write).write_all(&request.token)?;
    if read.as_raw_fd() == TOKEN_FD {
        // It stays open into the init, and pipe(2) set no close-on-exec.
        std::mem::forget(read);
    } else {
        nix::unistd::dup2(read.as_raw_fd(), TOKEN_FD)?;
    }
    Ok(())
}

/// Joins the network namespace of the init, for the rest of this process's life, and brings its one interface up.
fn loopback_up(init: i32) -> io::Result<()> {
    setns(fs::File::open(format!("/proc/{init}/ns/net"))?, CloneFlags::CLONE_NEWNET)?;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    #[repr(C)]
    struct InterfaceRequest {
        name: [u8; 16],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let mut request =
        InterfaceRequest { name: [0; 16], flags: (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    #[allow(unsafe_code, reason = "no safe wrapper has SIOCSIFFLAGS")]
    // SAFETY: the request is laid out as the kernel's `struct ifreq` and lives through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, std::ptr::from_mut(&mut request)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
