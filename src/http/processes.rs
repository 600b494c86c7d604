//! Running programs, and what can be asked of one.

use std::collections::BTreeMap;

use axum::{Json, extract::State, http::StatusCode};
use futures::{StreamExt as _, stream};
use playhouse_protocol::{
    agent::{PtySize, Signal},
    client::WRITER_CHARS,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    app::App,
    auth::Signed,
    encoding::{Encoding, decode},
    extract::{Asked, Id, JsonBody, Nothing, Params},
    paging::{Page, PageQuery},
    problem::{Answer, Problem},
    workspaces::unexpected,
};
use crate::actors::{
    Caller, Code, Idempotency, Role,
    process::{ProcessAnswer, ProcessCommand},
    views::{ProcessView, RunCommand},
    workspace::{RunRequest, WorkspaceAnswer, WorkspaceCommand},
};
use crate::word::word;

/// How many processes of a page are asked at a time.
const ASKED_AT_A_TIME: usize = 32;
/// A terminal's size when nobody says.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// The largest terminal, in columns or rows.
const MAX_SIDE: u16 = 1000;

/// A program to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunBody {
    /// A line for `sh -c`, or a program and its arguments.
    command: RunCommand,
    /// Whether it gets a terminal.
    #[serde(default)]
    pty: bool,
    /// The terminal's columns, 1 to 1000; 80 by default.
    #[schema(minimum = 1, maximum = 1000)]
    cols: Option<u16>,
    /// The terminal's rows, 1 to 1000; 24 by default.
    #[schema(minimum = 1, maximum = 1000)]
    rows: Option<u16>,
    /// Variables beside the sandbox's.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Where it starts; `/workspace` by default.
    cwd: Option<String>,
}

impl JsonBody for RunBody {}

/// A program was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ran {
    /// Its process.
    process_id: Uuid,
    /// The sandbox it runs in.
    sandbox_id: Uuid,
    /// Opens the sandbox's stream within 60 seconds.
    stream_token: String,
}

fn size(cols: u16, rows: u16) -> Answer<(u16, u16)> {
    for (name, side) in [("cols", cols), ("rows", rows)] {
        if !(1..=MAX_SIDE).contains(&side) {
            return Err(Problem::new(
                Code::BodyInvalid,
                format!("at `{name}`: a number from 1 to {MAX_SIDE} is needed"),
            ));
        }
    }
    Ok((cols, rows))
}

/// Runs a program, and makes the sandbox if there is none.
#[utoipa::path(post, path = "/api/workspaces/{id}/run", tag = "running", request_body = RunBody,
    params(("id" = Uuid, Path, description = "The workspace")), responses((status = 202, body = Ran)))]
pub async fn run(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<RunBody>,
) -> Answer<(StatusCode, Json<Ran>)> {
    let workspace = app.node.workspace(id);
    let role = workspace.require(&caller, Role::Edit, Code::WorkspaceNotFound).await?;
    let RunBody { command, pty, cols, rows, env, cwd } = asked.body;
    let size = size(cols.unwrap_or(DEFAULT_SIZE.0), rows.unwrap_or(DEFAULT_SIZE.1))?;
    let request = RunRequest {
        command,
        pty: pty.then_some(size),
        env: env.into_iter().collect(),
        cwd: cwd.unwrap_or_else(|| "/workspace".to_owned()),
    };
    match workspace.command(&caller, WorkspaceCommand::Run(request), asked.idempotency).await? {
        WorkspaceAnswer::Ran { process_id, sandbox_id } => {
            let (stream_token, _) = app.keys.stream(&caller, sandbox_id, role);
            Ok((StatusCode::ACCEPTED, Json(Ran { process_id, sandbox_id, stream_token })))
        }
        other => Err(unexpected(&other)),
    }
}

/// A workspace's processes, oldest first.
#[utoipa::path(get, path = "/api/workspaces/{id}/processes", tag = "running",
    params(("id" = Uuid, Path, description = "The workspace"), PageQuery),
    responses((status = 200, body = Page<ProcessView>)))]
