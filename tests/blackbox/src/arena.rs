//! Where a test runs: on the server that the suite shares or on its own, with users and workspaces of its own that are
//! removed when it ends, however it ends.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use serde_json::json;

use crate::{Client, Server, Workspace, client::Identity, shape};

/// A test that takes longer is stuck; the longest by far is the crash test with 200 kills.
const TEST_LIMIT: Duration = Duration::from_secs(1200);
/// How long removing one workspace may take.
const TIDY_LIMIT: Duration = Duration::from_secs(30);

/// What a test works with.
#[derive(Debug)]
pub struct Arena {
    server: Arc<Server>,
    made: Mutex<Vec<Workspace>>,
}

impl Arena {
    /// The server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// A user of the org `default` whose name begins so.
    pub async fn user(&self, name: &str) -> Client {
        self.user_with(name, &[]).await
    }

    /// A user made with these flags.
    pub async fn user_with(&self, name: &str, flags: &[&str]) -> Client {
        let name = format!("{name}-{:08x}", rand::random::<u32>());
        Client::of_user(&self.server, &name, flags).await
    }

    /// A client without a token.
    #[must_use]
    pub fn nobody(&self) -> Client {
        Client::new(&self.server, "nobody", Identity::Nobody)
    }

    /// A workspace of this client.
    pub async fn workspace_of(&self, client: &Client, template: &str) -> Workspace {
        let answer = client.post("/api/workspaces", json!({"name": "a test's", "template": template})).await;
        let workspace = answer.expect(201).json();
        shape::workspace(&workspace);
        self.adopt(Workspace { client: client.clone(), id: shape::id(&workspace, "id") })
    }

    /// A workspace of a fresh user, of the template `python`.
    pub async fn workspace(&self) -> Workspace {
        let client = self.user("owner").await;
        self.workspace_of(&client, "python").await
    }

    /// Sees to it that this workspace goes when the test ends.
    pub fn adopt(&self, workspace: Workspace) -> Workspace {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(workspace.clone());
        workspace
    }

    async fn tidy(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        let removals = made.iter().map(|workspace| async {
            let request = workspace.client.request(reqwest::Method::DELETE, &workspace.path(""));
            // The test has its verdict; a server that it has ended needs no tidying.
            let _ = tokio::time::timeout(TIDY_LIMIT, workspace.client.try_send(request)).await;
        });
        futures::future::join_all(removals).await;
    }
}

fn shared() -> Arc<Server> {
    static SHARED: OnceLock<Arc<Server>> = OnceLock::new();
    // Never dropped: its watchdog ends it when this process is gone.
    Arc::clone(SHARED.get_or_init(|| Arc::new(Server::start(&[]))))
}

/// Runs a test on the server that this suite shares.
///
/// # Panics
/// When the test fails.
pub fn on_shared(body: impl AsyncFnOnce(&Arena)) {
    run(shared(), body);
}

/// Runs a test on a server of its own, started with these flags beside the usual ones.
///
/// # Panics
/// When the test fails.
pub fn on_own(flags: &[&str], body: impl AsyncFnOnce(&Arena)) {
    run(Arc::new(Server::start(flags)), body);
}

fn run(server: Arc<Server>, body: impl AsyncFnOnce(&Arena)) {
    let log_start = server.log_length();
    let arena = Arena { server, made: Mutex::new(Vec::new()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let limited = async {
            let done = tokio::time::timeout(TEST_LIMIT, body(&arena)).await;
            assert!(done.is_ok(), "the test is stuck after {TEST_LIMIT:?}");
        };
        let outcome = AssertUnwindSafe(limited).catch_unwind().await;
        arena.tidy().await;
        outcome
    });
    if let Err(panic) = outcome {
        let log = arena.server.log_tail(log_start, 40);
        eprintln!("--- what the server logged meanwhile (its end):\n{log}\n---");
        resume_unwind(panic);
    }
}
