//! `GET /login/{token}` signs a browser in, once; `POST /logout` signs it out.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};

use super::{
    app::App,
    auth::{no_session_cookie, session_cookie},
    pages::{page, wants_html},
    problem::{Answer, Problem},
    tokens::{Keys, SESSION_TTL},
};
use crate::actors::{Caller, Code};

/// Signs a browser in by a one-time link.
#[utoipa::path(get, path = "/login/{token}", tag = "identity",
    params(("token" = String, Path, description = "The link's one-time token")),
    responses((status = 303, description = "Signed in, on to the start page"), (status = 401, description = "It has expired or was used; a page that says so where the caller takes HTML")))]
pub async fn login(
    State(app): State<App>,
    method: Method,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    // Mail programs and chats look at links with HEAD; that must not use them up.
    if method == Method::HEAD {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Ok(login) = app.keys.check_login(&token) else { return refused(&headers) };
    let tenant = app.node.tenant(login.caller.org_id);
    if !tenant.use_once(&login.jti.to_string(), login.exp).await? {
        return refused(&headers);
    }
    let session = app.keys.access(login.caller, SESSION_TTL);
    let cookie = session_cookie(&session, &app.node.settings.public_url);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

fn refused(headers: &HeaderMap) -> Answer<Response> {
    if !wants_html(headers) {
        return Err(Problem::new(Code::Unauthenticated, "the login link has expired or was used before"));
    }
    let body = "<p>It has expired or was used before. <code>playhouse login --user NAME</code> on the server's machine \
                prints a fresh one.</p>";
    Ok((StatusCode::UNAUTHORIZED, page("This login link is no longer valid", body)).into_response())
}

/// Signs the browser out.
#[utoipa::path(post, path = "/logout", tag = "identity", responses((status = 303, description = "Signed out")))]
pub async fn logout(State(app): State<App>) -> Response {
    let cookie = no_session_cookie(&app.node.settings.public_url);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

/// A fresh login link for a user.
#[must_use]
pub fn login_url(public_url: &str, keys: &Keys, caller: Caller) -> String {
    format!("{public_url}/login/{}", keys.login(caller))
}
