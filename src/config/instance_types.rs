//! What a sandbox can be: the built-in instance types, and those an operator adds.

use playhouse_protocol::host::Limits;

use super::units;
use crate::actors::views::InstanceType;

const GIB: u64 = 1 << 30;
/// The least memory, and the smallest disk.
const LEAST_BYTES: u64 = 64 << 20;
/// The runtime that is built in.
const RUNTIME: &str = "builtin";

/// The built-in ones (the default first) and those of a list of `NAME=CPU:MEMORY:DISK`; one of the same name replaces.
///
/// # Errors
/// Names the entry that is none.
pub fn instance_types(added: Option<&str>) -> Result<Vec<InstanceType>, String> {
    let mut types =
        vec![instance_type("cpu-small", 2.0, 4 * GIB, 8 * GIB), instance_type("cpu-large", 4.0, 8 * GIB, 16 * GIB)];
    for entry in added.unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let new = parse(entry).ok_or_else(|| {
            format!(
                "{entry:?} is no instance type; write one like cpu-huge=8:32GiB:64GiB, with 0.1 to 1000 CPUs, 64MiB to \
                 16TiB of memory, and 64MiB to 15TiB of disk"
            )
        })?;
        match types.iter_mut().find(|old| old.name == new.name) {
            Some(old) => *old = new,
            None => types.push(new),
        }
    }
    Ok(types)
}

fn parse(entry: &str) -> Option<InstanceType> {
    let (name, parts) = entry.split_once('=')?;
    let parts: Vec<&str> = parts.split(':').collect();
    let [cpu, memory, disk] = parts.as_slice() else { return None };
    let cpu: f64 = cpu.trim().parse().ok()?;
    let (memory, disk) = (units::size(memory).ok()?, units::size(disk).ok()?);
    let name = name.trim();
    let plain =
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    #[allow(clippy::cast_precision_loss, reason = "a thousand CPUs")]
    let cpus = Limits::MOST.cpu_millis as f64 / 1000.0;
    // Below these a sandbox's own agent would not fit; above, a host makes none.
    let fits = (0.1..=cpus).contains(&cpu)
        && (LEAST_BYTES..=Limits::MOST.memory_bytes).contains(&memory)
        && (LEAST_BYTES..=Limits::MOST.disk_bytes).contains(&disk);
    (plain && fits).then(|| instance_type(name, cpu, memory, disk))
}

fn instance_type(name: &str, cpu: f64, memory_bytes: u64, disk_bytes: u64) -> InstanceType {
    InstanceType { name: name.to_owned(), cpu, memory_bytes, disk_bytes, gpu: None, runtime: RUNTIME.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_add_and_replace() {
        let types = instance_types(Some("huge=8:32GiB:64GiB, cpu-large=3.5:1GiB:1GiB")).expect("fine");
        let read: Vec<_> = types.iter().map(|kind| (kind.name.as_str(), kind.cpu, kind.memory_bytes)).collect();
        assert_eq!(read, [("cpu-small", 2.0, 4 * GIB), ("cpu-large", 3.5, GIB), ("huge", 8.0, 32 * GIB)]);
        assert!(instance_types(Some("most=1000:16TiB:15TiB,least=0.1:64MiB:64MiB")).is_ok());
        for bad in [
            "x",
            "x=1",
            "x=1:1GiB",
            "x=0:1GiB:1GiB",
            "x=1:1:1GiB",
            "=1:1GiB:1GiB",
            "a b=1:1GiB:1GiB",
            "x=NaN:1GiB:1GiB",
            "x=1000.1:1GiB:1GiB",
            "x=1:17TiB:1GiB",
            "x=1:1GiB:16TiB",
        ] {
            assert!(instance_types(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
