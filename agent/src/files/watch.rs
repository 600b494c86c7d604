//! inotify on every directory of the workspace that is not generated.
//!
//! Watches are set on opened descriptors, never on paths, so that none lands outside the workspace. Directories that
//! move keep their watch under a stale name: they are unwatched where they left and watched anew where they arrive.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};

use super::{
    root::magic_link,
    scan::{ByName, LIKE_GENERATED},
};

/// Room for some hundreds of events at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// What happened to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something at this path; `wrote` where it was written to.
    Touched {
        /// Where.
        path: String,
        /// Its content may be another though its stamp is the same.
        wrote: bool,
    },
    /// A directory is new here: it may already have something in it.
    Arrived {
        /// Where.
        path: String,
    },
    /// A directory is gone from here, with all below it.
    Left {
        /// Where.
        path: String,
    },
    /// A name that can't be in the tree.
    Odd {
        /// Where, as far as it can be written.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// Events were lost: only a scan can tell.
    Overflow,
}

/// The watches.
#[derive(Debug, Default)]
pub struct Watcher {
    inotify: Option<OwnedFd>,
    by_watch: HashMap<i32, String>,
    by_path: BTreeMap<String, i32>,
    blind: Option<String>,
}

impl Watcher {
    /// Starts to watch; without inotify it is blind from the beginning.
    #[must_use]
    pub fn start() -> Self {
        match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
            Ok(inotify) => Self { inotify: Some(inotify), ..Self::default() },
            Err(error) => Self { blind: Some(error.to_string()), ..Self::default() },
        }
    }

    /// Why not everything is watched, if so: changes are then found by scans only.
    #[must_use]
    pub fn blind(&self) -> Option<&str> {
        self.blind.as_deref()
    }

    /// A descriptor that becomes readable when there are events.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn readiness(&self) -> io::Result<Option<OwnedFd>> {
        self.inotify.as_ref().map(OwnedFd::try_clone).transpose()
    }

    /// Watches the opened directory that is at `path`.
    pub fn add(&mut self, path: &str, directory: impl AsFd) {
        let Some(inotify) = &self.inotify else { return };
        if self.by_path.contains_key(path) {
            return;
        }
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(inotify, magic_link(directory), flags) {
            Ok(watch) => {
                // A directory has one watch: if it was known elsewhere, it has moved here.
                if let Some(old) = self.by_watch.insert(watch, path.to_owned()) {
                    self.by_path.remove(&old);
                }
                self.by_path.insert(path.to_owned(), watch);
            }
            // It was removed meanwhile.
            Err(Errno::NOENT) => {}
            Err(error) => self.blind = Some(error.to_string()),
        }
    }

    fn forget_tree(&mut self, path: &str) {
        let (from, to) = (format!("{path}/"), format!("{path}0"));
        let mut gone: Vec<String> = self.by_path.range(from..to).map(|(path, _)| path.clone()).collect();
        if self.by_path.contains_key(path) {
            gone.push(path.to_owned());
        }
        for path in gone {
            if let Some(watch) = self.by_path.remove(&path) {
                self.by_watch.remove(&watch);
                if let Some(inotify) = &self.inotify {
                    // A removed directory's watch is gone already.
                    let _ = inotify::remove_watch(inotify, watch);
                }
            }
        }
    }

    /// Everything that has happened until now, but for what `by_name` says is not looked at.
    pub fn drain(&mut self, by_name: impl Fn(&str) -> ByName) -> Vec<Event> {
        let mut events = Vec::new();
        let mut left: Vec<String> = Vec::new();
        if let Some(inotify) = &self.inotify {
            let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
            let mut reader = inotify::Reader::new(inotify, &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let flags = event.events();
                        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                            events.push(Event::Overflow);
                            continue;
                        }
                        if flags.contains(ReadFlags::IGNORED) {
                            if let Some(path) = self.by_watch.remove(&event.wd()) {
                                self.by_path.remove(&path);
                            }
                            continue;
                        }
                        let Some(parent) = self.by_watch.get(&event.wd()) else { continue };
                        let Some(name) = event.file_name() else { continue };
                        if left.iter().any(|gone| playhouse_protocol::path::is_within(parent, gone)) {
                            continue;
                        }
                        let Ok(name) = name.to_str() else {
                            let path = format!("{parent}/{}", name.to_string_lossy());
                            events.push(Event::Odd { path, why: "not_utf8" });
                            continue;
                        };
                        let path = format!("{parent}/{name}");
                        match by_name(&path) {
                            ByName::In => {}
                            ByName::Generated if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) => {
                                if !flags.contains(ReadFlags::ISDIR) {
                                    events.push(Event::Odd { path, why: LIKE_GENERATED });
                                }
                                continue;
                            }
                            ByName::Generated | ByName::Ours => continue,
                        }
                        if !flags.contains(ReadFlags::ISDIR) {
                            events.push(Event::Touched { path, wrote: flags.contains(ReadFlags::MODIFY) });
                        } else if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                            left.retain(|gone| *gone != path);
                            events.push(Event::Arrived { path });
                        } else if flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
                            // One that was moved goes on under its old name until it is unwatched below.
                            if flags.contains(ReadFlags::MOVED_FROM) {
                                left.push(path.clone());
                            }
                            events.push(Event::Left { path });
                        }
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(error) => {
                        self.blind = Some(error.to_string());
                        break;
                    }
                }
            }
        }
        // Only now: what arrived under an old name is watched anew by the scan that follows each arrival.
        for event in &events {
            if let Event::Left { path } | Event::Arrived { path } = event {
                self.forget_tree(path);
            }
        }
        events
    }
}
