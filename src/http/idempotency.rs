//! `Idempotency-Key`: what makes a retried POST the same request.

use axum::http::{HeaderMap, HeaderName, Method, Uri};

use super::problem::Problem;
use crate::actors::{Code, Idempotency};

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key, in characters.
const KEY_CHARS: usize = 128;

/// The hash that says whether two requests under one key are the same one.
#[derive(Debug, Clone)]
pub struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    /// Of a request without its body.
    #[must_use]
    pub fn new(method: &Method, uri: &Uri) -> Self {
        let mut this = Self(blake3::Hasher::new_derive_key("playhouse 2026 request fingerprint"));
        this.part(method.as_str().as_bytes());
        this.part(uri.path().as_bytes());
        this.part(uri.query().unwrap_or_default().as_bytes());
        this
    }

    /// Adds a part of the body. Its length goes in too, so that parts can't be shifted into each other.
    pub fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// The key of a POST, if it has one: other methods may be repeated as they are.
///
/// # Errors
/// `idempotency_key_invalid` for an empty or long one.
pub fn key(method: &Method, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY).filter(|_| method == Method::POST) else { return Ok(None) };
    match std::str::from_utf8(value.as_bytes()) {
        Ok(key) if !key.is_empty() && key.chars().count() <= KEY_CHARS => Ok(Some(key.to_owned())),
        _ => Err(Code::IdempotencyKeyInvalid.into()),
    }
}

/// What an entity needs to keep its answer under a key.
#[must_use]
pub fn with_key(key: Option<String>, fingerprint: &Fingerprint) -> Option<Idempotency> {
    key.map(|key| Idempotency { key, fingerprint: fingerprint.finish() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(method: &Method, uri: &str, parts: &[&[u8]]) -> String {
        let mut fingerprint = Fingerprint::new(method, &uri.parse().expect("a uri"));
        for part in parts {
            fingerprint.part(part);
        }
        fingerprint.finish()
    }

    #[test]
    fn every_part_of_a_request_counts() {
        let same = fingerprint(&Method::POST, "/a?b", &[b"c"]);
        assert_eq!(same, fingerprint(&Method::POST, "/a?b", &[b"c"]));
        for other in [
            fingerprint(&Method::PUT, "/a?b", &[b"c"]),
            fingerprint(&Method::POST, "/ab", &[b"c"]),
            fingerprint(&Method::POST, "/a?b", &[b"d"]),
            fingerprint(&Method::POST, "/a?b", &[b"c", b""]),
        ] {
            assert_ne!(same, other);
        }
    }

    #[test]
    fn keys_are_bounded() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, value.parse().expect("a value"));
            key(&Method::POST, &headers).map_err(|problem| problem.code())
        };
        assert_eq!(with("k"), Ok(Some("k".into())));
        assert_eq!(with(&"ä".repeat(128)).map(|key| key.is_some()), Ok(true));
        assert_eq!(with(""), Err(Code::IdempotencyKeyInvalid));
        assert_eq!(with(&"k".repeat(129)), Err(Code::IdempotencyKeyInvalid));
        assert_eq!(key(&Method::POST, &HeaderMap::new()).map_err(|problem| problem.code()), Ok(None));
    }
}
