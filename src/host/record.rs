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

/// A sandbox's record: its specification without the token, of which only the hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) sandbox_id: Uuid,
    pub(super) epoch: u64,
    pub(super) place: Option<Place>,
    pub(super) init: Option<ProcessRef>,
    pub(super) ended: Option<Cause>,
    pub(super) token_hash: String,
    pub(super) template: String,
    cpu_millis: u64,
    memory_bytes: u64,
    pub(super) disk_bytes: u64,
    pids: u32,
    egress: Vec<(String, Option<String>)>,
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
        let hash = playhouse_protocol::handshake::token_hash(&spec.token);
        Self {
            sandbox_id: spec.sandbox_id,
            epoch,
            place: None,
            init: None,
            ended: None,
            token_hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
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
        let mut ended: Vec<Uuid> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if ended.len() > REMEMBERED {
            ended.drain(..ended.len() - REMEMBERED);
            let lines: String = ended.iter().map(|id| format!("{id}\n")).collect();
            write_atomically(&ended_file, lines.as_bytes())?;
        }
        Ok(Self { dir, ended_file, ended })
    }

    /// A sandbox's directory.
    pub(super) fn dir(&self, id: Uuid) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Every record. A directory without one is of a sandbox that was never started; it is removed.
    pub(super) fn load(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let record: Option<Record> = fs::read(path.join("state.json"))
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .filter(|record: &Record| self.dir(record.sandbox_id) == path);
            match record {
                Some(record) => records.push(record),
                None => fs::remove_dir_all(&path)?,
            }
        }
        Ok(records)
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
            if self.ended.len() > 2 * REMEMBERED {
                self.ended.drain(..REMEMBERED);
            }
        }
        match fs::remove_dir_all(self.dir(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether this sandbox was here and has ended.
    pub(super) fn has_ended(&self, id: Uuid) -> bool {
        self.ended.contains(&id)
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
        let again = Records::open(dir.path()).expect("opened");
        assert!(again.has_ended(id));
        assert!(again.load().expect("loaded").is_empty());
    }
}
