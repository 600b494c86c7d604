//! Results of the workspace's background work: of tasks it has spawned, and of its link's intake.

use uuid::Uuid;

use super::{land::Asked, report::Reported};
use crate::{
    actors::{Refused, Role, tenant::UserRow, views::SandboxView},
    store::blobs::BlobRef,
};

/// A result.
#[derive(Debug)]
pub enum Own {
    /// Of a task; it counts as background work until this is handled.
    Task(TaskResult),
    /// Of the intake of the link with this number.
    Intake {
        /// Which link.
        link: u64,
        /// What it has taken in.
        taken: Taken,
    },
}

/// What a task came to.
#[derive(Debug)]
pub enum TaskResult {
    /// The user that a membership is about was looked up.
    UserFound {
        /// Who asked.
        asked: Asked,
        /// For the member to be; `None`: to be removed.
        role: Option<Role>,
        /// The user.
        user: Result<Option<UserRow>, Refused>,
    },
    /// A sandbox was made, or could not be.
    SandboxMade {
        /// Which one.
        sandbox_id: Uuid,
        /// It.
        made: Result<SandboxView, Refused>,
    },
    /// A sandbox was asked how it is.
    SandboxSeen {
        /// Which one.
        sandbox_id: Uuid,
        /// It.
        seen: Result<SandboxView, Refused>,
    },
    /// A process was made, or could not be.
    ProcessMade {
        /// Which one.
        process_id: Uuid,
        /// Committed, or not.
        made: Result<(), Refused>,
    },
    /// All processes of a sandbox know that it is over.
    Settled {
        /// Which one.
        sandbox_id: Uuid,
    },
    /// An organisation's index holds the row of this version.
    Projected {
        /// Which one.
        org: Uuid,
        /// The row's version.
        version: u64,
    },
    /// The sandboxes of a deleted workspace are over, or could not be ended.
    EndedForGood(Result<(), String>),
    /// All that a deleted workspace has beside its rows is gone, or could not be removed.
    TornDown(Result<(), String>),
    /// Something whose outcome changes nothing here.
    Done,
}

/// What an intake has taken in.
#[derive(Debug)]
pub enum Taken {
    /// A report whose content is stored.
    Report {
        /// Its number.
        batch: u64,
        /// What can be taken over.
        changes: Vec<Reported>,
        /// What can't, and why.
        refused: Vec<(String, String)>,
        /// What the agent left out, and why.
        left_out: Vec<(String, String)>,
    },
    /// An environment that is stored, or could not be.
    Environment {
        /// Of which packing.
        tag: u64,
        /// It, and what the agent left out.
        stored: Result<(BlobRef, Vec<(String, String)>), String>,
    },
}
