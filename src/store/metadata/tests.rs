use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn partition(n: u128) -> Partition {
    Partition::new(Kind::Workspace, Uuid::from_u128(n))
}

fn puts<const N: usize>(rows: [(&str, &str); N]) -> Commit {
    Commit { puts: rows.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into(), ..Commit::default() }
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let p = partition(1);
    let (first, guard) = {
        let store = Metadata::open(dir.path()).await.unwrap();
        let claim = store.claim("a").await.unwrap();
        assert_eq!(claim, Claim { incarnation: 1, epoch: 1 });
        let activated = store.activate(p, claim.epoch).await.unwrap();
        assert!(activated.rows.is_empty());
        let guard =
            store.commit(p, activated.guard, puts([("x/1", "one"), ("x/2", "two"), ("y", "why")])).await.unwrap();
        (claim, guard)
    };
    let store = Metadata::open(dir.path()).await.unwrap();
    let claim = store.claim("a").await.unwrap();
    assert!(claim.incarnation > first.incarnation && claim.epoch > first.epoch);
    assert_eq!(store.row(p, "x/1").await.unwrap().as_deref(), Some(&b"one"[..]));
    let keys: Vec<_> = store.scan(p, "x/").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["x/1", "x/2"]);
    let activated = store.activate(p, claim.epoch).await.unwrap();
    assert_eq!(activated.rows.len(), 3);
    assert!(activated.guard.version > guard.version);
}

#[tokio::test]
async fn a_second_open_is_locked_until_the_first_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = Metadata::open(dir.path()).await.unwrap();
    assert!(matches!(Metadata::open(dir.path()).await, Err(OpenError::Locked)));
    assert!(matches!(Metadata::migrate(dir.path()).await, Err(OpenError::Locked)));
    drop(store);
    assert_eq!(Metadata::migrate(dir.path()).await.unwrap(), SCHEMA);
    Metadata::open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_killed_node_leaves_all_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = Metadata::open(dir.path()).await.unwrap();
    let mut guard = store.activate(partition(1), 1).await.unwrap().guard;
    for n in 0..20 {
        guard = store.commit(partition(1), guard, puts([("n", &n.to_string())])).await.unwrap();
        // The file as it is now is what a killed process leaves.
        let left = tempfile::tempdir().unwrap();
        std::fs::copy(dir.path().join("metadata.redb"), left.path().join("metadata.redb")).unwrap();
        let next = Metadata::open(left.path()).await.unwrap();
        let row = next.row(partition(1), "n").await.unwrap();
        assert_eq!(row, Some(n.to_string().into_bytes()));
    }
}

#[tokio::test]
async fn two_migrations_at_once_both_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let many = (0..8).map(|_| Metadata::migrate(dir.path()));
    assert!(futures::future::join_all(many).await.into_iter().all(|schema| schema.unwrap() == SCHEMA));
}

#[tokio::test]
async fn another_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Metadata::migrate(dir.path()).await.unwrap();
    {
        let database = redb::Database::open(dir.path().join("metadata.redb")).unwrap();
        let write = database.begin_write().unwrap();
        let meta: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("meta");
        write.open_table(meta).unwrap().insert("schema", 7).unwrap();
        write.commit().unwrap();
    }
    assert!(matches!(Metadata::open(dir.path()).await, Err(OpenError::Schema { found: 7, known: SCHEMA })));
    assert!(matches!(Metadata::migrate(dir.path()).await, Err(OpenError::Schema { found: 7, .. })));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("metadata.redb"), vec![b'x'; 8192]).unwrap();
    assert!(matches!(Metadata::open(dir.path()).await, Err(OpenError::Io(_) | OpenError::Database(_))));
}

#[tokio::test]
async fn an_older_guard_and_an_older_epoch_are_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let store = Metadata::open(dir.path()).await.unwrap();
    let p = partition(1);
    let old = store.activate(p, 5).await.unwrap().guard;
    let new = store.activate(p, 5).await.unwrap().guard;
    assert!(matches!(store.commit(p, old, puts([("k", "old")])).await, Err(CommitError::Fenced)));
    let next = store.commit(p, new, puts([("k", "new")])).await.unwrap();
    assert!(matches!(store.commit(p, new, puts([("k", "twice")])).await, Err(CommitError::Fenced)));
    assert!(matches!(store.activate(p, 4).await, Err(ActivateError::Fenced)));
    store.activate(p, 6).await.unwrap();
    assert!(matches!(store.commit(p, next, puts([("k", "stale")])).await, Err(CommitError::Fenced)));
    assert_eq!(store.row(p, "k").await.unwrap().as_deref(), Some(&b"new"[..]));
    // A partition that was never activated has no guard that stands.
    let never = Guard { epoch: 0, version: 0 };
    assert!(matches!(store.commit(partition(2), never, puts([("k", "v")])).await, Err(CommitError::Fenced)));
}

