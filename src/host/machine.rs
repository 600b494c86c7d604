//! What a host does with its node's commands: a pure state machine per sandbox.
//!
//! | phase | Create | End | Freeze | Recover | its init ends |
//! |---|---|---|---|---|---|
//! | (none) | make it → Making | done | unknown | unknown | – |
//! | Making | waits | waits | waits | waits | noted once made |
//! | Running | done; with another token start it anew → Making | remove it → Removing | freeze it → Freezing | start it anew → Making | tell → Ended |
//! | Freezing | done | waits | waits | waits | tell, once frozen → Ended |
//! | Ended | done, told again; with another token start it anew → Making | remove it → Removing | unknown | start it anew → Making | – |
//! | Removing | refused once gone | waits | waits | waits | – |
//!
//! Every command is fenced by its epoch first, and one whose id was answered before is answered alike.

use std::collections::{BTreeMap, HashMap, VecDeque};

use playhouse_protocol::host::{EndCause, FromHost, Held, HostError, Look, SandboxSpec, ToHost};
use uuid::Uuid;

use super::record::token_hash;

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
    /// The hash of the token that its agent has.
    token_hash: String,
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
    pub(super) fn adopt(&mut self, sandbox_id: Uuid, epoch: u64, token_hash: String, ended: Option<EndCause>) {
        let phase = ended.map_or(Phase::Running, |cause| Phase::Ended { cause });
        self.lives.insert(sandbox_id, Life { epoch, token_hash, phase, doing: Vec::new(), waiting: VecDeque::new() });
    }

    /// What is here, for a node that connects.
    pub(super) fn held(&self) -> Vec<Held> {
        self.lives
            .iter()
            .filter_map(|(id, life)| {
                let ended = match &life.phase {
                    Phase::Removing => return None,
                    // One that is being started anew has its disk: it must not pass for lost.
                    Phase::Making { .. } | Phase::Running | Phase::Freezing { .. } => None,
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
                let token_hash = token_hash(&spec);
                let life = Life { epoch, token_hash, phase, doing: vec![command_id], waiting: VecDeque::new() };
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
        life.phase = match &ended {
            Some(cause) => Phase::Ended { cause: cause.clone() },
            None => Phase::Running,
        };
        let told_end = ended.map(|cause| Effect::Tell(FromHost::Ended { sandbox_id, cause }));
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
            let want = match want {
                // Nobody who asks so can speak with the agent that is there: its token died with a node that had drawn it.
                Want::Create(spec) if token_hash(&spec) != life.token_hash => Want::Recover(spec),
                want => want,
            };
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
                // What was isolated before must not run without.
                (Want::Recover(_), _) if self.missing.is_some() => {
                    let missing = self.missing.clone().unwrap_or_default();
                    effects.extend(self.answer(command_id, Err(HostError::CannotIsolate { missing })));
                }
                (Want::Recover(spec), _) => {
                    life.token_hash = token_hash(&spec);
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
#[path = "machine_tests.rs"]
mod tests;
