//! A workspace as one client sees it: its files, its runs, its sandbox.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Answer, Client, Options, Stream,
    shape::{self, ENDED},
    wait,
};

/// How long a program of a test may run.
const RUN_LIMIT: Duration = Duration::from_secs(90);

/// A workspace and the client who looks at it.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Who looks.
    pub client: Client,
    /// Its id.
    pub id: Uuid,
}

/// What `POST …/run` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The process.
    pub process_id: Uuid,
    /// Where it runs.
    pub sandbox_id: Uuid,
    /// Opens the stream.
    pub stream_token: String,
}

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The process, as the API shows it.
    pub process: Value,
    /// All it printed.
    pub output: Vec<u8>,
}

impl Ended {
    /// What it printed, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// What it printed, if it exited with 0.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn good(&self) -> String {
        assert_eq!(self.process["status"], "completed", "{}\nit printed: {}", self.process, self.text());
        self.text()
    }
}

impl Workspace {
    /// The same workspace, seen by another.
    #[must_use]
    pub fn seen_by(&self, client: &Client) -> Self {
        Self { client: client.clone(), id: self.id }
    }

    /// A path below it: `path("/files")` is `/api/workspaces/{id}/files`.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/api/workspaces/{}{rest}", self.id)
    }

    /// It, as the API shows it.
    pub async fn get(&self) -> Value {
        let workspace = self.client.get(&self.path("")).await.expect(200).json();
        shape::workspace(&workspace);
        workspace
    }

    /// `POST …/files` with this text.
    pub async fn post_file(&self, path: &str, content: &str) -> Answer {
        self.client.post(&self.path("/files"), json!({"path": path, "content": content})).await
    }

    /// Makes a file, and answers it.
    pub async fn create(&self, path: &str, content: &str) -> Value {
        let file = self.post_file(path, content).await.expect(201).json();
        shape::file(&file);
        assert_eq!(file["path"], path, "{file}");
        file
    }

    /// Its files, all of them.
    pub async fn files(&self) -> Vec<Value> {
        let files = self.client.all(&self.path("/files"), 1000).await;
        files.iter().for_each(shape::file);
        files
    }

    /// The paths of its files.
    pub async fn paths(&self) -> Vec<String> {
        self.files().await.iter().map(|file| shape::text(file, "path")).collect()
    }

    /// The file at this path.
    pub async fn find(&self, path: &str) -> Option<Value> {
        let listed = self
            .client
            .get(&self.path(&format!("/files?all=true&limit=1&prefix={}", crate::client::encoded(path))))
            .await;
        listed.expect(200).json()["items"].as_array()?.iter().find(|file| file["path"] == path).cloned()
    }

    /// The content of the file at this path.
    pub async fn read(&self, path: &str) -> Option<Vec<u8>> {
        let file = self.find(path).await?;
        let raw = self.client.get(&format!("/api/files/{}/raw", shape::id(&file, "id"))).await;
        // It went, or became a directory or a link, since it was listed.
        if matches!(raw.status, 404 | 409) {
            return None;
        }
        Some(raw.expect(200).body.to_vec())
    }

    /// Waits until the file at this path has this content.
    pub async fn comes_to_hold(&self, limit: Duration, path: &str, content: &[u8]) {
        let what = format!("{path} to hold {} bytes in the tree", content.len());
        wait::within(limit, &what, async || (self.read(path).await.as_deref() == Some(content)).then_some(())).await;
    }

    /// `POST …/run` with this body.
    pub async fn post_run(&self, body: Value) -> Answer {
        self.client.post(&self.path("/run"), body).await
    }

    /// Runs something, with all the fields in `body`.
    pub async fn run_with(&self, body: Value) -> Run {
        let answer = self.post_run(body).await.expect(202).json();
        Run {
            process_id: shape::id(&answer, "process_id"),
            sandbox_id: shape::id(&answer, "sandbox_id"),
            stream_token: shape::text(&answer, "stream_token"),
        }
    }

    /// Runs a command, a string or an array.
    pub async fn run(&self, command: impl Into<Value>) -> Run {
        self.run_with(json!({"command": command.into()})).await
    }

    /// Runs a command in a PTY.
    pub async fn run_pty(&self, command: impl Into<Value>) -> Run {
        self.run_with(json!({"command": command.into(), "pty": true, "cols": 80, "rows": 24})).await
    }

    /// The process, as the API shows it.
    pub async fn process(&self, id: Uuid) -> Value {
        let process = self.client.get(&format!("/api/processes/{id}")).await.expect(200).json();
        shape::process(&process);
        assert_eq!(shape::id(&process, "id"), id);
        process
    }

    /// Waits until the process has ended.
    pub async fn ended(&self, id: Uuid) -> Value {
        wait::within(RUN_LIMIT, "the process to end", async || {
            let process = self.process(id).await;
            ENDED.contains(&&*shape::text(&process, "status")).then_some(process)
        })
        .await
    }

    /// The retained output of a process.
    pub async fn output(&self, id: Uuid) -> Vec<u8> {
        self.client.get(&format!("/api/processes/{id}/output")).await.expect(200).body.to_vec()
    }

    /// Waits until a process has printed something.
    pub async fn printed(&self, id: Uuid, needle: &str) -> String {
        wait::until(&format!("{needle:?} in the output"), async || {
            let text = String::from_utf8_lossy(&self.output(id).await).into_owned();
            text.contains(needle).then_some(text)
        })
        .await
    }

    /// Runs something with all the fields in `body` until it ends.
    pub async fn run_to_end(&self, body: Value) -> Ended {
        let run = self.run_with(body).await;
        let process = self.ended(run.process_id).await;
        Ended { process, output: self.output(run.process_id).await }
    }

    /// Runs a shell script until it ends.
    pub async fn sh(&self, script: &str) -> Ended {
        self.run_to_end(json!({"command": script})).await
    }

    /// Sends input over HTTP.
    pub async fn input(&self, process: Uuid, body: Value) -> Answer {
        self.client.post(&format!("/api/processes/{process}/input"), body).await
    }

    /// Cancels a process.
    pub async fn cancel(&self, process: Uuid) {
        let _ = self.client.post_empty(&format!("/api/processes/{process}/cancel")).await.expect(202);
    }

    /// Makes its sandbox, or finds it: the sandbox, with a `stream_token`.
    pub async fn sandbox(&self) -> Value {
        let request = self.client.request(Method::POST, &self.path("/sandbox")).json(&json!({}));
        let sandbox = self.client.send(request).await.success().json();
        shape::sandbox(&sandbox);
        let _ = shape::text(&sandbox, "stream_token");
        sandbox
    }

    /// The sandbox's status word.
    pub async fn sandbox_status(&self, sandbox: Uuid) -> String {
        let sandbox = self.client.get(&format!("/api/sandboxes/{sandbox}/status")).await.expect(200).json();
        shape::sandbox(&sandbox);
        shape::text(&sandbox, "status")
    }

    /// Ends its sandbox and waits until that is over.
    pub async fn end_sandbox(&self, sandbox: Uuid) {
        let _ = self.client.delete(&format!("/api/sandboxes/{sandbox}")).await.expect(204);
        wait::within(RUN_LIMIT, "the sandbox to be terminated", async || {
            (self.sandbox_status(sandbox).await == "terminated").then_some(())
        })
        .await;
    }

    /// Opens the stream of a sandbox.
    pub async fn stream(&self, sandbox: Uuid, options: Options) -> Stream {
        Stream::open(&self.client, sandbox, options).await
    }
}
