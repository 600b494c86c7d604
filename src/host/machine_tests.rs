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
    assert_eq!(higher, [Effect::Persist { sandbox_id: ID, epoch: 6 }, Effect::Freeze { sandbox_id: ID, frozen: true }]);
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

fn create_with(token: u8, command: u128) -> ToHost {
    ToHost::Create {
        command_id: Uuid::from_u128(command),
        epoch: 1,
        spec: SandboxSpec { token: [token; 32], ..spec() },
    }
}

#[test]
fn one_that_is_asked_for_with_another_token_is_started_anew_with_it() {
    let with = |token| SandboxSpec { token: [token; 32], ..spec() };
    let mut machine = Machine::new(None);
    machine.command(create_with(1, 1), never);
    assert_eq!(machine.held(), [Held { sandbox_id: ID, epoch: 1, ended: None }], "what is being made is held");
    assert_eq!(machine.command(create_with(1, 1), never), [], "the same, again");
    assert_eq!(machine.command(create_with(2, 2), never), [], "of a node that does not know the first token");
    let made = machine.made(ID, Ok(()), false);
    assert_eq!(made, [answered(1, Ok(())), Effect::Recover { spec: with(2) }]);
    assert_eq!(machine.made(ID, Ok(()), false), [answered(2, Ok(()))]);
    assert_eq!(machine.command(create_with(2, 3), never), [answered(3, Ok(()))], "it has this token");
    machine.init_ended(ID, EndCause::OutOfMemory);
    assert_eq!(machine.command(create_with(3, 4), never), [Effect::Recover { spec: with(3) }]);
    let error = failed("x", "y");
    assert_eq!(machine.made(ID, Err(error.clone()), true), [answered(4, Err(error))]);
    assert_eq!(machine.command(create_with(4, 5), never), [Effect::Recover { spec: with(4) }]);
}

#[test]
fn one_that_was_taken_over_is_known_by_its_token() {
    let mut machine = Machine::new(None);
    machine.adopt(ID, 1, token_hash(&spec()), None);
    assert_eq!(machine.command(create_with(0, 1), never), [answered(1, Ok(()))]);
    assert!(matches!(machine.command(create_with(1, 2), never)[..], [Effect::Recover { .. }]));
}

#[test]
fn a_host_that_cannot_isolate_starts_nothing_anew() {
    let mut machine = Machine::new(Some(vec!["root".into()]));
    machine.adopt(ID, 1, token_hash(&spec()), Some(EndCause::OutOfMemory));
    let missing = vec!["root".to_owned()];
    let recover = ToHost::Recover { command_id: Uuid::from_u128(1), epoch: 1, spec: spec() };
    let refused = Err(HostError::CannotIsolate { missing });
    assert_eq!(machine.command(recover, never), [answered(1, refused.clone())]);
    assert_eq!(machine.command(create_with(1, 2), never), [answered(2, refused)]);
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
                0 => Some(create(next, epoch)),
                1 => Some(ToHost::Create {
                    command_id: Uuid::from_u128(next),
                    epoch,
                    spec: SandboxSpec { token: [u8::from(flag); 32], ..spec() },
                }),
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
                        Some(Effect::Recover { .. }) => machine.made(ID, result, true),
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
                Some(Effect::Make { .. } | Effect::Recover { .. }) => machine.made(ID, Ok(()), false),
                Some(Effect::Remove { .. }) => machine.removed(ID, Ok(())),
                Some(Effect::Freeze { .. }) => machine.frozen(ID, Ok(())),
                _ => break,
            };
            take(effects, &mut open, &mut busy);
        }
        prop_assert!(open.is_empty(), "unanswered: {open:?}");
    }
}
