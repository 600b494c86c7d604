//! A blob's key: `<hash>-<random>`, `stream-<random>` for one whose hash was not known when it began, and
//! `pack-<random>@<offset>+<length>`. Pure.
//!
//! Keys come back from the metadata store, and an object's name becomes part of a path: what is not exactly of this
//! form is no key.

use std::fmt;

use uuid::Uuid;

use super::digits;

const PACK: &str = "pack-";
const STREAM: &str = "stream-";

/// Where a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// The object's name.
    pub(super) object: String,
    /// In a pack: offset and length.
    pub(super) place: Option<(u64, u64)>,
}

impl Key {
    /// A fresh key for a content with this hash.
    pub(super) fn single(hash: &[u8; 32]) -> Self {
        Self { object: format!("{}-{}", hex::encode(hash), random()), place: None }
    }

    /// A fresh key for a content that is still to come.
    pub(super) fn stream() -> Self {
        Self { object: format!("{STREAM}{}", random()), place: None }
    }

    /// A fresh object for many contents.
    pub(super) fn pack_object() -> String {
        format!("{PACK}{}", random())
    }

    /// The key of one of them.
    pub(super) fn in_pack(object: &str, offset: u64, length: u64) -> Self {
        Self { object: object.to_owned(), place: Some((offset, length)) }
    }

    /// The key that a string is.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (object, place) = match text.split_once('@') {
            Some((object, place)) => {
                let (offset, length) = place.split_once('+')?;
                (object, Some((number(offset)?, number(length)?)))
            }
            None => (text, None),
        };
        let known = match (object.strip_prefix(PACK), object.strip_prefix(STREAM)) {
            (Some(random), _) => place.is_some() && digits::is(random, 32),
            (None, Some(random)) => place.is_none() && digits::is(random, 32),
            (None, None) => {
                let halves = object.split_once('-');
                place.is_none() && halves.is_some_and(|(hash, random)| digits::is(hash, 64) && digits::is(random, 32))
            }
        };
        known.then(|| Self { object: object.to_owned(), place })
    }
}

fn random() -> uuid::fmt::Simple {
    Uuid::new_v4().simple()
}

/// Digits without sign or leading zero.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((offset, length)) => write!(f, "{}@{offset}+{length}", self.object),
            None => f.write_str(&self.object),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_written() {
        let hash = *blake3::hash(b"x").as_bytes();
        for key in [Key::single(&hash), Key::stream(), Key::in_pack(&Key::pack_object(), 0, 17)] {
            assert_eq!(Key::parse(&key.to_string()), Some(key));
        }
        assert_ne!(Key::single(&hash), Key::single(&hash));
    }

    #[test]
    fn nothing_else_is_a_key() {
        let random = "0123456789abcdef0123456789abcdef";
        let hash = random.repeat(2);
        for bad in [
            "",
            "..",
            "../../etc/passwd",
            &format!("{hash}-{random}@0+1"),
            &format!("{hash}-{random}/x"),
            &format!("{hash}-{}", &random[1..]),
            &format!("{}-{random}", hash.replace('a', "A")),
            &format!("pack-{random}"),
            &format!("pack-{random}@1"),
            &format!("pack-{random}@01+1"),
            &format!("pack-{random}@+1+1"),
            &format!("pack-{random}@1+18446744073709551616"),
            &format!("stream-{random}@0+1"),
            &format!("stream-{random}\0"),
        ] {
            assert_eq!(Key::parse(bad), None, "{bad:?}");
        }
    }
}
