//! The task behind the logs: syncs what was written every second, and sweeps out what expired.

use std::{
    io,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Inner,
    workspace::{Workspace, entries, finished_path, is_doomed, now_ms, read_finished, remove_doomed, remove_tree},
};
use crate::store::blocking::blocking;

/// What a power cut may cost.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// The longest time between two sweeps; for a short time to live it is a quarter of that.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Runs until the last handle is gone.
pub(super) async fn run(inner: Weak<Inner>) {
    let mut ticks = interval(SYNC_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let every = (inner.shared.retention.ttl / 4).clamp(SYNC_EVERY, SWEEP_EVERY);
        let sweep = swept.is_none_or(|at| at.elapsed() >= every);
        if sweep {
            swept = Some(Instant::now());
        }
        let outcome = blocking(move || {
            inner.shared.files.sync()?;
            if sweep { inner.sweep() } else { Ok(()) }
        });
        if let Err(error) = outcome.await {
            tracing::error!(%error, "replay logs are not synced or swept");
        }
    }
}

impl Inner {
    /// Removes expired logs, also of workspaces that nobody uses, and what an interrupted removal left.
    pub(super) fn sweep(&self) -> io::Result<()> {
        let ttl = u64::try_from(self.shared.retention.ttl.as_millis()).unwrap_or(u64::MAX);
        for dir in entries(&self.dir)? {
            if is_doomed(&dir) {
                remove_doomed(&dir)?;
                continue;
            }
            let name = dir.file_name().and_then(|name| name.to_str()?.parse().ok());
            let cell = name.and_then(|id| self.workspaces().get(&id).map(Arc::clone));
            match cell.as_ref().map(|cell| cell.get()) {
                Some(Some(workspace)) => workspace.sweep(self.shared.retention.ttl)?,
                // It is being listed just now: the next sweep finds it.
                Some(None) => {}
                None => sweep_unused(&dir, ttl)?,
            }
        }
        // Who holds the map's lock sees all who could use a workspace: without one it may go, to be listed anew.
        self.workspaces().retain(|_, cell| {
            let idle = cell.get().is_some_and(|workspace| Arc::strong_count(workspace) == 1 && workspace.is_idle());
            !idle || Arc::strong_count(cell) > 1
        });
        Ok(())
    }
}

impl Workspace {
    fn sweep(&self, ttl: Duration) -> io::Result<()> {
        for (process, slot) in self.slots() {
            if slot.is_expired(ttl) {
                self.remove(process)?;
            } else {
                slot.rest();
            }
        }
        Ok(())
    }
}

/// A workspace that was not used since the start, so that nothing of it is in memory.
fn sweep_unused(dir: &Path, ttl: u64) -> io::Result<()> {
    for log in entries(dir)? {
        if is_doomed(&log) {
            remove_doomed(&log)?;
            continue;
        }
        match read_finished(&finished_path(&log)) {
            Ok(at) if now_ms() >= at.saturating_add(ttl) => remove_tree(&log)?,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
