//! The command line: what there is to say, and the help that says it.
//!
//! Flags that are settings are only checked here; their values are read from the layers, like those of the file and the
//! environment. Their ids are the settings' names.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::{egress, instance_types, units};

/// A cloud IDE in one binary: workspaces, sandboxes, terminals.
///
/// Settings are read from built-in defaults, a configuration file (--config), the environment (PLAYHOUSE_<FLAG>) and
/// flags; the later one wins. Results go to stdout, logs to stderr.
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the host or a store lacks something.
#[derive(Debug, Parser)]
#[command(name = "playhouse", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub(super) common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Read settings from this TOML file; its keys are the flags with `_` for `-`
    #[arg(long, global = true, value_name = "FILE", env = "PLAYHOUSE_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// How results are written to stdout [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    output: Option<OutputFormat>,
    /// How logs are written to stderr [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node: the web app, the API and the streams, and a host for sandboxes beside it
    Serve(ServeArgs),
    /// Run the data plane of this machine: sandboxes, their agents' sockets, egress
    Host(HostArgs),
    /// Create or upgrade the stores' schema; safe to run twice
    Migrate(StoreArgs),
    /// Make bearer tokens for programs
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print a one-time login link for a browser
    Login(LoginArgs),
    /// Look at a cluster and operate it
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Say what this machine can do, what it lacks, and how to get it
    Doctor(DoctorArgs),
    /// Measure the figures of docs/PERFORMANCE.md, side by side with a plain bridge
    Bench(BenchArgs),
    /// Print the settings and where each one comes from, secrets masked
    Config(ServeArgs),
    /// Print the API's contract as OpenAPI 3.1
    #[command(hide = true)]
    Openapi,
    /// Serve the plain bridge that `bench` measures beside
    #[command(hide = true)]
    Bridge,
}

/// `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a bearer token, and make the user on first sight
    Create(TokenArgs),
}

/// `cluster`.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show the nodes, their shards and links
    Status(AdminArgs),
    /// Hand everything of a node over, and wait until that is done
    Drain(DrainArgs),
    /// Make a private certificate authority and certificates for the links between nodes and hosts
    Certs(CertsArgs),
}

/// Where the stores are.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Where everything is kept [default: $XDG_DATA_HOME/playhouse]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Metadata: embedded, or cql://host[,host]:9042/keyspace [default: embedded]
    #[arg(long, value_name = "STORE")]
    metadata: Option<String>,
    /// Output to replay: file, or redis://… or rediss://… [default: file]
    #[arg(long, value_name = "STORE")]
    replay: Option<String>,
    /// Contents of files: fs, or s3://bucket/prefix?endpoint=…&region=… [default: fs]
    #[arg(long, value_name = "STORE")]
    blobs: Option<String>,
    /// 32 random bytes in hex that sign tokens, shared by all nodes [default: made in the data directory]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// This node's name [default: the machine's]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Where clients reach the server; links begin with it [default: http:// and the listen address]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

/// What isolates sandboxes.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// auto, builtin, crun, runc or runsc [default: auto]
    #[arg(long, value_name = "RUNTIME")]
    sandbox_runtime: Option<String>,
    /// Make sandboxes without root: in a user namespace and a cgroup that systemd delegates (cgroup v2 only), with no limit
    /// on their disks; `playhouse doctor --rootless` says whether that works here
    #[arg(long, action = ArgAction::SetTrue)]
    rootless: bool,
    /// Run programs without any isolation, as yourself: only where you trust every user
    #[arg(long, action = ArgAction::SetTrue)]
    insecure_no_sandbox: bool,
}

