//! `playhouse doctor`: what this machine can do, what it lacks, and how to get it.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use playhouse_protocol::{
    host::{Limits, SandboxSpec, host_id},
    templates::TEMPLATES,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;
use uuid::Uuid;

use crate::sandbox::{
    StepError, cgroup,
    driver::{Driver, Paths},
    escape, probe,
    rights::Rights,
    rootless, skeleton, this_program,
    toolchains::{self, Toolchain},
};

/// Everything is there.
const FINE: u8 = 0;
/// Something is lacking.
const LACKING: u8 = 3;
/// How long the probes may take.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// What was found.
#[derive(Debug, Serialize)]
struct Findings {
    /// What isolates programs here; null if nothing can.
    isolation: Option<&'static str>,
    verdict: String,
    cgroups: Option<&'static str>,
    agent: AgentFile,
    missing: Vec<probe::Lack>,
    advice: Vec<probe::Lack>,
    templates: Vec<TemplateState>,
    apparmor_profile: Option<String>,
    /// The attempts to get out of a sandbox that were not refused; null when none was made.
    escapes: Option<Result<Vec<escape::Attempt>, String>>,
}

#[derive(Debug, Serialize)]
struct AgentFile {
    path: PathBuf,
    found: bool,
}

#[derive(Debug, Serialize)]
struct TemplateState {
    name: &'static str,
    /// Where its toolchains are.
    toolchains: Vec<(&'static str, PathBuf)>,
    missing: Vec<&'static str>,
}

/// Looks, and with `probe` tries: starts a sandbox whose program tries to get out. Returns what to print and the exit
/// code: 0 if sandboxes can be made here, 3 if not.
#[must_use]
pub fn run(probe: bool, rootless: bool, json: bool, agent: &Path) -> (String, u8) {
    let findings = look(probe, rootless, agent);
    let escaped = match &findings.escapes {
        None => false,
        Some(Err(_)) => true,
        Some(Ok(attempts)) => attempts.iter().any(|attempt| attempt.escaped.is_some()),
    };
    let fine = findings.missing.is_empty() && findings.agent.found && !escaped;
    let text = if json { serde_json::to_string(&findings).unwrap_or_default() + "\n" } else { in_words(&findings) };
    (text, if fine { FINE } else { LACKING })
}

fn look(probe: bool, rootless: bool, agent: &Path) -> Findings {
    let missing = if rootless { rootless::lacking() } else { probe::lacking() };
    let advice = if rootless { rootless::advice() } else { probe::advice() };
    // Before anything is printed, since the program may have to be started anew for it, and after all that asks who this is.
    let rights = match (probe && missing.is_empty(), rootless) {
        (false, _) => None,
        (true, false) => Some(Ok(Rights::Root)),
        (true, true) => Some(rootless::enter(None).map(Rights::Rootless)),
    };
    let owner = std::env::var("SUDO_UID").ok().and_then(|text| text.parse().ok());
    let home = owner
        .and_then(|user| nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(user)).ok().flatten())
        .map(|user| user.dir);
    let found = toolchains::find_all(home.as_deref());
    let escapes = rights.map(|rights| match rights {
        Ok(rights) => try_to_escape(rights).map_err(|error| error.to_string()),
        Err(lacking) => Err(lacking.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    });
    let verdict = match (missing.is_empty(), rootless) {
        (true, false) => {
            "trusted mode: hardened container. Programs share this machine's kernel; run only people you trust."
        }
        (true, true) => {
            "trusted mode: rootless container. Programs share this machine's kernel and their disks have no quota; run only \
             people you trust."
        }
        (false, false) if probe::is_only_root(&missing) => {
            "this user alone can make no sandbox. `playhouse serve` starts its host through sudo for that, which asks once; \
             `sudo playhouse doctor` looks as root, and `playhouse doctor --rootless` at what is possible without."
        }
        (false, _) => "no sandbox can be made here until what is missing is there.",
    };
    Findings {
        isolation: missing.is_empty().then_some(if rootless { "rootless-container" } else { "hardened-container" }),
        verdict: verdict.to_owned(),
        cgroups: cgroup::version(Path::new(cgroup::ROOT)).map(|version| match version {
            cgroup::Version::V1 => "v1",
            cgroup::Version::V2 => "v2",
        }),
        agent: AgentFile { path: agent.to_owned(), found: agent.is_file() },
        missing,
        advice,
        templates: templates(&found),
        apparmor_profile: (rootless && probe::apparmor_restricts()).then(|| {
            let program = this_program().unwrap_or_else(|_| "/usr/local/bin/playhouse".into());
            probe::apparmor_profile(&program.display().to_string())
        }),
        escapes,
    }
}

fn templates(found: &[Toolchain]) -> Vec<TemplateState> {
    TEMPLATES
        .iter()
        .map(|template| {
            let toolchains: Vec<_> = found
                .iter()
                .filter(|toolchain| template.toolchains.contains(&toolchain.name))
                .map(|toolchain| (toolchain.name, toolchain.prefix.clone()))
                .collect();
            let missing = template.toolchains.iter().filter(|name| toolchains.iter().all(|(have, _)| have != *name));
            TemplateState { name: template.name, missing: missing.copied().collect(), toolchains }
        })
        .collect()
}

fn in_words(findings: &Findings) -> String {
    let mut text = String::new();
    let mut line = |mark: &str, words: String| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "{mark} {words}");
    };
    let mark = if findings.cgroups.is_some() { "✓" } else { "✗" };
    line(mark, format!("cgroups: {}", findings.cgroups.unwrap_or("none")));
    for lack in &findings.missing {
        line("✗", format!("missing: {}\n    {}", lack.what, lack.how));
    }
    let agent = findings.agent.path.display();
    if findings.agent.found {
        line("✓", format!("agent: {agent}"));
    } else {
        line("✗", format!("missing: the agent at {agent}\n    make build"));
    }
    for template in &findings.templates {
        if template.missing.is_empty() {
            let places: Vec<String> =
                template.toolchains.iter().map(|(name, path)| format!("{name} in {}", path.display())).collect();
            let places = if places.is_empty() { "nothing needed".to_owned() } else { places.join(", ") };
            line("✓", format!("template {}: {places}", template.name));
        } else {
            let names = template.missing.join(", ");
            line(
                "!",
                format!(
                    "template {}: install {names}, for all users or in the home of whoever calls sudo",
                    template.name
                ),
            );
        }
    }
    for lack in &findings.advice {
        line("!", format!("{}\n    {}", lack.what, lack.how));
    }
    if let Some(profile) = &findings.apparmor_profile {
        line("!", format!("the AppArmor profile for /etc/apparmor.d/playhouse:\n{profile}"));
    }
    match &findings.escapes {
        None => {}
        Some(Err(error)) => line("✗", format!("the probe could not run: {error}")),
        Some(Ok(attempts)) => {
            let escaped: Vec<_> = attempts.iter().filter_map(|one| Some((&one.name, one.escaped.as_ref()?))).collect();
            for (name, how) in &escaped {
                line("✗", format!("not refused: {name} ({how})"));
            }
            if escaped.is_empty() {
                line("✓", format!("{} attempts to get out of a sandbox were refused", attempts.len()));
            }
        }
    }
    line("→", findings.verdict.clone());
    text
}

