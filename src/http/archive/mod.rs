//! `GET /api/workspaces/{id}/archive`: the tree as one file, streamed as it is packed.

mod tar_zst;
mod zip;

use std::{future::ready, io};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::{io::DuplexStream, task::JoinHandle};
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::{
    app::App,
    auth::Signed,
    disposition::attachment,
    extract::{Id, Params},
    files::find,
    problem::Answer,
    workspaces::{unexpected, workspace},
};
use crate::{
    actors::{
        Caller, Code,
        views::FileView,
        workspace::{WorkspaceAnswer, WorkspaceCommand, WorkspaceRef},
    },
    store::{Blobs, blobs::BlobRef},
};

/// What is packed and not yet taken by the client, in bytes: a slow client stops the packing here.
const IN_FLIGHT_BYTES: usize = 256 * 1024;

/// How much of it goes out at a time, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// How a tree is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
pub enum Format {
    /// A zip file.
    #[default]
    #[serde(rename = "zip")]
    Zip,
    /// A tar file, compressed with Zstandard.
    #[serde(rename = "tar.zst")]
    TarZst,
}

/// How.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ArchiveQuery {
    /// `zip` by default.
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// The tree as one file.
#[utoipa::path(get, path = "/api/workspaces/{id}/archive", tag = "files",
    params(("id" = Uuid, Path, description = "The workspace"), ArchiveQuery),
    responses((status = 200, content((Vec<u8> = "application/zip"), (Vec<u8> = "application/zstd")))))]
pub async fn get_archive(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    Params(query): Params<ArchiveQuery>,
) -> Answer<Response> {
    let place = app.node.workspace(id);
    let view = workspace(place.command(&caller, WorkspaceCommand::Get, None).await?)?;
    let all = WorkspaceCommand::Files { prefix: "/".to_owned(), all: true, page: None, unless: None };
    let files = match place.command(&caller, all, None).await? {
        WorkspaceAnswer::Tree { files: Some(files), .. } => files.items,
        other => return Err(unexpected(&other)),
    };
    let (packed, taken) = tokio::io::duplex(IN_FLIGHT_BYTES);
    let tree = Tree { workspace: place, caller, blobs: app.node.store.blobs.clone(), files };
    let packing = tokio::spawn(async move {
        match query.format {
            Format::Zip => zip::pack(tree, packed).await,
            Format::TarZst => tar_zst::pack(tree, packed).await,
        }
    });
    let (kind, extension) = match query.format {
        Format::Zip => ("application/zip", "zip"),
        Format::TarZst => ("application/zstd", "tar.zst"),
    };
    let name = attachment(&format!("{}.{extension}", view.name.replace('/', "_")));
    let head = [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CONTENT_DISPOSITION, name)];
    Ok((head, Body::from_stream(whole(taken, packing))).into_response())
}

/// The stream of what was packed. It breaks where the packing did: an archive that is cut must not look whole.
fn whole(
    taken: DuplexStream,
    packing: JoinHandle<io::Result<()>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let outcome = stream::once(packing).filter_map(|ended| {
        let failed = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(error) => Some(io::Error::other(error)),
        };
        if let Some(error) = &failed {
            tracing::warn!(%error, "an archive was not finished");
        }
        ready(failed.map(Err))
    });
    ReaderStream::with_capacity(taken, READ_BYTES).chain(outcome)
}

/// The tree to pack.
struct Tree {
    workspace: WorkspaceRef,
    caller: Caller,
    blobs: Blobs,
    files: Vec<FileView>,
}

/// One entry, with where its bytes are.
enum Entry {
    Directory(FileView),
    Link(FileView, String),
    File(FileView, BlobRef),
}

impl Tree {
    /// The entry as it is now; `None` when it went away since the tree was listed.
    async fn entry(&self, file: FileView) -> io::Result<Option<Entry>> {
        if file.is_directory {
            return Ok(Some(Entry::Directory(file)));
        }
        if let Some(target) = file.symlink_target.clone() {
            return Ok(Some(Entry::Link(file, target)));
        }
        match find(&self.workspace, &self.caller, file.id).await {
            // The place in the archive is the one that was listed, whatever moved meanwhile.
            Ok((now, Some(blob))) => Ok(Some(Entry::File(FileView { path: file.path, ..now }, blob))),
            Ok((_, None)) => Ok(None),
            Err(problem) if problem.code() == Code::FileNotFound => Ok(None),
            Err(problem) => Err(io::Error::other(format!("{:?}", problem.code()))),
        }
    }
}

/// A path as archives name it: relative.
fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

const fn mode(file: &FileView) -> u16 {
    if file.executable { 0o755 } else { 0o644 }
}
