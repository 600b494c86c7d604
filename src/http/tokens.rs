//! Signed tokens: PASETO v4.public, one key per node set, one implicit assertion per purpose.
//!
//! The purpose is part of what is signed and not of what is sent, so a stream token never passes for an access token.
//! The key comes from 32 secret random bytes: an operator's file, or one made in the data directory at the first start.

use std::{
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use pasetors::{
    Public,
    keys::{AsymmetricPublicKey, AsymmetricSecretKey},
    token::UntrustedToken,
    version4::{PublicToken, V4},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    actors::{Caller, Role},
    clock,
};

/// How long a stream token lives: it must be valid when the socket opens, not later.
pub const STREAM_TTL: Duration = Duration::from_secs(60);
/// How long a login link lives.
pub const LOGIN_TTL: Duration = Duration::from_secs(10 * 60);
/// How long a browser stays signed in.
pub const SESSION_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest token that is looked at, in bytes. Ours have a few hundred.
const TOKEN_BYTES: usize = 4096;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none of ours, or was signed for another purpose.
    #[error("the token is not valid here")]
    Invalid,
    /// It was ours.
    #[error("the token has expired")]
    Expired,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read or made.
    #[error("{path}: {error}")]
    File {
        /// Which one.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// It holds something else.
    #[error("{path} does not hold 32 bytes in hex (64 digits)")]
    Content {
        /// Which one.
        path: String,
    },
}

/// A token for the API, or a browser's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Who.
    #[serde(flatten)]
    pub caller: Caller,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    pub exp: OffsetDateTime,
}

/// A token for one sandbox's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamGrant {
    /// Who.
    #[serde(flatten)]
    pub caller: Caller,
    /// Which sandbox.
    pub sandbox_id: Uuid,
    /// The caller's role when it was made. The owner asks again when the socket opens.
    pub role: Role,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    pub exp: OffsetDateTime,
}

/// A one-time login link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Who.
    #[serde(flatten)]
    pub caller: Caller,
    /// Used up by the first use.
    pub jti: Uuid,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    pub exp: OffsetDateTime,
}

/// What a token is for.
trait Purpose: Serialize + DeserializeOwned {
    /// Signed, and not sent.
    const ASSERTION: &'static [u8];
    /// When it ends.
    fn exp(&self) -> OffsetDateTime;
}

macro_rules! purpose {
    ($type:ty, $assertion:literal) => {
        impl Purpose for $type {
            const ASSERTION: &'static [u8] = $assertion;

            fn exp(&self) -> OffsetDateTime {
                self.exp
            }
        }
    };
}

purpose!(Access, b"playhouse 2026 access");
purpose!(StreamGrant, b"playhouse 2026 stream");
purpose!(Login, b"playhouse 2026 login");

/// The signing key.
pub struct Keys {
    secret: AsymmetricSecretKey<V4>,
    public: AsymmetricPublicKey<V4>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// The key made from these secret bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let seed = ed25519_compact::Seed::new(blake3::derive_key("playhouse 2026 token signing key", secret));
        let pair = ed25519_compact::KeyPair::from_seed(seed);
        let (secret, public) =
            (AsymmetricSecretKey::from(pair.sk.as_ref()), AsymmetricPublicKey::from(pair.pk.as_ref()));
        match (secret, public) {
            (Ok(secret), Ok(public)) => Self { secret, public },
            _ => unreachable!("a pair made from one seed belongs together"),
        }
    }

    /// The key of a secret file, which must exist.
    ///
    /// # Errors
    /// When it can't be read or holds something else.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SecretError::File { path: path.display().to_string(), error })?;
        let mut secret = [0_u8; 32];
        hex::decode_to_slice(text.trim(), &mut secret)
            .map_err(|_| SecretError::Content { path: path.display().to_string() })?;
        Ok(Self::new(&secret))
    }

    /// The key of a secret file, made (readable by its owner only) when there is none.
    ///
    /// # Errors
    /// As [`Self::from_file`], or when it can't be made.
    pub fn from_file_or_new(path: &Path) -> Result<Self, SecretError> {
        if !path.exists() {
            make_secret(path).map_err(|error| SecretError::File { path: path.display().to_string(), error })?;
        }
        Self::from_file(path)
    }

    fn sign<T: Purpose>(&self, claims: &T) -> String {
        let message = serde_json::to_vec(claims).unwrap_or_default();
        match PublicToken::sign(&self.secret, &message, None, Some(T::ASSERTION)) {
            Ok(token) => token,
            Err(error) => unreachable!("claims are never empty and the key was checked: {error}"),
        }
    }

    fn verify<T: Purpose>(&self, token: &str) -> Result<T, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let untrusted = UntrustedToken::<Public, V4>::try_from(token).map_err(|_| TokenError::Invalid)?;
        let trusted =
            PublicToken::verify(&self.public, &untrusted, None, Some(T::ASSERTION)).map_err(|_| TokenError::Invalid)?;
        let claims: T = serde_json::from_str(trusted.payload()).map_err(|_| TokenError::Invalid)?;
        if claims.exp() <= clock::now() { Err(TokenError::Expired) } else { Ok(claims) }
    }

    /// An access token that ends after `ttl`.
    #[must_use]
    pub fn access(&self, caller: Caller, ttl: Duration) -> String {
        self.sign(&Access { caller, exp: clock::now() + ttl })
    }

    /// Who an access token names.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn check_access(&self, token: &str) -> Result<Access, TokenError> {
        self.verify(token)
    }

    /// A stream token, and when it ends.
    #[must_use]
    pub fn stream(&self, caller: &Caller, sandbox_id: Uuid, role: Role) -> (String, OffsetDateTime) {
        let exp = clock::now() + STREAM_TTL;
        (self.sign(&StreamGrant { caller: caller.clone(), sandbox_id, role, exp }), exp)
    }

    /// What a stream token grants.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn check_stream(&self, token: &str) -> Result<StreamGrant, TokenError> {
        self.verify(token)
    }

    /// A one-time login token.
    #[must_use]
    pub fn login(&self, caller: Caller) -> String {
        self.sign(&Login { caller, jti: Uuid::new_v4(), exp: clock::now() + LOGIN_TTL })
    }

    /// Whom a login token lets in, if it was not used yet.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn check_login(&self, token: &str) -> Result<Login, TokenError> {
        self.verify(token)
    }
}

