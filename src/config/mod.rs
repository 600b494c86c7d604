//! The configuration: what is said on the command line, in the environment and in a file, read once and checked.

mod units;
mod egress;
mod instance_types;
mod cli;
mod layers;
mod settings;

pub use cli::{
    AdminArgs, BenchArgs, CertsArgs, Cli, ClusterCommand, Command, DoctorArgs, DrainArgs, HostArgs, LogFormat,
    LoginArgs, OutputFormat, SandboxArgs, ServeArgs, StoreArgs, Tier, TokenArgs, TokenCommand,
};
pub use layers::{KEYS, Layers, Origin, Written};
pub use settings::{ConfigError, Machine, Settings, mask};

use clap::{CommandFactory as _, FromArgMatches as _};

/// What was asked, with the settings it is to be done under.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// All settings as they were written.
    pub layers: Layers,
    /// The same, read.
    pub settings: Result<Settings, ConfigError>,
}

/// Reads this process's command line and environment, and the configuration file they name. Wrong usage and help end
/// the process here, as is usual.
///
/// # Errors
/// When the file is not what it should be.
pub fn invocation() -> Result<Invocation, ConfigError> {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut layers = Layers::defaults();
    if let Some(file) = &cli.common.config {
        layers.file(file).map_err(ConfigError)?;
    }
    layers.environment(|name| std::env::var_os(name)).map_err(ConfigError)?;
    layers.flags(&matches).map_err(ConfigError)?;
    let settings = Settings::read(&layers, &Machine::this());
    Ok(Invocation { command: cli.command, layers, settings })
}

/// The settings as `playhouse config` prints them.
#[must_use]
pub fn show(layers: &Layers, settings: &Settings) -> String {
    let value = |key: &str| match (key, layers.get(key)) {
        (_, Some(written)) => (mask(&written.text), written.origin.to_string()),
        ("data_dir", None) => (settings.data_dir.display().to_string(), Origin::Default.to_string()),
        ("node", None) => (settings.node.clone(), Origin::Default.to_string()),
        ("name", None) => (settings.host_name.clone(), Origin::Default.to_string()),
        ("admin", None) => (settings.admin.clone(), Origin::Default.to_string()),
        (_, None) => (String::new(), Origin::Default.to_string()),
    };
    match settings.output {
        OutputFormat::Json => {
            let entry = |key: &layers::Key| {
                let (value, origin) = value(key.name);
                (key.name.to_owned(), serde_json::json!({ "value": value, "origin": origin }))
            };
            format!("{}\n", serde_json::Value::Object(KEYS.iter().map(entry).collect()))
        }
        OutputFormat::Text => {
            let line = |key: &layers::Key| {
                let (value, origin) = value(key.name);
                format!("{} = {value:?}  # {origin}\n", key.name)
            };
            KEYS.iter().map(line).collect()
        }
    }
}
