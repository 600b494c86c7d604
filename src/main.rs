//! Playhouse.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "__runtime") {
        return playhouse::sandbox::runtime_main(arguments.collect()).into();
    }
    ExitCode::from(2)
}
