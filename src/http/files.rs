//! The tree's files by id and by path: listing, making, reading and writing as JSON, moving, deleting.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use playhouse_protocol::path;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    app::App,
    auth::Signed,
    encoding::{Encoding, decode, encode},
    extract::{Asked, Id, JsonBody, Params, collect, is_json, is_media_type, json, too_large},
    idempotency::{self, Fingerprint},
    limits::{CONTENT_ANSWER_BYTES, CONTENT_JSON_BYTES},
    paging::{Page, PageQuery},
    problem::{Answer, Problem},
    unchanged::Question,
    upload,
    workspaces::unexpected,
};
use crate::{
    actors::{
        Caller, Code, Role,
        views::FileView,
        workspace::{NewFile, Staged, WorkspaceAnswer, WorkspaceCommand, WorkspaceRef},
    },
    store::blobs::BlobRef,
};

/// How much of a staged content is written at a time, in bytes.
const STAGE_BYTES: usize = 256 * 1024;

/// Which files.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilesQuery {
    /// Only this path and what is below it.
    prefix: Option<String>,
    /// What lies under `.git` too.
    #[serde(default)]
    all: bool,
}

/// Checks that `path` names something below the root, in normal form.
///
/// # Errors
/// `path_invalid`.
pub fn check_path(text: &str) -> Result<(), Problem> {
    path::check(text).map_err(|error| Problem::new(Code::PathInvalid, error.to_string()))
}

/// Checks a `?prefix=`.
///
/// # Errors
/// `path_invalid`.
pub fn check_prefix(text: &str) -> Result<(), Problem> {
    path::check_prefix(text).map_err(|error| Problem::new(Code::PathInvalid, error.to_string()))
}

/// A workspace's files in path order.
#[utoipa::path(get, path = "/api/workspaces/{id}/files", tag = "files",
    params(("id" = Uuid, Path, description = "The workspace"), FilesQuery, PageQuery,
        ("If-None-Match" = Option<String>, Header, description = "Not if this is the answer's etag still")),
    responses((status = 200, body = Page<FileView>), (status = 304)))]
pub async fn list_files(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    Params(which): Params<FilesQuery>,
    Params(query): Params<PageQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let prefix = which.prefix.filter(|prefix| !prefix.is_empty()).unwrap_or_else(|| "/".to_owned());
    check_prefix(&prefix)?;
    let page = query.page()?;
    let question = Question::new(&(id, &prefix, which.all, page.limit, &page.cursor));
    let unless = question.known(&headers);
    let command = WorkspaceCommand::Files { prefix, all: which.all, page: Some(page), unless };
    match app.node.workspace(id).command(&caller, command, None).await? {
        WorkspaceAnswer::Tree { version, files } => Ok(question.answer(version, files.map(Page::from))),
        other => Err(unexpected(&other)),
    }
}

/// A file or directory to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFileBody {
    /// Where; parents are made.
    path: String,
    /// Whether it is a directory.
    #[serde(default)]
    is_directory: bool,
    /// A file's content; empty when left out.
    content: Option<String>,
    /// How the content is written.
    #[serde(default)]
    encoding: Encoding,
}

/// What files of an upload are written below, and whether they may replace others.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// The directory that each part's `filename` is below.
    pub prefix: Option<String>,
    /// Replace files that exist.
    #[serde(default)]
    pub overwrite: bool,
}

/// What was made: the file of a JSON body, or the files of a multipart one.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Made {
    /// From a JSON body.
    One(FileView),
    /// From a multipart body.
    All(Page<FileView>),
}

/// Makes a file or a directory from JSON, or files from `multipart/form-data`.
#[utoipa::path(post, path = "/api/workspaces/{id}/files", tag = "files",
    params(("id" = Uuid, Path, description = "The workspace"), UploadQuery),
    request_body(content((NewFileBody = "application/json"), (Object = "multipart/form-data"))),
    responses((status = 201, body = Made, description = "The file; or, for a multipart body, all of them")))]
