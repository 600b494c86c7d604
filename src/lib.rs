//! Playhouse: a cloud IDE on an actor-model distributed runtime.
//!
//! Import direction: `protocol` ← `sandbox` ← `host`; `protocol` ← `cluster`, `store` ← `actors` ← `http` ← `server`.

pub mod clock;
pub mod invariant;
mod word;
pub mod seldom;
pub mod sandbox;
pub mod host;
pub mod doctor;
pub mod cluster;
pub mod store;
pub mod actors;
pub mod http;
pub mod config;
pub mod control;
pub mod operator;
pub mod server;
pub mod bench;
