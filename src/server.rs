//! The composition root of a node: the only place that wires stores, entities, listeners and the host together.

mod drain;
mod own_host;
pub(crate) mod parts;

use std::{
    io::Write as _,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::own_host::OwnHost;
use crate::{
    actors::{self, Node, tenant::org_id},
    config::{OutputFormat, Settings},
    control,
    host::{HostConfig, HostFailure},
    http::{self, App, app, limits::Limits, listen, login::login_url, tokens::Keys},
    sandbox::{probe::Lack, rights::Rights, rootless, this_program},
};

/// How long a second `serve` waits for the store, which an operator's command may have for a moment.
const STORE_WITHIN: Duration = Duration::from_secs(3);
/// How long clients may take to be told that the node stops.
const SESSIONS_WITHIN: Duration = Duration::from_secs(1);
/// The user of the first login link.
const FIRST_USER: &str = "admin";
/// The organisation of users that name none.
const FIRST_ORG: &str = "default";
/// The bounds of the histograms of durations, in seconds.
const DURATIONS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How often the metrics are tidied.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Why a command could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Failure {
    /// In words.
    pub words: String,
    /// The exit code: 1 failed, 3 something is lacking.
    pub exit_code: u8,
}

impl Failure {
    /// It failed.
    pub fn failed(words: impl Into<String>) -> Self {
        Self { words: words.into(), exit_code: 1 }
    }

    /// It was asked for wrongly.
    pub fn wrong(words: impl Into<String>) -> Self {
        Self { words: words.into(), exit_code: 2 }
    }

    /// The host or a store lacks something.
    pub fn lacking(words: impl Into<String>) -> Self {
        Self { words: words.into(), exit_code: 3 }
    }
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// When it can't start.
pub async fn serve(settings: Settings) -> Result<(), Failure> {
    // From here on a signal is an orderly stop, even while the node still starts.
    let mut signals = Signals::new()?;
    parts::raise_open_files();
    let metrics = metrics()?;
    let data_dir = parts::data_dir(&settings)?;
    let own_host = if settings.no_host { None } else { Some(Arc::new(OwnHost::new(&settings, &data_dir).await?)) };
    let keys = parts::keys(&settings, &data_dir)?;
    let store = parts::store(&settings, &data_dir, STORE_WITHIN).await?;
    let clients = bind("listen", &settings.listen).await?;
    let operators = bind("admin-listen", &settings.admin_listen).await?;
    let http_url = parts::url_of(clients.local_addr())?;
    let admin_url = parts::url_of(operators.local_addr())?;
    let public_url = settings.public_url.clone().unwrap_or_else(|| http_url.clone());
    let (node, frames) = parts::node(&settings, data_dir.clone(), store, public_url).await?;

    let host_link = tokio::spawn(actors::host::connect(node.clone(), frames));
    let stop_keeping = CancellationToken::new();
    let keeper = own_host.clone().map(|host| {
        let stop = stop_keeping.clone();
        tokio::spawn(async move { host.keep(stop).await })
    });

    let keys = Arc::new(keys);
    let app = App::new(app::Parts {
        node: node.clone(),
        keys: keys.clone(),
        limits: Limits::new(settings.max_sockets, settings.rate_limit),
        metrics: metrics.clone(),
        ready: AtomicBool::new(true),
    });
    let socket = control::listen(&data_dir).map_err(|error| Failure::failed(format!("the control socket: {error}")))?;
    let control = tokio::spawn(control::serve(socket, node.clone(), keys.clone()));
    let tidier = tokio::spawn(tidy(metrics));
    let stop = CancellationToken::new();
    let operators_stop = CancellationToken::new();
    let serving = tokio::spawn(listen::serve(clients, http::client_router(&app), stop.clone()));
    let operating = tokio::spawn(listen::serve(operators, http::admin_router(&app), operators_stop.clone()));

    let ready = Ready {
        node: node.name.clone(),
        http: http_url,
        admin: admin_url,
        login_url: first_login(&node, &keys).await?,
    };
    ready.print(settings.output)?;

    signals.next().await;
    tracing::info!("stopping; a second signal stops at once");
    tokio::spawn(async move {
        signals.next().await;
        // Nothing is lost that a crash would not lose: the next node takes over.
        std::process::exit(1);
    });
    app.set_ready(false);
    stop_keeping.cancel();
    join(keeper).await;
    stop.cancel();
    if tokio::time::timeout(SESSIONS_WITHIN, node.sessions.stop()).await.is_err() {
        tracing::warn!("some clients did not take their close in time");
    }
    if let Some(host) = own_host.filter(|_| !settings.keep_host) {
        drain::end_sandboxes(&node, &host).await;
    }
    join(Some(serving)).await;
    drain::settle(&node).await;
    operators_stop.cancel();
    join(Some(operating)).await;
    for task in [control, host_link, tidier] {
        task.abort();
    }
    control::remove(&data_dir);
    Ok(())
}

/// Runs the data plane of this machine until it is told to leave.
///
/// # Errors
/// When it can't start.
pub async fn host(settings: Settings, rights: Rights) -> Result<(), Failure> {
    let config = HostConfig {
        data_dir: parts::data_dir(&settings)?,
        name: settings.host_name,
        insecure: settings.insecure_no_sandbox,
        runtime: settings.sandbox_runtime,
        owner_uid: match rights {
            Rights::Root => std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok()),
            Rights::Rootless(_) => None,
        },
        rights,
        agent: agent_program(),
    };
    let failure = |failure: HostFailure| Failure { words: failure.to_string(), exit_code: failure.exit_code() };
    crate::host::run(config).await.map_err(failure)
}

/// The rights with which a host of these settings makes sandboxes. With `--rootless` this process takes them here, so it must
/// have one thread still.
///
/// # Errors
/// What is missing.
pub fn rights(settings: &Settings) -> Result<Rights, Failure> {
    if !settings.rootless || settings.insecure_no_sandbox {
        return Ok(Rights::Root);
    }
    let remembered = parts::data_dir(settings)?.join("host/cgroup");
    match rootless::enter(Some(&remembered)) {
        Ok(delegation) => Ok(Rights::Rootless(delegation)),
        Err(lacking) => without_root(lacking).map(|()| Rights::Root),
    }
}

/// Refuses what can't be done without root.
fn without_root(lacking: Vec<Lack>) -> Result<(), Failure> {
    if lacking.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = lacking.iter().map(|lack| format!("  missing: {}\n    {}", lack.what, lack.how)).collect();
    Err(Failure::lacking(format!("--rootless does not work here:\n{}", lines.join("\n"))))
}

/// The agent's program, which lies beside this one.
#[must_use]
pub fn agent_program() -> PathBuf {
    this_program().unwrap_or_default().with_file_name("playhouse-agent")
}

async fn bind(flag: &str, address: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| Failure::failed(format!("--{flag} {address}: {error}")))
}