pub async fn create_files(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    Params(query): Params<UploadQuery>,
    request: Request,
) -> Answer<Response> {
    let workspace = app.node.workspace(id);
    workspace.require(&caller, Role::Edit, Code::WorkspaceNotFound).await?;
    if is_media_type(request.headers(), "multipart/form-data") {
        return upload::receive(&app, &workspace, &caller, &query, request).await;
    }
    is_json(request.headers())?;
    let (parts, body) = request.into_parts();
    let key = idempotency::key(&parts.method, &parts.headers)?;
    let bytes = collect(body, CONTENT_JSON_BYTES).await?;
    let mut fingerprint = Fingerprint::new(&parts.method, &parts.uri);
    fingerprint.part(&bytes);
    let new: NewFileBody = json(&bytes)?;
    drop(bytes);
    check_path(&new.path)?;
    let content = match (new.is_directory, new.content) {
        (true, None) => None,
        (true, Some(_)) => return Err(Problem::new(Code::BodyInvalid, "at `content`: a directory has none")),
        (false, content) => Some(stage(&app, &workspace, decode(new.encoding, content.unwrap_or_default())?).await?),
    };
    let command =
        WorkspaceCommand::CreateFiles { files: vec![NewFile { path: new.path, content }], overwrite: query.overwrite };
    let answer = workspace.command(&caller, command, idempotency::with_key(key, &fingerprint)).await?;
    match answer {
        WorkspaceAnswer::Files(mut files) if files.items.len() == 1 => {
            let file = files.items.remove(0);
            Ok((StatusCode::CREATED, [(header::ETAG, etag(&file))], Json(Made::One(file))).into_response())
        }
        other => Err(unexpected(&other)),
    }
}

/// A file with its content.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileWithContent {
    #[serde(flatten)]
    file: FileView,
    /// Null for what has none, and above 1 MiB.
    #[schema(required = true)]
    content: Option<String>,
    /// How the content is written; null where there is none.
    #[schema(required = true)]
    encoding: Option<Encoding>,
    /// Above 1 MiB: where the bytes are.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_ref: Option<String>,
}

/// A file with its content, where that is at most 1 MiB.
#[utoipa::path(get, path = "/api/files/{id}", tag = "files", params(("id" = Uuid, Path, description = "The file")),
    responses((status = 200, body = FileWithContent)))]
pub async fn get_file(State(app): State<App>, Signed(caller): Signed, Id(id): Id) -> Answer<Response> {
    let workspace = owner(&app, id).await?;
    let (file, blob) = find(&workspace, &caller, id).await?;
    let mut answer = FileWithContent { file, content: None, encoding: None, content_ref: None };
    if let Some(blob) = blob {
        if blob.size > CONTENT_ANSWER_BYTES {
            answer.content_ref = Some(format!("/api/files/{id}/raw"));
        } else {
            let bytes = read_all(&app, &workspace, &blob).await?;
            let (content, encoding) = encode(bytes);
            answer.content = Some(content);
            answer.encoding = Some(encoding);
        }
    }
    Ok(([(header::ETAG, etag(&answer.file))], Json(answer)).into_response())
}

/// A file's new content.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentBody {
    /// The content.
    content: String,
    /// How it is written.
    #[serde(default)]
    encoding: Encoding,
}

/// Writes a file: from JSON, or any bytes as `application/octet-stream`.
#[utoipa::path(put, path = "/api/files/{id}", tag = "files",
    params(("id" = Uuid, Path, description = "The file"), ("If-Match" = Option<String>, Header, description = "Only if this is its etag")),
    request_body(content((ContentBody = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 200, body = FileView)))]
pub async fn put_file(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    request: Request,
) -> Answer<impl IntoResponse> {
    let workspace = owner(&app, id).await?;
    workspace.require(&caller, Role::Edit, Code::FileNotFound).await?;
    let (parts, body) = request.into_parts();
    let if_match = if_match(&parts.headers, &workspace, &caller, id).await?;
    let content = if is_media_type(&parts.headers, "application/octet-stream") {
        upload::stage_body(&app, &workspace, body).await?
    } else {
        is_json(&parts.headers)?;
        let asked: ContentBody = json(&collect(body, CONTENT_JSON_BYTES).await?)?;
        stage(&app, &workspace, decode(asked.encoding, asked.content)?).await?
    };
    let command = WorkspaceCommand::PutFile { id, content, if_match };
    file_answer(workspace.command(&caller, command, None).await?)
}

/// Where a file goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveBody {
    /// The new path; parents are made.
    path: String,
}

impl JsonBody for MoveBody {}

/// Moves a file, or a directory with all below it; the id stays.
#[utoipa::path(post, path = "/api/files/{id}/move", tag = "files", request_body = MoveBody,
    params(("id" = Uuid, Path, description = "The file"), ("If-Match" = Option<String>, Header, description = "Only if this is its etag")),
    responses((status = 200, body = FileView)))]
pub async fn move_file(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    headers: HeaderMap,
    asked: Asked<MoveBody>,
) -> Answer<impl IntoResponse> {
    let workspace = owner(&app, id).await?;
    check_path(&asked.body.path)?;
    let if_match = if_match(&headers, &workspace, &caller, id).await?;
    let command = WorkspaceCommand::MoveFile { id, path: asked.body.path, if_match };
    file_answer(workspace.command(&caller, command, asked.idempotency).await?)
}