/// `serve` and `config`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where clients are served; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<String>,
    /// Where operators are served: metrics, readiness, the cluster's state [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    admin_listen: Option<String>,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    sandboxes: SandboxArgs,
    /// Where other nodes reach this one
    #[arg(long, value_name = "ADDR")]
    cluster_listen: Option<String>,
    /// What other nodes dial, where that differs
    #[arg(long, value_name = "HOST:PORT")]
    cluster_advertise: Option<String>,
    /// ca.pem, node.pem and node.key for the links between nodes
    #[arg(long, value_name = "DIR")]
    cluster_tls: Option<PathBuf>,
    /// Start no host beside this node
    #[arg(long, action = ArgAction::SetTrue)]
    no_host: bool,
    /// Leave the host and its sandboxes running when this node stops
    #[arg(long, action = ArgAction::SetTrue)]
    keep_host: bool,
    /// What sandboxes may reach; ADDR:PORT says where a name is [default: the registries of Python, npm, Rust, Go and
    /// Debian, and GitHub]
    #[arg(long, value_name = "NAME[=ADDR:PORT],…", value_parser = |text: &str| egress::rules(text).map(|_| text.to_owned()))]
    egress_allow: Vec<String>,
    /// Add instance types to cpu-small and cpu-large
    #[arg(long, value_name = "NAME=CPU:MEMORY:DISK,…", value_parser = |text: &str| instance_types::instance_types(Some(text)).map(|_| text.to_owned()))]
    instance_types: Vec<String>,
    /// End a sandbox in which nothing ran for so long [default: 30m]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    idle_after: Option<Duration>,
    /// Keep so much of each program's output [default: 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    retention_bytes: Option<u64>,
    /// Keep output so long after its program ended [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    retention_ttl: Option<Duration>,
    /// The largest file [default: 100MiB]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_upload: Option<u64>,
    /// Client sockets at a time [default: 10000]
    #[arg(long, value_name = "NUMBER")]
    max_sockets: Option<usize>,
    /// Requests a second and user; five times as many in a burst [default: 200]
    #[arg(long, value_name = "NUMBER")]
    rate_limit: Option<NonZeroU32>,
}

/// `host`.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// Where everything is kept [default: $XDG_DATA_HOME/playhouse]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Dial these nodes of a cluster
    #[arg(long, value_name = "HOST:PORT,…")]
    join: Vec<String>,
    /// ca.pem, node.pem and node.key for the link to the nodes
    #[arg(long, value_name = "DIR")]
    cluster_tls: Option<PathBuf>,
    /// This host's name [default: the machine's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    sandboxes: SandboxArgs,
}

/// `token create`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The user's name
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// The user's organisation
    #[arg(long, value_name = "ORG", default_value = "default")]
    pub org: String,
    /// The user's tier from now on
    #[arg(long)]
    pub tier: Option<Tier>,
    /// How long the token lives
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = lifetime)]
    pub ttl: Duration,
    #[command(flatten)]
    stores: StoreArgs,
}

/// A user's tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Pays nothing.
    Free,
    /// Pays.
    Paid,
}

impl Tier {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Paid => "paid",
        }
    }
}

/// `login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The user's name
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// The user's organisation
    #[arg(long, value_name = "ORG", default_value = "default")]
    pub org: String,
    #[command(flatten)]
    stores: StoreArgs,
}

/// Where a node's admin listener is.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// A node's admin listener [default: http:// and the admin-listen setting]
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
}

/// `cluster drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Which node or host
    #[arg(id = "node_name", value_name = "NODE")]
    pub node: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `cluster certs`.
#[derive(Debug, Args)]
pub struct CertsArgs {
    /// Where they are written
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A node or host to make a certificate for
    #[arg(id = "node_name", long = "node", value_name = "NAME", required = true, num_args = 1..)]
    pub nodes: Vec<String>,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Start a throwaway sandbox and try to break out of it
    #[arg(long)]
    pub probe: bool,
    /// Look at what `--rootless` needs, not at what root does
    #[arg(long, action = ArgAction::SetTrue)]
    rootless: bool,
}

/// `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Which benchmarks; all when left out
    #[arg(value_name = "NAME")]
    pub only: Vec<String>,
    /// Measure without any isolation
    #[arg(long, action = ArgAction::SetTrue)]
    pub insecure_no_sandbox: bool,
}

/// The shortest and the longest life of a token.
const LIFETIME: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3650 * 24 * 3600);

/// Reads how long a token lives.
fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = units::duration(text)?;
    if LIFETIME.contains(&lifetime) { Ok(lifetime) } else { Err("a token lives for 1s to 3650d".to_owned()) }
}

/// Reads an address to listen on.
///
/// # Errors
/// Says how one is written.
pub(super) fn address(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    port.map(|_| text.to_owned()).ok_or_else(|| "an address and a port are needed, such as 127.0.0.1:8080".to_owned())
}
