//! Taking over what a host before this one left.

use std::sync::{Arc, Mutex};

use playhouse_protocol::host::EndCause;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Entry, Event, Service, SharedSlot, lock};
use crate::{
    host::{
        record::{Cause, Record},
        sandbox, watch,
    },
    sandbox::{
        driver::{Place, Slot},
        process::ProcessRef,
    },
};

impl Service {
    /// Finds what a host before this one left: what runs is taken over, what has ended is held, what was still being made is
    /// removed, and what can't be taken over now is left.
    pub(super) fn reconcile(&mut self) -> std::io::Result<()> {
        let mut known = Vec::new();
        for record in self.records.load()? {
            let id = record.sandbox_id;
            let (Some(place), Some(init)) = (record.place, record.init) else {
                // It was being made; the sweep below removes what there is, and its node may make it again.
                self.records.remove(id, false)?;
                continue;
            };
            match self.driver.adopt(id, &self.records.dir(id), place, Some(init)) {
                Ok(slot) => {
                    if let Place::Contained { n } = slot.place() {
                        known.push(n);
                    }
                    self.adopt(record, slot, init);
                }
                Err(error) => {
                    let directory = self.records.dir(id);
                    tracing::error!(
                        directory = %directory.display(), %error,
                        "a sandbox could not be taken over and is left as it is: start the host again to have it back, or end \
                         its processes and remove its directory to be rid of it"
                    );
                    self.records.leave(id);
                }
            }
        }
        let swept = self.driver.sweep(&known).map_err(std::io::Error::other)?;
        if !swept.is_empty() {
            tracing::warn!(?swept, "removed sandboxes that no record knew");
        }
        Ok(())
    }

    fn adopt(&mut self, mut record: Record, slot: Slot, init: ProcessRef) {
        let id = record.sandbox_id;
        if record.ended.is_none() && !init.exists() {
            // It ended while no host looked; with what status, nobody knows.
            record.ended = Some(Cause::AgentExited { status: 255 });
        }
        if record.place != Some(slot.place()) {
            record.place = Some(slot.place());
            if let Err(error) = self.records.write(&record) {
                tracing::error!(sandbox_id = %id, %error, "a sandbox's new place could not be written down");
            }
        }
        self.machine.adopt(id, record.epoch, record.token_hash.clone(), record.ended.as_ref().map(EndCause::from));
        let mut tasks = JoinSet::new();
        let slot = Arc::new(Mutex::new(slot));
        if record.ended.is_none() {
            let opened =
                sandbox::open_sockets(&self.driver, &lock(&slot), id, &record.egress(), &self.events, &mut tasks);
            if let Err(error) = opened {
                tracing::error!(sandbox_id = %id, %error, "a sandbox's sockets could not be opened again");
            }
            self.watch(id, init, &slot, &mut tasks);
        }
        tracing::info!(sandbox_id = %id, ended = record.ended.is_some(), "took over a sandbox");
        self.entries.insert(id, Entry::new(record, Some(slot), tasks));
    }

    pub(super) fn watch(&self, sandbox_id: Uuid, init: ProcessRef, slot: &SharedSlot, tasks: &mut JoinSet<()>) {
        let (events, driver, slot) = (self.events.clone(), Arc::clone(&self.driver), Arc::clone(slot));
        tasks.spawn(async move {
            let status = match watch::ended(init).await {
                Ok(status) => status,
                Err(error) => {
                    tracing::error!(%sandbox_id, %error, "a sandbox's init can't be watched");
                    return;
                }
            };
            let kills = tokio::task::spawn_blocking(move || driver.oom_kills(&lock(&slot))).await.unwrap_or(0);
            let killed = status == 128 + libc::SIGKILL;
            let cause = if killed && kills > 0 { EndCause::OutOfMemory } else { EndCause::AgentExited { status } };
            // The service is gone when the host ends; its successor sees it too.
            let _ = events.send(Event::InitEnded { sandbox_id, init, cause }).await;
        });
    }
}
