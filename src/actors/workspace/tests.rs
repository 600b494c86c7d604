//! The workspace and its neighbours (tenant, sandbox, process) on a real store; the agent is played by the test.

mod agent;
mod api;
pub(in crate::actors) mod world;
