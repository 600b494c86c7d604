//! One `playhouse serve` with its host: started, killed, started again, and never left behind.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{cli, os, wait};

/// How long a server may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long it may take to drain: 10 s for its sandboxes by contract, and slack.
const STOP_LIMIT: Duration = Duration::from_secs(40);
/// A variable that the server is started with and no sandbox may see.
pub const CANARY: (&str, &str) = ("HOST_CANARY", "canary-4f9a1c7be2");

/// Cleans up when this process ends, however it ends: its stdin is a pipe that only this process holds open. A host that was
/// started through sudo, and what it made, are root's.
const WATCHDOG: &str = r#"
read -r _
pids() {
  for p in /proc/[0-9]*; do
    tr '\0' '\n' <"$p/cmdline" 2>/dev/null | grep -qF -- "$WATCHED" && echo "${p#/proc/}"
  done
}
for signal in TERM KILL; do
  for pid in $(pids); do kill -$signal "$pid" 2>/dev/null || sudo -n kill -$signal "$pid" 2>/dev/null; done
  for _ in $(seq 100); do [ -z "$(pids)" ] && break; sleep 0.2; done
done
[ -n "$WATCHED_KEEP" ] || rm -rf --one-file-system "$WATCHED" || sudo -n rm -rf --one-file-system "$WATCHED"
"#;

/// What the first line on stdout says.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The node's name.
    pub node: String,
    /// The API.
    pub http: String,
    /// The admin listener.
    pub admin: String,
    /// The one-time link for the browser.
    pub login_url: String,
}

#[derive(Debug)]
struct Running {
    pid: u32,
    ended: Receiver<ExitStatus>,
}

/// A server and its data directory.
#[derive(Debug)]
pub struct Server {
    data: PathBuf,
    arguments: Vec<String>,
    running: Mutex<Option<Running>>,
    last_ready: Mutex<Ready>,
    watchdog: Mutex<Option<(Child, ChildStdin)>>,
}

impl Server {
    /// Starts one on a fresh data directory and waits until it serves.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        // Short, since a unix socket's path has at most 107 bytes.
        let data = tempfile::Builder::new().prefix("ph-").tempdir().expect("a data directory").keep();
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .env("WATCHED", &data)
            .env("WATCHED_KEEP", std::env::var("PLAYHOUSE_KEEP").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        let pipe = watchdog.stdin.take().expect("its stdin is piped");
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let server = Self {
            data,
            arguments,
            running: Mutex::new(None),
            last_ready: Mutex::new(Ready {
                node: String::new(),
                http: String::new(),
                admin: String::new(),
                login_url: String::new(),
            }),
            watchdog: Mutex::new(Some((watchdog, pipe))),
        };
        server.start_again();
        server
    }

