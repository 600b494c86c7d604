//! Sandboxes, and the tokens that open their streams.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    app::App,
    auth::Signed,
    extract::{Asked, Id, JsonBody, Nothing},
    problem::Answer,
    workspaces::unexpected,
};
use crate::actors::{
    Caller, Code, Role,
    sandbox::SandboxCommand,
    views::SandboxView,
    workspace::{WorkspaceAnswer, WorkspaceCommand},
};

/// A sandbox to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxBody {
    /// What it is made as if there is none; the first instance type when left out.
    instance_type: Option<String>,
}

impl JsonBody for SandboxBody {
    const OPTIONAL: bool = true;
}

/// A sandbox, and the token that opens its stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct SandboxWithToken {
    #[serde(flatten)]
    sandbox: SandboxView,
    /// Opens the stream within 60 seconds.
    stream_token: String,
}

/// The workspace's sandbox, made if there is none.
#[utoipa::path(post, path = "/api/workspaces/{id}/sandbox", tag = "sandboxes", request_body = SandboxBody,
    params(("id" = Uuid, Path, description = "The workspace")),
    responses((status = 200, body = SandboxWithToken, description = "It was there"),
        (status = 201, body = SandboxWithToken, description = "It is new")))]
pub async fn ensure_sandbox(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<SandboxBody>,
) -> Answer<(StatusCode, Json<SandboxWithToken>)> {
    let workspace = app.node.workspace(id);
    let role = workspace.require(&caller, Role::Edit, Code::WorkspaceNotFound).await?;
    let command = WorkspaceCommand::EnsureSandbox { instance_type: asked.body.instance_type };
    match workspace.command(&caller, command, asked.idempotency).await? {
        WorkspaceAnswer::Sandbox { sandbox, created } => {
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            let (stream_token, _) = app.keys.stream(&caller, sandbox.id, role);
            Ok((status, Json(SandboxWithToken { sandbox, stream_token })))
        }
        other => Err(unexpected(&other)),
    }
}

/// How a sandbox is.
#[utoipa::path(get, path = "/api/sandboxes/{id}/status", tag = "sandboxes",
    params(("id" = Uuid, Path, description = "The sandbox")), responses((status = 200, body = SandboxView)))]
pub async fn get_status(State(app): State<App>, Signed(caller): Signed, Id(id): Id) -> Answer<Json<SandboxView>> {
    let (sandbox, _) = app.node.sandbox(id).command(&caller, SandboxCommand::Status, None).await?;
    Ok(Json(sandbox))
}

/// A token for a sandbox's stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamToken {
    /// Opens the stream.
    stream_token: String,
    /// Until then.
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
}

/// A token for the stream, for any role that may see the workspace. Never makes a sandbox.
#[utoipa::path(post, path = "/api/sandboxes/{id}/token", tag = "sandboxes",
    params(("id" = Uuid, Path, description = "The sandbox")), responses((status = 200, body = StreamToken)))]
pub async fn create_token(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<Nothing>,
) -> Answer<Json<StreamToken>> {
    let Nothing {} = asked.body;
    let (_, role) = app.node.sandbox(id).command(&caller, SandboxCommand::Token, asked.idempotency).await?;
    let (stream_token, expires_at) = app.keys.stream(&caller, id, role);
    Ok(Json(StreamToken { stream_token, expires_at }))
}

async fn accept(
    app: &App,
    caller: &Caller,
    id: Uuid,
    command: SandboxCommand,
    asked: Asked<Nothing>,
) -> Answer<StatusCode> {
    let Nothing {} = asked.body;
    app.node.sandbox(id).command(caller, command, asked.idempotency).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Saves a sandbox and lets its programs stand still.
#[utoipa::path(post, path = "/api/sandboxes/{id}/suspend", tag = "sandboxes",
    params(("id" = Uuid, Path, description = "The sandbox")), responses((status = 202)))]
pub async fn suspend(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<Nothing>,
) -> Answer<StatusCode> {
    accept(&app, &caller, id, SandboxCommand::Suspend, asked).await
}

/// Lets a suspended sandbox's programs go on.
#[utoipa::path(post, path = "/api/sandboxes/{id}/resume", tag = "sandboxes",
    params(("id" = Uuid, Path, description = "The sandbox")), responses((status = 202)))]
pub async fn resume(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<Nothing>,
) -> Answer<StatusCode> {
    accept(&app, &caller, id, SandboxCommand::Resume, asked).await
}

/// Saves and ends a sandbox; one that has ended already is fine.
#[utoipa::path(delete, path = "/api/sandboxes/{id}", tag = "sandboxes",
    params(("id" = Uuid, Path, description = "The sandbox")), responses((status = 204)))]
pub async fn end_sandbox(State(app): State<App>, Signed(caller): Signed, Id(id): Id) -> Answer<StatusCode> {
    app.node.sandbox(id).command(&caller, SandboxCommand::End, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
