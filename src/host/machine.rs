//! What a host does with its node's commands: a pure state machine per sandbox.
//!
//! | phase | Create | End | Freeze | Recover | its init ends |
//! |---|---|---|---|---|---|
//! | (none) | make it → Making | done | unknown | unknown | – |
//! | Making | waits | waits | waits | waits | noted once made |
//! | Running | done | remove it → Removing | freeze it → Freezing | start it anew → Making | tell → Ended |
//! | Freezing | done | waits | waits | waits | tell, once frozen → Ended |
//! | Ended | done, told again | remove it → Removing | unknown | start it anew → Making | – |
//! | Removing | refused once gone | waits | waits | waits | – |
//!
//! Every command is fenced by its epoch first, and one whose id was answered before is answered alike.

use std::collections::{BTreeMap, HashMap, VecDeque};

use playhouse_protocol::host::{EndCause, FromHost, Held, HostError, Look, SandboxSpec, ToHost};
use uuid::Uuid;

/// How many answers are remembered.
const ANSWERS: usize = 4096;
/// How many commands may wait for one sandbox.
const WAITING: usize = 64;

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Tell the node.
    Tell(FromHost),
    /// Write down a sandbox's highest epoch, before whatever comes after this.
    Persist { sandbox_id: Uuid, epoch: u64 },
    /// Make a sandbox; answered by [`Machine::made`].
    Make { spec: SandboxSpec, epoch: u64 },
    /// Start one's agent anew on the disk that it has; answered by [`Machine::made`].
    Recover { spec: SandboxSpec },
    /// Remove one; answered by [`Machine::removed`].
    Remove { sandbox_id: Uuid },
    /// Freeze or thaw one; answered by [`Machine::frozen`].
    Freeze { sandbox_id: Uuid, frozen: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Making { ended: Option<EndCause> },
    Running,
    Freezing { ended: Option<EndCause> },
    Ended { cause: EndCause },
    Removing,
}

/// What a command wants of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Want {
    Create(SandboxSpec),
    End,
    Freeze(bool),
    Recover(SandboxSpec),
}

#[derive(Debug)]
struct Life {
    epoch: u64,
    phase: Phase,
    /// The command that is being done.
    doing: Vec<Uuid>,
    waiting: VecDeque<(Uuid, u64, Want)>,
}

/// All sandboxes of a host.
#[derive(Debug)]
pub(super) struct Machine {
    lives: BTreeMap<Uuid, Life>,
    answers: HashMap<Uuid, Result<(), HostError>>,
    answered: VecDeque<Uuid>,
    /// Nothing can be made here, and why.
    missing: Option<Vec<String>>,
}

impl Machine {
    pub(super) fn new(missing: Option<Vec<String>>) -> Self {
        Self { lives: BTreeMap::new(), answers: HashMap::new(), answered: VecDeque::new(), missing }
    }

    /// A sandbox that a host before this one made.
    pub(super) fn adopt(&mut self, sandbox_id: Uuid, epoch: u64, ended: Option<EndCause>) {
        let phase = ended.map_or(Phase::Running, |cause| Phase::Ended { cause });
        self.lives.insert(sandbox_id, Life { epoch, phase, doing: Vec::new(), waiting: VecDeque::new() });
    }

    /// What is here, for a node that connects.
    pub(super) fn held(&self) -> Vec<Held> {
        self.lives
            .iter()
            .filter_map(|(id, life)| {
                let ended = match &life.phase {
                    // Its command's answer is still to come, on this connection too.
                    Phase::Making { .. } | Phase::Removing => return None,
                    Phase::Running | Phase::Freezing { .. } => None,
                    Phase::Ended { cause } => Some(cause.clone()),
                };
                Some(Held { sandbox_id: *id, epoch: life.epoch, ended })
            })
            .collect()
    }

