//! Who asks: a bearer token, or the browser's cookie with protection against writes from other sites.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tower::{Layer as _, ServiceExt as _};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use super::{
    app::App,
    problem::Problem,
    tokens::{SESSION_TTL, TokenError},
};
use crate::actors::{Caller, Code};

/// The session cookie's name.
const COOKIE: &str = "playhouse_session";

/// A signed-in user, whose request was counted.
#[derive(Debug, Clone)]
pub struct Signed(pub Caller);

impl FromRequestParts<App> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = caller(&parts.headers, app)?;
        app.limits.count(caller.user_id)?;
        Ok(Self(caller))
    }
}

/// A user where one is signed in; pages for people need no refusal.
#[derive(Debug, Clone)]
pub struct MaybeSigned(pub Option<Caller>);

impl FromRequestParts<App> for MaybeSigned {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        Ok(Self(caller(&parts.headers, app).ok()))
    }
}

fn caller(headers: &HeaderMap, app: &App) -> Result<Caller, Problem> {
    let token = match headers.get(header::AUTHORIZATION) {
        Some(value) => bearer(value)
            .ok_or_else(|| Problem::new(Code::Unauthenticated, "`Authorization: Bearer <token>` is needed"))?,
        None => cookie(headers).ok_or(Code::Unauthenticated)?,
    };
    match app.keys.check_access(token) {
        Ok(access) => Ok(access.caller),
        Err(error @ (TokenError::Invalid | TokenError::Expired)) => {
            Err(Problem::new(Code::Unauthenticated, error.to_string()))
        }
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The session in the cookies, if there is one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// The header that signs a browser in.
pub fn session_cookie(token: &str, public_url: &str) -> String {
    let seconds = SESSION_TTL.as_secs();
    format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{}", secure(public_url))
}

/// The header that signs a browser out.
pub fn no_session_cookie(public_url: &str) -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{}", secure(public_url))
}

fn secure(public_url: &str) -> &'static str {
    if public_url.starts_with("https://") { "; Secure" } else { "" }
}

/// The layer that refuses writes which another site makes a browser send. It only looks at requests that the cookie
/// would sign: a program's token is never sent by a browser on its own.
pub async fn refuse_cross_site(State(app): State<App>, request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let by_cookie = !request.headers().contains_key(header::AUTHORIZATION) && cookie(request.headers()).is_some();
    if safe || !by_cookie {
        return next.run(request).await;
    }
    let layer = CsrfLayer::new();
    // A proxy in front may rewrite `Host`, so the origin that people see is named too.
    let layer = layer.clone().add_trusted_origin(origin(&app.node.settings.public_url)).unwrap_or(layer);
    let layer = layer.with_rejection_response(|error: ProtectionError| {
        Problem::new(Code::CsrfRejected, error.to_string()).into_response()
    });
    match layer.layer(next).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The origin of a URL: what comes before its path.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |path| &url[..host + path])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_cookies() {
        let mut headers = HeaderMap::new();
        assert_eq!(cookie(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; playhouse_sessionx=no"));
        assert_eq!(cookie(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("c=d;playhouse_session=v4.public.x"));
        assert_eq!(cookie(&headers), Some("v4.public.x"));
    }

    #[test]
    fn bearer_tokens_are_read() {
        assert_eq!(bearer(&HeaderValue::from_static("Bearer abc")), Some("abc"));
        assert_eq!(bearer(&HeaderValue::from_static("bearer  abc ")), Some("abc"));
        assert_eq!(bearer(&HeaderValue::from_static("Basic abc")), None);
        assert_eq!(bearer(&HeaderValue::from_static("Bearer")), None);
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(origin("https://a.b:1/c/d"), "https://a.b:1");
        assert_eq!(origin("http://a"), "http://a");
    }
}
