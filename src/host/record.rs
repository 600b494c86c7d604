//! What a host writes down of each sandbox, so that its successor knows it, and which sandboxes have ended for good.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use playhouse_protocol::host::{EgressRule, EndCause, Limits, SandboxSpec};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::sandbox::{driver::Place, process::ProcessRef, write_atomically};

/// How many ended sandboxes are remembered: a command that names one is late and must not make it again.
const REMEMBERED: usize = 4096;

/// The version of the records that this host writes. One that has none is of the first.
const VERSION: u32 = 1;

/// A sandbox's record: its specification without the token, of which only the hash is kept.
///
/// A field without a default must be there: a record that lacks its place or its init would pass for one of a sandbox that
/// was still being made, and that is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(default = "first_version")]
    version: u32,
    pub(super) sandbox_id: Uuid,
    pub(super) epoch: u64,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) place: Option<Place>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) init: Option<ProcessRef>,
    #[serde(default)]
    pub(super) ended: Option<Cause>,
    #[serde(default)]
    pub(super) token_hash: String,
    #[serde(default)]
    pub(super) template: String,
    #[serde(default)]
    cpu_millis: u64,
    #[serde(default)]
    memory_bytes: u64,
    #[serde(default)]
    pub(super) disk_bytes: u64,
    #[serde(default)]
    pids: u32,
    #[serde(default)]
    egress: Vec<(String, Option<String>)>,
}

const fn first_version() -> u32 {
    1
}

/// The hash of a sandbox's token, in hex.
pub(super) fn token_hash(spec: &SandboxSpec) -> String {
    hex::encode(playhouse_protocol::handshake::token_hash(&spec.token))
}

/// An [`EndCause`] on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cause {
    OutOfMemory,
    AgentExited { status: i32 },
}

impl From<&EndCause> for Cause {
    fn from(cause: &EndCause) -> Self {
        match cause {
            EndCause::OutOfMemory => Self::OutOfMemory,
            EndCause::AgentExited { status } => Self::AgentExited { status: *status },
        }
    }
}

impl From<&Cause> for EndCause {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::OutOfMemory => Self::OutOfMemory,
            Cause::AgentExited { status } => Self::AgentExited { status: *status },
        }
    }
}

impl Record {
    pub(super) fn new(spec: &SandboxSpec, epoch: u64) -> Self {
        let Limits { cpu_millis, memory_bytes, disk_bytes, pids } = spec.limits;
        Self {
            version: VERSION,
            sandbox_id: spec.sandbox_id,
            epoch,
            place: None,
            init: None,
            ended: None,
            token_hash: token_hash(spec),
            template: spec.template.clone(),
            cpu_millis,
            memory_bytes,
            disk_bytes,
            pids,
            egress: spec.egress.iter().map(|rule| (rule.name.clone(), rule.address.clone())).collect(),
        }
    }

    pub(super) fn egress(&self) -> Vec<EgressRule> {
        self.egress.iter().map(|(name, address)| EgressRule { name: name.clone(), address: address.clone() }).collect()
    }
}

/// The directory of the records.
#[derive(Debug)]
pub(super) struct Records {
    dir: PathBuf,
    ended_file: PathBuf,
    ended: Vec<Uuid>,
    /// Sandboxes that can't be taken over, as when their record can't be read: their directories are left as they are.
    left: Vec<Uuid>,
}

impl Records {
    /// Opens the records of a data directory.
    pub(super) fn open(host_dir: &Path) -> io::Result<Self> {
        let dir = host_dir.join("sandboxes");
        fs::create_dir_all(&dir)?;
        let ended_file = host_dir.join("ended");
        let text = match fs::read_to_string(&ended_file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A last line that was cut is of a sandbox whose end was not answered yet.
        let ended = text.lines().filter_map(|line| line.parse().ok()).collect();
        let mut records = Self { dir, ended_file, ended, left: Vec::new() };
        records.forget_oldest(REMEMBERED)?;
        Ok(records)
    }

    /// Remembers the newest ends alone when there are more than `most`.
    fn forget_oldest(&mut self, most: usize) -> io::Result<()> {
        if self.ended.len() <= most {
            return Ok(());
        }
        self.ended.drain(..self.ended.len() - REMEMBERED);
        let lines: String = self.ended.iter().map(|id| format!("{id}\n")).collect();
        write_atomically(&self.ended_file, lines.as_bytes())
    }

    /// A sandbox's directory.
    pub(super) fn dir(&self, id: Uuid) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Every record. A directory without one is of a sandbox that was never started; it is removed. One whose record is
    /// there and can't be read is of a sandbox that may run, with work on its disk: it is left as it is.
    pub(super) fn load(&mut self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            match self.read(&path) {
                Ok(record) => records.push(record),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_dir_all(&path)?,
                Err(error) => {
                    tracing::error!(
                        directory = %path.display(), %error,
                        "a sandbox's record can't be read: the sandbox is left as it is, but its node takes it for lost; \
                         to have it back mend its state.json and start the host again, to be rid of it end its processes \
                         and remove its directory"
                    );
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    self.left.extend(name.parse::<Uuid>());
                }
            }
        }
        Ok(records)
    }

    fn read(&self, dir: &Path) -> io::Result<Record> {
        let record: Record = serde_json::from_slice(&fs::read(dir.join("state.json"))?)?;
        if record.version > VERSION {
            return Err(io::Error::other(format!(
                "it is of version {}, and this program knows {VERSION}: start one that is as new",
                record.version
            )));
        }
        if self.dir(record.sandbox_id) != dir {
            return Err(io::Error::other(format!("it is of another sandbox, {}", record.sandbox_id)));
        }
        Ok(record)
    }