    /// How a sandbox is, as far as it is known here: one that runs may be frozen.
    pub(super) fn look(&self, sandbox_id: Uuid) -> Look {
        match self.lives.get(&sandbox_id).map(|life| &life.phase) {
            None => Look::Unknown,
            Some(Phase::Making { .. } | Phase::Removing | Phase::Freezing { .. }) => Look::Busy,
            Some(Phase::Running) => Look::Runs,
            Some(Phase::Ended { cause }) => Look::Ended(cause.clone()),
        }
    }

    /// The sandboxes whose programs run.
    pub(super) fn running(&self) -> impl Iterator<Item = Uuid> + '_ {
        let runs = |phase: &Phase| matches!(phase, Phase::Running | Phase::Freezing { .. });
        self.lives.iter().filter(move |(_, life)| runs(&life.phase)).map(|(id, _)| *id)
    }

    /// A command. `has_ended` says of an unknown sandbox whether it was here once.
    pub(super) fn command(&mut self, command: ToHost, has_ended: impl Fn(Uuid) -> bool) -> Vec<Effect> {
        let (command_id, epoch, sandbox_id, want) = match command {
            ToHost::Create { command_id, epoch, spec } => (command_id, epoch, spec.sandbox_id, Want::Create(spec)),
            ToHost::End { command_id, epoch, sandbox_id } => (command_id, epoch, sandbox_id, Want::End),
            ToHost::Freeze { command_id, epoch, sandbox_id, frozen } => {
                (command_id, epoch, sandbox_id, Want::Freeze(frozen))
            }
            ToHost::Recover { command_id, epoch, spec } => (command_id, epoch, spec.sandbox_id, Want::Recover(spec)),
            ToHost::Hello { .. } | ToHost::AskUsage { .. } | ToHost::Look { .. } | ToHost::Leave => return Vec::new(),
        };
        if let Some(result) = self.answers.get(&command_id) {
            return vec![done(command_id, result.clone())];
        }
        let Some(life) = self.lives.get_mut(&sandbox_id) else {
            return self.without_life(command_id, epoch, sandbox_id, want, has_ended(sandbox_id));
        };
        if epoch < life.epoch {
            let seen = life.epoch;
            return self.answer(command_id, Err(HostError::Fenced { seen }));
        }
        let mut effects = Vec::new();
        if epoch > life.epoch {
            life.epoch = epoch;
            effects.push(Effect::Persist { sandbox_id, epoch });
        }
        if life.doing.contains(&command_id) || life.waiting.iter().any(|(id, ..)| *id == command_id) {
            return effects;
        }
        if life.waiting.len() >= WAITING {
            let result = Err(failed("wait for the sandbox", "too many commands wait for it already"));
            effects.push(done(command_id, result));
            return effects;
        }
        life.waiting.push_back((command_id, epoch, want));
        effects.extend(self.advance(sandbox_id));
        effects
    }

    fn without_life(
        &mut self,
        command_id: Uuid,
        epoch: u64,
        sandbox_id: Uuid,
        want: Want,
        has_ended: bool,
    ) -> Vec<Effect> {
        match want {
            Want::Create(_) if has_ended => {
                self.answer(command_id, Err(failed("make the sandbox", "it has ended before")))
            }
            Want::Create(_) if self.missing.is_some() => {
                let missing = self.missing.clone().unwrap_or_default();
                self.answer(command_id, Err(HostError::CannotIsolate { missing }))
            }
            Want::Create(spec) => {
                let phase = Phase::Making { ended: None };
                let life = Life { epoch, phase, doing: vec![command_id], waiting: VecDeque::new() };
                self.lives.insert(sandbox_id, life);
                vec![Effect::Make { spec, epoch }]
            }
            Want::End => self.answer(command_id, Ok(())),
            Want::Freeze(_) | Want::Recover(_) => self.answer(command_id, Err(HostError::Unknown)),
        }
    }

    /// A sandbox was made, or wasn't. `left` says that something of it could not be removed again.
    pub(super) fn made(&mut self, sandbox_id: Uuid, result: Result<(), HostError>, left: bool) -> Vec<Effect> {
        let Some(life) = self.lives.get_mut(&sandbox_id) else { return Vec::new() };
        let ended = match &mut life.phase {
            Phase::Making { ended } => ended.take(),
            Phase::Running | Phase::Freezing { .. } | Phase::Ended { .. } | Phase::Removing => return Vec::new(),
        };
        let doing = std::mem::take(&mut life.doing);
        let told_end = match (&result, ended) {
            (Ok(()), None) => {
                life.phase = Phase::Running;
                None
            }
            (Ok(()), Some(cause)) => {
                life.phase = Phase::Ended { cause: cause.clone() };
                Some(Effect::Tell(FromHost::Ended { sandbox_id, cause }))
            }
            (Err(_), _) if left => {
                life.phase = Phase::Ended { cause: EndCause::AgentExited { status: 255 } };
                None
            }
            (Err(_), _) => return self.gone(sandbox_id, doing, &result, false),
        };
        let mut effects = self.answer_all(doing, &result);
        effects.extend(told_end);
        effects.extend(self.advance(sandbox_id));
        effects
    }

    /// A sandbox was removed, or something of it is still there.
    pub(super) fn removed(&mut self, sandbox_id: Uuid, result: Result<(), HostError>) -> Vec<Effect> {
        let Some(life) = self.lives.get_mut(&sandbox_id) else { return Vec::new() };
        let doing = std::mem::take(&mut life.doing);
        if result.is_ok() {
            return self.gone(sandbox_id, doing, &result, true);
        }
        life.phase = Phase::Ended { cause: EndCause::AgentExited { status: 137 } };
        let mut effects = self.answer_all(doing, &result);
        effects.extend(self.advance(sandbox_id));
        effects
    }

    /// A sandbox froze or thawed, or didn't.
    pub(super) fn frozen(&mut self, sandbox_id: Uuid, result: Result<(), HostError>) -> Vec<Effect> {
        let Some(life) = self.lives.get_mut(&sandbox_id) else { return Vec::new() };
        let ended = match &mut life.phase {
            Phase::Freezing { ended } => ended.take(),
            Phase::Making { .. } | Phase::Running | Phase::Ended { .. } | Phase::Removing => return Vec::new(),
        };
        let doing = std::mem::take(&mut life.doing);
        let told_end = ended.map(|cause| Effect::Tell(FromHost::Ended { sandbox_id, cause }));
        life.phase = match &told_end {
            Some(Effect::Tell(FromHost::Ended { cause, .. })) => Phase::Ended { cause: cause.clone() },
            _ => Phase::Running,
        };
        let mut effects = self.answer_all(doing, &result);
        effects.extend(told_end);
        effects.extend(self.advance(sandbox_id));
        effects
    }

    /// A sandbox's init ended by itself.
    pub(super) fn init_ended(&mut self, sandbox_id: Uuid, cause: EndCause) -> Vec<Effect> {
        let Some(life) = self.lives.get_mut(&sandbox_id) else { return Vec::new() };
        match &mut life.phase {
            Phase::Making { ended } | Phase::Freezing { ended } => {
                *ended = Some(cause);
                Vec::new()
            }
            Phase::Running => {
                life.phase = Phase::Ended { cause: cause.clone() };
                vec![Effect::Tell(FromHost::Ended { sandbox_id, cause })]
            }
            Phase::Ended { .. } | Phase::Removing => Vec::new(),
        }
    }

    /// Does what waits for a sandbox, as far as its phase lets it.
    fn advance(&mut self, sandbox_id: Uuid) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(life) = self.lives.get_mut(&sandbox_id) {
            let busy = match life.phase {
                Phase::Making { .. } | Phase::Removing | Phase::Freezing { .. } => true,
                Phase::Running | Phase::Ended { .. } => false,
            };
            // Making it again while it freezes needs no waiting, but costs none either.
            if busy {
                break;
            }
            let Some((command_id, _, want)) = life.waiting.pop_front() else { break };
            match (want, &life.phase) {
                (Want::End, _) => {
                    life.phase = Phase::Removing;
                    life.doing.push(command_id);
                    effects.push(Effect::Remove { sandbox_id });
                }
                (Want::Freeze(frozen), Phase::Running) => {
                    life.phase = Phase::Freezing { ended: None };
                    life.doing.push(command_id);
                    effects.push(Effect::Freeze { sandbox_id, frozen });
                }
                (Want::Recover(spec), _) => {
                    life.phase = Phase::Making { ended: None };
                    life.doing.push(command_id);
                    effects.push(Effect::Recover { spec });
                }
                (Want::Create(_), Phase::Ended { cause }) => {
                    let cause = cause.clone();
                    effects.extend(self.answer(command_id, Ok(())));
                    effects.push(Effect::Tell(FromHost::Ended { sandbox_id, cause }));
                }
                (Want::Create(_), _) => effects.extend(self.answer(command_id, Ok(()))),
                (Want::Freeze(_), _) => effects.extend(self.answer(command_id, Err(HostError::Unknown))),
            }
        }
        effects
    }

    /// Nothing of the sandbox is left: answers what was done and what still waits.
    fn gone(&mut self, sandbox_id: Uuid, doing: Vec<Uuid>, result: &Result<(), HostError>, ended: bool) -> Vec<Effect> {
        let waiting = self.lives.remove(&sandbox_id).map(|life| life.waiting).unwrap_or_default();
        let mut effects = self.answer_all(doing, result);
        for (command_id, epoch, want) in waiting {
            if self.lives.contains_key(&sandbox_id) {
                // A second Create after a failed one has made it anew; the rest waits for that.
                if let Some(life) = self.lives.get_mut(&sandbox_id) {
                    life.waiting.push_back((command_id, epoch, want));
                }
            } else {
                effects.extend(self.without_life(command_id, epoch, sandbox_id, want, ended));
            }
        }
        effects
    }

    fn answer_all(&mut self, commands: Vec<Uuid>, result: &Result<(), HostError>) -> Vec<Effect> {
        commands.into_iter().flat_map(|command| self.answer(command, result.clone())).collect()
    }

    fn answer(&mut self, command_id: Uuid, result: Result<(), HostError>) -> Vec<Effect> {
        if self.answers.insert(command_id, result.clone()).is_none() {
            self.answered.push_back(command_id);
        }
        while self.answered.len() > ANSWERS {
            if let Some(oldest) = self.answered.pop_front() {
                self.answers.remove(&oldest);
            }
        }
        vec![done(command_id, result)]
    }
}