async fn join(task: Option<JoinHandle<()>>) {
    if let Some(task) = task
        && let Err(error) = task.await
    {
        tracing::error!(%error, "a part of the node broke");
    }
}

fn metrics() -> Result<PrometheusHandle, Failure> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATIONS);
    let recorder = builder
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| Failure::failed(format!("the metrics: {error}")))?;
    http::describe_metrics();
    Ok(recorder)
}

async fn tidy(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(TIDY_EVERY);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

async fn first_login(node: &Node, keys: &Keys) -> Result<String, Failure> {
    let caller = node.tenant(org_id(FIRST_ORG)).ensure_user(FIRST_ORG, FIRST_USER, None).await;
    let caller = caller.map_err(|refused| Failure::failed(format!("the first user: {}", refused.detail)))?;
    Ok(login_url(&node.settings.public_url, keys, caller))
}

/// What is printed once requests are served.
struct Ready {
    node: String,
    http: String,
    admin: String,
    login_url: String,
}

impl Ready {
    fn print(self, output: OutputFormat) -> Result<(), Failure> {
        let Self { node, http, admin, login_url } = self;
        let line = match output {
            OutputFormat::Json => {
                json!({ "event": "ready", "node": node, "http": http, "admin": admin, "login_url": login_url })
                    .to_string()
            }
            OutputFormat::Text => format!("Playhouse is at {http}; this link signs you in, once: {login_url}"),
        };
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}")
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::failed(format!("stdout: {error}")))
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::failed(format!("signals: {error}")));
        Ok(Self { terminate: on(SignalKind::terminate())?, interrupt: on(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
