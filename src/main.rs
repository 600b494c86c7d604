//! Playhouse.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|first| first.to_str()) {
        Some("__runtime") => playhouse::sandbox::runtime_main(arguments.collect()).into(),
        Some("doctor") => {
            let rest: Vec<_> = arguments.collect();
            let agent = std::env::current_exe().unwrap_or_default().with_file_name("playhouse-agent");
            let has = |flag: &str| rest.iter().any(|one| one == flag);
            let (text, code) = playhouse::doctor::run(has("--probe"), has("--json"), Path::new(&agent));
            print!("{text}");
            code.into()
        }
        _ => ExitCode::from(2),
    }
}
