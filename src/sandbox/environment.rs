//! The variables that programs find in a sandbox.

use playhouse_protocol::host::EGRESS_PORT;
use uuid::Uuid;

use super::toolchains::Toolchain;

/// The home directory in a sandbox.
pub const HOME: &str = "/home/sandbox";

/// Where tools put the programs that they install, below the home directory.
const INSTALLED: [&str; 4] = [".local/bin", ".npm-global/bin", ".cargo/bin", "go/bin"];

/// A search path on which what was installed below `home` comes first.
pub fn search_path<'a>(home: &str, then: impl IntoIterator<Item = &'a str>) -> String {
    let installed = INSTALLED.iter().map(|dir| format!("{home}/{dir}"));
    installed.chain(then.into_iter().map(str::to_owned)).collect::<Vec<_>>().join(":")
}

/// What makes tools install below `home`.
#[must_use]
pub fn installing(home: &str) -> Vec<(&'static str, String)> {
    vec![
        // Not PIP_USER: pip falls back to the user's directory by itself where it must, and PIP_USER breaks every venv.
        ("PIP_BREAK_SYSTEM_PACKAGES", "1".to_owned()),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
        ("NPM_CONFIG_PREFIX", format!("{home}/.npm-global")),
        ("NPM_CONFIG_UPDATE_NOTIFIER", "false".to_owned()),
        ("CARGO_HOME", format!("{home}/.cargo")),
        ("GOPATH", format!("{home}/go")),
    ]
}

/// The variables of a sandbox: what tools install goes to the home directory, which is kept, and what they fetch goes
/// through the egress proxy.
#[must_use]
pub fn variables(sandbox_id: Uuid, toolchains: &[Toolchain]) -> Vec<(String, String)> {
    let proxy = format!("http://127.0.0.1:{EGRESS_PORT}");
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let bins: Vec<_> = toolchains.iter().map(|toolchain| toolchain.bin.to_string_lossy()).collect();
    let unusual = bins.iter().map(AsRef::as_ref).filter(|bin| !usual.contains(bin));
    let mut variables: Vec<(String, String)> = [
        ("PATH", search_path(HOME, unusual.chain(usual))),
        ("HOME", HOME.to_owned()),
        ("USER", "sandbox".to_owned()),
        ("LOGNAME", "sandbox".to_owned()),
        ("SHELL", "/bin/bash".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PLAYHOUSE_SANDBOX_ID", sandbox_id.to_string()),
        ("NO_PROXY", "localhost,127.0.0.1".to_owned()),
        ("no_proxy", "localhost,127.0.0.1".to_owned()),
    ]
    .into_iter()
    .chain(installing(HOME))
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        variables.push((name.to_owned(), proxy.clone()));
    }
    variables.extend(toolchains.iter().flat_map(|toolchain| toolchain.variables.iter().cloned()));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_programs_come_first_and_no_name_comes_twice() {
        let rust = Toolchain {
            name: "rust",
            prefix: "/r".into(),
            bound: true,
            bin: "/opt/toolchains/rust/bin".into(),
            variables: Vec::new(),
        };
        let variables = variables(Uuid::nil(), &[rust]);
        let path = &variables.iter().find(|(name, _)| name == "PATH").expect("a path").1;
        assert!(path.starts_with("/home/sandbox/.local/bin:"));
        assert!(path.contains(":/opt/toolchains/rust/bin:/usr/local/sbin:"));
        let mut names: Vec<_> = variables.iter().map(|(name, _)| name).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
