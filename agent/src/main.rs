//! The first process of every sandbox: it starts programs, carries their output to the node that owns the sandbox and
//! input back, and keeps the workspace and the tree alike.
//!
//! It outlives nodes and hosts: it redials with what it has, and nothing it runs notices.

mod bells;
mod config;
mod dial;
mod egress;
mod engine;
mod environment;
mod files;
mod full_disk;
mod init;
mod input;
mod lane;
mod link;
mod log;
mod output;
mod process;
mod processes;
mod session;
mod spawn;
mod wires;

use anyhow::Context;
use playhouse_protocol::host::EGRESS_SOCKET;

use crate::{
    config::Config, dial::Dialler, engine::Engine, files::Files, lane::Lane, processes::Processes,
    spawn::sandbox_variables,
};

/// How many threads may work on files at once. Each counts as one of the sandbox's processes while it lives.
const FILE_THREADS: usize = 16;

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).is_some_and(|argument| argument == "--version") {
        println!("playhouse-agent {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let key = init::take_token()?;
    init::settle().context("could not hide from the sandbox's programs")?;
    let config = Config::read(|name| std::env::var_os(name))?;

    // What has no hurry works on a thread of its own; the engine has this one, and shares it with nothing.
    let behind = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(FILE_THREADS)
        .thread_name("files")
        .enable_all()
        .build()?;
    let files = {
        let _entered = behind.enter();
        Files::spawn(config.workspace.clone(), config.home.clone())
    };
    if config.egress_port != 0 {
        behind.spawn(egress::relay(config.egress_port, config.sockets.join(EGRESS_SOCKET)));
    }
    let lane = Lane::new(files.clone(), behind.handle().clone());
    let dialler = Dialler::new(&config, key);
    let processes = Processes::new(&config, sandbox_variables());
    let ahead = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    ahead.block_on(async {
        // As a task: each wake of what `block_on` itself runs costs a write to the reactor's event descriptor.
        tokio::spawn(Engine::new(processes, files, lane, dialler).run()).await
    })??;
    // Files that are at work don't hold up the end.
    behind.shutdown_background();
    Ok(())
}
