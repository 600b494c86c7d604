//! Playhouse: the command line.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use playhouse::{
    bench,
    config::{self, ClusterCommand, Command, ConfigError, Invocation, LogFormat, OutputFormat, Settings, TokenCommand},
    doctor,
    http::openapi,
    operator, sandbox,
    server::{self, Failure},
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // Making a sandbox forks, so this comes before anything that may start a thread.
    if arguments.next().is_some_and(|first| first == "__runtime") {
        return sandbox::runtime_main(arguments.collect()).into();
    }
    // Two providers are in the tree; without this a TLS configuration would panic. It is the first and only one to ask.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("playhouse: {failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run() -> Result<u8, Failure> {
    let wrong = |error: ConfigError| Failure { words: error.to_string(), exit_code: 2 };
    let Invocation { command, layers, settings } = config::invocation().map_err(wrong)?;
    // What needs no settings is not kept from those whose settings are wrong.
    if let Command::Openapi = command {
        return print(openapi::contract_json().trim_end()).map(|()| 0);
    }
    let settings = settings.map_err(wrong)?;
    if let (Some(lacking), false) = (&settings.lacking, matches!(command, Command::Config(_))) {
        return Err(Failure::lacking(lacking));
    }
    let long_lived = matches!(command, Command::Serve(_) | Command::Host(_));
    log(&settings, if long_lived { "info" } else { "warn" });
    let done = match command {
        Command::Doctor(arguments) => {
            let json = settings.output == OutputFormat::Json;
            let (text, code) = doctor::run(arguments.probe, settings.rootless, json, &server::agent_program());
            return print(text.trim_end()).map(|()| code);
        }
        Command::Config(_) => print(config::show(&layers, &settings).trim_end()),
        Command::Serve(_) => on_a_runtime(server::serve(settings)),
        Command::Migrate(_) => print_from(operator::migrate(&settings)),
        Command::Token(TokenCommand::Create(arguments)) => print_from(operator::create_token(&settings, arguments)),
        Command::Login(arguments) => print_from(operator::login(&settings, arguments)),
        Command::Cluster(ClusterCommand::Status(_)) => print_from(operator::cluster_status(&settings)),
        Command::Cluster(ClusterCommand::Drain(_)) => {
            Err(Failure::lacking("draining a node isn't built in yet: clusters aren't"))
        }
        Command::Cluster(ClusterCommand::Certs(_)) => {
            Err(Failure::lacking("certificates aren't built in yet: clusters aren't"))
        }
        Command::Bench(arguments) => on_a_runtime(async {
            if let Some(name) = arguments.only.iter().find(|name| !bench::NAMES.contains(&name.as_str())) {
                let names = bench::NAMES.join(", ");
                return Err(Failure::wrong(format!("no benchmark {name}; there are {names}")));
            }
            let figures = bench::run(&arguments.only, arguments.insecure_no_sandbox).await;
            let figures = figures.map_err(|error| Failure::failed(format!("{error:#}")))?;
            match settings.output {
                OutputFormat::Json => print(&serde_json::to_string(&figures).unwrap_or_default()),
                OutputFormat::Text => print(bench::table(&figures).trim_end()),
            }
        }),
        Command::Bridge => {
            on_a_runtime(async { bench::bridge::serve().await.map_err(|error| Failure::failed(format!("{error:#}"))) })
        }
        Command::Host(_) => {
            let rights = server::rights(&settings)?;
            on_a_runtime(server::host(settings, rights))
        }
        Command::Openapi => Ok(()),
    };
    done.map(|()| 0)
}

/// Logs go to stderr, in the form asked for; `RUST_LOG` says how much. The actors' library has a span around every message,
/// which says nothing and costs the byte path time. A line that can't be written, as on a full disk, is lost: the library
/// would complain of it on stderr too, and panic there in whoever logged.
fn log(settings: &Settings, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{default},ractor=warn")));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let builder = builder.log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn on_a_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    let result = runtime.block_on(work);
    // What still runs has nothing left to say.
    runtime.shutdown_background();
    result
}

fn print_from(work: impl Future<Output = Result<String, Failure>>) -> Result<(), Failure> {
    print(&on_a_runtime(work)?)
}

fn print(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{line}").map_err(|error| Failure::failed(format!("stdout: {error}")))
}
