//! The tables, and what a job does to them inside a transaction.

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};
use uuid::Uuid;

use super::super::{Claim, Commit, Guard, Kind, OpenError, Partition, SCHEMA};

/// `schema`, and `epoch`: that of all shards.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Node → incarnation.
const NODES: TableDefinition<&str, u64> = TableDefinition::new("nodes");
/// Partition → `(epoch, version)`. An entry outlives its partition's rows, see the module `metadata`.
const FENCES: TableDefinition<(u8, u128), (u64, u64)> = TableDefinition::new("fences");
/// Partition and key → value.
const ROWS: TableDefinition<(u8, u128, &str), &[u8]> = TableDefinition::new("rows");
/// Id → owner.
const OWNERS: TableDefinition<u128, u128> = TableDefinition::new("owners");
/// Owner and id: `OWNERS` the other way round, so that dropping an owner needs no list of what it owned.
const OWNED: TableDefinition<(u128, u128), ()> = TableDefinition::new("owned");

/// On disk for ever: a number is never given to another kind.
const fn number(kind: Kind) -> u8 {
    match kind {
        Kind::Workspace => 1,
        Kind::Sandbox => 2,
        Kind::Process => 3,
        Kind::Tenant => 4,
        Kind::Host => 5,
    }
}

const fn fence_key(p: Partition) -> (u8, u128) {
    (number(p.kind), p.id.as_u128())
}

const fn row_key(p: Partition, key: &str) -> (u8, u128, &str) {
    (number(p.kind), p.id.as_u128(), key)
}

/// The schema of a database, or none if it is new.
pub(super) fn schema(database: &Database) -> Result<Option<u32>, OpenError> {
    let read = database.begin_read().map_err(OpenError::database)?;
    let table = match read.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(OpenError::database(error)),
    };
    let found = table.get("schema").map_err(OpenError::database)?;
    // A schema beyond u32 is newer than any this program knows, whatever its number.
    Ok(found.map(|schema| u32::try_from(schema.value()).unwrap_or(u32::MAX)))
}

/// Makes all tables, so that readers never meet a missing one.
pub(super) fn create(database: &Database) -> Result<(), OpenError> {
    let make = || -> Result<(), redb::Error> {
        let write = database.begin_write()?;
        write.open_table(META)?.insert("schema", u64::from(SCHEMA))?;
        write.open_table(NODES)?;
        write.open_table(FENCES)?;
        write.open_table(ROWS)?;
        write.open_table(OWNERS)?;
        write.open_table(OWNED)?;
        Ok(write.commit()?)
    };
    make().map_err(OpenError::database)
}

pub(super) fn row(read: &ReadTransaction, p: Partition, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(read.open_table(ROWS)?.get(row_key(p, key))?.map(|value| value.value().to_vec()))
}

pub(super) fn scan(read: &ReadTransaction, p: Partition, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let table = read.open_table(ROWS)?;
    let mut rows = Vec::new();
    for entry in table.range(row_key(p, prefix)..)? {
        let (at, value) = entry?;
        let (kind, id, key) = at.value();
        if (kind, id) != fence_key(p) || !key.starts_with(prefix) {
            break;
        }
        rows.push((key.to_owned(), value.value().to_vec()));
    }
    Ok(rows)
}

pub(super) fn owner_of(read: &ReadTransaction, id: Uuid) -> Result<Option<Uuid>, redb::Error> {
    Ok(read.open_table(OWNERS)?.get(id.as_u128())?.map(|owner| Uuid::from_u128(owner.value())))
}

pub(super) fn claim(write: &WriteTransaction, node: &str) -> Result<Claim, redb::Error> {
    let mut nodes = write.open_table(NODES)?;
    let incarnation = nodes.get(node)?.map_or(0, |found| found.value()) + 1;
    nodes.insert(node, incarnation)?;
    let mut meta = write.open_table(META)?;
    let epoch = meta.get("epoch")?.map_or(0, |found| found.value()) + 1;
    meta.insert("epoch", epoch)?;
    Ok(Claim { incarnation, epoch })
}

/// Raises the fence for an activation. `None`: a higher epoch is there.
pub(super) fn fence(write: &WriteTransaction, p: Partition, epoch: u64) -> Result<Option<Guard>, redb::Error> {
    let mut fences = write.open_table(FENCES)?;
    let (stored, version) = fences.get(fence_key(p))?.map_or((0, 0), |found| found.value());
    if stored > epoch {
        return Ok(None);
    }
    let guard = Guard { epoch, version: version + 1 };
    fences.insert(fence_key(p), (guard.epoch, guard.version))?;
    Ok(Some(guard))
}

/// Applies a commit. `None`: its guard does not stand, and nothing was touched.
pub(super) fn apply(
    write: &WriteTransaction,
    p: Partition,
    guard: Guard,
    commit: &Commit,
) -> Result<Option<Guard>, redb::Error> {
    let mut fences = write.open_table(FENCES)?;
    let stands = fences.get(fence_key(p))?.is_some_and(|found| found.value() == (guard.epoch, guard.version));
    if !stands {
        return Ok(None);
    }
    let next = Guard { epoch: guard.epoch, version: guard.version + 1 };
    fences.insert(fence_key(p), (next.epoch, next.version))?;
    change_rows(write, p, commit)?;
    change_index(write, p, commit)?;
    Ok(Some(next))
}

fn change_rows(write: &WriteTransaction, p: Partition, commit: &Commit) -> Result<(), redb::Error> {
    let mut rows = write.open_table(ROWS)?;
    if commit.drop_partition {
        let mut keys = Vec::new();
        for entry in rows.range(row_key(p, "")..)? {
            let (at, _) = entry?;
            let (kind, id, key) = at.value();
            if (kind, id) != fence_key(p) {
                break;
            }
            keys.push(key.to_owned());
        }
        for key in keys {
            rows.remove(row_key(p, &key))?;
        }
    }
    for key in &commit.deletes {
        rows.remove(row_key(p, key))?;
    }
    for (key, value) in &commit.puts {
        rows.insert(row_key(p, key), value.as_slice())?;
    }
    Ok(())
}

fn change_index(write: &WriteTransaction, p: Partition, commit: &Commit) -> Result<(), redb::Error> {
    if !commit.drop_partition && commit.unindex.is_empty() && commit.index.is_empty() {
        return Ok(());
    }
    let mut owners = write.open_table(OWNERS)?;
    let mut owned = write.open_table(OWNED)?;
    if commit.drop_partition {
        let owner = p.id.as_u128();
        let mut ids = Vec::new();
        for entry in owned.range((owner, 0)..=(owner, u128::MAX))? {
            ids.push(entry?.0.value().1);
        }
        for id in ids {
            owned.remove((owner, id))?;
            owners.remove(id)?;
        }
    }
    for id in &commit.unindex {
        let owner = owners.remove(id.as_u128())?.map(|owner| owner.value());
        if let Some(owner) = owner {
            owned.remove((owner, id.as_u128()))?;
        }
    }
    for (id, owner) in &commit.index {
        let before = owners.insert(id.as_u128(), owner.as_u128())?.map(|owner| owner.value());
        if let Some(before) = before {
            owned.remove((before, id.as_u128()))?;
        }
        owned.insert((owner.as_u128(), id.as_u128()), ())?;
    }
    Ok(())
}
