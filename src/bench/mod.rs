//! `playhouse bench`: the figures of docs/PERFORMANCE.md, each beside a minimal bridge in the same run.
//!
//! The bridge ([`bridge`]) is one axum WebSocket to one PTY and nothing else: what any browser terminal costs at least
//! on this machine. Both run as processes of their own and are measured by the same client ([`client`]), echoes in turns.

pub mod bridge;
mod client;
mod figures;
mod server;

use std::fmt::Write as _;

use serde::Serialize;

/// One figure and what it should be.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured, with its unit.
    pub name: String,
    /// What it was.
    pub value: f64,
    /// What the bridge (or the quiet run) had, where there is one.
    pub beside: Option<f64>,
    /// The bound, in the figure's unit or as a ratio to `beside`.
    pub bound: String,
    /// Whether it holds.
    pub holds: bool,
}

/// Which benchmarks there are, in the order they run.
pub const NAMES: &[&str] = &["start", "echo", "bulk", "sessions", "slow-reader"];

/// Runs the benchmarks of these [`NAMES`] (all when empty) against a server of their own, and gives the figures.
///
/// # Errors
/// When a server or a sandbox can't be started, or a measurement breaks.
pub async fn run(only: &[String], insecure: bool) -> anyhow::Result<Vec<Figure>> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|other| other == name);
    let server = server::Server::start(insecure).await?;
    let bridge = server::Bridge::start().await?;
    let measured = measure(NAMES.iter().copied().filter(|name| wanted(name)), &server, &bridge).await;
    // Also when something broke: a server that is killed leaves its sandboxes running.
    server.stop().await?;
    measured
}

async fn measure(
    names: impl Iterator<Item = &str>,
    server: &server::Server,
    bridge: &server::Bridge,
) -> anyhow::Result<Vec<Figure>> {
    let mut all = Vec::new();
    for name in names {
        // What the one before has left to be written is not this one's to pay for.
        tokio::task::spawn_blocking(rustix::fs::sync).await?;
        tracing::info!(name, "measuring");
        let figures = match name {
            "start" => figures::start(server).await,
            "echo" => figures::echo(server, bridge).await,
            "bulk" => figures::bulk(server, bridge).await,
            "sessions" => figures::sessions(server).await,
            _ => figures::slow_reader(server).await,
        }?;
        all.extend(figures);
    }
    Ok(all)
}

/// The figures as a table for people.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<44} {:>12} {:>12}  {:<18} \n", "figure", "measured", "beside", "bound");
    for figure in figures {
        let beside = figure.beside.map_or_else(String::new, |value| format!("{value:.2}"));
        let verdict = if figure.holds { "holds" } else { "MISSED" };
        // Writing to a String does not fail.
        let _ =
            writeln!(text, "{:<44} {:>12.2} {:>12}  {:<18} {verdict}", figure.name, figure.value, beside, figure.bound);
    }
    text
}
