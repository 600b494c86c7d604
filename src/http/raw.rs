//! `GET /api/files/{id}/raw`: a file's bytes, as nothing a browser would run.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use playhouse_protocol::path;

use super::{
    app::App,
    auth::Signed,
    disposition::attachment,
    extract::Id,
    files::{etag, etags, find, owner},
    problem::{Answer, Problem, ProblemBody},
    range::{Wanted, wanted},
};
use crate::actors::{Code, views::FileView};

/// A file's bytes, or a range of them.
#[utoipa::path(get, path = "/api/files/{id}/raw", tag = "files",
    params(("id" = Uuid, Path, description = "The file"), ("Range" = Option<String>, Header, description = "One range of bytes"),
        ("If-None-Match" = Option<String>, Header, description = "Not if this is its etag")),
    responses((status = 200, content_type = "*/*", body = Vec<u8>),
        (status = 206, content_type = "*/*", body = Vec<u8>), (status = 304),
        (status = 416, content_type = "application/problem+json", body = ProblemBody)))]
pub async fn get_raw(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let workspace = owner(&app, id).await?;
    let (file, blob) = find(&workspace, &caller, id).await?;
    let Some(blob) = blob else {
        let (code, what) =
            if file.is_directory { (Code::IsADirectory, "a directory") } else { (Code::IsALink, "a symbolic link") };
        return Err(Problem::new(code, format!("{what} has no content")));
    };
    let mut head = head(&file);
    if etags(&headers, header::IF_NONE_MATCH).iter().any(|etag| matches(etag, &file.etag)) {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    let (status, range) = match part(&headers, &file, blob.size) {
        Wanted::Whole => (StatusCode::OK, 0..blob.size),
        Wanted::Part(range) => {
            let value = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.size);
            insert(&mut head, header::CONTENT_RANGE, &value);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Wanted::Unsatisfiable => {
            let mut refused = Problem::from(Code::RangeNotSatisfiable).into_response();
            insert(refused.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{}", blob.size));
            return Ok(refused);
        }
    };
    head.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    if method == Method::HEAD || range.is_empty() {
        return Ok((status, head).into_response());
    }
    let bytes = app.node.store.blobs.read(workspace.id(), &blob, range).await;
    let bytes = bytes.map_err(|error| Problem::new(Code::Retry, error.to_string()))?;
    Ok((status, head, Body::from_stream(bytes)).into_response())
}

/// A weak mark doesn't matter here: the comparison for `If-None-Match` is the weak one.
fn matches(asked: &str, etag: &str) -> bool {
    asked == "*" || asked.strip_prefix("W/\"").unwrap_or(asked) == etag
}

/// What is wanted: `If-Range` makes a range conditional.
fn part(headers: &HeaderMap, file: &FileView, size: u64) -> Wanted {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let current = text(header::IF_RANGE).is_none_or(|etag| etag.trim_matches('"') == file.etag);
    let header = if current { text(header::RANGE) } else { None };
    wanted(header, size)
}

fn head(file: &FileView) -> HeaderMap {
    let mut head = HeaderMap::new();
    let kind = mime_guess::from_path(path::name(&file.path)).first_or_octet_stream();
    let charset = if kind.type_() == mime_guess::mime::TEXT { "; charset=utf-8" } else { "" };
    insert(&mut head, header::CONTENT_TYPE, &format!("{}{charset}", kind.essence_str()));
    // A page or a script of the workspace must not run with the signed-in user's rights on this origin.
    head.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    head.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let shown = kind.type_() == mime_guess::mime::IMAGE || kind.essence_str() == "text/plain";
    if !shown {
        head.insert(header::CONTENT_DISPOSITION, attachment(path::name(&file.path)));
    }
    head.insert(header::ETAG, etag(file));
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    head
}

fn insert(head: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        head.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn file(path: &str) -> FileView {
        FileView {
            id: uuid::Uuid::nil(),
            workspace_id: uuid::Uuid::nil(),
            path: path.into(),
            is_directory: false,
            symlink_target: None,
            size: 1,
            executable: false,
            etag: "e".into(),
            created_at: clock::now(),
            updated_at: clock::now(),
        }
    }

    #[test]
    fn only_images_and_plain_text_are_shown() {
        for (path, kind, shown) in [
            ("/a.txt", "text/plain; charset=utf-8", true),
            ("/a.png", "image/png", true),
            ("/a.svg", "image/svg+xml", true),
            ("/a.html", "text/html; charset=utf-8", false),
            ("/a", "application/octet-stream", false),
        ] {
            let head = head(&file(path));
            assert_eq!(head[header::CONTENT_TYPE], kind);
            assert_eq!(!head.contains_key(header::CONTENT_DISPOSITION), shown, "{path}");
            assert_eq!(head[header::CONTENT_SECURITY_POLICY], "sandbox");
            assert_eq!(head[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }

    #[test]
    fn if_range_guards_a_range() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
        assert_eq!(part(&headers, &file("/a"), 5), Wanted::Part(0..1));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
        assert_eq!(part(&headers, &file("/a"), 5), Wanted::Whole);
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"e\""));
        assert_eq!(part(&headers, &file("/a"), 5), Wanted::Part(0..1));
    }
}
