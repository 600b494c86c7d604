//! What comes of the engine's jobs, and the answers to its reports.

use std::{sync::Arc, time::Duration};

use playhouse_protocol::agent::{AgentFrame, INLINE_BYTES};

use super::{Done, Engine, NAMED};
use crate::{
    environment::Packed,
    files::{
        flight::{Flight, Settled, settle},
        report::Built,
        upload::{UploadEnd, Uploaded},
    },
};

impl Engine {
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Sent => {}
            Done::Built { generation, built, named, started } => self.built(generation, built, named, started),
            Done::Uploaded { generation, end, started } => self.upload_ended(generation, end, started),
            Done::Packed { generation, tag, result } => {
                if generation != self.link.generation {
                    return;
                }
                match result {
                    Ok(Packed::Whole) => {}
                    // The link is gone; the node asks again on the next.
                    Ok(Packed::Stopped) => {}
                    Err(error) => self.send(AgentFrame::PackFailed { tag, detail: format!("{error:#}") }),
                }
            }
        }
    }

    fn upload_ended(&mut self, generation: u64, end: UploadEnd, started: Duration) {
        let now = self.now();
        let urgent = self.uploading.take().unwrap_or(false);
        match end {
            UploadEnd::Sent(mut sent) if generation == self.link.generation => {
                sent.due.urgent |= urgent;
                self.pending.uploaded(&sent.due.path, started, now);
                self.uploaded.push(sent);
            }
            UploadEnd::Sent(Uploaded { mut due, .. }) | UploadEnd::Small(mut due) | UploadEnd::Stopped(mut due) => {
                due.urgent |= urgent;
                self.pending.give_back(due, now);
            }
            UploadEnd::Same => {}
            UploadEnd::Changed(mut due) => {
                due.urgent |= urgent;
                self.pending.uploaded(&due.path, started, now);
                self.pending.retry(due, now);
            }
            UploadEnd::Unreadable(due, error) => {
                let mut built = Built::default();
                built.unreadable(&self.core, &due.path, &error);
                self.name(built.left_out);
            }
        }
    }

    pub(super) fn job_failed(&mut self) {
        // What it was about is lost with it; a scan finds what there is to report.
        if self.flight == Flight::Building {
            self.core.tree().versions.end();
            self.flight = Flight::Idle;
        }
        self.uploading = None;
        self.lost_track = true;
    }

    fn built(&mut self, generation: u64, mut built: Built, named: Vec<(String, String)>, started: Duration) {
        let now = self.now();
        for due in std::mem::take(&mut built.rest) {
            self.pending.give_back(due, now);
        }
        for due in std::mem::take(&mut built.retry) {
            self.pending.retry(due, now);
        }
        for path in std::mem::take(&mut built.again) {
            self.pending.mark(&path, true, now);
        }
        for (due, bytes) in std::mem::take(&mut built.large) {
            self.large.extend(self.pending.may_upload(due, bytes, now));
        }
        let fresh = self.name_new(std::mem::take(&mut built.left_out));
        let mut left_out = named;
        left_out.extend(fresh);
        if generation != self.link.generation || self.link.outbox.is_none() {
            // Nothing was sent, so nothing is settled: all of it is looked at again.
            self.core.tree().versions.end();
            self.look_again(built.told.into_iter().map(|told| told.path), now);
            self.to_name.extend(left_out);
            self.flight = Flight::Idle;
            return;
        }
        let stale = {
            let tree = self.core.tree();
            built.drop_stale(|path| tree.versions.is_touched(path))
        };
        self.look_again(stale, now);
        if built.changes.is_empty() && left_out.is_empty() {
            self.core.tree().versions.end();
            self.flight = Flight::Idle;
        } else {
            self.batch += 1;
            self.flight = Flight::Sent { batch: self.batch, told: built.told, named: left_out.clone(), started };
            self.send(AgentFrame::Report { batch: self.batch, changes: built.changes, left_out });
        }
        for transfer in built.void {
            self.send(AgentFrame::UploadVoid { transfer });
        }
    }

    /// Makes paths pending that were looked at in vain, with what lies below, since a removal covers that.
    fn look_again(&mut self, paths: impl IntoIterator<Item = String>, now: Duration) {
        let core = Arc::clone(&self.core);
        let tree = core.tree();
        for path in paths {
            tree.records.below(&path).for_each(|(below, _)| self.pending.mark(below, true, now));
            self.pending.mark(&path, true, now);
            if tree.forced.contains_key(&path) {
                self.pending.force(&path, now);
            }
        }
    }

    pub(super) fn reported(&mut self, batch: u64, version: u64, refused: Vec<(String, String)>) {
        let now = self.now();
        let Some((told, started)) = self.flight.answered(batch) else { return };
        let mut tree = self.core.tree();
        let read: Vec<String> = told
            .iter()
            .filter(|told| told.bytes > 0 && told.bytes <= INLINE_BYTES as u64)
            .map(|told| told.path.clone())
            .collect();
        let spoken: Vec<(String, bool)> = told.iter().map(|told| (told.path.clone(), told.record.is_none())).collect();
        let Settled { again, emptied } = settle(&mut tree, told, version, &refused);
        drop(tree);
        self.emptied.extend(emptied);
        for path in read {
            self.pending.uploaded(&path, started, now);
        }
        for path in again {
            self.pending.mark(&path, true, now);
            self.pending.force(&path, now);
        }
        self.compare_again(&spoken);
    }

    pub(super) fn name(&mut self, left_out: Vec<(String, String)>) {
        let fresh = self.name_new(left_out);
        self.to_name.extend(fresh);
    }

    /// Those that were not named before.
    fn name_new(&mut self, left_out: Vec<(String, String)>) -> Vec<(String, String)> {
        let mut fresh = Vec::new();
        for (path, why) in left_out {
            if self.named.get(&path) != Some(&why) && self.named.len() < NAMED {
                self.named.insert(path.clone(), why.clone());
                fresh.push((path, why));
            }
        }
        fresh
    }
}