#[tokio::test]
async fn dropping_a_partition_takes_its_rows_and_its_index_and_leaves_its_fence() {
    let dir = tempfile::tempdir().unwrap();
    let store = Metadata::open(dir.path()).await.unwrap();
    let (p, neighbour) = (partition(1), partition(2));
    let file = Uuid::from_u128(77);
    let guard = store.activate(p, 1).await.unwrap().guard;
    let beside = store.activate(neighbour, 1).await.unwrap().guard;
    let mut commit = puts([("", "empty key"), ("a", "1")]);
    commit.index.push((file, p.id));
    let guard = store.commit(p, guard, commit).await.unwrap();
    store.commit(neighbour, beside, puts([("a", "2")])).await.unwrap();
    assert_eq!(store.owner_of(file).await.unwrap(), Some(p.id));

    let dropping = Commit { drop_partition: true, ..puts([("gone", "yes")]) };
    store.commit(p, guard, dropping).await.unwrap();
    assert_eq!(store.owner_of(file).await.unwrap(), None);
    let again = store.activate(p, 1).await.unwrap();
    assert_eq!(again.rows.into_keys().collect::<Vec<_>>(), ["gone"]);
    assert!(again.guard.version > guard.version);
    assert_eq!(store.row(neighbour, "a").await.unwrap().as_deref(), Some(&b"2"[..]));
}

#[tokio::test]
async fn an_id_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = Metadata::open(dir.path()).await.unwrap();
    let (one, two, user) = (partition(1), partition(2), Uuid::from_u128(9));
    let first = store.activate(one, 1).await.unwrap().guard;
    let second = store.activate(two, 1).await.unwrap().guard;
    let first = store.commit(one, first, Commit { index: vec![(user, one.id)], ..Commit::default() }).await.unwrap();
    store.commit(two, second, Commit { index: vec![(user, two.id)], ..Commit::default() }).await.unwrap();
    let first = store.commit(one, first, Commit { drop_partition: true, ..Commit::default() }).await.unwrap();
    assert_eq!(store.owner_of(user).await.unwrap(), Some(two.id));
    store.commit(one, first, Commit { unindex: vec![user], ..Commit::default() }).await.unwrap();
    assert_eq!(store.owner_of(user).await.unwrap(), None);
}

#[tokio::test]
async fn ten_thousand_rows_are_one_commit_and_too_much_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Metadata::open(dir.path()).await.unwrap();
    let p = partition(1);
    let guard = store.activate(p, 1).await.unwrap().guard;
    let mut commit = Commit::default();
    for n in 0..10_000_u128 {
        commit.put_json(format!("file/{}", Uuid::from_u128(n)), &serde_json::json!({"name": n.to_string(), "size": 1}));
        commit.index.push((Uuid::from_u128(n), p.id));
    }
    let guard = store.commit(p, guard, commit).await.unwrap();
    assert_eq!(store.scan(p, "file/").await.unwrap().len(), 10_000);
    let mut big = Commit::default();
    big.put("k", vec![0; VALUE_BYTES + 1]);
    let refused = store.commit(p, guard, big).await;
    assert!(matches!(refused, Err(CommitError::Failed(StoreError::TooLarge { .. }))));
    store.commit(p, guard, puts([("k", "v")])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_share_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let store = Metadata::open(dir.path()).await.unwrap();
    let tasks: Vec<_> = (0..200_u128)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let p = partition(n);
                let mut guard = store.activate(p, 1).await.unwrap().guard;
                for round in 0..5 {
                    guard = store.commit(p, guard, puts([("k", &format!("{n}:{round}"))])).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.row(partition(123), "k").await.unwrap().as_deref(), Some(&b"123:4"[..]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn rows_are_what_a_map_says(steps in prop::collection::vec((0_u8..2, "[ab]{0,3}", prop::option::of("[a-z]{0,4}"), prop::bool::weighted(0.05)), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = Metadata::open(dir.path()).await.unwrap();
            let mut guards = [store.activate(partition(0), 1).await.unwrap().guard, store.activate(partition(1), 1).await.unwrap().guard];
            let mut model: [BTreeMap<String, Vec<u8>>; 2] = Default::default();
            for (which, key, value, dropped) in steps {
                let which = usize::from(which);
                let mut commit = Commit { drop_partition: dropped, ..Commit::default() };
                if dropped {
                    model[which].clear();
                }
                if let Some(value) = value {
                    commit.put(&*key, value.as_bytes());
                    model[which].insert(key, value.into_bytes());
                } else {
                    commit.delete(&*key);
                    model[which].remove(&key);
                }
                guards[which] = store.commit(partition(which as u128), guards[which], commit).await.unwrap();
            }
            for (which, rows) in model.into_iter().enumerate() {
                for prefix in ["", "a", "ab", "b"] {
                    let expected: Vec<_> = rows.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, value)| (key.clone(), value.clone())).collect();
                    assert_eq!(store.scan(partition(which as u128), prefix).await.unwrap(), expected);
                }
            }
        });
    }
}