    /// Starts it (again) on its data directory.
    ///
    /// # Panics
    /// When it runs already or does not come up.
    pub fn start_again(&self) {
        let mut running = lock(&self.running);
        assert!(running.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.stderr_path()).expect("its log");
        let mut command = Command::new(cli::binary());
        for name in cli::own_variables() {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--output", "json"])
            .arg("--data-dir")
            .arg(&self.data)
            .args(&self.arguments)
            .env(CANARY.0, CANARY.1)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("the binary starts");
        let pid = child.id();
        let stdout = child.stdout.take().expect("its stdout is piped");
        let (first_line, line) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // A receiver that gave up has panicked already.
            let _ = first_line.send(lines.next());
            lines.for_each(drop);
        });
        let (tell, ended) = mpsc::channel();
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // Nobody may care any more.
                let _ = tell.send(status);
            }
        });
        let line = line.recv_timeout(START_LIMIT).ok().flatten();
        let Some(line) = line else {
            let _ = os::kill(pid, libc::SIGKILL);
            panic!("serve printed no ready line; its log ends:\n{}", self.log_tail(0, 60));
        };
        *lock(&self.last_ready) = ready(&line);
        *running = Some(Running { pid, ended });
    }

    /// What it said when it was ready (the last time).
    #[must_use]
    pub fn ready(&self) -> Ready {
        lock(&self.last_ready).clone()
    }

    /// The API's base URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.ready().http
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The process id of `serve`.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        lock(&self.running).as_ref().expect("it runs").pid
    }

    /// The process id of its host, waited for.
    ///
    /// # Panics
    /// When none comes.
    pub async fn host_pid(&self) -> u32 {
        wait::until("a `playhouse host` of this data directory", async || {
            os::of_data_dir(&self.data, "host").first().copied()
        })
        .await
    }

    /// `kill -9` of `serve`, and waits until it is gone.
    ///
    /// # Panics
    /// When it does not go.
    pub fn kill_serve(&self) {
        let running = lock(&self.running).take().expect("it runs");
        assert!(os::kill(running.pid, libc::SIGKILL), "serve was gone before it was killed");
        running.ended.recv_timeout(STOP_LIMIT).expect("a killed process ends");
    }

    /// `kill -9` of its host, and waits until it is gone.
    ///
    /// # Panics
    /// When there is none or it does not go.
    pub async fn kill_host(&self) -> u32 {
        let pid = self.host_pid().await;
        let _ = os::kill(pid, libc::SIGKILL);
        wait::until("the killed host to be gone", async || (!os::alive(pid)).then_some(())).await;
        pid
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: i32) {
        assert!(os::kill(self.pid(), signal), "serve is gone");
    }

    /// Waits until it has exited by itself.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn exited(&self) -> Option<i32> {
        let running = lock(&self.running).take().expect("it runs");
        let status = running.ended.recv_timeout(STOP_LIMIT).unwrap_or_else(|_| {
            let _ = os::kill(running.pid, libc::SIGKILL);
            panic!("serve did not exit within {STOP_LIMIT:?}")
        });
        assert!(!status.core_dumped(), "it dumped core");
        status.code()
    }

    /// SIGTERM, and its exit code.
    ///
    /// # Panics
    /// When it does not exit.
    #[must_use]
    pub fn stop(&self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        self.exited()
    }

    /// Where its log goes.
    #[must_use]
    pub fn stderr_path(&self) -> PathBuf {
        self.data.join("blackbox-stderr.log")
    }

    /// How long its log is.
    #[must_use]
    pub fn log_length(&self) -> u64 {
        fs::metadata(self.stderr_path()).map_or(0, |metadata| metadata.len())
    }

    /// The last `lines` lines of its log after the byte `from`.
    #[must_use]
    pub fn log_tail(&self, from: u64, lines: usize) -> String {
        let bytes = fs::read(self.stderr_path()).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(0).min(bytes.len());
        let text = String::from_utf8_lossy(&bytes[from..]);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- the server's log ends:\n{}", self.log_tail(0, 80));
        }
        if let Some(running) = lock(&self.running).take()
            && os::kill(running.pid, libc::SIGTERM)
            && running.ended.recv_timeout(STOP_LIMIT).is_err()
        {
            let _ = os::kill(running.pid, libc::SIGKILL);
        }
        // The watchdog ends what is left and removes the directory.
        if let Some((mut watchdog, pipe)) = lock(&self.watchdog).take() {
            drop(pipe);
            // Nothing can be done about a watchdog that can't be waited for.
            let _ = watchdog.wait();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ready(line: &str) -> Ready {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("ready line {line:?}: {error}"));
    let text = |key: &str| {
        value[key]
            .as_str()
            .unwrap_or_else(|| panic!("the ready line lacks {key}: {line}"))
            .trim_end_matches('/')
            .to_owned()
    };
    assert_eq!(value["event"], "ready", "{line}");
    let ready = Ready { node: text("node"), http: text("http"), admin: text("admin"), login_url: text("login_url") };
    for url in [&ready.http, &ready.admin] {
        let port: u16 = url
            .strip_prefix("http://127.0.0.1:")
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no http://127.0.0.1:PORT: {url}"));
        assert_ne!(port, 0, "the real port is printed");
    }
    ready
}
