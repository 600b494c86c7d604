//! A process begins: its partition is fenced and read, and its log is asked where it ends.

use std::{collections::BTreeMap, time::Duration};

use playhouse_protocol::EventId;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use uuid::Uuid;

use super::{
    Done, Own, Process, ProcessMessage,
    rows::{self, Kept, Rows},
    shell::Shell,
    state::Life,
};
use crate::{
    actors::Node,
    cluster::{Entity, StartError},
    store::{
        metadata::{Kind, Partition},
        replay::LogKey,
    },
};

/// How often it asks itself whether it is needed.
const MINUTE: Duration = Duration::from_secs(60);

impl Entity for Process {
    type Message = ProcessMessage;
    type Node = Node;
    const KIND: &'static str = "process";

    async fn start(id: Uuid, node: Node, region: ActorCell) -> Result<ActorRef<ProcessMessage>, StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::Failed(error.to_string());
        let partition = Partition { kind: Kind::Process, id };
        // Anyone may ask for any id: one that is no process must leave nothing behind, not even a fence.
        let row = node.store.metadata.row(partition, rows::LIFE).await.map_err(|e| failed(&e))?;
        let loaded = if row.is_some() { Some(load(partition, &node).await?) } else { None };
        let (actor, _) = Actor::spawn_linked(None, ProcessActor, Arguments { id, node, loaded }, region)
            .await
            .map_err(|error| failed(&error))?;
        Ok(actor)
    }
}

async fn load(partition: Partition, node: &Node) -> Result<Loaded, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Failed(error.to_string());
    let activated = node.store.metadata.activate(partition, node.epoch).await?;
    let rows = Rows::new(node.store.metadata.clone(), partition, activated.guard);
    let (mut life, mut kept) = (None, BTreeMap::new());
    for (key, bytes) in activated.rows {
        let bad = |error: serde_json::Error| StartError::Failed(format!("row {key}: {error}"));
        if key == rows::LIFE {
            life = Some(serde_json::from_slice::<Life>(&bytes).map_err(bad)?);
        } else if key.starts_with(rows::KEPT) {
            let answer = serde_json::from_slice::<Kept>(&bytes).map_err(bad)?;
            kept.insert(key, answer);
        }
    }
    let Some(life) = life else {
        return Ok(Loaded { life: None, rows, kept, end: EventId::ZERO, bytes: 0, unfinished: false });
    };
    let log = LogKey { workspace: life.record.workspace_id, process: partition.id };
    let bounds = node.store.replay.bounds(log).await.map_err(|error| failed(&error))?;
    let stored = bounds.map_or(EventId::ZERO, |bounds| bounds.last);
    let end = life.outcome().map_or(stored, |outcome| outcome.last);
    let stored = bounds.map_or(0, |bounds| bounds.bytes);
    let bytes = life.outcome().map_or(stored, |outcome| outcome.bytes.unwrap_or(stored));
    let unfinished = life.outcome().is_some() && bounds.is_some_and(|bounds| !bounds.finished);
    Ok(Loaded { life: Some(life), rows, kept, end, bytes, unfinished })
}

/// What a process begins with, where there is one.
pub(super) struct Loaded {
    pub(super) life: Option<Life>,
    pub(super) rows: Rows,
    pub(super) kept: BTreeMap<String, Kept>,
    pub(super) end: EventId,
    /// The bytes of everything up to `end`.
    pub(super) bytes: u64,
    /// It has ended, and its log was not told.
    pub(super) unfinished: bool,
}

pub(super) struct Arguments {
    pub(super) id: Uuid,
    pub(super) node: Node,
    pub(super) loaded: Option<Loaded>,
}

#[derive(Debug)]
pub(super) struct ProcessActor;

impl Actor for ProcessActor {
    type Msg = ProcessMessage;
    type State = Shell;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ProcessMessage>,
        arguments: Arguments,
    ) -> Result<Shell, ActorProcessingErr> {
        myself.send_interval(MINUTE, || ProcessMessage::Own(Own(Done::Minute)));
        let unfinished = arguments.loaded.as_ref().is_some_and(|loaded| loaded.unfinished);
        let mut shell = Shell::new(arguments, myself);
        shell.prune_answers();
        if unfinished {
            shell.finish();
        }
        Ok(shell)
    }

    async fn handle(
        &self,
        _: ActorRef<ProcessMessage>,
        message: ProcessMessage,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        Ok(shell.take(message).await?)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<ProcessMessage>,
        _: SupervisionEvent,
        _: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}
