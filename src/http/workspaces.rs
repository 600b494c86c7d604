//! `/api/workspaces`: making, listing, showing, changing and deleting them.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures::{StreamExt as _, stream};
use playhouse_protocol::ids;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    app::App,
    auth::Signed,
    extract::{Asked, Id, JsonBody, Params},
    paging::{Page, PageQuery},
    problem::{Answer, Problem},
    unchanged::Question,
};
use crate::actors::{
    Caller, Code,
    views::{FileView, SharingMode, WorkspaceView},
    workspace::{WorkspaceAnswer, WorkspaceCommand},
};

/// How many workspaces of a page are asked at a time.
const ASKED_AT_A_TIME: usize = 32;

/// A workspace to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// Its name, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it is made from; the first template when left out.
    template: Option<String>,
}

impl JsonBody for NewWorkspace {}

/// Makes a workspace.
#[utoipa::path(post, path = "/api/workspaces", tag = "workspaces", request_body = NewWorkspace,
    responses((status = 201, body = WorkspaceView)))]
pub async fn create_workspace(
    State(app): State<App>,
    Signed(caller): Signed,
    asked: Asked<NewWorkspace>,
) -> Answer<(StatusCode, Json<WorkspaceView>)> {
    // A retry must find what the first try made, on whichever node it arrives: the key names the workspace.
    let id = match &asked.idempotency {
        Some(idempotency) => ids::derived_workspace_id(caller.user_id, &idempotency.key),
        None => ids::fresh_workspace_id(),
    };
    let command = WorkspaceCommand::Create { name: asked.body.name, template: asked.body.template };
    let answer = app.node.workspace(id).command(&caller, command, asked.idempotency).await?;
    Ok((StatusCode::CREATED, Json(workspace(answer)?)))
}

/// The caller's own and shared workspaces, oldest first.
#[utoipa::path(get, path = "/api/workspaces", tag = "workspaces", params(PageQuery),
    responses((status = 200, body = Page<WorkspaceView>)))]
pub async fn list_workspaces(
    State(app): State<App>,
    Signed(caller): Signed,
    Params(query): Params<PageQuery>,
) -> Answer<Json<Page<WorkspaceView>>> {
    let ids = app.node.tenant(caller.org_id).workspaces(&caller, query.page()?).await?;
    let views = stream::iter(ids.items)
        .map(|id| get(&app, &caller, id))
        .buffered(ASKED_AT_A_TIME)
        .filter_map(async |view| match view {
            Ok(view) => Some(Ok(view)),
            // The index names it, its owner knows better: it was deleted or closed meanwhile.
            Err(problem) if problem.code() == Code::WorkspaceNotFound => None,
            Err(problem) => Some(Err(problem)),
        })
        .collect::<Vec<_>>()
        .await;
    let items = views.into_iter().collect::<Answer<Vec<_>>>()?;
    Ok(Json(Page { items, next_cursor: ids.next_cursor }))
}

/// A workspace with its tree.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkspaceWithFiles {
    #[serde(flatten)]
    workspace: WorkspaceView,
    /// The whole tree, without contents, in path order.
    files: Vec<FileView>,
}

/// What else is shown.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WorkspaceQuery {
    /// What lies under `.git` too.
    #[serde(default)]
    all: bool,
}

/// A workspace with its tree.
#[utoipa::path(get, path = "/api/workspaces/{id}", tag = "workspaces",
    params(("id" = Uuid, Path, description = "The workspace"), WorkspaceQuery,
        ("If-None-Match" = Option<String>, Header, description = "Not if this is the answer's etag still")),
    responses((status = 200, body = WorkspaceWithFiles), (status = 304)))]
pub async fn get_workspace(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    Params(query): Params<WorkspaceQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let workspace = get(&app, &caller, id).await?;
    let question = Question::new(&(&workspace, query.all));
    let unless = question.known(&headers);
    let command = WorkspaceCommand::Files { prefix: "/".to_owned(), all: query.all, page: None, unless };
    match app.node.workspace(id).command(&caller, command, None).await? {
        WorkspaceAnswer::Tree { version, files } => {
            Ok(question.answer(version, files.map(|files| WorkspaceWithFiles { workspace, files: files.items })))
        }
        other => Err(unexpected(&other)),
    }
}

/// What of a workspace changes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceChange {
    /// A new name.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Who else it is open to.
    sharing_mode: Option<SharingMode>,
}

impl JsonBody for WorkspaceChange {}

/// Renames a workspace, or opens or closes it to its organisation.
#[utoipa::path(put, path = "/api/workspaces/{id}", tag = "workspaces", request_body = WorkspaceChange,
    params(("id" = Uuid, Path, description = "The workspace")), responses((status = 200, body = WorkspaceView)))]
pub async fn update_workspace(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    asked: Asked<WorkspaceChange>,
) -> Answer<Json<WorkspaceView>> {
    let command = WorkspaceCommand::Update { name: asked.body.name, sharing_mode: asked.body.sharing_mode };
    let answer = app.node.workspace(id).command(&caller, command, None).await?;
    Ok(Json(workspace(answer)?))
}

/// Deletes a workspace; its sandbox ends, its files go.
#[utoipa::path(delete, path = "/api/workspaces/{id}", tag = "workspaces",
    params(("id" = Uuid, Path, description = "The workspace")), responses((status = 204)))]
pub async fn delete_workspace(State(app): State<App>, Signed(caller): Signed, Id(id): Id) -> Answer<StatusCode> {
    app.node.workspace(id).command(&caller, WorkspaceCommand::Delete, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn get(app: &App, caller: &Caller, id: uuid::Uuid) -> Answer<WorkspaceView> {
    workspace(app.node.workspace(id).command(caller, WorkspaceCommand::Get, None).await?)
}

/// The workspace in an answer.
///
/// # Errors
/// When the workspace answered something else.
pub fn workspace(answer: WorkspaceAnswer) -> Answer<WorkspaceView> {
    match answer {
        WorkspaceAnswer::Workspace(view) => Ok(view),
        other => Err(unexpected(&other)),
    }
}

/// An entity answered another question than was asked: a defect, said as one.
pub fn unexpected(answer: &impl std::fmt::Debug) -> Problem {
    tracing::error!(?answer, "an entity answered another question than was asked");
    Code::Internal.into()
}