pub async fn list_processes(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    Params(query): Params<PageQuery>,
) -> Answer<Json<Page<ProcessView>>> {
    let command = WorkspaceCommand::Processes(query.page()?);
    let ids = match app.node.workspace(id).command(&caller, command, None).await? {
        WorkspaceAnswer::Processes(ids) => ids,
        other => return Err(unexpected(&other)),
    };
    let views = stream::iter(ids.items)
        .map(|id| {
            let (process, caller) = (app.node.process(id), &caller);
            async move { process.command(caller, ProcessCommand::Get, None).await }
        })
        .buffered(ASKED_AT_A_TIME)
        .filter_map(async |answer| match answer {
            Ok(ProcessAnswer::Process(view)) => Some(Ok(view)),
            Ok(other) => Some(Err(unexpected(&other))),
            // Forgotten since the page was made.
            Err(refused) if refused.code == Code::ProcessNotFound => None,
            Err(refused) => Some(Err(refused.into())),
        })
        .collect::<Vec<_>>()
        .await;
    let items = views.into_iter().collect::<Answer<Vec<_>>>()?;
    Ok(Json(Page { items, next_cursor: ids.next_cursor }))
}

/// A process.
#[utoipa::path(get, path = "/api/processes/{id}", tag = "running",
    params(("id" = Uuid, Path, description = "The process")), responses((status = 200, body = ProcessView)))]
pub async fn get_process(State(app): State<App>, Signed(caller): Signed, Id(id): Id) -> Answer<Json<ProcessView>> {
    match app.node.process(id).command(&caller, ProcessCommand::Get, None).await? {
        ProcessAnswer::Process(view) => Ok(Json(view)),
        other @ ProcessAnswer::Done => Err(unexpected(&other)),
    }
}

async fn accept(
    app: &App,
    caller: &Caller,
    id: Uuid,
    command: ProcessCommand,
    idempotency: Option<Idempotency>,
) -> Answer<StatusCode> {
    app.node.process(id).command(caller, command, idempotency).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Something typed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InputBody {
    /// What.
    data: String,
    /// How it is written.
    #[serde(default)]
    encoding: Encoding,
    /// The input ends after it.
    #[serde(default)]
    eof: bool,
    /// Its number, rising by one per process and writer: a number seen before is ignored.
    seq: Option<u64>,
    /// Who numbers, at most 64 characters; the user's id by default.
    #[schema(min_length = 1, max_length = 64)]
    writer: Option<String>,
}

impl JsonBody for InputBody {}

/// Checks a writer's name.
///
/// # Errors
/// When it is empty or too long.
pub fn check_writer(writer: &str) -> Result<(), String> {
    if (1..=WRITER_CHARS).contains(&writer.chars().count()) {
        Ok(())
    } else {
        Err(format!("a writer has 1 to {WRITER_CHARS} characters"))
    }
}

/// Types into a program. 202 means that the sandbox has it.
#[utoipa::path(post, path = "/api/processes/{id}/input", tag = "running", request_body = InputBody,
    params(("id" = Uuid, Path, description = "The process")), responses((status = 202)))]
pub async fn input(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<InputBody>,
) -> Answer<StatusCode> {
    let InputBody { data, encoding, eof, seq, writer } = asked.body;
    if let Some(Err(error)) = writer.as_deref().map(check_writer) {
        return Err(Problem::new(Code::BodyInvalid, format!("at `writer`: {error}")));
    }
    let bytes = decode(encoding, data)?.into();
    let command = ProcessCommand::Input { bytes, eof, seq, writer };
    accept(&app, &caller, id, command, asked.idempotency).await
}