    /// Leaves a sandbox as it is that can't be taken over: it is not made again here.
    pub(super) fn leave(&mut self, id: Uuid) {
        self.left.push(id);
    }

    /// Whether there are sandboxes here that nothing is known of.
    pub(super) fn leaves_any(&self) -> bool {
        !self.left.is_empty()
    }

    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let dir = self.dir(record.sandbox_id);
        fs::create_dir_all(&dir)?;
        write_atomically(&dir.join("state.json"), &serde_json::to_vec(record)?)
    }

    /// Removes a sandbox's directory and remembers that it has ended.
    pub(super) fn remove(&mut self, id: Uuid, remember: bool) -> io::Result<()> {
        if remember && !self.has_ended(id) {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.ended_file)?;
            file.write_all(format!("{id}\n").as_bytes())?;
            self.ended.push(id);
            self.forget_oldest(2 * REMEMBERED)?;
        }
        match fs::remove_dir_all(self.dir(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether this sandbox was here and must not be made again: it has ended, or can't be taken over.
    pub(super) fn has_ended(&self, id: Uuid) -> bool {
        self.ended.contains(&id) || self.left.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: Uuid) -> SandboxSpec {
        SandboxSpec {
            sandbox_id: id,
            template: "blank".into(),
            limits: Limits { cpu_millis: 1, memory_bytes: 2, disk_bytes: 3, pids: 4 },
            token: [0xab; 32],
            egress: vec![EgressRule { name: "a.test".into(), address: None }],
        }
    }

    #[test]
    fn records_come_back_without_the_token_and_ends_are_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let id = Uuid::from_u128(5);
        let mut records = Records::open(dir.path()).expect("opened");
        let mut record = Record::new(&spec(id), 7);
        record.ended = Some(Cause::AgentExited { status: 3 });
        records.write(&record).expect("written");
        fs::create_dir_all(records.dir(Uuid::from_u128(6))).expect("one that was never started");
        let text = fs::read_to_string(records.dir(id).join("state.json")).expect("read");
        assert!(!text.contains("abababab"));
        assert_eq!(Records::open(dir.path()).expect("opened").load().expect("loaded"), [record]);
        assert!(!records.dir(Uuid::from_u128(6)).exists());
        records.remove(id, true).expect("removed");
        records.remove(id, true).expect("removed before");
        let mut again = Records::open(dir.path()).expect("opened");
        assert!(again.has_ended(id));
        assert!(again.load().expect("loaded").is_empty());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_left_where_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut records = Records::open(dir.path()).expect("opened");
        let whole = serde_json::to_value(Record::new(&spec(Uuid::from_u128(1)), 1)).expect("JSON");
        let changed = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
            let mut record = whole.clone();
            change(record.as_object_mut().expect("an object"));
            record.to_string()
        };
        let unreadable = [
            String::new(),
            "{\"sandbox_id\"".to_owned(),
            changed(&|record| drop(record.remove("init"))),
            changed(&|record| drop(record.remove("place"))),
            changed(&|record| drop(record.insert("version".into(), 2.into()))),
            changed(&|record| drop(record.insert("sandbox_id".into(), Uuid::from_u128(99).to_string().into()))),
        ];
        for (id, text) in (1..).map(Uuid::from_u128).zip(&unreadable) {
            let text = text.replace(&Uuid::from_u128(1).to_string(), &id.to_string());
            fs::create_dir_all(records.dir(id).join("files")).expect("made");
            fs::write(records.dir(id).join("state.json"), text).expect("written");
        }
        // One that is no file at all: what the system says is not that it isn't there.
        fs::create_dir_all(records.dir(Uuid::from_u128(20)).join("state.json")).expect("made");
        assert_eq!(records.load().expect("loaded"), []);
        for id in (1..=unreadable.len() as u128).chain([20]).map(Uuid::from_u128) {
            assert!(records.dir(id).join("state.json").exists(), "{id} is there");
            assert!(records.has_ended(id), "and not made again");
        }
        assert!(records.leaves_any());
    }

    #[test]
    fn a_record_of_before_is_read_with_defaults() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut records = Records::open(dir.path()).expect("opened");
        let id = Uuid::from_u128(1);
        fs::create_dir_all(records.dir(id)).expect("made");
        let text = format!(r#"{{"sandbox_id": "{id}", "epoch": 3, "place": "Plain", "init": null}}"#);
        fs::write(records.dir(id).join("state.json"), text).expect("written");
        let loaded = records.load().expect("loaded");
        let read: Vec<_> = loaded.iter().map(|record| (record.sandbox_id, record.version, record.epoch)).collect();
        assert_eq!(read, [(id, 1, 3)]);
        assert!(!records.leaves_any());
    }

    #[test]
    fn the_file_of_ends_stays_short() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut records = Records::open(dir.path()).expect("opened");
        let most = 2 * REMEMBERED as u128;
        for id in 0..=most {
            records.remove(Uuid::from_u128(id), true).expect("removed");
        }
        let text = fs::read_to_string(dir.path().join("ended")).expect("read");
        assert_eq!(text.lines().count(), REMEMBERED);
        for records in [records, Records::open(dir.path()).expect("opened")] {
            assert!(records.has_ended(Uuid::from_u128(most)) && !records.has_ended(Uuid::nil()));
        }
    }
}
