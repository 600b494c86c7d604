//! The browser's IDE, embedded from `web/dist`: hashed assets are kept for ever, and every page of the app is its
//! one `index.html`.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::{pages::page, problem::Problem};
use crate::actors::Code;

/// The app runs only its own scripts and speaks only to its own origin. Editor and terminal write style elements.
const APP_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src 'none'; frame-src 'none'; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The built web app; empty where it was not built before the server.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Dist;

/// Answers what is no API: an asset, or the app's page for its own routes.
pub async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") {
        return Problem::from(Code::NotFound).into_response();
    }
    let is_asset = !path.is_empty() && path != "index.html" && Dist::get(path).is_some();
    if is_asset {
        return asset(path, &headers, path.starts_with("assets/"));
    }
    if !is_app_route(path) {
        return Problem::from(Code::NotFound).into_response();
    }
    if Dist::get("index.html").is_some() { asset("index.html", &headers, false) } else { not_built() }
}

/// The paths that the app itself shows something for.
fn is_app_route(path: &str) -> bool {
    matches!(path, "" | "index.html") || path == "w" || path.starts_with("w/")
}

fn not_built() -> Response {
    let body = "<p>The web app was not built into this server: run <code>make build</code>. The API is at \
                <a href=\"/api/docs/\">/api/docs</a>.</p>";
    page("Playhouse is running", body).into_response()
}

/// An embedded file, compressed where the client takes it and the build left it so.
fn asset(path: &str, headers: &HeaderMap, hashed: bool) -> Response {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let compressed = [("br", "br"), ("gzip", "gz")]
        .into_iter()
        .filter(|(encoding, _)| accepts(accepted, encoding))
        .find_map(|(encoding, extension)| Some((encoding, Dist::get(&format!("{path}.{extension}"))?)));
    let (encoding, file) = match (compressed, Dist::get(path)) {
        (Some((encoding, file)), _) => (Some(encoding), file),
        (None, Some(file)) => (None, file),
        (None, None) => return Problem::from(Code::NotFound).into_response(),
    };
    let mut head = head(path, &file, encoding, hashed);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|etag| Some(etag) == head.get(header::ETAG));
    if known {
        head.remove(header::CONTENT_TYPE);
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, Body::from(file.data.into_owned())).into_response()
}

fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        parts.next() == Some(encoding) && parts.all(|parameter| parameter.replace(' ', "") != "q=0")
    })
}

fn head(path: &str, file: &EmbeddedFile, encoding: Option<&'static str>, hashed: bool) -> HeaderMap {
    let mut head = HeaderMap::new();
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let charset = if kind.type_() == mime_guess::mime::TEXT { "; charset=utf-8" } else { "" };
    let hash = hex::encode(&file.metadata.sha256_hash()[..8]);
    let keep = if hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    for (name, value) in [
        (header::CONTENT_TYPE, format!("{}{charset}", kind.essence_str())),
        (header::ETAG, format!("\"{hash}\"")),
        (header::CACHE_CONTROL, keep.to_owned()),
        (header::CONTENT_SECURITY_POLICY, APP_POLICY.to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            head.insert(name, value);
        }
    }
    head.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        head.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_taken_as_offered() {
        assert!(accepts("gzip, deflate, br", "br"));
        assert!(accepts("gzip;q=0.5", "gzip"));
        assert!(!accepts("gzip;q=0", "gzip"));
        assert!(!accepts("brotli", "br"));
        assert!(!accepts("", "gzip"));
    }

    #[test]
    fn only_the_apps_own_routes_are_its_page() {
        for path in ["", "index.html", "w", "w/0193"] {
            assert!(is_app_route(path), "{path:?}");
        }
        for path in ["wp-admin", "api", "share/x", "x.js", "assets/none.js"] {
            assert!(!is_app_route(path), "{path:?}");
        }
    }
}
