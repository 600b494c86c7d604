//! The root directory of every sandbox: a few directories and files, made once per host and bound read-only.
//!
//! Its own passwd and hosts, copies of what tools need from the host's /etc, and a mount point for everything else.
//! From /etc only what any user may read is copied, so nothing secret gets in.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use super::toolchains::NAMES;

/// The agent's file in a sandbox.
pub const AGENT: &str = "/opt/playhouse/playhouse-agent";

const DIRECTORIES: &[&str] = &[
    "dev",
    "etc",
    "home/sandbox",
    "opt/playhouse",
    "opt/toolchains",
    "proc",
    "run",
    "tmp",
    "usr",
    "var/cache",
    "var/lib",
    "var/tmp",
    "workspace",
];

const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/:/usr/sbin/nologin\nsandbox:x:1000:1000:sandbox:/home/sandbox:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\ntty:x:5:\nsandbox:x:1000:\nnogroup:x:65534:\n"),
    ("etc/hostname", "sandbox\n"),
    ("etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
    ("etc/resolv.conf", "# Names are resolved by the egress proxy.\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
    ),
    ("etc/shells", "/bin/sh\n/bin/bash\n"),
    ("etc/bash.bashrc", BASHRC),
    ("etc/profile", "if [ \"${BASH-}\" ]; then . /etc/bash.bashrc; else PS1='$ '; fi\n"),
];

const BASHRC: &str = "[ -z \"$PS1\" ] && return
PS1='\\[\\e[34m\\]\\w\\[\\e[0m\\] $ '
shopt -s checkwinsize
alias ls='ls --color=auto' grep='grep --color=auto'
";

/// What is copied from the host's /etc where it is there.
const COPIED: &[&str] = &[
    "alternatives",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki/ca-trust",
    "pki/tls",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
];

/// Directories of a machine's root that are links into /usr on most, and must be bound on others.
pub const USR_LINKS: &[&str] = &["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// A copy has at most this many entries: /etc/ssl/certs has some hundreds.
const COPIED_ENTRIES: usize = 20_000;

/// Builds the skeleton in `dir`, with a copy of the agent in it, and says where it is. It is named by its content, so that sandboxes that run keep theirs
/// when another host process builds a different one.
///
/// # Errors
/// What the file system said.
pub fn build(dir: &Path, agent: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let fresh = dir.join(format!(".skeleton-{}", std::process::id()));
    remove(&fresh)?;
    fs::create_dir(&fresh)?;
    for name in DIRECTORIES {
        fs::create_dir_all(fresh.join(name))?;
    }
    for name in NAMES {
        fs::create_dir_all(fresh.join("opt/toolchains").join(name))?;
    }
    let mut budget = COPIED_ENTRIES;
    for name in COPIED {
        let to = fresh.join("etc").join(name);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        copy_public(&Path::new("/etc").join(name), &to, &mut budget, true)?;
    }
    for (name, text) in FILES {
        fs::write(fresh.join(name), text)?;
    }
    // A copy and no bind: a bind would show in every sandbox's mountinfo where the agent lies on the host.
    fs::copy(agent, fresh.join(&AGENT[1..]))?;
    symlink("/proc/self/mounts", fresh.join("etc/mtab"))?;
    symlink("../usr/lib/os-release", fresh.join("etc/os-release"))?;
    for name in USR_LINKS {
        let host = Path::new("/").join(name);
        match fs::symlink_metadata(&host) {
            Ok(found) if found.is_symlink() => symlink(fs::read_link(&host)?, fresh.join(name))?,
            Ok(found) if found.is_dir() => fs::create_dir(fresh.join(name))?,
            Ok(_) | Err(_) => {}
        }
    }
    let mut hasher = blake3::Hasher::new();
    settle(&fresh, &mut hasher)?;
    let root = dir.join(format!("skeleton-{}", &hasher.finalize().to_hex().as_str()[..12]));
    if root.exists() {
        remove(&fresh)?;
    } else {
        match fs::rename(&fresh, &root) {
            // Another process built the same at the same time.
            Err(_) if root.exists() => remove(&fresh)?,
            other => other?,
        }
    }
    Ok(root)
}

/// The directories of the host's root that are no links into /usr and have to be bound.
#[must_use]
pub fn unmerged() -> Vec<PathBuf> {
    USR_LINKS
        .iter()
        .map(|name| Path::new("/").join(name))
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()))
        .collect()
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies what every user may read. `follow` is for the named entry itself: /etc/localtime is a link to follow, those in
/// /etc/alternatives are to be kept.
fn copy_public(from: &Path, to: &Path, budget: &mut usize, follow: bool) -> io::Result<()> {
    let Ok(found) = (if follow { fs::metadata(from) } else { fs::symlink_metadata(from) }) else { return Ok(()) };
    let mode = found.permissions().mode();
    let Some(rest) = budget.checked_sub(1) else { return Ok(()) };
    *budget = rest;
    if found.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if found.is_dir() && mode & 0o005 == 0o005 {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)?.flatten() {
            copy_public(&entry.path(), &to.join(entry.file_name()), budget, false)?;
        }
    } else if found.is_file() && mode & 0o004 != 0 {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Opens everything to everyone, for the umask of whoever started the host is no business of those who live in its
/// sandboxes, and hashes it.
fn settle(path: &Path, hasher: &mut blake3::Hasher) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        entries.sort();
        for entry in entries {
            hasher.update(entry.file_name().unwrap_or_default().as_encoded_bytes()).update(&[0]);
            settle(&entry, hasher)?;
        }
    } else if found.is_file() {
        let executable = found.permissions().mode() & 0o111 != 0;
        fs::set_permissions(path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
        hasher.update_reader(fs::File::open(path)?)?;
    } else {
        hasher.update(fs::read_link(path)?.as_os_str().as_encoded_bytes());
    }
    hasher.update(b"/");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_built_twice_and_holds_nothing_secret() {
        let dir = tempfile::tempdir().expect("a directory");
        let agent = std::env::current_exe().expect("this program");
        let root = build(dir.path(), &agent).expect("built");
        assert_eq!(build(dir.path(), &agent).expect("built again"), root, "named by its content");
        assert!(root.join("etc/passwd").is_file());
        assert!(root.join("opt/toolchains/rust").is_dir());
        assert!(!root.join("etc/shadow").exists());
        assert!(!root.join("etc/ssl/private").exists());
        assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 1);
    }

    #[test]
    fn files_that_not_everyone_may_read_are_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let from = dir.path().join("from");
        fs::create_dir(&from).expect("made");
        fs::set_permissions(&from, fs::Permissions::from_mode(0o755)).expect("opened");
        for (name, mode) in [("public", 0o644), ("secret", 0o600)] {
            fs::write(from.join(name), name).expect("written");
            fs::set_permissions(from.join(name), fs::Permissions::from_mode(mode)).expect("set");
        }
        let to = dir.path().join("to");
        copy_public(&from, &to, &mut 100, true).expect("copied");
        assert!(to.join("public").exists());
        assert!(!to.join("secret").exists());
    }
}
