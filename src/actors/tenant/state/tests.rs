//! Users, the index of workspaces, quotas, one-time words.

use super::*;
use crate::actors::{Role, tenant::org_id};

const T0: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn org() -> State {
    State { id: org_id("acme"), ..State::default() }
}

fn user(state: &mut State, name: &str) -> Caller {
    let (caller, change) = state.ensure_user("acme", name, None).unwrap();
    state.apply(&change.unwrap());
    caller
}

fn row(n: u128, version: u64, members: &[Uuid]) -> WorkspaceRow {
    WorkspaceRow {
        id: Uuid::from_u128(n),
        version,
        owner_id: Uuid::nil(),
        members: members.iter().map(|user| (*user, Role::Edit)).collect(),
        sharing_mode: SharingMode::Private,
        home: true,
        deleted: false,
        created_at: T0 + Duration::seconds(i64::try_from(n).unwrap()),
    }
}

fn project(state: &mut State, row: WorkspaceRow) {
    if let Some(change) = state.project(row, T0) {
        state.apply(&change);
    }
}

fn listed(state: &State, caller: &Caller) -> Vec<u128> {
    let page = PageRequest { limit: 100, cursor: None };
    state.workspaces(caller, &page).unwrap().items.iter().map(Uuid::as_u128).collect()
}

#[test]
fn a_user_is_made_once() {
    let mut state = org();
    let ann = user(&mut state, "ann");
    let (again, change) = state.ensure_user("acme", "ann", None).unwrap();
    assert_eq!((&again, change.is_none()), (&ann, true));
    let (paid, change) = state.ensure_user("acme", "ann", Some("paid")).unwrap();
    assert_eq!((paid.user_id, paid.tier.as_str(), change.is_some()), (ann.user_id, "paid", true));
    assert_eq!(state.find_user("ann").unwrap().id, ann.user_id);
    assert_eq!(state.find_user(&ann.user_id.to_string()).unwrap().name, "ann");
    for bad in ["", "a b", "ä", &"x".repeat(65), "a/b"] {
        assert_eq!(state.ensure_user("acme", bad, None).unwrap_err().code, Code::NameInvalid);
    }
    assert_eq!(state.ensure_user("acme", "a", Some("gold")).unwrap_err().code, Code::BodyInvalid);
}

#[test]
fn an_older_row_changes_nothing_not_even_after_a_deletion() {
    let mut state = org();
    let ann = user(&mut state, "ann");
    project(&mut state, row(1, 2, &[ann.user_id]));
    project(&mut state, row(1, 1, &[]));
    assert_eq!(listed(&state, &ann), [1]);
    project(&mut state, WorkspaceRow { deleted: true, ..row(1, 3, &[ann.user_id]) });
    project(&mut state, row(1, 2, &[ann.user_id]));
    assert_eq!(listed(&state, &ann), [] as [u128; 0]);
    assert_eq!(state.prune(T0 + DELETED_KEPT).len(), 1);
}

#[test]
fn a_user_owns_so_many_workspaces_and_no_more() {
    let mut state = org();
    let (ann, ben) = (user(&mut state, "ann"), user(&mut state, "ben"));
    let of = |n: usize, version| WorkspaceRow {
        owner_id: ann.user_id,
        ..row(u128::try_from(n).unwrap(), version, &[ann.user_id, ben.user_id])
    };
    let quota = Quota::of("free");
    for n in 0..quota.workspaces {
        assert_eq!(state.room_for_workspace(&ann), Ok(()));
        project(&mut state, of(n, 1));
    }
    project(&mut state, of(0, 2));
    assert_eq!(state.room_for_workspace(&ann).unwrap_err().code, Code::QuotaExceeded);
    assert_eq!(state.room_for_workspace(&ben), Ok(()));
    let free = state.users[&ann.user_id].clone();
    state.users.insert(ann.user_id, UserRow { tier: "paid".into(), ..free.clone() });
    assert_eq!(state.room_for_workspace(&ann), Ok(()), "whatever her token says");
    state.users.insert(ann.user_id, free);
    let guest = WorkspaceRow { home: false, ..of(quota.workspaces, 1) };
    project(&mut state, WorkspaceRow { owner_id: ben.user_id, ..guest });
    project(&mut state, WorkspaceRow { deleted: true, ..of(0, 3) });
    assert_eq!(state.room_for_workspace(&ann), Ok(()));
    assert_eq!(state.owned[&ann.user_id], Owned { there: quota.workspaces - 1, deleted: 1 });
    state.prune(T0 + DELETED_KEPT);
    assert_eq!(state.owned[&ann.user_id], Owned { there: quota.workspaces - 1, deleted: 0 });
}

#[test]
fn an_owners_workspaces_have_so_many_sandboxes_and_no_more() {
    let mut state = org();
    let (ann, ben) = (user(&mut state, "ann"), user(&mut state, "ben"));
    let most = u128::try_from(Quota::of("free").sandboxes).unwrap();
    for n in 0..most {
        assert_eq!(state.room_for_sandbox(&ann, Uuid::from_u128(n)), Ok(()));
    }
    let more = Uuid::from_u128(most);
    assert_eq!(state.room_for_sandbox(&ann, more).unwrap_err().code, Code::QuotaExceeded);
    assert_eq!(state.room_for_sandbox(&ben, more), Ok(()));
    state.sandbox(ann.user_id, Uuid::nil(), false);
    state.sandbox(ann.user_id, Uuid::nil(), false);
    assert_eq!(state.room_for_sandbox(&ann, Uuid::nil()), Ok(()));
    assert!(state.has_sandboxes());
}

#[test]
fn own_and_open_workspaces_are_listed_in_pages_oldest_first() {
    let mut state = org();
    let (ann, ben) = (user(&mut state, "ann"), user(&mut state, "ben"));
    for n in 1..=9 {
        let open = if n % 3 == 0 { SharingMode::View } else { SharingMode::Private };
        project(
            &mut state,
            WorkspaceRow { sharing_mode: open, ..row(n, 1, &[if n % 2 == 0 { ann.user_id } else { ben.user_id }]) },
        );
    }
    assert_eq!(listed(&state, &ann), [2, 3, 4, 6, 8, 9]);
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = state.workspaces(&ann, &PageRequest { limit: 2, cursor }).unwrap();
        seen.extend(page.items.iter().map(Uuid::as_u128));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [2, 3, 4, 6, 8, 9]);
}

#[test]
fn a_word_is_used_once() {
    let mut state = org();
    let soon = T0 + Duration::seconds(10);
    let change = state.use_once("word", soon, T0).unwrap().unwrap();
    state.apply(&change);
    assert!(state.use_once("word", soon, T0).unwrap().is_none());
    assert!(state.use_once("late", T0, T0).unwrap().is_none(), "it has expired");
    assert_eq!(state.prune(soon).len(), 1);
}
