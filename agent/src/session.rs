//! Signals to whole sessions: a program's own group, and the groups its children made.

use playhouse_protocol::agent::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

/// The system's name of a client's signal.
#[must_use]
pub const fn system_signal(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::Int => rustix::process::Signal::INT,
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::Hup => rustix::process::Signal::HUP,
        Signal::Quit => rustix::process::Signal::QUIT,
        Signal::Usr1 => rustix::process::Signal::USR1,
        Signal::Usr2 => rustix::process::Signal::USR2,
    }
}

/// Signals a process group whose leader was not reaped, so that its number means nothing else.
pub fn signal_group(leader: i32, signal: rustix::process::Signal) {
    if let Some(group) = Pid::from_raw(leader) {
        // A group that is empty by now has what it was to get.
        let _ = kill_process_group(group, signal);
    }
}

/// Kills every process whose session is `session`. Unlike a group's number, a session's is looked up anew for each
/// process, so this may come after its leader was reaped.
pub fn kill_session(session: i32) {
    for pid in members(session) {
        // It may have ended since it was seen.
        let _ = kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The living processes of a session.
fn members(session: i32) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| session_of(*pid) == Some(session))
        .filter_map(Pid::from_raw)
        .collect()
}

fn session_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses: what follows the last one is state, parent, group, session.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(2)?.parse().ok()
}
