//! What the machine decides for a sandbox, begun here on other threads, and what comes back.

use std::sync::{Arc, Mutex};

use playhouse_protocol::host::{HostError, SandboxSpec, Usage};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Entry, Event, Service, lock};
use crate::{
    host::{
        LOG_BYTES,
        machine::failed,
        record::{Cause, Record, token_hash},
        sandbox::{self, Made},
    },
    sandbox::process::ProcessRef,
};

impl Service {
    pub(super) fn make(&mut self, spec: SandboxSpec, epoch: u64) {
        let sandbox_id = spec.sandbox_id;
        self.under_way += 1;
        let record = Record::new(&spec, epoch);
        let written = self.records.write(&record);
        self.entries.insert(sandbox_id, Entry::new(record, None, JoinSet::new()));
        let (driver, events, dir) = (Arc::clone(&self.driver), self.events.clone(), self.records.dir(sandbox_id));
        tokio::task::spawn_blocking(move || {
            let made = match written {
                Ok(()) => sandbox::make(&driver, &spec, &dir, &events),
                Err(error) => Made::failed(failed("write the sandbox's record", error.to_string())),
            };
            // The service is gone when the host ended; its successor finds a record without an init and removes it.
            let _ = events.blocking_send(Event::Made { sandbox_id, made });
            if let Err(error) = driver.refill(spec.limits.disk_bytes) {
                tracing::warn!(%error, "no spare disk was prepared");
            }
        });
    }

    pub(super) fn made(&mut self, sandbox_id: Uuid, made: Made) {
        let Some(entry) = self.entries.get_mut(&sandbox_id) else { return };
        let Made { slot, tasks, result } = made;
        entry.tasks = tasks;
        let left = slot.is_some();
        entry.slot = slot.map(|slot| Arc::new(Mutex::new(slot)));
        let result = match (result, entry.slot.clone()) {
            (Ok(init), Some(slot)) => {
                entry.record.place = Some(lock(&slot).place());
                entry.record.init = Some(init);
                let mut tasks = std::mem::take(&mut entry.tasks);
                self.watch(sandbox_id, init, &slot, &mut tasks);
                if let Some(entry) = self.entries.get_mut(&sandbox_id) {
                    entry.tasks = tasks;
                }
                self.persist(sandbox_id);
                Ok(())
            }
            (Ok(_), None) => Err(failed("make the sandbox", "it has no place")),
            (Err(error), _) => {
                tracing::error!(%sandbox_id, %error, "a sandbox could not be made");
                Err(error)
            }
        };
        if result.is_err() && !left {
            self.entries.remove(&sandbox_id);
            if let Err(error) = self.records.remove(sandbox_id, false) {
                tracing::error!(%sandbox_id, %error, "a sandbox's record could not be removed");
            }
        }
        let left = left && result.is_err();
        let effects = self.machine.made(sandbox_id, result, left);
        self.run_all(effects);
    }

    /// Starts a sandbox's agent anew on its disk; all that runs in it ends first.
    pub(super) fn recover(&mut self, spec: SandboxSpec) {
        let sandbox_id = spec.sandbox_id;
        self.under_way += 1;
        let (driver, events) = (Arc::clone(&self.driver), self.events.clone());
        let found = self.entries.get_mut(&sandbox_id).and_then(|entry| {
            entry.tasks.abort_all();
            entry.hello = None;
            entry.init_before = entry.record.init;
            entry.record.token_hash = token_hash(&spec);
            // Until the new one runs the record tells of one that ended: a host that comes after this one says so too.
            entry.record.ended.get_or_insert(Cause::AgentExited { status: 255 });
            Some((entry.slot.clone()?, entry.record.init))
        });
        self.persist(sandbox_id);
        tokio::task::spawn_blocking(move || {
            let mut tasks = JoinSet::new();
            let result = match found {
                Some((slot, init)) => sandbox::recover(&driver, &mut lock(&slot), init, &spec, &events, &mut tasks),
                None => Err(HostError::Unknown),
            };
            // The service is gone when the host ended; its successor is asked again.
            let _ = events.blocking_send(Event::Recovered { sandbox_id, tasks, result });
        });
    }

    pub(super) fn recovered(
        &mut self,
        sandbox_id: Uuid,
        mut tasks: JoinSet<()>,
        result: Result<ProcessRef, HostError>,
    ) {
        if let (Ok(init), Some(slot)) = (&result, self.entries.get(&sandbox_id).and_then(|entry| entry.slot.clone())) {
            self.watch(sandbox_id, *init, &slot, &mut tasks);
        }
        if let Some(entry) = self.entries.get_mut(&sandbox_id) {
            entry.tasks = tasks;
            match &result {
                Ok(init) => {
                    entry.record.init = Some(*init);
                    entry.record.ended = None;
                }
                Err(error) => tracing::error!(%sandbox_id, %error, "what a sandbox left can't be looked at"),
            }
        }
        self.persist(sandbox_id);
        let effects = self.machine.made(sandbox_id, result.map(drop), true);
        self.run_all(effects);
    }

