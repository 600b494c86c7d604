//! Content on its way in, staged as it comes: whole bodies and multipart uploads. Nothing takes effect until every
//! part is there and every path is checked.

use axum::{
    Json,
    body::{Body, HttpBody as _},
    extract::{FromRequest as _, Multipart, Request, multipart::MultipartError},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;

use super::{
    app::App,
    disposition::exact_name,
    extract::too_large,
    files::{Made, UploadQuery, check_path, check_prefix},
    idempotency::{self, Fingerprint},
    limits::UPLOAD_FILES,
    paging::Page,
    problem::{Answer, Problem},
    workspaces::unexpected,
};
use crate::{
    actors::{
        Caller, Code,
        workspace::{NewFile, WorkspaceAnswer, WorkspaceCommand, WorkspaceRef},
    },
    store::blobs::BlobRef,
};

/// How many of the largest files one upload may hold together.
const TOTAL_IN_LARGEST: u64 = 20;

/// Stages a whole body.
///
/// # Errors
/// `too_large`, a broken connection, or a store that refuses.
pub async fn stage_body(app: &App, workspace: &WorkspaceRef, body: Body) -> Answer<BlobRef> {
    let limit = app.node.settings.max_upload;
    if body.size_hint().lower() > limit {
        // It says so itself: none of it need be stored.
        return Err(too_large(limit));
    }
    let mut staged = workspace.stage().await?;
    let mut chunks = body.into_data_stream();
    let mut size = 0_u64;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::new(Code::BodyInvalid, format!("the body ended early: {error}")))?;
        size += chunk.len() as u64;
        if size > limit {
            return Err(too_large(limit));
        }
        staged.write(chunk).await?;
    }
    Ok(staged.finish().await?)
}

/// Receives a multipart upload: each part one file, all of them or none.
///
/// # Errors
/// What is wrong with a part, or refuses the files.
pub async fn receive(
    app: &App,
    workspace: &WorkspaceRef,
    caller: &Caller,
    query: &UploadQuery,
    request: Request,
) -> Answer<Response> {
    let prefix = query.prefix.as_deref().filter(|prefix| !prefix.is_empty()).unwrap_or("/");
    check_prefix(prefix)?;
    let key = idempotency::key(request.method(), request.headers())?;
    // The boundary differs with every try, so what counts of the body is each part's path and content.
    let mut fingerprint = Fingerprint::new(request.method(), request.uri());
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|error| Problem::new(Code::BodyInvalid, error.body_text()))?;
    let limit = app.node.settings.max_upload;
    let mut total = 0_u64;
    let mut files = Vec::new();
    while let Some(mut part) = parts.next_field().await.map_err(broken)? {
        let path = {
            let exact = exact_name(part.headers());
            let name = exact.as_deref().or(part.file_name());
            below(prefix, name.ok_or_else(|| Problem::new(Code::BodyInvalid, "every part needs a `filename`"))?)
        };
        check_path(&path)?;
        if files.len() == UPLOAD_FILES {
            return Err(Problem::new(Code::TooLarge, format!("at most {UPLOAD_FILES} files are taken at once")));
        }
        let mut staged = workspace.stage().await?;
        let mut size = 0_u64;
        while let Some(chunk) = part.chunk().await.map_err(broken)? {
            size += chunk.len() as u64;
            total += chunk.len() as u64;
            if size > limit {
                return Err(too_large(limit));
            }
            if total > limit.saturating_mul(TOTAL_IN_LARGEST) {
                return Err(too_large(limit.saturating_mul(TOTAL_IN_LARGEST)));
            }
            staged.write(chunk).await?;
        }
        let content = staged.finish().await?;
        fingerprint.part(path.as_bytes());
        fingerprint.part(&content.hash);
        files.push(NewFile { path, content: Some(content) });
    }
    if files.is_empty() {
        return Err(Problem::new(Code::BodyInvalid, "there is no part"));
    }
    let command = WorkspaceCommand::CreateFiles { files, overwrite: query.overwrite };
    match workspace.command(caller, command, idempotency::with_key(key, &fingerprint)).await? {
        WorkspaceAnswer::Files(files) => {
            Ok((StatusCode::CREATED, Json(Made::All(Page::whole(files.items)))).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

/// The path of a part's file name below a prefix; whether it is one is for the path rules to say.
fn below(prefix: &str, name: &str) -> String {
    if prefix == "/" { format!("/{name}") } else { format!("{prefix}/{name}") }
}

fn broken(error: MultipartError) -> Problem {
    Problem::new(Code::BodyInvalid, format!("the multipart body can't be read: {}", error.body_text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_never_leaves_its_prefix() {
        assert_eq!(below("/", "a.txt"), "/a.txt");
        assert_eq!(below("/src", "lib/a.txt"), "/src/lib/a.txt");
        for bad in ["../a", "/a", "a/../../b", "", "a//b", "./a", "a/", "a\0b"] {
            assert!(check_path(&below("/src", bad)).is_err(), "{bad:?}");
        }
    }
}
