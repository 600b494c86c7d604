use uuid::Uuid;

use super::*;

const IDLE: Duration = Duration::from_secs(60);

fn record() -> Record {
    let now = OffsetDateTime::UNIX_EPOCH;
    Record {
        id: Uuid::from_u128(1),
        workspace_id: Uuid::from_u128(2),
        user_id: Uuid::from_u128(3),
        template: "blank".into(),
        instance_type: "cpu-small".into(),
        isolation: "hardened-container".into(),
        token_hash: [1; 32],
        created_at: now,
        last_activity_at: now,
        filled: false,
        phase: Phase::Provisioning { attempt: 1, suspend: false },
    }
}

fn at(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn the_table_is_walked() {
    let mut r = record();
    assert!(r.step(Event::HostDone(Ok(())), at(1), false, IDLE).is_empty());
    assert_eq!(r.step(Event::Linked, at(1), true, IDLE), [Effect::Commit, Effect::Tell]);
    assert_eq!(r.phase, Phase::Running);
    r.step(Event::Busy(false), at(2), true, IDLE);
    assert!(r.step(Event::Tick, at(62), true, IDLE).is_empty());
    assert_eq!(r.step(Event::Tick, at(63), true, IDLE), [Effect::Commit, Effect::Tell, Effect::Save(Programs::Stop)]);
    assert_eq!(r.step(Event::Saved, at(64), true, IDLE), [Effect::EndAtHost]);
    r.step(Event::HostDone(Ok(())), at(65), false, IDLE);
    assert_eq!(r.phase, Phase::Over { reason: "idle".into(), failed: false });
    assert_eq!(r.step(Event::HostUp(Some(None)), at(66), false, IDLE), [Effect::EndAtHost]);
}

#[test]
fn a_start_is_tried_twice_and_then_failed() {
    let failed = || Event::HostDone(Err(HostError::Failed { step: "mount".into(), detail: "busy".into() }));
    let mut r = record();
    assert_eq!(r.step(failed(), at(1), false, IDLE), [Effect::Create]);
    r.step(failed(), at(2), false, IDLE);
    assert_eq!(r.phase, Phase::Over { reason: "start_failed".into(), failed: true });
}

#[test]
fn one_that_the_host_does_not_hold_is_lost() {
    let mut r = record();
    assert_eq!(r.step(Event::HostUp(None), at(1), false, IDLE), [Effect::Create]);
    assert_eq!(r.step(Event::HostUp(Some(None)), at(1), false, IDLE), [Effect::Create], "perhaps with another token");
    r.step(Event::Linked, at(1), true, IDLE);
    r.step(Event::HostUp(None), at(2), false, IDLE);
    assert_eq!(r.phase, Phase::Over { reason: "sandbox_lost".into(), failed: true });
}

#[test]
fn one_that_no_host_was_told_of_is_over_at_once() {
    let mut r = Record { token_hash: NO_TOKEN, ..record() };
    let end = Event::End { reason: "ended".into(), save: true };
    assert_eq!(r.step(end, at(1), false, IDLE), [Effect::Commit, Effect::Tell]);
    assert_eq!(r.phase, Phase::Over { reason: "ended".into(), failed: false });
}

#[test]
fn one_whose_host_is_away_is_over_in_the_end_and_ended_there_later() {
    let mut r = running();
    r.step(Event::End { reason: "ended".into(), save: true }, at(10), true, IDLE);
    assert_eq!(r.step(Event::Saved, at(50), true, IDLE), [Effect::EndAtHost]);
    assert!(r.step(Event::Tick, at(80), false, IDLE).is_empty(), "counted from when the host was told");
    assert_eq!(r.step(Event::Tick, at(81), false, IDLE), [Effect::Commit, Effect::Tell, Effect::EndAtHost]);
    assert_eq!(r.phase, Phase::Over { reason: "ended".into(), failed: false });
    assert_eq!(r.step(Event::HostUp(Some(None)), at(90), false, IDLE), [Effect::EndAtHost]);
}

fn running() -> Record {
    let mut r = record();
    r.step(Event::Linked, at(1), true, IDLE);
    assert_eq!(r.step(Event::Filled, at(1), true, IDLE), [Effect::Commit]);
    assert!(r.step(Event::Filled, at(1), true, IDLE).is_empty());
    r
}

fn suspended() -> Record {
    let mut r = running();
    let saving = [Effect::Commit, Effect::Tell, Effect::Save(Programs::GoOn)];
    assert_eq!(r.step(Event::Suspend, at(2), true, IDLE), saving);
    assert_eq!(r.step(Event::Saved, at(3), true, IDLE), [Effect::Freeze(true), Effect::Commit, Effect::Tell]);
    r
}

#[test]
fn a_suspended_one_is_saved_once_its_agent_is_back() {
    let end = || Event::End { reason: "ended".into(), save: true };
    let mut r = suspended();
    assert_eq!(r.step(end(), at(3), false, IDLE), [Effect::Freeze(false), Effect::Commit, Effect::Tell]);
    let mut away = r.clone();
    assert_eq!(r.step(Event::Linked, at(4), true, IDLE), [Effect::Save(Programs::Stop)]);
    assert_eq!(r.step(Event::Saved, at(5), true, IDLE), [Effect::EndAtHost]);
    let harvest = [Effect::Commit, Effect::Tell, Effect::Recover];
    assert_eq!(away.step(Event::Tick, at(19), false, IDLE), harvest, "an agent that stays away");
}

#[test]
fn suspend_and_resume() {
    let mut r = suspended();
    assert_eq!(r.step(Event::HostUp(Some(None)), at(3), false, IDLE), [Effect::Freeze(true)]);
    assert_eq!(r.step(Event::Busy(true), at(3), false, IDLE)[0], Effect::Freeze(false));
    assert_eq!(r.phase, Phase::Running);
    assert_eq!(r.step(Event::HostUp(Some(None)), at(3), false, IDLE), [Effect::Freeze(false)], "it may be lost");
    r.step(Event::Suspend, at(4), true, IDLE);
    assert!(r.step(Event::Busy(true), at(4), true, IDLE).is_empty(), "its programs still run");
    r.step(Event::Resume, at(5), true, IDLE);
    assert_eq!(r.phase, Phase::Running);
    assert!(r.step(Event::Saved, at(6), true, IDLE).is_empty());
    let mut r = suspended();
    assert_eq!(r.step(Event::NotFrozen, at(4), false, IDLE)[0], Effect::Freeze(false));
    assert_eq!(r.phase, Phase::Running);
}

#[test]
fn a_suspension_waits_for_its_saving_but_not_for_ever() {
    let mut r = running();
    r.step(Event::Suspend, at(2), true, IDLE);
    assert!(r.step(Event::Tick, at(32), true, IDLE).is_empty());
    assert_eq!(r.step(Event::Tick, at(33), true, IDLE)[0], Effect::Freeze(true));
    let mut r = running();
    assert_eq!(r.step(Event::Suspend, at(2), false, IDLE), [Effect::Commit, Effect::Tell], "its agent is away");
    assert_eq!(r.step(Event::Linked, at(3), true, IDLE), [Effect::Save(Programs::GoOn)]);
}

#[test]
fn one_that_is_suspended_while_it_is_made_is_suspended_when_it_is_made() {
    let mut r = record();
    r.step(Event::Suspend, at(1), false, IDLE);
    assert_eq!(r.step(Event::Linked, at(2), true, IDLE)[2], Effect::Save(Programs::GoOn));
    r.step(Event::Saved, at(2), true, IDLE);
    assert_eq!(r.phase, Phase::Suspended);
    let mut r = record();
    r.step(Event::Suspend, at(1), false, IDLE);
    r.step(Event::Busy(true), at(1), false, IDLE);
    r.step(Event::Linked, at(2), true, IDLE);
    assert_eq!(r.phase, Phase::Running);
}

#[test]
fn what_a_lost_one_left_is_brought_in_before_it_is_removed() {
    let harvest = [Effect::Commit, Effect::Tell, Effect::Recover];
    let died = || EndCause::AgentExited { status: 137 };
    for lost in [Event::HostEnded(died()), Event::HostUp(Some(Some(died()))), Event::Looked(Look::Ended(died()))] {
        assert_eq!(running().step(lost, at(2), false, IDLE), harvest);
    }
    let mut r = suspended();
    assert_eq!(r.step(Event::HostUp(Some(Some(EndCause::OutOfMemory))), at(4), false, IDLE), harvest);
    assert_eq!(r.ending(), Some("out_of_memory"));
    assert!(r.harvests() && r.takes_agent());
    assert!(r.step(Event::HostDone(Ok(())), at(5), false, IDLE).is_empty());
    let mut again = r.clone();
    assert_eq!(again.step(Event::HostUp(Some(None)), at(5), false, IDLE), [Effect::Recover], "the host died too");
    let mut silent = r.clone();
    assert_eq!(silent.step(Event::Tick, at(20), false, IDLE), [Effect::Commit, Effect::EndAtHost]);
    assert!(r.step(Event::Linked, at(6), true, IDLE).is_empty());
    assert_eq!(r.step(Event::Filled, at(7), true, IDLE), [Effect::Save(Programs::Stop)]);
    assert_eq!(r.step(Event::Saved, at(8), true, IDLE), [Effect::Commit, Effect::EndAtHost]);
    r.step(Event::HostDone(Ok(())), at(9), false, IDLE);
    assert_eq!(r.phase, Phase::Over { reason: "out_of_memory".into(), failed: true });
    let mut r = record();
    r.step(Event::Linked, at(1), true, IDLE);
    r.step(Event::HostEnded(died()), at(2), false, IDLE);
    assert!(r.over(), "one that was never filled has nothing to bring in");
}

#[test]
fn one_that_ends_while_its_agent_is_away_waits_for_it() {
    let end = || Event::End { reason: "ended".into(), save: true };
    let mut r = running();
    assert_eq!(r.step(end(), at(2), false, IDLE), [Effect::Commit, Effect::Tell]);
    assert_eq!(r.step(Event::Linked, at(3), true, IDLE), [Effect::Save(Programs::Stop)]);
    r.step(Event::HostEnded(EndCause::OutOfMemory), at(4), false, IDLE);
    assert!(r.harvests(), "it died while it was saved");
    assert_eq!(r.ending(), Some("ended"));
}

#[test]
fn a_silent_agent_is_looked_at() {
    let mut r = running();
    assert_eq!(r.step(Event::Silent, at(20), false, IDLE), [Effect::Look]);
    assert!(r.step(Event::Looked(Look::Runs), at(20), true, IDLE).is_empty(), "it is back");
    assert_eq!(r.step(Event::Looked(Look::Frozen), at(20), false, IDLE), [Effect::Freeze(false)]);
    r.step(Event::Looked(Look::Runs), at(20), false, IDLE);
    assert_eq!(r.ending(), Some("agent_silent"));
    assert!(suspended().step(Event::Silent, at(90), false, IDLE).is_empty());
}
