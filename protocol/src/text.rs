//! Output as text: a character that a read cut in two is held back until it is whole.

/// The undecoded rest (at most 3 bytes) after `carry` followed by `bytes`: a valid beginning of a UTF-8 character.
#[must_use]
pub fn undecoded(carry: &[u8], bytes: &[u8]) -> Vec<u8> {
    // Only the last three bytes can belong to a character that is not whole yet.
    let mut tail: Vec<u8> = Vec::with_capacity(6);
    if bytes.len() < 3 {
        tail.extend_from_slice(carry);
    }
    tail.extend_from_slice(&bytes[bytes.len().saturating_sub(3)..]);
    for start in tail.len().saturating_sub(3)..tail.len() {
        if let Err(error) = std::str::from_utf8(&tail[start..])
            && error.valid_up_to() == 0
            && error.error_len().is_none()
        {
            return tail[start..].to_vec();
        }
    }
    Vec::new()
}

/// The text of one event: `carry` and `bytes` decoded, less a cut character at the end unless it is the `last` event of
/// its stream. Bytes that are no UTF-8 become U+FFFD.
#[must_use]
pub fn decode(carry: &[u8], bytes: &[u8], last: bool) -> String {
    let rest = if last { 0 } else { undecoded(carry, bytes).len() };
    if carry.is_empty() {
        return String::from_utf8_lossy(&bytes[..bytes.len() - rest]).into_owned();
    }
    let mut whole = Vec::with_capacity(carry.len() + bytes.len());
    whole.extend_from_slice(carry);
    whole.extend_from_slice(bytes);
    whole.truncate(whole.len() - rest);
    String::from_utf8_lossy(&whole).into_owned()
}

/// The length of what [`decode`] makes of this, in bytes.
#[must_use]
pub fn decoded_len(carry: &[u8], bytes: &[u8], last: bool) -> usize {
    if !carry.is_empty() {
        return decode(carry, bytes, last).len();
    }
    let rest = if last { 0 } else { undecoded(carry, bytes).len() };
    let replaced = |invalid: &[u8]| if invalid.is_empty() { 0 } else { char::REPLACEMENT_CHARACTER.len_utf8() };
    bytes[..bytes.len() - rest].utf8_chunks().map(|chunk| chunk.valid().len() + replaced(chunk.invalid())).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `parts` one event at a time, each with the carry that the events before it leave.
    fn in_parts(parts: &[&[u8]]) -> String {
        let mut carry = Vec::new();
        let mut text = String::new();
        for part in parts {
            let decoded = decode(&carry, part, false);
            assert_eq!(decoded_len(&carry, part, false), decoded.len());
            text += &decoded;
            carry = undecoded(&carry, part);
            assert!(carry.len() <= 3);
        }
        text + &decode(&carry, &[], true)
    }

    #[test]
    fn a_cut_at_every_byte_decodes_as_the_whole() {
        let text = "a é € 😀 \u{10FFFF} z";
        let bytes = text.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                assert_eq!(in_parts(&[&bytes[..first], &bytes[first..second], &bytes[second..]]), text);
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(in_parts(&single), text);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_parts_decode_as_the_whole(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80..=0xff_u8], 0..60),
            cuts in prop::collection::vec(1..6_usize, 1..60),
        ) {
            let mut parts: Vec<&[u8]> = Vec::new();
            let mut rest = bytes.as_slice();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                parts.push(head);
                rest = tail;
            }
            prop_assert_eq!(in_parts(&parts), String::from_utf8_lossy(&bytes));
        }
    }
}
