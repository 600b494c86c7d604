//! The host's own toolchains, found where they really are and shown to sandboxes.
//!
//! What lies under /usr is there anyway; anything else is bound at `/opt/toolchains/<name>`, that directory alone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where toolchains from elsewhere than /usr are bound.
pub const INSIDE: &str = "/opt/toolchains";
/// The toolchains that templates name.
pub const NAMES: &[&str] = &["python", "node", "rust", "go"];

/// A toolchain of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// As templates name it.
    pub name: &'static str,
    /// Its directory on the host.
    pub prefix: PathBuf,
    /// Whether it must be bound: it isn't under /usr.
    pub bound: bool,
    /// Its programs' directory in the sandbox.
    pub bin: PathBuf,
    /// Variables that it needs.
    pub variables: Vec<(String, String)>,
}

impl Toolchain {
    fn at(name: &'static str, prefix: PathBuf) -> Self {
        let bound = !prefix.starts_with("/usr");
        let inside = if bound { Path::new(INSIDE).join(name) } else { prefix.clone() };
        Self { name, prefix, bound, bin: inside.join("bin"), variables: Vec::new() }
    }
}

/// Finds all that there are.
#[must_use]
pub fn find_all(owner_home: Option<&Path>) -> Vec<Toolchain> {
    let homes: Vec<PathBuf> =
        owner_home.map(Path::to_owned).into_iter().chain(env::var_os("HOME").map(PathBuf::from)).collect();
    [python(), node(&homes), rust(&homes), go(&homes)].into_iter().flatten().collect()
}

/// Debian's, if it has pip; else whatever `python3` is, such as pyenv's.
fn python() -> Option<Toolchain> {
    let script =
        "import sys, sysconfig, pip; print(sys.base_prefix); print(sysconfig.get_config_var('Py_ENABLE_SHARED'))";
    ["/usr/bin/python3", "python3"].iter().find_map(|program| {
        let text = output(program, &["-c", script], &[])?;
        let mut lines = text.lines();
        let mut toolchain = Toolchain::at("python", canonical(lines.next()?)?);
        if toolchain.bound && lines.next() == Some("1") {
            // Its own library is found by the path it was built for, which is not where it is bound.
            let library = format!("{INSIDE}/python/lib");
            toolchain.variables.push(("LD_LIBRARY_PATH".to_owned(), library));
        }
        Some(toolchain)
    })
}

fn node(homes: &[PathBuf]) -> Option<Toolchain> {
    let program = which("node", homes)?;
    let prefix = program.parent()?.parent()?.to_owned();
    (prefix.join("bin/npm").exists() || prefix.join("bin/node").exists()).then(|| Toolchain::at("node", prefix))
}

fn rust(homes: &[PathBuf]) -> Option<Toolchain> {
    let asked = which_link("rustc", homes).and_then(|rustc| output(rustc.to_str()?, &["--print", "sysroot"], &[]));
    let prefix = asked.and_then(|text| canonical(text.trim())).or_else(|| {
        // Under sudo rustup's own program looks in root's home and finds nothing.
        homes.iter().find_map(|home| {
            let settings = fs::read_to_string(home.join(".rustup/settings.toml")).ok()?;
            let name =
                settings.lines().find_map(|line| line.strip_prefix("default_toolchain = \"")?.strip_suffix('"'))?;
            canonical(home.join(".rustup/toolchains").join(name).to_str()?)
        })
    })?;
    prefix.join("bin/cargo").exists().then(|| Toolchain::at("rust", prefix))
}

fn go(homes: &[PathBuf]) -> Option<Toolchain> {
    let program = which("go", homes)?;
    let root = output(program.to_str()?, &["env", "GOROOT"], &[("GOTOOLCHAIN", "local")])?;
    Some(Toolchain::at("go", canonical(root.trim())?))
}

fn canonical(path: &str) -> Option<PathBuf> {
    fs::canonicalize(path).ok().filter(|path| path.is_dir() && path != Path::new("/"))
}

/// A program's real file.
fn which(name: &str, homes: &[PathBuf]) -> Option<PathBuf> {
    which_link(name, homes).and_then(|path| fs::canonicalize(path).ok())
}

/// A program's file as it is found: rustup's is one file that acts by the name it is called.
fn which_link(name: &str, homes: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/usr/bin", "/usr/local/go/bin", "/usr/lib/go/bin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(homes.iter().map(|home| home.join(".cargo/bin")))
        .chain(usual)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// What a program prints, if it ends well. It runs in `/`, where no project says which version to use.
fn output(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_under_usr_is_bound() {
        let go = Toolchain::at("go", PathBuf::from("/usr/local/go"));
        assert!(!go.bound);
        assert_eq!(go.bin, Path::new("/usr/local/go/bin"));
        let rust = Toolchain::at("rust", PathBuf::from("/home/me/.rustup/toolchains/stable"));
        assert!(rust.bound);
        assert_eq!(rust.bin, Path::new("/opt/toolchains/rust/bin"));
    }
}
