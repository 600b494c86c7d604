//! The OCI configuration of a sandbox, a pure function of the request.

use std::path::Path;

use libcontainer::oci_spec::runtime::Spec;
use playhouse_protocol::host::SANDBOX_SOCKETS;
use serde_json::{Value, json};

use super::{cgroup::cpu_quota, request::Request, stage::Staged, toolchains::INSIDE};

/// The user and the group of all programs in a sandbox.
pub const USER: u32 = 1000;
/// Open files a program may have.
const OPEN_FILES: u64 = 8192;
/// inotify instances of a sandbox, set in its own user namespace: they count against the host's root otherwise.
const INOTIFY_INSTANCES: u32 = 64;
/// inotify watches of a sandbox.
const INOTIFY_WATCHES: u32 = 65_536;
/// Under global memory pressure sandboxes go before anything of the host.
const OOM_SCORE_ADJUSTMENT: i32 = 500;

const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/kmsg",
    "/proc/config.gz",
    "/proc/kallsyms",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/slabinfo",
    "/proc/vmallocinfo",
    "/sys/firmware",
];
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn tmpfs(at: &str, mode: &str, bytes: u64, exec: bool) -> Value {
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned(), format!("mode={mode}"), format!("size={bytes}")];
    if !exec {
        options.push("noexec".to_owned());
    }
    json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn bound(from: &Path, at: impl AsRef<Path>, writable: bool) -> Value {
    let options =
        if writable { vec!["rbind", "nosuid", "nodev"] } else { vec!["rbind", "ro", "rro", "nosuid", "nodev"] };
    json!({ "destination": at.as_ref(), "type": "bind", "source": from, "options": options })
}

/// The configuration.
///
/// # Errors
/// A value that no configuration can hold, such as a path that is not UTF-8.
pub fn config(request: &Request, staged: &Staged, unmerged: &[impl AsRef<Path>]) -> serde_json::Result<Spec> {
    let half = request.memory_bytes / 2;
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "noexec", "mode=755", "size=64k"] }),
        json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] }),
        tmpfs("/dev/shm", "1777", half, true),
        tmpfs("/tmp", "1777", half, true),
        tmpfs("/var/tmp", "1777", half.min(256 << 20), true),
        tmpfs("/run", "755", 16 << 20, false),
        bound(&staged.sockets, SANDBOX_SOCKETS, false),
        bound(Path::new("/usr"), "/usr", false),
        bound(&staged.disk.join("workspace"), "/workspace", true),
        bound(&staged.disk.join("home"), super::environment::HOME, true),
    ];
    mounts.extend(unmerged.iter().map(|path| bound(path.as_ref(), path, false)));
    mounts.extend(staged.toolchains.iter().map(|(name, path)| bound(path, Path::new(INSIDE).join(name), false)));
    let (quota, period) = cpu_quota(request.cpu_millis);
    let mut memory = json!({ "limit": request.memory_bytes });
    if request.swap_limit {
        memory["swap"] = json!(request.memory_bytes);
    }
    let ids = json!([{ "containerID": 0, "hostID": request.first_id, "size": request.ids }]);
    let variables: Vec<String> = request.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let namespaces: Vec<Value> = ["pid", "mount", "ipc", "uts", "network", "cgroup", "user"]
        .iter()
        .map(|kind| json!({ "type": kind }))
        .collect();
    serde_json::from_value(json!({
        "ociVersion": "1.0.2",
        "hostname": "sandbox",
        "root": { "path": staged.root, "readonly": true },
        "process": {
            "terminal": false,
            "user": { "uid": USER, "gid": USER, "umask": 0o022 },
            "args": request.arguments,
            "env": variables,
            "cwd": "/workspace",
            "capabilities": { "bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": [] },
            "rlimits": [
                { "type": "RLIMIT_NOFILE", "hard": OPEN_FILES, "soft": OPEN_FILES },
                { "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }
            ],
            "noNewPrivileges": true,
            "oomScoreAdj": OOM_SCORE_ADJUSTMENT
        },
        "mounts": mounts,
        "linux": {
            "uidMappings": ids,
            "gidMappings": ids,
            "namespaces": namespaces,
            "cgroupsPath": request.cgroup,
            "resources": {
                "devices": [{ "allow": false, "access": "rwm" }],
                "memory": memory,
                "cpu": { "quota": quota, "period": period },
                "pids": { "limit": request.pids }
            },
            "sysctl": {
                "user.max_inotify_instances": INOTIFY_INSTANCES.to_string(),
                "user.max_inotify_watches": INOTIFY_WATCHES.to_string()
            },
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY
        }
    }))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::sandbox::disk::Disk;

    fn request() -> Request {
        Request {
            sandbox_id: Uuid::nil(),
            first_id: 1_000_065_536,
            ids: 65_536,
            disk: Disk::Image("/d/disk.img".into()),
            root: "/run/playhouse/h/root".into(),
            stage: "/run/playhouse/h/stage".into(),
            scratch: "/run/playhouse/h/1/runtime".into(),
            sockets: "/run/playhouse/h/1/sockets".into(),
            log: "/d/agent.log".into(),
            toolchains: vec![("rust".into(), "/r".into())],
            cgroup: "/playhouse/h/1".into(),
            cpu_millis: 500,
            memory_bytes: 256 << 20,
            swap_limit: true,
            pids: 128,
            variables: vec![("PATH".into(), "/usr/bin".into())],
            arguments: vec!["/opt/playhouse/playhouse-agent".into()],
            token: [7; 32],
        }
    }

    fn built() -> Value {
        let request = request();
        let staged = Staged::in_dir(&request);
        serde_json::to_value(config(&request, &staged, &[] as &[&str]).expect("a configuration")).expect("JSON")
    }

    #[test]
    fn nothing_is_kept_of_the_hosts_privileges() {
        let built = built();
        assert_eq!(built["process"]["noNewPrivileges"], true);
        assert_eq!(built["root"]["readonly"], true);
        for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
            assert_eq!(built["process"]["capabilities"][set], json!([]), "{set}");
        }
        assert_eq!(built["linux"]["uidMappings"][0]["hostID"], 1_000_065_536_u32);
        assert_eq!(built["linux"]["namespaces"].as_array().map(Vec::len), Some(7));
        assert_eq!(built["linux"]["resources"]["memory"]["swap"], 256 << 20);
        assert_eq!(built["linux"]["resources"]["pids"]["limit"], 128);
        assert_eq!(built["process"]["user"]["uid"], 1000);
    }

    #[test]
    fn only_the_disk_and_the_small_tmpfs_can_be_written() {
        let built = built();
        let mounts = built["mounts"].as_array().expect("mounts");
        for mount in mounts.iter().filter(|mount| mount["type"] == "bind") {
            let at = mount["destination"].as_str().expect("a destination");
            let options = mount["options"].as_array().expect("options");
            let writable = !options.contains(&json!("ro"));
            assert_eq!(writable, at == "/workspace" || at == "/home/sandbox", "{at}");
            assert!(options.contains(&json!("nosuid")) && options.contains(&json!("nodev")), "{at}");
        }
        for never in ["/sys", "/sys/fs/cgroup", "/var", "/home", "/opt"] {
            assert!(mounts.iter().all(|mount| mount["destination"] != never), "{never}");
        }
    }

    #[test]
    fn neither_the_token_nor_a_host_path_is_in_what_a_program_sees() {
        let built = built();
        let text = built["process"].to_string();
        assert!(!text.contains("/d/") && !text.contains("/r\""));
        assert!(!built.to_string().contains("\"token\""));
    }
}
