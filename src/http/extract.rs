//! Requests taken apart: ids, queries and JSON bodies, each refused in the contract's words.

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::PathRejection},
    http::{HeaderMap, header, request::Parts},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    app::App,
    idempotency::{self, Fingerprint},
    limits::JSON_BYTES,
    problem::Problem,
};
use crate::actors::{Code, Idempotency};

/// The id in the path.
#[derive(Debug, Clone, Copy)]
pub struct Id(pub Uuid);

/// The workspace's id in the path, and what follows it.
#[derive(Debug, Clone)]
pub struct IdAnd(pub Uuid, pub String);

/// Reads an id as the contract writes it: with hyphens, nothing around.
///
/// # Errors
/// `id_invalid`.
pub fn id(text: &str) -> Result<Uuid, Problem> {
    let hyphenated = text.len() == 36;
    let id = if hyphenated { Uuid::parse_str(text).ok() } else { None };
    id.ok_or_else(|| Problem::new(Code::IdInvalid, format!("{:?} is not a UUID", shortened(text))))
}

/// A client's text, short enough to be said back.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn bad_path(rejection: &PathRejection) -> Problem {
    Problem::new(Code::IdInvalid, rejection.body_text())
}

impl FromRequestParts<App> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(text): Path<String> =
            Path::from_request_parts(parts, app).await.map_err(|rejection| bad_path(&rejection))?;
        Ok(Self(id(&text)?))
    }
}

impl FromRequestParts<App> for IdAnd {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path((text, rest)): Path<(String, String)> =
            Path::from_request_parts(parts, app).await.map_err(|rejection| bad_path(&rejection))?;
        Ok(Self(id(&text)?, rest))
    }
}

/// The query.
#[derive(Debug, Clone)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(Code::QueryInvalid, rejection.body_text())),
        }
    }
}

/// What a JSON body is read into.
pub trait JsonBody: DeserializeOwned + Send {
    /// How long it may be, in bytes.
    const BYTES: usize = JSON_BYTES;
    /// Whether no body at all counts as `{}`.
    const OPTIONAL: bool = false;
}

/// A JSON body, and the key under which its effect happens once.
#[derive(Debug)]
pub struct Asked<T> {
    /// The body.
    pub body: T,
    /// The key, if the request has one.
    pub idempotency: Option<Idempotency>,
}

impl<T: JsonBody> FromRequest<App> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let key = idempotency::key(&parts.method, &parts.headers)?;
        let bytes = collect(body, T::BYTES).await?;
        let mut fingerprint = Fingerprint::new(&parts.method, &parts.uri);
        fingerprint.part(&bytes);
        let body = if bytes.is_empty() && T::OPTIONAL {
            json(b"{}")?
        } else {
            is_json(&parts.headers)?;
            json(&bytes)?
        };
        Ok(Self { body, idempotency: idempotency::with_key(key, &fingerprint) })
    }
}

/// The key of a request that asks for nothing more than its path says, whatever a form sends along.
#[derive(Debug)]
pub struct Keyed(pub Option<Idempotency>);

impl FromRequest<App> for Keyed {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let key = idempotency::key(&parts.method, &parts.headers)?;
        let mut fingerprint = Fingerprint::new(&parts.method, &parts.uri);
        fingerprint.part(&collect(body, JSON_BYTES).await?);
        Ok(Self(idempotency::with_key(key, &fingerprint)))
    }
}

/// A body of a request that asks for nothing more than its path says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl JsonBody for Nothing {
    const OPTIONAL: bool = true;
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// `too_large`, or a connection that broke.
pub async fn collect(body: Body, limit: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limit as u64 {
        // It says so itself: none of it need be read.
        return Err(too_large(limit as u64));
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit as u64)),
        Err(error) => Err(Problem::new(Code::BodyInvalid, format!("the body ended early: {error}"))),
    }
}

/// The refusal of what is longer than `limit` bytes.
pub fn too_large(limit: u64) -> Problem {
    Problem::new(Code::TooLarge, format!("at most {limit} bytes are taken here"))
}

/// Whether a content type names this media type, whatever its parameters.
pub fn is_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// Checks that the body says it is JSON.
///
/// # Errors
/// `unsupported_media_type`.
pub fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_media_type(headers, "application/json") {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType, "`Content-Type: application/json` is needed"))
    }
}

/// Reads JSON, and names the place where it is not what is asked for.
///
/// # Errors
/// `json_malformed`, `body_invalid`.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would read a struct from an array of its fields too.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        let whole = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
        return Err(whole.map_or_else(
            |error| Problem::new(Code::JsonMalformed, error.to_string()),
            |_| Problem::new(Code::BodyInvalid, "at `.`: an object is expected, not an array"),
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let place = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            Problem::new(Code::BodyInvalid, format!("at `{place}`: {inner}"))
        } else {
            Problem::new(Code::JsonMalformed, inner.to_string())
        }
    })?;
    reader.end().map_err(|error| Problem::new(Code::JsonMalformed, error.to_string()))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only what can be read into it matters")]
    struct Sample {
        name: String,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "as above")]
    struct Inner {
        size: u8,
    }

    fn refusal(text: &str) -> (Code, String) {
        let problem = json::<Sample>(text.as_bytes()).expect_err("refused");
        (problem.code(), format!("{problem:?}"))
    }

    #[test]
    fn a_wrong_body_is_refused_with_the_place_named() {
        assert!(json::<Sample>(br#"{"name":"a","inner":{"size":3}}"#).is_ok());
        for malformed in ["", "{", "[", "[1", "nope", r#"{"name":"a"} x"#, "{\"name\":\"\u{1}\"}"] {
            assert_eq!(refusal(malformed).0, Code::JsonMalformed, "{malformed:?}");
        }
        for (wrong, place) in [
            (r#"{"name":1}"#, "`name`"),
            (r#"{"name":"a","inner":{"size":300}}"#, "`inner.size`"),
            (r#"{"name":"a","colour":1}"#, "colour"),
            (r#"{"inner":null}"#, "missing field"),
            ("[]", "expected"),
            (r#" ["a",null]"#, "an object is expected"),
        ] {
            let (code, text) = refusal(wrong);
            assert_eq!(code, Code::BodyInvalid, "{wrong:?}");
            assert!(text.contains(place), "{text}");
        }
    }

    #[test]
    fn only_hyphenated_ids_are_ids() {
        assert!(id("0193aaaa-0000-7000-8000-000000000000").is_ok());
        for bad in ["", "x", "0193aaaa000070008000000000000000", "{0193aaaa-0000-7000-8000-000000000000}"] {
            assert_eq!(id(bad).expect_err("refused").code(), Code::IdInvalid, "{bad:?}");
        }
    }
}
