//! What may be run, and what the agent is told to start.

use playhouse_protocol::agent::{PtySize, Start};
use uuid::Uuid;

use super::RunRequest;
use super::state::State;
use crate::actors::{Code, PageRequest, Paged, Refused, paging, quota::LISTED, views::RunCommand};

/// The most arguments, and the most variables.
pub const ARGUMENTS: usize = 1024;
/// The most bytes of arguments and variables together.
pub const ARGUMENT_BYTES: usize = 128 * 1024;
/// The most columns, and the most rows, of a terminal.
pub const CELLS: u16 = 1000;

fn invalid(why: &str) -> Refused {
    Refused::new(Code::BodyInvalid, why)
}

/// Checks a request.
///
/// # Errors
/// `body_invalid`, and which rule it breaks.
pub fn check(request: &RunRequest) -> Result<(), Refused> {
    let argv: Vec<&str> = match &request.command {
        RunCommand::Line(line) => vec![line],
        RunCommand::Argv(argv) => argv.iter().map(String::as_str).collect(),
    };
    if argv.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(invalid("`command` names no program"));
    }
    if argv.len() > ARGUMENTS || request.env.len() > ARGUMENTS {
        return Err(invalid("at most 1024 arguments and 1024 variables are taken"));
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err(invalid("`command` holds a NUL"));
    }
    for (name, value) in &request.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(invalid("a variable's name is not empty and has no `=`, and neither it nor its value a NUL"));
        }
    }
    let arguments: usize = argv.iter().map(|argument| argument.len() + 1).sum();
    let variables: usize = request.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if arguments + variables > ARGUMENT_BYTES {
        return Err(invalid("arguments and variables have more than 128 KiB together"));
    }
    let cwd = &request.cwd;
    if !cwd.starts_with('/') || cwd.contains('\0') || cwd.len() > playhouse_protocol::path::PATH_BYTES {
        return Err(invalid("`cwd` is an absolute path of at most 4096 bytes without NUL"));
    }
    match request.pty {
        Some((cols, rows)) if !(1..=CELLS).contains(&cols) || !(1..=CELLS).contains(&rows) => {
            Err(invalid("`cols` and `rows` are 1 to 1000"))
        }
        Some(_) | None => Ok(()),
    }
}

/// What the agent is told.
#[must_use]
pub fn start(process_id: Uuid, request: &RunRequest) -> Start {
    let argv = match &request.command {
        // A line that begins with a dash is no option.
        RunCommand::Line(line) => ["/bin/sh", "-c", "--", line.as_str()].map(str::to_owned).to_vec(),
        RunCommand::Argv(argv) => argv.clone(),
    };
    let pty = request.pty.map(|(cols, rows)| PtySize { cols, rows });
    Start { process_id, argv, env: request.env.clone(), cwd: request.cwd.clone(), pty }
}

impl State {
    /// How many processes have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.processes.values().filter(|row| row.ended_at.is_none()).count()
    }

    /// The ids of its processes, oldest first.
    ///
    /// # Errors
    /// `cursor_invalid`.
    pub fn listed(&self, page: &PageRequest) -> Result<Paged<Uuid>, Refused> {
        let list = format!("processes/{}", self.id);
        let after = match paging::after(&list, page)? {
            None => None,
            Some(after) => Some(after.parse::<Uuid>().map_err(|_| Code::CursorInvalid)?),
        };
        let ids = self.processes.keys().copied().filter(|id| after.is_none_or(|after| *id > after));
        Ok(paging::cut(&list, ids, page.limit, Uuid::to_string))
    }

    /// The processes that have to leave the listing for it to take one more.
    #[must_use]
    pub fn crowded_out(&self) -> Vec<Uuid> {
        let many = (self.processes.len() + 1).saturating_sub(LISTED);
        let mut ended: Vec<_> =
            self.processes.iter().filter_map(|(id, row)| row.ended_at.map(|at| (at, *id))).collect();
        ended.sort_unstable();
        ended.into_iter().take(many).map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(command: RunCommand) -> RunRequest {
        RunRequest { command, pty: None, env: Vec::new(), cwd: "/workspace".into() }
    }

    #[test]
    fn a_line_runs_under_the_shell() {
        let request = request(RunCommand::Line("echo $A".into()));
        check(&request).unwrap();
        assert_eq!(start(Uuid::nil(), &request).argv, ["/bin/sh", "-c", "--", "echo $A"]);
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let good = || request(RunCommand::Argv(vec!["ls".into()]));
        check(&good()).unwrap();
        let bad = [
            request(RunCommand::Line("  ".into())),
            request(RunCommand::Argv(vec![])),
            request(RunCommand::Argv(vec!["a\0".into()])),
            request(RunCommand::Argv(vec!["a".into(); ARGUMENTS + 1])),
            request(RunCommand::Argv(vec!["a".into(), "b".repeat(ARGUMENT_BYTES)])),
            RunRequest { env: vec![("A=B".into(), String::new())], ..good() },
            RunRequest { env: vec![(String::new(), String::new())], ..good() },
            RunRequest { cwd: "workspace".into(), ..good() },
            RunRequest { pty: Some((0, 24)), ..good() },
            RunRequest { pty: Some((80, 1001)), ..good() },
        ];
        for request in bad {
            assert_eq!(check(&request).unwrap_err().code, Code::BodyInvalid, "{request:?}");
        }
    }
}
