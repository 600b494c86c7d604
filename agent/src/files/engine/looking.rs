//! Finding out what has changed: events, and scans where events do not tell.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use playhouse_protocol::path as paths;

use super::{COMPARED, DOUBT, DOUBT_FACTOR, Engine, GATHER, SCAN_EVERY};
use crate::files::{
    flight::Flight,
    scan::{Findings, by_name, scan},
    watch::Event,
};

impl Engine {
    /// Takes the events that have come.
    pub(super) async fn drain(&mut self) {
        self.listen_at = self.now() + GATHER;
        let (core, watcher) = (Arc::clone(&self.core), Arc::clone(&self.watcher));
        let taken = tokio::task::spawn_blocking(move || {
            let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
            let settings = core.settings();
            let events = watcher.drain(|path| by_name(path, &settings));
            let mut found = Vec::new();
            for event in &events {
                if let Event::Arrived { path } = event {
                    found.push(scan(&core, &mut watcher, path, false));
                }
            }
            (events, found)
        });
        let Ok((events, found)) = taken.await else {
            self.lost_track = true;
            return;
        };
        let now = self.now();
        if !events.is_empty() && self.scan_at.is_none() {
            self.scan_at = Some(now + DOUBT.max(self.scanned_in * DOUBT_FACTOR));
        }
        for event in events {
            match event {
                Event::Touched { path, wrote } => self.pending.mark(&path, wrote, now),
                Event::Arrived { path } => {
                    self.pending.mark(&path, false, now);
                    self.has_compared(path);
                }
                Event::Left { path } => {
                    self.pending.mark(&path, false, now);
                    let tree = self.core.tree();
                    tree.records.below(&path).for_each(|(below, _)| self.pending.mark(below, false, now));
                    drop(tree);
                    self.has_compared(path);
                }
                Event::Odd { path, why } => self.name(vec![(path, why.to_owned())]),
                Event::Overflow => self.lost_track = true,
            }
        }
        found.into_iter().for_each(|findings| self.take_findings(findings));
    }

    /// Walks what lies below `from`.
    pub(super) async fn scan(&mut self, from: String) {
        let (core, watcher) = (Arc::clone(&self.core), Arc::clone(&self.watcher));
        let (whole, begun, compared) = (from.is_empty(), self.now(), from.clone());
        let scanned = tokio::task::spawn_blocking(move || {
            let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
            let findings = scan(&core, &mut watcher, &from, true);
            (findings, watcher.blind().map(str::to_owned))
        });
        let Ok((findings, blind)) = scanned.await else { return };
        self.take_findings(findings);
        self.has_compared(compared);
        if whole {
            self.scan_at = None;
            self.scanned_in = self.now().saturating_sub(begun);
        }
        if let Some(why) = blind {
            if !std::mem::replace(&mut self.blind, true) {
                let detail = format!("not every folder can be watched ({why}); changes are looked for every 2 s");
                self.core.tree().notice("watch_limit", detail);
            }
            self.scan_at = Some(self.now() + SCAN_EVERY);
        }
    }

    /// What lies here was compared with the records. Those of a report that is under way were not among them: once it is
    /// settled they are to be compared too.
    fn has_compared(&mut self, path: String) {
        if self.flight == Flight::Idle {
            return;
        }
        if self.compared.len() >= COMPARED {
            self.compared = BTreeSet::from([String::new()]);
        } else {
            self.compared.insert(path);
        }
    }

    /// Looks again at what a settled report spoke of, where that was compared meanwhile.
    pub(super) fn compare_again(&mut self, told: &[(String, bool)]) {
        let now = self.now();
        let compared = std::mem::take(&mut self.compared);
        let is_compared = |path: &str| compared.iter().any(|above| above.is_empty() || paths::is_within(path, above));
        for (path, gone) in told.iter().filter(|(path, _)| is_compared(path)) {
            self.pending.mark(path, true, now);
            if *gone {
                // What is there again was known until now.
                self.emptied.push(path.clone());
            }
        }
        if !(self.flushes.is_empty() && self.packs.is_empty()) {
            self.pending.urge();
        }
    }

    fn take_findings(&mut self, findings: Findings) {
        let now = self.now();
        for (path, racy) in findings.changed {
            self.pending.mark(&path, racy, now);
        }
        self.name(findings.odd.into_iter().map(|(path, why)| (path, why.to_owned())).collect());
    }
}
