//! `/api/workspaces/{id}/members`: who a workspace is shared with. The owner alone manages.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    app::App,
    auth::Signed,
    extract::{Asked, Id, IdAnd, JsonBody, Params},
    paging::{Page, PageQuery},
    problem::Answer,
    workspaces::unexpected,
};
use crate::actors::{
    Role,
    views::MemberView,
    workspace::{WorkspaceAnswer, WorkspaceCommand},
};
use crate::word::word;

/// A role that can be given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(remote = "Self", rename_all = "lowercase")]
pub enum GrantedRole {
    /// Reads files, watches output.
    View,
    /// Writes, runs, types.
    Edit,
}

word!(GrantedRole);

impl From<GrantedRole> for Role {
    fn from(role: GrantedRole) -> Self {
        match role {
            GrantedRole::View => Self::View,
            GrantedRole::Edit => Self::Edit,
        }
    }
}

/// A workspace's members.
#[utoipa::path(get, path = "/api/workspaces/{id}/members", tag = "sharing",
    params(("id" = Uuid, Path, description = "The workspace"), PageQuery),
    responses((status = 200, body = Page<MemberView>)))]
pub async fn list_members(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    Params(query): Params<PageQuery>,
) -> Answer<Json<Page<MemberView>>> {
    match app.node.workspace(id).command(&caller, WorkspaceCommand::Members(query.page()?), None).await? {
        WorkspaceAnswer::Members(members) => Ok(Json(members.into())),
        other => Err(unexpected(&other)),
    }
}

/// What a member may do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    role: GrantedRole,
}

impl JsonBody for Membership {}

/// Makes a user a member, or changes a member's role.
#[utoipa::path(put, path = "/api/workspaces/{id}/members/{user}", tag = "sharing", request_body = Membership,
    params(("id" = Uuid, Path, description = "The workspace"), ("user" = String, Path, description = "A user's id or name")),
    responses((status = 200, body = MemberView)))]
pub async fn put_member(
    State(app): State<App>,
    Signed(caller): Signed,
    IdAnd(id, user): IdAnd,
    asked: Asked<Membership>,
) -> Answer<Json<MemberView>> {
    let command = WorkspaceCommand::PutMember { user, role: asked.body.role.into() };
    match app.node.workspace(id).command(&caller, command, None).await? {
        WorkspaceAnswer::Member(member) => Ok(Json(member)),
        other => Err(unexpected(&other)),
    }
}

/// Removes a member; its open sockets learn of it within a second.
#[utoipa::path(delete, path = "/api/workspaces/{id}/members/{user}", tag = "sharing",
    params(("id" = Uuid, Path, description = "The workspace"), ("user" = String, Path, description = "A user's id or name")),
    responses((status = 204)))]
pub async fn remove_member(
    State(app): State<App>,
    Signed(caller): Signed,
    IdAnd(id, user): IdAnd,
) -> Answer<StatusCode> {
    app.node.workspace(id).command(&caller, WorkspaceCommand::RemoveMember { user }, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
