//! A share link's own address: `GET` shows a page that asks, `POST` grants the link's role to whoever is signed in.

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
    response::{Html, IntoResponse as _, Redirect, Response},
};
use uuid::Uuid;

use super::{
    app::App,
    auth::{MaybeSigned, Signed},
    extract::{self, Keyed},
    pages::{escape, page, wants_html},
    problem::Answer,
    workspaces::workspace,
};
use crate::actors::{Code, views::WorkspaceView, workspace::WorkspaceCommand};

/// The longest secret that is looked at, in bytes.
const SECRET_BYTES: usize = 256;

/// The page that asks. It tells nothing of the workspace: whoever only has a wrong link learns nothing.
#[utoipa::path(get, path = "/share/{workspace}/{link}/{secret}", tag = "sharing",
    params(("workspace" = Uuid, Path, description = "The workspace"), ("link" = Uuid, Path, description = "The link"),
        ("secret" = String, Path, description = "The link's secret")),
    responses((status = 200, description = "A page that asks", content_type = "text/html")))]
pub async fn share_page(MaybeSigned(caller): MaybeSigned) -> Html<String> {
    match caller {
        Some(caller) => page(
            "A workspace was shared with you",
            &format!(
                "<p>You are signed in as <b>{}</b>.</p><form method=\"post\"><button>Open the workspace</button></form>",
                escape(&caller.name)
            ),
        ),
        None => page(
            "A workspace was shared with you",
            "<p>You are not signed in. Open your login link first (<code>playhouse login --user NAME</code> prints one), \
             then open this page again.</p>",
        ),
    }
}

/// Grants the link's role to the caller. A browser's form is sent on to the workspace.
#[utoipa::path(post, path = "/share/{workspace}/{link}/{secret}", tag = "sharing",
    params(("workspace" = Uuid, Path, description = "The workspace"), ("link" = Uuid, Path, description = "The link"),
        ("secret" = String, Path, description = "The link's secret")),
    responses((status = 200, body = WorkspaceView), (status = 303, description = "For a browser's form: on to the workspace")))]
pub async fn accept_share(
    State(app): State<App>,
    Signed(caller): Signed,
    Path((id, link, secret)): Path<(String, String, String)>,
    headers: HeaderMap,
    Keyed(idempotency): Keyed,
) -> Answer<Response> {
    let ids: (Answer<Uuid>, Answer<Uuid>) = (extract::id(&id), extract::id(&link));
    let (Ok(id), Ok(link)) = ids else { return Err(Code::LinkNotFound.into()) };
    if secret.len() > SECRET_BYTES {
        return Err(Code::LinkNotFound.into());
    }
    let command = WorkspaceCommand::AcceptLink { id: link, secret };
    let view = workspace(app.node.workspace(id).command(&caller, command, idempotency).await?)?;
    if wants_html(&headers) {
        return Ok(Redirect::to(&format!("/w/{id}")).into_response());
    }
    Ok(Json(view).into_response())
}
