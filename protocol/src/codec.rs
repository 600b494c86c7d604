//! The one binary codec: bincode with a limit, a version byte in front, and nothing left over at the end.
//!
//! Every frame is checked for its length before it is decoded: with bincode's standard configuration a ten-byte
//! message that claims a huge length aborts the process.

use bincode::{Decode, Encode};

/// The version of every frame written today.
pub const VERSION: u8 = 1;

/// The longest frame of any kind, in bytes.
pub const FRAME_BYTES: usize = 1024 * 1024;

#[allow(clippy::disallowed_methods, reason = "the one place that adds the limit")]
const fn config() -> bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<FRAME_BYTES>,
> {
    bincode::config::standard().with_limit::<FRAME_BYTES>()
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// It is longer than [`FRAME_BYTES`].
    #[error("a frame of {0} bytes is longer than {FRAME_BYTES}")]
    TooLong(usize),
    /// It is empty.
    #[error("an empty frame")]
    Empty,
    /// Its version is not spoken here.
    #[error("frame version {0} is not spoken here (this is version {VERSION})")]
    Version(u8),
    /// It does not decode.
    #[error("a malformed frame: {0}")]
    Malformed(String),
    /// Bytes are left over after the frame.
    #[error("{0} bytes are left over after the frame")]
    LeftOver(usize),
}

/// A frame's bytes: the version, then the value.
///
/// # Errors
/// A value that is longer than a frame may be.
pub fn encode<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(VERSION);
    bincode::encode_into_std_write(value, &mut bytes, config())
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    if bytes.len() > FRAME_BYTES { Err(CodecError::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// The value in a frame's bytes.
///
/// # Errors
/// Bytes that are too long, of another version, malformed, or more than the value.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > FRAME_BYTES {
        return Err(CodecError::TooLong(bytes.len()));
    }
    let (&version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let (value, used) =
        bincode::decode_from_slice(body, config()).map_err(|error| CodecError::Malformed(error.to_string()))?;
    if used == body.len() { Ok(value) } else { Err(CodecError::LeftOver(body.len() - used)) }
}

/// A frame behind its length, a big-endian u32: how frames travel on a byte stream.
///
/// # Errors
/// As [`encode`].
pub fn encode_prefixed<T: Encode>(value: &T) -> Result<Vec<u8>, CodecError> {
    let body = encode(value)?;
    let length = u32::try_from(body.len()).map_err(|_| CodecError::TooLong(body.len()))?;
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// The length that a prefix announces.
///
/// # Errors
/// A length above `limit` or [`FRAME_BYTES`].
pub fn prefixed_length(prefix: [u8; 4], limit: usize) -> Result<usize, CodecError> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > limit.min(FRAME_BYTES) { Err(CodecError::TooLong(length)) } else { Ok(length) }
}
