//! `GET /api/processes/{id}/output`: the retained output as one body, for programs without a WebSocket.

use std::collections::VecDeque;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{Stream, stream};
use playhouse_protocol::{EventId, Stream as OutputStream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    app::App,
    auth::Signed,
    extract::{Id, Params},
    problem::{Answer, Problem},
};
use crate::{
    actors::{Code, Role, process::ProcessMessage},
    store::{
        LogKey, Replay,
        replay::{Item, Page},
    },
};

/// The id of the last event that the answer covers; `0-0` before any output.
pub const LAST_ID: HeaderName = HeaderName::from_static("playhouse-last-id");
/// A range that is no longer retained, where the answer begins with one: `<from>..<to>`.
pub const TRUNCATED: HeaderName = HeaderName::from_static("playhouse-truncated");
/// How much of the log is read at a time, in bytes.
const PAGE_BYTES: usize = 256 * 1024;

/// Which output.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OutputQuery {
    /// From this event on, itself included; the first retained one when left out.
    from: Option<String>,
    /// `stdout` or `stderr` alone.
    #[param(inline, value_type = Option<String>)]
    stream: Option<OutputStream>,
}

/// The cursor before an inclusive first event.
fn before(from: Option<&str>) -> Answer<EventId> {
    let Some(from) = from else { return Ok(EventId::ZERO) };
    let id: EventId = from.parse().map_err(|error| Problem::new(Code::QueryInvalid, format!("from: {error}")))?;
    Ok(EventId::new(id.generation, id.sequence.saturating_sub(1)))
}

/// The retained output as one body.
#[utoipa::path(get, path = "/api/processes/{id}/output", tag = "running",
    params(("id" = Uuid, Path, description = "The process"), OutputQuery),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>,
        headers(("playhouse-last-id" = String, description = "The last event's id"),
            ("playhouse-truncated" = String, description = "A range before it that is no longer retained")))))]
pub async fn get_output(
    State(app): State<App>,
    Signed(caller): Signed,
    Id(id): Id,
    Params(query): Params<OutputQuery>,
) -> Answer<Response> {
    let after = before(query.from.as_deref())?;
    let (record, _) = app.node.process(id).require(&caller, Role::View).await?;
    let key = LogKey { workspace: record.workspace_id, process: id };
    let replay = app.node.store.replay.clone();
    let failed = |error: std::io::Error| Problem::new(Code::Retry, error.to_string());
    let mut head = HeaderMap::new();
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let Some(bounds) = replay.bounds(key).await.map_err(failed)? else {
        // Nothing was printed, or it is kept no longer.
        let asked = app.node.process(id).call(|reply| ProcessMessage::Info { writer: String::new(), reply }).await;
        let last = asked.ok().flatten().and_then(|info| info.last_id).unwrap_or(EventId::ZERO);
        insert(&mut head, LAST_ID, &last.to_string());
        if after < last {
            let from = EventId::new(after.generation, after.sequence + 1);
            insert(&mut head, TRUNCATED, &format!("{from}..{last}"));
        }
        return Ok((head, Body::empty()).into_response());
    };
    insert(&mut head, LAST_ID, &bounds.last.to_string());
    let first = replay.read(key, after, PAGE_BYTES).await.map_err(failed)?;
    if let Some(Item::Lost(lost)) = first.items.first() {
        insert(&mut head, TRUNCATED, &format!("{}..{}", lost.from, lost.to));
    }
    let body = Body::from_stream(Rest { replay, key, last: bounds.last, only: query.stream }.bytes(first));
    Ok((head, body).into_response())
}

fn insert(head: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        head.insert(name, value);
    }
}

/// What is still to be read: up to the event that was the last when the answer began.
struct Rest {
    replay: Replay,
    key: LogKey,
    last: EventId,
    only: Option<OutputStream>,
}

impl Rest {
    fn bytes(self, first: Page) -> impl Stream<Item = std::io::Result<Bytes>> {
        let begun = (self, VecDeque::from(first.items), first.next, first.end);
        stream::try_unfold(begun, |(rest, mut items, mut next, mut end)| async move {
            loop {
                while let Some(item) = items.pop_front() {
                    let Item::Chunk { generation, chunk } = item else { continue };
                    if EventId::new(generation, chunk.sequence) > rest.last {
                        return Ok(None);
                    }
                    if rest.only.is_none_or(|only| only == chunk.stream) && !chunk.bytes.is_empty() {
                        return Ok(Some((Bytes::copy_from_slice(&chunk.bytes), (rest, items, next, end))));
                    }
                }
                if end || next >= rest.last {
                    return Ok(None);
                }
                let page = rest.replay.read(rest.key, next, PAGE_BYTES).await?;
                if page.items.is_empty() && page.next <= next {
                    return Ok(None);
                }
                (items, next, end) = (page.items.into(), page.next, page.end);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_includes_its_event() {
        assert_eq!(before(None).expect("fine"), EventId::ZERO);
        assert_eq!(before(Some("0-0")).expect("fine"), EventId::ZERO);
        assert_eq!(before(Some("0-7")).expect("fine"), EventId::new(0, 6));
        assert_eq!(before(Some("2-9")).expect("fine"), EventId::new(2, 8));
        assert_eq!(before(Some("7")).expect_err("refused").code(), Code::QueryInvalid);
    }
}
