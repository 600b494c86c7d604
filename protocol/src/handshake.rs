//! How an agent and its owner prove themselves to each other before the first frame.
//!
//! Three length-prefixed frames on the raw stream: the agent's [`Hello`], the owner's [`Challenge`], the agent's
//! [`Proof`]. Both sides know a key made from the sandbox's one-time token; neither sends it. After the proof the same
//! stream carries a WebSocket (the agent is its client) whose binary messages are frames of [`crate::agent`].

use bincode::{Decode, Encode};
use uuid::Uuid;

/// The longest handshake frame, in bytes.
pub const HANDSHAKE_BYTES: usize = 1024;

/// The secret of one sandbox's life, handed to its agent through an inherited descriptor.
pub type Token = [u8; 32];

/// What the owner keeps of a token: enough to check a proof and to make one.
pub type TokenHash = [u8; 32];

/// The agent's first words.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The sandbox it runs in.
    #[bincode(with_serde)]
    pub sandbox_id: Uuid,
    /// Drawn once by this agent process: another instance beside a living one is refused.
    pub instance: [u8; 16],
    /// Rises with every dial of this instance: a higher one replaces the old stream.
    pub attempt: u64,
    /// Fresh for this dial; the challenge answers it.
    pub nonce: [u8; 32],
}

/// The owner's answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Challenge {
    /// The epoch of the shard under which the owner commands. The agent refuses one lower than it has seen.
    pub epoch: u64,
    /// Fresh for this stream; the proof answers it.
    pub nonce: [u8; 32],
    /// Proves that the owner knows the token's hash.
    pub mac: [u8; 32],
}

/// The agent's last word before the WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    /// Proves that the agent knows the token.
    pub mac: [u8; 32],
}

/// The hash under which a token is known outside its sandbox.
#[must_use]
pub fn token_hash(token: &Token) -> TokenHash {
    blake3::derive_key("playhouse 2026 sandbox token", token)
}

/// The owner's proof in a [`Challenge`].
#[must_use]
pub fn owner_mac(key: &TokenHash, hello: &Hello, epoch: u64, nonce: &[u8; 32]) -> [u8; 32] {
    mac(key, b"owner", hello, epoch, nonce)
}

/// The agent's proof in a [`Proof`].
#[must_use]
pub fn agent_mac(key: &TokenHash, hello: &Hello, epoch: u64, nonce: &[u8; 32]) -> [u8; 32] {
    mac(key, b"agent", hello, epoch, nonce)
}

fn mac(key: &TokenHash, side: &[u8], hello: &Hello, epoch: u64, nonce: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(side);
    hasher.update(hello.sandbox_id.as_bytes());
    hasher.update(&hello.instance);
    hasher.update(&hello.attempt.to_be_bytes());
    hasher.update(&hello.nonce);
    hasher.update(&epoch.to_be_bytes());
    hasher.update(nonce);
    *hasher.finalize().as_bytes()
}

/// Compares two proofs in constant time.
#[must_use]
pub fn same_mac(a: &[u8; 32], b: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}