fn done(command_id: Uuid, result: Result<(), HostError>) -> Effect {
    Effect::Tell(FromHost::Done { command_id, result })
}

/// A step that failed, as the node hears it.
pub(super) fn failed(step: &str, detail: impl Into<String>) -> HostError {
    HostError::Failed { step: step.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use playhouse_protocol::host::Limits;
    use proptest::prelude::*;

    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn spec() -> SandboxSpec {
        SandboxSpec {
            sandbox_id: ID,
            template: "blank".into(),
            limits: Limits { cpu_millis: 1, memory_bytes: 1, disk_bytes: 1, pids: 1 },
            token: [0; 32],
            egress: Vec::new(),
        }
    }

    fn create(command: u128, epoch: u64) -> ToHost {
        ToHost::Create { command_id: Uuid::from_u128(command), epoch, spec: spec() }
    }

    fn end(command: u128, epoch: u64) -> ToHost {
        ToHost::End { command_id: Uuid::from_u128(command), epoch, sandbox_id: ID }
    }

    fn freeze(command: u128, epoch: u64, frozen: bool) -> ToHost {
        ToHost::Freeze { command_id: Uuid::from_u128(command), epoch, sandbox_id: ID, frozen }
    }

    fn answered(command: u128, result: Result<(), HostError>) -> Effect {
        done(Uuid::from_u128(command), result)
    }

    fn never(_: Uuid) -> bool {
        false
    }

    #[test]
    fn a_life_from_create_to_end() {
        let mut machine = Machine::new(None);
        assert_eq!(machine.command(create(1, 5), never), [Effect::Make { spec: spec(), epoch: 5 }]);
        assert_eq!(machine.command(create(1, 5), never), [], "being done");
        assert_eq!(machine.command(end(2, 5), never), [], "waits for the making");
        let made = machine.made(ID, Ok(()), false);
        assert_eq!(made, [answered(1, Ok(())), Effect::Remove { sandbox_id: ID }]);
        assert_eq!(machine.removed(ID, Ok(())), [answered(2, Ok(()))]);
        assert_eq!(machine.command(create(1, 5), |_| true), [answered(1, Ok(()))], "answered before");
        let late = machine.command(create(3, 9), |_| true);
        assert!(matches!(&late[..], [Effect::Tell(FromHost::Done { result: Err(HostError::Failed { .. }), .. })]));
        assert_eq!(machine.command(end(4, 5), |_| true), [answered(4, Ok(()))]);
    }

    #[test]
    fn lower_epochs_are_fenced_and_higher_ones_written_down_first() {
        let mut machine = Machine::new(None);
        machine.command(create(1, 5), never);
        machine.made(ID, Ok(()), false);
        let higher = machine.command(freeze(2, 6, true), never);
        assert_eq!(
            higher,
            [Effect::Persist { sandbox_id: ID, epoch: 6 }, Effect::Freeze { sandbox_id: ID, frozen: true }]
        );
        assert_eq!(machine.command(end(3, 5), never), [answered(3, Err(HostError::Fenced { seen: 6 }))]);
        assert_eq!(machine.frozen(ID, Ok(())), [answered(2, Ok(()))]);
        assert_eq!(machine.held(), [Held { sandbox_id: ID, epoch: 6, ended: None }]);
    }

    #[test]
    fn an_init_that_ends_is_told_once_and_held() {
        let mut machine = Machine::new(None);
        machine.command(create(1, 1), never);
        assert_eq!(machine.init_ended(ID, EndCause::OutOfMemory), [], "not yet answered");
        let told = Effect::Tell(FromHost::Ended { sandbox_id: ID, cause: EndCause::OutOfMemory });
        assert_eq!(machine.made(ID, Ok(()), false), [answered(1, Ok(())), told.clone()]);
        assert_eq!(machine.held().first().and_then(|held| held.ended.clone()), Some(EndCause::OutOfMemory));
        assert_eq!(machine.command(freeze(2, 1, true), never), [answered(2, Err(HostError::Unknown))]);
        assert_eq!(machine.command(create(3, 1), never), [answered(3, Ok(())), told]);
        assert_eq!(machine.command(end(4, 1), never), [Effect::Remove { sandbox_id: ID }]);
    }

    #[test]
    fn one_that_ended_or_is_silent_is_started_anew_on_its_disk() {
        let recover = |command, epoch| ToHost::Recover { command_id: Uuid::from_u128(command), epoch, spec: spec() };
        let mut machine = Machine::new(None);
        assert_eq!(machine.command(recover(1, 1), never), [answered(1, Err(HostError::Unknown))]);
        machine.command(create(2, 1), never);
        machine.made(ID, Ok(()), false);
        assert_eq!(machine.look(ID), Look::Runs);
        machine.init_ended(ID, EndCause::OutOfMemory);
        assert_eq!(machine.look(ID), Look::Ended(EndCause::OutOfMemory));
        assert_eq!(machine.command(recover(3, 1), never), [Effect::Recover { spec: spec() }]);
        assert_eq!(machine.look(ID), Look::Busy);
        assert_eq!(machine.made(ID, Ok(()), false), [answered(3, Ok(()))]);
        assert_eq!(machine.command(recover(4, 1), never), [Effect::Recover { spec: spec() }]);
        let error = failed("x", "y");
        assert_eq!(machine.made(ID, Err(error.clone()), true), [answered(4, Err(error))], "what is left is held");
        assert!(matches!(machine.look(ID), Look::Ended(_)));
        assert_eq!(machine.command(end(5, 1), never), [Effect::Remove { sandbox_id: ID }]);
    }

    #[test]
    fn what_fails_to_be_made_can_be_made_again() {
        let mut machine = Machine::new(None);
        machine.command(create(1, 1), never);
        machine.command(create(2, 1), never);
        let error = failed("x", "y");
        let effects = machine.made(ID, Err(error.clone()), false);
        assert_eq!(effects, [answered(1, Err(error)), Effect::Make { spec: spec(), epoch: 1 }]);
        assert_eq!(machine.made(ID, Ok(()), false), [answered(2, Ok(()))]);
    }

    #[test]
    fn a_host_that_cannot_isolate_says_why() {
        let mut machine = Machine::new(Some(vec!["root".into()]));
        let missing = vec!["root".to_owned()];
        assert_eq!(machine.command(create(1, 1), never), [answered(1, Err(HostError::CannotIsolate { missing }))]);
    }

    proptest! {
        /// Whatever comes in whatever order: every command is answered once it could be, one thing is done at a time,
        /// and an epoch never falls.
        #[test]
        fn nothing_is_lost(steps in proptest::collection::vec((0_u8..7, 0_u64..4, any::<bool>()), 1..60)) {
            let mut machine = Machine::new(None);
            let mut open: Vec<Uuid> = Vec::new();
            let mut next = 100_u128;
            let mut busy: Option<Effect> = None;
            let mut ended = false;
            let mut highest = 0;
            let mut take = |effects: Vec<Effect>, open: &mut Vec<Uuid>, busy: &mut Option<Effect>| {
                for effect in effects {
                    match effect {
                        Effect::Tell(FromHost::Done { command_id, .. }) => open.retain(|id| *id != command_id),
                        Effect::Tell(_) => {}
                        Effect::Persist { epoch, .. } => {
                            assert!(epoch > highest);
                            highest = epoch;
                        }
                        other => {
                            if let Effect::Make { epoch, .. } = &other {
                                highest = *epoch;
                            }
                            assert!(busy.is_none(), "{busy:?} and {other:?} at once");
                            *busy = Some(other);
                        }
                    }
                }
            };
            for (kind, epoch, flag) in steps {
                next += 1;
                let command = match kind {
                    0 | 1 => Some(create(next, epoch)),
                    2 => Some(end(next, epoch)),
                    3 => Some(freeze(next, epoch, flag)),
                    _ => None,
                };
                let effects = match (kind, command) {
                    (_, Some(command)) => {
                        open.push(Uuid::from_u128(next));
                        machine.command(command, |_| ended)
                    }
                    (4, _) => machine.init_ended(ID, EndCause::OutOfMemory),
                    _ => {
                        let result = if flag { Ok(()) } else { Err(failed("x", "y")) };
                        match busy.take() {
                            Some(Effect::Make { .. }) => machine.made(ID, result, false),
                            Some(Effect::Remove { .. }) => {
                                ended |= flag;
                                machine.removed(ID, result)
                            }
                            Some(Effect::Freeze { .. }) => machine.frozen(ID, result),
                            _ => Vec::new(),
                        }
                    }
                };
                take(effects, &mut open, &mut busy);
            }
            for _ in 0..200 {
                let effects = match busy.take() {
                    Some(Effect::Make { .. }) => machine.made(ID, Ok(()), false),
                    Some(Effect::Remove { .. }) => machine.removed(ID, Ok(())),
                    Some(Effect::Freeze { .. }) => machine.frozen(ID, Ok(())),
                    _ => break,
                };
                take(effects, &mut open, &mut busy);
            }
            prop_assert!(open.is_empty(), "unanswered: {open:?}");
        }
    }
}
