//! Which of many contents share an object. Pure.

use bytes::Bytes;

/// A longer content has an object of its own.
const PACKED_BYTES: usize = 64 * 1024;
/// A pack is closed before it grows beyond this. One kept blob keeps all of it, so it is not larger than it must be.
const PACK_BYTES: usize = 4 * 1024 * 1024;
/// Fewer small contents than this have objects of their own, which can be removed one by one.
const FEW: usize = 8;

/// What is to be written for a list of contents; numbers are places in that list.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) packs: Vec<Pack>,
    pub(super) singles: Vec<(usize, Bytes)>,
}

/// One object of many contents.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) bytes: Bytes,
    pub(super) entries: Vec<Entry>,
}

/// One content in it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: usize,
    pub(super) hash: [u8; 32],
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Hashes and copies what is packed, so it takes a while for much.
pub(super) fn plan(many: Vec<Bytes>) -> Plan {
    let few = many.iter().filter(|bytes| bytes.len() <= PACKED_BYTES).count() < FEW;
    let mut plan = Plan::default();
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for (at, content) in many.into_iter().enumerate() {
        if few || content.len() > PACKED_BYTES {
            plan.singles.push((at, content));
            continue;
        }
        if bytes.len() + content.len() > PACK_BYTES {
            let (bytes, entries) = (std::mem::take(&mut bytes), std::mem::take(&mut entries));
            plan.packs.push(Pack { bytes: bytes.into(), entries });
        }
        let hash = *blake3::hash(&content).as_bytes();
        entries.push(Entry { at, hash, offset: bytes.len() as u64, size: content.len() as u64 });
        bytes.extend_from_slice(&content);
    }
    if !entries.is_empty() {
        plan.packs.push(Pack { bytes: bytes.into(), entries });
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_content_has_one_place(sizes in prop::collection::vec(prop_oneof![8 => 0..2000_usize, 1 => 60_000..70_000_usize], 0..300)) {
            let many: Vec<Bytes> = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size].into()).collect();
            let plan = plan(many.clone());
            let mut seen = vec![false; many.len()];
            for (at, bytes) in &plan.singles {
                prop_assert_eq!(bytes, &many[*at]);
                prop_assert!(!std::mem::replace(&mut seen[*at], true));
            }
            for pack in &plan.packs {
                prop_assert!(pack.bytes.len() <= PACK_BYTES && !pack.entries.is_empty());
                for entry in &pack.entries {
                    let (from, to) = (entry.offset as usize, (entry.offset + entry.size) as usize);
                    prop_assert_eq!(&pack.bytes[from..to], &many[entry.at][..]);
                    prop_assert_eq!(entry.hash, *blake3::hash(&many[entry.at]).as_bytes());
                    prop_assert!(!std::mem::replace(&mut seen[entry.at], true));
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
