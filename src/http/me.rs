//! `GET /api/me`, and what every signed-in user may choose from: templates and instance types.

use axum::{Json, extract::State};
use playhouse_protocol::templates;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    app::App,
    auth::Signed,
    extract::Params,
    paging::{Page, PageQuery},
    problem::Answer,
};
use crate::actors::views::InstanceType;

/// The signed-in user.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// The user's id.
    id: Uuid,
    /// The user's name.
    name: String,
    /// The user's organisation.
    org_id: Uuid,
    /// `free` or `paid`.
    tier: String,
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/me", tag = "identity", responses((status = 200, body = Me)))]
pub async fn me(State(app): State<App>, Signed(caller): Signed) -> Answer<Json<Me>> {
    // The token says what the tier was when it was made.
    let known = app.node.tenant(caller.org_id).find_user(&caller.user_id.to_string()).await?;
    let tier = known.filter(|user| user.id == caller.user_id).map_or(caller.tier, |user| user.tier);
    Ok(Json(Me { id: caller.user_id, name: caller.name, org_id: caller.org_id, tier }))
}

/// What a workspace can be made from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Template {
    /// Its name.
    name: &'static str,
    /// One line for people.
    description: &'static str,
    /// What the Run button runs; `{file}` stands for the open file's path.
    run_command: &'static str,
    /// Folders that tools make and that are kept with the environment, not in the tree.
    generated_folders: &'static [&'static str],
}

/// What workspaces can be made from, the default first.
#[utoipa::path(get, path = "/api/templates", tag = "catalogue", params(PageQuery),
    responses((status = 200, body = Page<Template>)))]
pub async fn list_templates(Signed(_caller): Signed, Params(query): Params<PageQuery>) -> Answer<Json<Page<Template>>> {
    let items = templates::TEMPLATES.iter().map(|template| Template {
        name: template.name,
        description: template.description,
        run_command: template.run_command,
        generated_folders: template.generated_folders,
    });
    Ok(Json(Page::of("templates", items, &query, |template| template.name.to_owned())?))
}

/// What a sandbox can be, the default first.
#[utoipa::path(get, path = "/api/instance-types", tag = "catalogue", params(PageQuery),
    responses((status = 200, body = Page<InstanceType>)))]
pub async fn list_instance_types(
    State(app): State<App>,
    Signed(_caller): Signed,
    Params(query): Params<PageQuery>,
) -> Answer<Json<Page<InstanceType>>> {
    let items = app.node.settings.instance_types.clone();
    Ok(Json(Page::of("instance types", items, &query, |kind| kind.name.clone())?))
}