/// Starts a sandbox whose init is this program trying to get out.
fn try_to_escape(rights: Rights) -> Result<Vec<escape::Attempt>, StepError> {
    // As in a host.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let data = tempfile::tempdir().map_err(StepError::at("make a directory"))?;
    let id = host_id(data.path());
    let shared = match (&rights, std::env::var_os("XDG_RUNTIME_DIR")) {
        (Rights::Rootless(_), Some(dir)) if Path::new(&dir).is_absolute() => Path::new(&dir).join("playhouse"),
        (Rights::Rootless(_), _) => data.path().join("run"),
        (Rights::Root, _) => PathBuf::from("/run/playhouse"),
    };
    let run_dir = shared.join(&id);
    let program = PathBuf::from("/proc/self/exe");
    // As a host makes them, whatever the umask: one that comes later takes no directory that others can write.
    for dir in [&shared, &run_dir] {
        match fs::create_dir(dir) {
            Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o711)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(StepError::at("make a run directory"))?;
    }
    let paths = Paths {
        host_id: id,
        run_dir: run_dir.clone(),
        data_dir: data.path().join("host"),
        ranges: shared.join("ranges"),
        agent: program.clone(),
        program,
        rights,
    };
    let driver = Driver::contained(paths, None)?;
    let report = escape_report(&driver, data.path());
    driver.leave_nothing();
    // What is left of a failed probe is only an empty directory.
    let _ = fs::remove_dir_all(&run_dir);
    report
}

fn escape_report(driver: &Driver, data: &Path) -> Result<Vec<escape::Attempt>, StepError> {
    let sandbox_id = Uuid::now_v7();
    let dir = data.join("host/sandboxes").join(sandbox_id.to_string());
    fs::create_dir_all(&dir).map_err(StepError::at("make a directory"))?;
    let limits = Limits { cpu_millis: 1000, memory_bytes: 256 << 20, disk_bytes: 64 << 20, pids: 64 };
    let spec = SandboxSpec { sandbox_id, template: "blank".to_owned(), limits, token: [0; 32], egress: Vec::new() };
    let mut slot = driver.reserve(sandbox_id, &dir)?;
    let arguments = [skeleton::AGENT, "__runtime", "probe"].map(str::to_owned).to_vec();
    let started = driver.start_program(&mut slot, &spec, Some(arguments));
    let waited = started.clone().and_then(|init| {
        // One that can't be opened has ended.
        let Ok(descriptor) = init.open() else { return Ok(()) };
        let timeout = Timespec { tv_sec: PROBE_LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
        match rustix::event::poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => Err(StepError::new("wait for the probes", "they took too long")),
            Ok(_) => Ok(()),
            Err(error) => Err(StepError::new("wait for the probes", error.to_string())),
        }
    });
    let log = fs::read_to_string(dir.join("agent.log")).unwrap_or_default();
    driver.end(&mut slot, started.ok())?;
    waited?;
    escape::parse(&log).ok_or_else(|| StepError::new("read the probes' report", log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_end_with_the_verdict() {
        let agent = std::env::current_exe().expect("this program");
        let (words, code) = run(false, false, false, &agent);
        assert!(words.lines().last().is_some_and(|line| line.starts_with('→')), "{words}");
        let (json, same) = run(false, false, true, &agent);
        assert_eq!(code, same);
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(value["templates"].as_array().map(Vec::len), Some(TEMPLATES.len()));
        assert_eq!(code == FINE, value["missing"].as_array().is_some_and(Vec::is_empty));
    }

    #[test]
    fn a_missing_agent_is_named() {
        let (words, code) = run(false, false, false, Path::new("/no/such/agent"));
        assert_eq!(code, LACKING);
        assert!(words.contains("/no/such/agent"));
    }

    #[test]
    fn templates_say_what_they_lack() {
        let states = templates(&[]);
        let rust = states.iter().find(|state| state.name == "rust").expect("the template");
        assert_eq!(rust.missing, ["rust"]);
        assert!(states.iter().find(|state| state.name == "blank").expect("the template").missing.is_empty());
    }
}