/// A signal by name.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(remote = "Self", rename_all = "UPPERCASE")]
pub enum SignalName {
    /// SIGINT.
    Int,
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
    /// SIGHUP.
    Hup,
    /// SIGQUIT.
    Quit,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

word!(SignalName);

impl From<SignalName> for Signal {
    fn from(name: SignalName) -> Self {
        match name {
            SignalName::Int => Self::Int,
            SignalName::Term => Self::Term,
            SignalName::Kill => Self::Kill,
            SignalName::Hup => Self::Hup,
            SignalName::Quit => Self::Quit,
            SignalName::Usr1 => Self::Usr1,
            SignalName::Usr2 => Self::Usr2,
        }
    }
}

/// A signal to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalBody {
    signal: SignalName,
}

impl JsonBody for SignalBody {}

/// Sends a signal to a program's process group.
#[utoipa::path(post, path = "/api/processes/{id}/signal", tag = "running", request_body = SignalBody,
    params(("id" = Uuid, Path, description = "The process")), responses((status = 202)))]
pub async fn signal(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<SignalBody>,
) -> Answer<StatusCode> {
    accept(&app, &caller, id, ProcessCommand::Signal(asked.body.signal.into()), asked.idempotency).await
}

/// A terminal's new size.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResizeBody {
    /// Columns, 1 to 1000.
    #[schema(minimum = 1, maximum = 1000)]
    cols: u16,
    /// Rows, 1 to 1000.
    #[schema(minimum = 1, maximum = 1000)]
    rows: u16,
}

impl JsonBody for ResizeBody {}

/// Changes a terminal's size.
#[utoipa::path(post, path = "/api/processes/{id}/resize", tag = "running", request_body = ResizeBody,
    params(("id" = Uuid, Path, description = "The process")), responses((status = 202)))]
pub async fn resize(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<ResizeBody>,
) -> Answer<StatusCode> {
    let (cols, rows) = size(asked.body.cols, asked.body.rows)?;
    accept(&app, &caller, id, ProcessCommand::Resize(PtySize { cols, rows }), asked.idempotency).await
}

/// Ends a program: TERM to its process group, KILL after 5 seconds.
#[utoipa::path(post, path = "/api/processes/{id}/cancel", tag = "running",
    params(("id" = Uuid, Path, description = "The process")), responses((status = 202)))]
pub async fn cancel(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<Nothing>,
) -> Answer<StatusCode> {
    let Nothing {} = asked.body;
    accept(&app, &caller, id, ProcessCommand::Cancel, asked.idempotency).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::extract::json;

    #[test]
    fn a_run_body_is_read_in_both_forms() {
        let line: RunBody = json(br#"{"command":"echo hi"}"#).expect("fine");
        assert_eq!(line.command, RunCommand::Line("echo hi".into()));
        let argv: RunBody =
            json(br#"{"command":["a","b"],"pty":true,"cols":10,"env":{"A":"b"},"cwd":"/tmp"}"#).expect("fine");
        assert_eq!(argv.command, RunCommand::Argv(vec!["a".into(), "b".into()]));
        for bad in [r#"{"command":3}"#, r#"{"command":"a","shell":"b"}"#, r#"{"command":"a","cols":70000}"#, "{}"] {
            assert_eq!(json::<RunBody>(bad.as_bytes()).expect_err("refused").code(), Code::BodyInvalid, "{bad}");
        }
    }

    #[test]
    fn sizes_and_writers_are_bounded() {
        assert!(size(1, 1000).is_ok());
        assert!(size(0, 24).is_err() && size(80, 1001).is_err());
        assert!(check_writer("me").is_ok() && check_writer(&"ä".repeat(64)).is_ok());
        assert!(check_writer("").is_err() && check_writer(&"a".repeat(65)).is_err());
    }

    #[test]
    fn signals_have_the_contracts_names() {
        for name in ["INT", "TERM", "KILL", "HUP", "QUIT", "USR1", "USR2"] {
            assert!(json::<SignalBody>(format!(r#"{{"signal":"{name}"}}"#).as_bytes()).is_ok(), "{name}");
        }
        assert!(json::<SignalBody>(br#"{"signal":"STOP"}"#).is_err());
    }
}
