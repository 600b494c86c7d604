//! Bytes in JSON: as text where they are UTF-8, in base64 otherwise.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::{actors::Code, word::word};

/// How bytes are written in a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub enum Encoding {
    /// As they are.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// In base64, padded.
    #[serde(rename = "base64")]
    Base64,
}

word!(Encoding, written);

/// The bytes that a string stands for.
///
/// # Errors
/// `body_invalid` when it is no base64.
pub fn decode(encoding: Encoding, text: String) -> Result<Bytes, Problem> {
    match encoding {
        Encoding::Utf8 => Ok(text.into()),
        Encoding::Base64 => match STANDARD.decode(&text) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(Problem::new(Code::BodyInvalid, format!("the base64 can't be read: {error}"))),
        },
    }
}

/// The string that stands for these bytes.
pub fn encode(bytes: Bytes) -> (String, Encoding) {
    match String::from_utf8(bytes.into()) {
        Ok(text) => (text, Encoding::Utf8),
        Err(error) => (STANDARD.encode(error.as_bytes()), Encoding::Base64),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (text, encoding) = encode(bytes.clone().into());
            prop_assert_eq!(encoding == Encoding::Utf8, std::str::from_utf8(&bytes).is_ok());
            prop_assert_eq!(decode(encoding, text).expect("ours"), Bytes::from(bytes));
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        assert!(decode(Encoding::Base64, "@@".into()).is_err());
    }
}