    /// Tells whether a sandbox's agent lives.
    pub(super) fn look(&mut self, sandbox_id: Uuid) {
        let slot = self.entries.get(&sandbox_id).and_then(|entry| entry.slot.clone());
        let (driver, events) = (Arc::clone(&self.driver), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let frozen = slot.is_some_and(|slot| slot.try_lock().is_ok_and(|slot| driver.is_frozen(&slot)));
            // Without the service nobody wants to know.
            let _ = events.blocking_send(Event::Frostbitten { sandbox_id, frozen });
        });
    }

    pub(super) fn remove(&mut self, sandbox_id: Uuid) {
        self.under_way += 1;
        let events = self.events.clone();
        let Some(entry) = self.entries.get_mut(&sandbox_id) else {
            tokio::spawn(async move { events.send(Event::Removed { sandbox_id, result: Ok(()) }).await });
            return;
        };
        entry.tasks.abort_all();
        entry.hello = None;
        let (driver, slot, init) = (Arc::clone(&self.driver), entry.slot.clone(), entry.record.init);
        tokio::task::spawn_blocking(move || {
            let result = slot.map_or(Ok(()), |slot| driver.end(&mut lock(&slot), init));
            let result = result.map_err(|error| failed(&error.step, error.detail));
            // The service is gone when the host ended; the next End is done by its successor.
            let _ = events.blocking_send(Event::Removed { sandbox_id, result });
        });
    }

    pub(super) fn removed(&mut self, sandbox_id: Uuid, result: Result<(), HostError>) {
        let result = result.and_then(|()| {
            self.records
                .remove(sandbox_id, true)
                .map_err(|error| failed("remove the sandbox's record", error.to_string()))
        });
        match &result {
            Ok(()) => {
                self.entries.remove(&sandbox_id);
            }
            Err(error) => tracing::error!(%sandbox_id, %error, "a sandbox could not be removed"),
        }
        let effects = self.machine.removed(sandbox_id, result);
        self.run_all(effects);
    }

    pub(super) fn freeze(&mut self, sandbox_id: Uuid, frozen: bool) {
        self.under_way += 1;
        let events = self.events.clone();
        let found = self.entries.get(&sandbox_id).and_then(|entry| Some((entry.slot.clone()?, entry.record.init?)));
        let driver = Arc::clone(&self.driver);
        tokio::task::spawn_blocking(move || {
            let result = match found {
                Some((slot, init)) => driver
                    .freeze(&lock(&slot), init, frozen)
                    .map_err(|error| failed("freeze the sandbox", error.to_string())),
                None => Err(HostError::Unknown),
            };
            // As above.
            let _ = events.blocking_send(Event::Frozen { sandbox_id, result });
        });
    }

    pub(super) fn measure_all(&mut self) {
        let mut found = Vec::new();
        for id in self.machine.running() {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.asked = false;
            let Some((slot, init)) = entry.slot.clone().zip(entry.record.init) else { continue };
            found.push((id, slot, init, self.records.dir(id)));
        }
        let (driver, events, log) = (Arc::clone(&self.driver), self.events.clone(), self.log.clone());
        tokio::task::spawn_blocking(move || {
            sandbox::bound_log(&log, LOG_BYTES);
            let usages = found
                .into_iter()
                .filter_map(|(id, slot, init, dir)| {
                    sandbox::bound_agent_log(&dir);
                    // One that is being frozen or removed is measured another time.
                    let slot = slot.try_lock().ok()?;
                    Some((id, driver.usage(&slot, init).ok()?))
                })
                .collect();
            // Without the service nobody wants to know.
            let _ = events.blocking_send(Event::Usage { usages, round: true });
        });
    }

    /// Measures one for a node that wants to know at once, so not its disk: without a quota that means a look at its files,
    /// for which a round may just have the slot.
    pub(super) fn measure_asked(&mut self, sandbox_id: Uuid) {
        let Some(entry) = self.entries.get_mut(&sandbox_id) else { return };
        entry.asked = true;
        let Some((place, init)) = entry.record.place.zip(entry.record.init) else { return };
        let (disk_bytes, dir) = (entry.disk_bytes, self.records.dir(sandbox_id));
        let (driver, events) = (Arc::clone(&self.driver), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let usage = driver.usage_but_disk(place, init, &dir);
            let usages = usage.map(|usage| (sandbox_id, Usage { disk_bytes, ..usage })).into_iter().collect();
            // As above.
            let _ = events.blocking_send(Event::Usage { usages, round: false });
        });
    }
}