/// Writes a fresh secret under a temporary name and links it to its own: two starters agree on one of their secrets.
fn make_secret(path: &Path) -> io::Result<()> {
    let mut secret = [0_u8; 32];
    rand::fill(&mut secret);
    let fresh = path.with_extension(format!("{}.tmp", Uuid::new_v4()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(hex::encode(secret).as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&fresh, path);
    std::fs::remove_file(&fresh)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    pub(crate) fn caller() -> Caller {
        Caller {
            user_id: Uuid::from_u128(1),
            name: "ada".into(),
            org_id: Uuid::from_u128(2),
            org: "default".into(),
            tier: "free".into(),
        }
    }

    #[test]
    fn a_token_is_taken_for_its_purpose_alone() {
        let keys = Keys::new(&[7; 32]);
        let access = keys.access(caller(), Duration::from_secs(60));
        assert!(access.starts_with("v4.public."));
        assert_eq!(keys.check_access(&access).expect("valid").caller, caller());
        assert_eq!(keys.check_stream(&access), Err(TokenError::Invalid));
        assert_eq!(keys.check_login(&access), Err(TokenError::Invalid));

        let (stream, exp) = keys.stream(&caller(), Uuid::from_u128(9), Role::Edit);
        let grant = keys.check_stream(&stream).expect("valid");
        assert_eq!((grant.sandbox_id, grant.role), (Uuid::from_u128(9), Role::Edit));
        assert!(exp > clock::now() + Duration::from_secs(55));
        assert_eq!(keys.check_access(&stream), Err(TokenError::Invalid));
    }

    #[test]
    fn expired_changed_and_foreign_tokens_are_refused() {
        let keys = Keys::new(&[7; 32]);
        assert_eq!(keys.check_access(&keys.access(caller(), Duration::ZERO)), Err(TokenError::Expired));
        let good = keys.access(caller(), Duration::from_secs(60));
        assert_eq!(Keys::new(&[8; 32]).check_access(&good), Err(TokenError::Invalid));
        let mut changed = good.clone().into_bytes();
        changed[30] ^= 1;
        assert!(keys.check_access(&String::from_utf8_lossy(&changed)).is_err());
        for bad in ["", "v4.public.", "v4.local.AAAA", "x", &"y".repeat(5000)] {
            assert_eq!(keys.check_access(bad), Err(TokenError::Invalid), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_made_once_and_kept_from_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        assert!(matches!(Keys::from_file(&path), Err(SecretError::File { .. })));
        let first = Keys::from_file_or_new(&path).expect("made");
        let token = first.access(caller(), Duration::from_secs(60));
        assert!(Keys::from_file_or_new(&path).expect("read").check_access(&token).is_ok());
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let digits = "0A".repeat(32);
        std::fs::write(&path, format!(" {digits}\n")).expect("written");
        assert!(Keys::from_file(&path).is_ok(), "as a person would write it");
        for bad in ["short", &digits[1..], &digits.replacen("0A", "+A", 1), &digits.replacen("0A", "é", 1)] {
            std::fs::write(&path, bad).expect("written");
            assert!(matches!(Keys::from_file(&path), Err(SecretError::Content { .. })), "{bad}");
        }
    }
}
