//! The HTTP contract: every row of every table, the conventions, the command line.

mod admin;
mod archive;
mod catalog;
mod cli;
mod config;
mod conventions;
mod egress;
mod environment;
mod files;
mod idempotency;
mod identity;
mod input;
mod limits;
mod links;
mod members;
mod quotas;
mod running;
mod sandboxes;
mod sync;
mod uploads;
mod workspaces;
