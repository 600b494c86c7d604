//! The API over HTTP: one file per resource. A handler takes a request apart, asks a handle and maps the answer;
//! what is decided is decided by the entities.

mod request_id;
pub mod problem;
pub mod tokens;
pub mod limits;
pub mod app;
mod headers;
mod observe;
mod leftover;
mod extract;
mod auth;
mod encoding;
mod disposition;
mod range;
mod paging;
mod idempotency;
mod pages;
pub mod login;
mod me;
mod workspaces;
mod members;
mod links;
mod share;
mod files;
mod unchanged;
mod raw;
mod upload;
mod archive;
mod processes;
mod output;
mod sandboxes;
mod stream;
mod assets;
mod admin;
pub mod openapi;
mod docs;
pub mod listen;

pub use admin::describe_metrics;
pub use app::App;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use std::time::Duration;
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};

/// How long a client may be silent in the middle of a request's body.
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// The layers that every answer passes, the outermost last.
fn layered(router: Router<App>, app: &App) -> Router {
    router
        .method_not_allowed_fallback(problem::method_not_allowed)
        // Every handler that reads a body bounds it itself.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), auth::refuse_cross_site))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(leftover::drain))
        .layer(RequestBodyTimeoutLayer::new(BODY_WITHIN))
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn(headers::secure))
        .layer(middleware::from_fn(observe::observe))
        .layer(middleware::from_fn(request_id::tag))
        .with_state(app.clone())
}

fn panicked(cause: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let cause = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
    tracing::error!(cause, "a handler panicked");
    axum::response::IntoResponse::into_response(problem::Problem::from(crate::actors::Code::Internal))
}

/// What clients reach: the API, its documentation and the web app.
pub fn client_router(app: &App) -> Router {
    let (routes, mut contract) = openapi::routes().split_for_parts();
    openapi::complete(&mut contract);
    layered(routes.merge(docs::router(contract)).fallback(assets::serve), app)
}

/// What operators reach.
pub fn admin_router(app: &App) -> Router {
    layered(admin::router().fallback(problem::not_found), app)
}
