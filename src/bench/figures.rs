//! The benchmarks themselves.

use std::{future::Future, time::Duration};

use anyhow::Context;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Figure,
    client::Terminal,
    server::{Bridge, Server},
};

/// Echoes in one turn at one side before the other side has its turn.
const ECHOES: usize = 200;
/// Turns of each side.
const TURNS: usize = 10;
/// A raw terminal that gives back what it gets.
const RAW_CAT: &str = "stty raw -echo; printf ready; exec cat";
/// What the bulk figure moves, in bytes.
const BULK_BYTES: u64 = 200_000_000;
/// Sandbox starts that are measured.
const STARTS: usize = 10;
/// Sandboxes, and sockets on each, of the sessions figure.
const SANDBOXES: usize = 20;
const SOCKETS_EACH: usize = 10;
/// How long the sessions are watched.
const WATCH: Duration = Duration::from_secs(10);

const MIB: f64 = 1024.0 * 1024.0;

fn percentile(sorted: &[f64], percent: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
    let index = ((sorted.len() as f64 - 1.0) * percent / 100.0).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn ratio(name: &str, value: f64, beside: f64, most: f64) -> Figure {
    let bound = format!("<= {most} x beside");
    Figure { name: name.to_owned(), value, beside: Some(beside), bound, holds: value <= most * beside }
}

fn at_most(name: &str, value: f64, most: f64) -> Figure {
    Figure { name: name.to_owned(), value, beside: None, bound: format!("<= {most}"), holds: value <= most }
}

async fn within<T>(what: &str, seconds: u64, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(Duration::from_secs(seconds), work)
        .await
        .with_context(|| format!("{what} took more than {seconds} s"))?
}

async fn echoes(terminal: &mut Terminal, count: usize, into: &mut Vec<f64>) -> anyhow::Result<()> {
    for index in 0..count {
        let sent = Instant::now();
        let byte = b'a' + u8::try_from(index % 26)?;
        within("an echo", 10, terminal.echo(byte)).await?;
        into.push(millis(sent));
    }
    Ok(())
}

/// A keystroke's way to the program and back, in milliseconds.
pub(super) async fn echo(server: &Server, bridge: &Bridge) -> anyhow::Result<Vec<Figure>> {
    let workspace = server.workspace().await?;
    let mut ours = server.terminal(workspace, RAW_CAT).await?;
    let mut theirs = Terminal::at_bridge(bridge.port, RAW_CAT).await?;
    within("the start", 60, ours.until("ready")).await?;
    within("the bridge", 60, theirs.until("ready")).await?;
    let (mut here, mut there) = (Vec::new(), Vec::new());
    // A first turn of each, not counted, warms both.
    echoes(&mut ours, ECHOES, &mut Vec::new()).await?;
    echoes(&mut theirs, ECHOES, &mut Vec::new()).await?;
    for _ in 0..TURNS {
        echoes(&mut ours, ECHOES, &mut here).await?;
        echoes(&mut theirs, ECHOES, &mut there).await?;
    }
    here.sort_by(f64::total_cmp);
    there.sort_by(f64::total_cmp);
    Ok(vec![
        ratio("echo p50, ms", percentile(&here, 50.0), percentile(&there, 50.0), 1.5),
        ratio("echo p99, ms", percentile(&here, 99.0), percentile(&there, 99.0), 2.0),
    ])
}

async fn drain(terminal: &mut Terminal, bytes: u64) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut taken = 0_u64;
    while taken < bytes {
        let output = terminal.output().await?.context("the output ended early")?;
        taken += output.len() as u64;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// `cat` of a file through a raw terminal, in MB/s.
pub(super) async fn bulk(server: &Server, bridge: &Bridge) -> anyhow::Result<Vec<Figure>> {
    // On the disk before it is read: what is still being written would be measured with it.
    let fill = |file: &str| {
        format!(
            "head -c {BULK_BYTES} /dev/zero | tr '\\0' x > {file}; sync {file}; stty raw -echo; printf ready; read -r -n 1; cat {file}; rm {file}"
        )
    };
    let workspace = server.workspace().await?;
    let dir = tempfile::tempdir()?;
    let mut theirs = Terminal::at_bridge(bridge.port, &fill(&dir.path().join("bulk").display().to_string())).await?;
    let mut ours = server.terminal(workspace, &fill("/home/sandbox/bulk")).await?;
    within("filling", 120, theirs.until("ready")).await?;
    within("filling", 120, ours.until("ready")).await?;
    theirs.send(b"g").await?;
    let beside = within("the bridge's bulk", 300, drain(&mut theirs, BULK_BYTES)).await?;
    ours.send(b"g").await?;
    let value = within("the bulk", 300, drain(&mut ours, BULK_BYTES)).await?;
    #[allow(clippy::cast_precision_loss, reason = "megabytes")]
    let speed = |seconds: f64| BULK_BYTES as f64 / 1e6 / seconds;
    let (value, beside) = (speed(value), speed(beside));
    Ok(vec![Figure {
        name: "bulk, MB/s".to_owned(),
        value,
        beside: Some(beside),
        bound: ">= 0.7 x beside".to_owned(),
        holds: value >= 0.7 * beside,
    }])
}

/// From asking for a program in a workspace without a sandbox to its first output, in milliseconds.
pub(super) async fn start(server: &Server) -> anyhow::Result<Vec<Figure>> {
    let mut all = Vec::new();
    for _ in 0..STARTS {
        let workspace = server.workspace().await?;
        let asked = Instant::now();
        let ran = server.run(workspace, "echo here", false).await?;
        let mut terminal = Terminal::at_playhouse(ran.url, ran.process).await?;
        within("a start", 60, terminal.until("here")).await?;
        all.push(millis(asked));
        server.end(ran.sandbox).await?;
    }
    all.sort_by(f64::total_cmp);
    Ok(vec![at_most("sandbox start to first output p50, ms", percentile(&all, 50.0), 150.0)])
}

/// Many sockets at 1 KB/s each: how late a line comes, in milliseconds, and what each costs the server, in KB.
pub(super) async fn sessions(server: &Server) -> anyhow::Result<Vec<Figure>> {
    // It pauses without a process: starting one takes longer than what is measured, and just then.
    let line = r#"mkfifo /tmp/never; exec 9<>/tmp/never
        while :; do printf '%s %01000d\n' "$EPOCHREALTIME" 0; read -r -t 1 -u 9; done"#;
    let mut rans = Vec::new();
    for _ in 0..SANDBOXES {
        let workspace = server.workspace().await?;
        let ran = server.run(workspace, line, false).await?;
        let mut first = Terminal::at_playhouse(ran.url.clone(), ran.process).await?;
        within("a start", 60, first.until("\n")).await?;
        rans.push(ran);
    }
    let before = server.memory()?;
    let stop = CancellationToken::new();
    let mut watching = Vec::new();
    for ran in &rans {
        for _ in 0..SOCKETS_EACH {
            let url = format!("{}&from=live", server.stream_url(ran.sandbox).await?);
            let terminal = Terminal::watching(url, ran.process).await?;
            watching.push(tokio::spawn(lags(terminal, stop.clone())));
        }
    }
    let count = watching.len();
    let began = Instant::now();
    tokio::time::sleep(WATCH).await;
    let after = server.memory()?;
    stop.cancel();
    let mut all = Vec::new();
    for watch in watching {
        // What came while sockets were still being opened tells of that.
        all.extend(watch.await??.into_iter().filter(|(at, _)| *at >= began).map(|(_, lag)| lag));
    }
    anyhow::ensure!(all.len() >= count * 5, "only {} lines came to {count} sockets", all.len());
    all.sort_by(f64::total_cmp);
    for ran in rans {
        server.end(ran.sandbox).await?;
    }
    #[allow(clippy::cast_precision_loss, reason = "kilobytes")]
    let each = after.saturating_sub(before) as f64 / 1000.0 / count as f64;
    Ok(vec![
        at_most("200 sessions, lag p99, ms", percentile(&all, 99.0), 5.0),
        at_most("200 sessions, KB each", each, 64.0),
    ])
}

/// When each line came, and how late.
async fn lags(mut terminal: Terminal, stop: CancellationToken) -> anyhow::Result<Vec<(Instant, f64)>> {
    let mut lags = Vec::new();
    while let Some(output) = stop.run_until_cancelled(terminal.output()).await {
        let output = output?.context("the output ended early")?;
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs_f64();
        let text = String::from_utf8_lossy(&output);
        if let Some(written) = text.split(' ').next().and_then(|word| word.parse::<f64>().ok()) {
            lags.push((Instant::now(), (now - written) * 1000.0));
        }
    }
    Ok(lags)
}

/// A socket that never reads beside one that types: what it costs the server, in MiB, and what it costs the neighbour.
pub(super) async fn slow_reader(server: &Server) -> anyhow::Result<Vec<Figure>> {
    let workspace = server.workspace().await?;
    let mut neighbour = server.terminal(workspace, RAW_CAT).await?;
    within("the start", 60, neighbour.until("ready")).await?;
    let mut quiet = Vec::new();
    echoes(&mut neighbour, ECHOES, &mut Vec::new()).await?;
    echoes(&mut neighbour, 5 * ECHOES, &mut quiet).await?;
    let other = server.workspace().await?;
    let flood = "while :; do printf '%08000d\\n' 0; sleep 0.01; done";
    let ran = server.run(other, flood, false).await?;
    let mut reader = Terminal::at_playhouse(ran.url.clone(), ran.process).await?;
    within("the flood", 60, reader.until("0")).await?;
    // Let the log's buffers and the flood's own costs settle before the stuck socket comes.
    drain(&mut reader, 4_000_000).await?;
    drop(reader);
    let url = server.stream_url(ran.sandbox).await?;
    let before = server.memory()?;
    let stuck = Terminal::at_playhouse(url, ran.process).await?;
    let mut beside = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        echoes(&mut neighbour, ECHOES, &mut beside).await?;
    }
    let after = server.memory()?;
    drop(stuck);
    server.end(ran.sandbox).await?;
    quiet.sort_by(f64::total_cmp);
    beside.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "mebibytes")]
    let cost = after.saturating_sub(before) as f64 / MIB;
    Ok(vec![
        at_most("a slow reader's cost, MiB", cost, 1.0),
        ratio("its neighbour's echo p50, ms", percentile(&beside, 50.0), percentile(&quiet, 50.0), 1.5),
    ])
}