/// Deletes a file, or a directory with all below it.
#[utoipa::path(delete, path = "/api/files/{id}", tag = "files",
    params(("id" = Uuid, Path, description = "The file"), ("If-Match" = Option<String>, Header, description = "Only if this is its etag")),
    responses((status = 204)))]
pub async fn delete_file(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    let workspace = owner(&app, id).await?;
    let if_match = if_match(&headers, &workspace, &caller, id).await?;
    workspace.command(&caller, WorkspaceCommand::DeleteFile { id, if_match }, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The workspace a file belongs to.
///
/// # Errors
/// `file_not_found`.
pub async fn owner(app: &App, file: Uuid) -> Answer<WorkspaceRef> {
    match app.node.store.metadata.owner_of(file).await {
        Ok(Some(workspace)) => Ok(app.node.workspace(workspace)),
        Ok(None) => Err(Code::FileNotFound.into()),
        Err(error) => Err(Problem::new(Code::Retry, error.to_string())),
    }
}

/// A file as the API shows it, and where its bytes are.
///
/// # Errors
/// What refuses the caller.
pub async fn find(workspace: &WorkspaceRef, caller: &Caller, id: Uuid) -> Answer<(FileView, Option<BlobRef>)> {
    match workspace.command(caller, WorkspaceCommand::File { id }, None).await {
        Ok(WorkspaceAnswer::File { file, content }) => Ok((file, content)),
        Ok(other) => Err(unexpected(&other)),
        // Whoever asks by a file's id and may not see it learns nothing of a workspace.
        Err(refused) if refused.code == Code::WorkspaceNotFound => Err(Code::FileNotFound.into()),
        Err(refused) => Err(refused.into()),
    }
}

fn file_answer(answer: WorkspaceAnswer) -> Answer<impl IntoResponse> {
    match answer {
        WorkspaceAnswer::File { file, .. } => Ok(([(header::ETAG, etag(&file))], Json(file))),
        other => Err(unexpected(&other)),
    }
}

/// The `ETag` header of a file.
pub fn etag(file: &FileView) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", file.etag)).unwrap_or(HeaderValue::from_static("\"\""))
}

/// What `If-Match` asks for. Of several etags the one that matches now is taken.
async fn if_match(headers: &HeaderMap, workspace: &WorkspaceRef, caller: &Caller, id: Uuid) -> Answer<Option<String>> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let wanted = etags(headers, header::IF_MATCH);
    match wanted.as_slice() {
        // A condition that names nothing is met by nothing: it must not become a write without one.
        [] => Err(Code::VersionConflict.into()),
        [one] => Ok(Some(one.clone())),
        many => {
            let (file, _) = find(workspace, caller, id).await?;
            let matching = many.iter().find(|etag| **etag == file.etag || *etag == "*");
            Ok(matching.or(many.first()).cloned())
        }
    }
}

/// The etags a header lists, without their quotes. A weak one keeps its mark, and so never matches.
pub fn etags(headers: &HeaderMap, name: header::HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|etag| etag.trim().trim_matches('"').to_owned())
        .filter(|etag| !etag.is_empty())
        .collect()
}

/// All of a small content.
async fn read_all(app: &App, workspace: &WorkspaceRef, blob: &BlobRef) -> Answer<Bytes> {
    let read = app.node.store.blobs.read_all(workspace.id(), blob, CONTENT_ANSWER_BYTES).await;
    read.map_err(|error| Problem::new(Code::Retry, error.to_string()))
}

/// Stages content that is at hand.
async fn stage(app: &App, workspace: &WorkspaceRef, mut content: Bytes) -> Answer<BlobRef> {
    let limit = app.node.settings.max_upload;
    if content.len() as u64 > limit {
        return Err(too_large(limit));
    }
    let mut staged: Staged = workspace.stage().await?;
    while !content.is_empty() {
        staged.write(content.split_to(content.len().min(STAGE_BYTES))).await?;
    }
    Ok(staged.finish().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_lose_their_quotes_and_weak_ones_never_match() {
        let mut headers = HeaderMap::new();
        assert!(etags(&headers, header::IF_MATCH).is_empty());
        headers.append(header::IF_MATCH, HeaderValue::from_static("\"a\", W/\"b\""));
        headers.append(header::IF_MATCH, HeaderValue::from_static("*"));
        assert_eq!(etags(&headers, header::IF_MATCH), ["a", "W/\"b", "*"]);
    }
}
