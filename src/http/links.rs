//! `/api/workspaces/{id}/links`: share links, which the workspace's owner makes and revokes.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    app::App,
    auth::Signed,
    extract::{self, Asked, Id, IdAnd, JsonBody, Params},
    members::GrantedRole,
    paging::{Page, PageQuery},
    problem::Answer,
    workspaces::unexpected,
};
use crate::actors::{
    views::LinkView,
    workspace::{WorkspaceAnswer, WorkspaceCommand},
};

/// A link to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLink {
    /// What it grants.
    role: GrantedRole,
    /// It ends after so many seconds, and with it what it granted; never when left out.
    #[schema(minimum = 1, maximum = 315_360_000)]
    ttl_seconds: Option<u64>,
}

impl JsonBody for NewLink {}

/// Makes a share link.
#[utoipa::path(post, path = "/api/workspaces/{id}/links", tag = "sharing", request_body = NewLink,
    params(("id" = Uuid, Path, description = "The workspace")), responses((status = 201, body = LinkView)))]
pub async fn create_link(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<NewLink>,
) -> Answer<(StatusCode, Json<LinkView>)> {
    let command = WorkspaceCommand::CreateLink { role: asked.body.role.into(), ttl_seconds: asked.body.ttl_seconds };
    match app.node.workspace(id).command(&caller, command, asked.idempotency).await? {
        WorkspaceAnswer::Link(link) => Ok((StatusCode::CREATED, Json(link))),
        other => Err(unexpected(&other)),
    }
}

/// A workspace's share links, oldest first.
#[utoipa::path(get, path = "/api/workspaces/{id}/links", tag = "sharing",
    params(("id" = Uuid, Path, description = "The workspace"), PageQuery),
    responses((status = 200, body = Page<LinkView>)))]
pub async fn list_links(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    Params(query): Params<PageQuery>,
) -> Answer<Json<Page<LinkView>>> {
    match app.node.workspace(id).command(&caller, WorkspaceCommand::Links(query.page()?), None).await? {
        WorkspaceAnswer::Links(links) => Ok(Json(links.into())),
        other => Err(unexpected(&other)),
    }
}

/// Revokes a share link, and what it granted.
#[utoipa::path(delete, path = "/api/workspaces/{id}/links/{link}", tag = "sharing",
    params(("id" = Uuid, Path, description = "The workspace"), ("link" = Uuid, Path, description = "The link")),
    responses((status = 204)))]
pub async fn remove_link(State(app): State<App>, Signed(caller): Signed, IdAnd(id, link): IdAnd) -> Answer<StatusCode> {
    let link = extract::id(&link)?;
    app.node.workspace(id).command(&caller, WorkspaceCommand::RemoveLink { id: link }, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
