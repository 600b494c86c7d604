//! Running the command line.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::process::Command;

use crate::os;

/// A command that takes longer is stuck.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The binary under test.
///
/// # Panics
/// When `PLAYHOUSE_BIN` does not name one.
#[must_use]
pub fn binary() -> PathBuf {
    let named = std::env::var_os("PLAYHOUSE_BIN").expect("PLAYHOUSE_BIN names the binary under test");
    let path = PathBuf::from(named);
    let path = if path.is_dir() { path.join("playhouse") } else { path };
    path.canonicalize().unwrap_or_else(|error| panic!("PLAYHOUSE_BIN {}: {error}", path.display()))
}

/// The variables of this process that the binary must not see: it would take them for its configuration.
pub fn own_variables() -> impl Iterator<Item = String> {
    std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("PLAYHOUSE_"))
}

/// A finished command.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Finished {
    /// Itself, if it exited so.
    ///
    /// # Panics
    /// When it exited otherwise.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code; stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The one line on stdout.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn line(&self) -> &str {
        let line = self.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("no line on stdout: {:?}", self.stdout));
        assert!(!line.contains('\n') && !line.is_empty(), "not exactly one line: {:?}", self.stdout);
        line
    }
}

/// Runs `playhouse` with these arguments and variables.
///
/// # Panics
/// When it can't be started or is stuck.
pub async fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    finish(Command::new(binary()), arguments, variables).await
}

async fn finish(mut command: Command, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    for name in own_variables() {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let Output { status, stdout, stderr } = tokio::time::timeout(COMMAND_LIMIT, command.output())
        .await
        .unwrap_or_else(|_| panic!("playhouse {arguments:?} is stuck"))
        .expect("the binary starts");
    Finished {
        code: status.code(),
        stdout: String::from_utf8(stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs `playhouse` with these arguments.
///
/// # Panics
/// As [`run_with`].
pub async fn run(arguments: &[&str]) -> Finished {
    run_with(arguments, &[]).await
}

/// Runs `playhouse` with these arguments as root, through sudo where these tests are another user's.
///
/// # Panics
/// As [`run_with`].
pub async fn run_as_root(arguments: &[&str]) -> Finished {
    finish(os::as_root(binary()).into(), arguments, &[]).await
}
