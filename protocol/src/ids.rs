//! Ids that carry their shard: a UUID whose last 12 bits say which of the 4096 shards owns the entity.
//!
//! The bits sit at the very end because a v7 UUID keeps its timestamp and counter at the front.

use std::fmt;

use uuid::Uuid;

/// How many shards there are, for ever: an id's shard is 12 bits of the id itself.
pub const SHARDS: u16 = 4096;

/// A shard's number, `0..4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u16);

impl Shard {
    /// The shard with this number, if there is one.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SHARDS { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The shard an id belongs to: its last 12 bits.
    #[must_use]
    pub fn of(id: Uuid) -> Self {
        let bytes = id.as_bytes();
        Self(u16::from_be_bytes([bytes[14] & 0x0f, bytes[15]]))
    }

    /// The shard of an entity known by name (tenants, hosts, pools): a hash of the name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let bytes = hash.as_bytes();
        Self(u16::from_be_bytes([bytes[0] & 0x0f, bytes[1]]))
    }

    /// A fresh id in this shard: a v7 UUID with the shard in its last 12 bits.
    #[must_use]
    pub fn fresh_id(self) -> Uuid {
        self.stamp(Uuid::now_v7())
    }

    fn stamp(self, id: Uuid) -> Uuid {
        let mut bytes = *id.as_bytes();
        let [high, low] = self.0.to_be_bytes();
        bytes[14] = (bytes[14] & 0xf0) | high;
        bytes[15] = low;
        Uuid::from_bytes(bytes)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A fresh id in a random shard: what a new workspace gets.
#[must_use]
pub fn fresh_workspace_id() -> Uuid {
    // A v7 UUID's last 62 bits are random, so its last 12 already name a random shard.
    Uuid::now_v7()
}

/// The id of the workspace that `user` makes under an idempotency key: the same for every retry, wherever it arrives.
#[must_use]
pub fn derived_workspace_id(user: Uuid, key: &str) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key("playhouse 2026 workspace id from idempotency key");
    hasher.update(user.as_bytes());
    hasher.update(key.as_bytes());
    derived(&hasher)
}

/// The id of an entity known by name, such as an organisation or a user: stable, and in the shard of its name.
#[must_use]
pub fn named_id(kind: &str, name: &str) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key("playhouse 2026 named id");
    hasher.update(kind.as_bytes());
    hasher.update(&[0]);
    hasher.update(name.as_bytes());
    Shard::of_name(name).stamp(derived(&hasher))
}

fn derived(hasher: &blake3::Hasher) -> Uuid {
    let mut bytes = [0_u8; 16];
    hasher.finalize_xof().fill(&mut bytes);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_id_carries_its_shard() {
        for number in [0, 1, 255, 256, 4095] {
            let shard = Shard::new(number).expect("in range");
            assert_eq!(Shard::of(shard.fresh_id()), shard);
        }
        assert!(Shard::new(SHARDS).is_none());
    }

    #[test]
    fn derived_ids_are_stable_and_named_ids_lie_in_their_names_shard() {
        let user = Uuid::from_u128(7);
        assert_eq!(derived_workspace_id(user, "k"), derived_workspace_id(user, "k"));
        assert_ne!(derived_workspace_id(user, "k"), derived_workspace_id(user, "l"));
        assert_eq!(Shard::of(named_id("org", "default")), Shard::of_name("default"));
    }
}
