//! A hash as 64 lower-case hexadecimal digits, for serde and for keys.

use serde::{Deserialize, Deserializer, Serializer, de};

/// Whether it is this many digits, all lower-case.
pub(super) fn is(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn decode(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    // The library takes upper case too, but a hash has one form.
    (is(text, 64) && hex::decode_to_slice(text, &mut hash).is_ok()).then_some(hash)
}

pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(hash))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    decode(&text).ok_or_else(|| de::Error::custom("a hash is 64 lower-case hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_written_and_only_so() {
        let hash = *blake3::hash(b"x").as_bytes();
        let text = hex::encode(hash);
        assert_eq!(text, blake3::hash(b"x").to_hex().as_str());
        assert_eq!(decode(&text), Some(hash));
        for bad in [&text[1..], &text.to_uppercase(), &format!("+{}", &text[1..]), "é"] {
            assert_eq!(decode(bad), None);
        }
    }
}
