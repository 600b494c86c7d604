//! The processes under measurement: a server with a data directory of its own, and the bridge.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};
use uuid::Uuid;

use super::client::Terminal;

/// A server of the benchmark's own.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    address: String,
    token: String,
    _data: tempfile::TempDir,
}

/// A program that was accepted.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) process: Uuid,
    pub(super) sandbox: Uuid,
    pub(super) url: String,
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("where this program lies")
}

async fn first_line(child: &mut Child) -> anyhow::Result<String> {
    let stdout = child.stdout.take().context("no stdout")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line())
        .await
        .context("it did not start in 60 s")??;
    // The rest of its output is nobody's concern, but it must have somewhere to go.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    line.context("it ended before it was ready")
}

impl Server {
    pub(super) async fn start(insecure: bool) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let mut command = Command::new(this_program()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--output", "json"]);
        command.args(["--rate-limit", "100000", "--data-dir"]).arg(data.path());
        if insecure {
            command.arg("--insecure-no-sandbox");
        }
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let ready: Value = serde_json::from_str(&first_line(&mut child).await?)?;
        let http = ready["http"].as_str().context("no address in the ready line")?;
        let address = http.trim_start_matches("http://").to_owned();
        let token = Command::new(this_program()?)
            .args(["token", "create", "--user", "bench", "--data-dir"])
            .arg(data.path())
            .output()
            .await?;
        if !token.status.success() {
            bail!("no token: {}", String::from_utf8_lossy(&token.stderr));
        }
        let token = String::from_utf8(token.stdout)?.trim().to_owned();
        Ok(Self { child, address, token, _data: data })
    }

    /// Stops it and waits until it and its sandboxes have ended.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }

    /// Its resident memory, in bytes.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kib * 1024)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{path}: {status}: {}", String::from_utf8_lossy(&bytes));
        }
        if status == StatusCode::NO_CONTENT { Ok(Value::Null) } else { Ok(serde_json::from_slice(&bytes)?) }
    }

    /// A workspace of the template without toolchains.
    pub(super) async fn workspace(&self) -> anyhow::Result<Uuid> {
        let made =
            self.ask(Method::POST, "/api/workspaces", Some(json!({"name": "bench", "template": "blank"}))).await?;
        Ok(made["id"].as_str().context("no id")?.parse()?)
    }

    /// Runs a line in a workspace.
    pub(super) async fn run(&self, workspace: Uuid, line: &str, pty: bool) -> anyhow::Result<Ran> {
        let body = json!({"command": ["/bin/bash", "-c", line], "pty": pty, "cols": 80, "rows": 24});
        let ran = self.ask(Method::POST, &format!("/api/workspaces/{workspace}/run"), Some(body)).await?;
        let field = |name: &str| ran[name].as_str().with_context(|| format!("no {name}"));
        let sandbox: Uuid = field("sandbox_id")?.parse()?;
        let url = format!("ws://{}/api/stream/{sandbox}?token={}", self.address, field("stream_token")?);
        Ok(Ran { process: field("process_id")?.parse()?, sandbox, url })
    }

    /// Another socket's url for a sandbox.
    pub(super) async fn stream_url(&self, sandbox: Uuid) -> anyhow::Result<String> {
        let token = self.ask(Method::POST, &format!("/api/sandboxes/{sandbox}/token"), None).await?;
        let token = token["stream_token"].as_str().context("no stream_token")?;
        Ok(format!("ws://{}/api/stream/{sandbox}?token={token}", self.address))
    }

    /// Runs a line and watches it.
    pub(super) async fn terminal(&self, workspace: Uuid, line: &str) -> anyhow::Result<Terminal> {
        let ran = self.run(workspace, line, true).await?;
        Terminal::at_playhouse(ran.url, ran.process).await
    }

    /// Ends a sandbox.
    pub(super) async fn end(&self, sandbox: Uuid) -> anyhow::Result<()> {
        self.ask(Method::DELETE, &format!("/api/sandboxes/{sandbox}"), None).await?;
        Ok(())
    }
}

/// The bridge's process.
#[derive(Debug)]
pub(super) struct Bridge {
    _child: Child,
    pub(super) port: u16,
}

impl Bridge {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(this_program()?);
        let mut child = command.arg("bridge").stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let port = first_line(&mut child).await?.trim().parse()?;
        Ok(Self { _child: child, port })
    }
}
