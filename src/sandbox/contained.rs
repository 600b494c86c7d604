//! The hardened container: one request to a fresh process of this program per sandbox.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use playhouse_protocol::{host::SandboxSpec, templates};
use rustix::event::{PollFd, PollFlags};

use super::{
    StepError, cgroup,
    driver::{Paths, Place},
    environment,
    process::ProcessRef,
    request::{Reply, Request},
    skeleton,
    toolchains::Toolchain,
};

/// How long making one sandbox may take before its process is killed. It takes a tenth of a second.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The hardened container.
#[derive(Debug)]
pub struct Contained {
    pub(super) paths: Paths,
    /// The root that all sandboxes share.
    pub(super) root: PathBuf,
    /// Where each sandbox's stage is set.
    pub(super) stage: PathBuf,
    pub(super) toolchains: Vec<Toolchain>,
}

impl Contained {
    /// Where formatted disks lie ready.
    pub(super) fn spares(&self) -> PathBuf {
        self.paths.data_dir.join("spares")
    }

    pub(super) fn start(
        &self,
        sandbox: (Place, &Path),
        spec: &SandboxSpec,
        scratch: PathBuf,
        sockets: PathBuf,
        arguments: Option<Vec<String>>,
    ) -> Result<ProcessRef, StepError> {
        let (place, dir) = sandbox;
        let Place::Contained { n } = place else {
            return Err(StepError::new("find the sandbox's place", "it is not a container's"));
        };
        let template = templates::find(&spec.template)
            .ok_or_else(|| StepError::new("find the template", spec.template.clone()))?;
        let rights = &self.paths.rights;
        let disk = rights.provide_disk(&self.spares(), spec.limits.disk_bytes, dir)?;
        let toolchains: Vec<Toolchain> =
            self.toolchains.iter().filter(|found| template.toolchains.contains(&found.name)).cloned().collect();
        let cgroup = self.paths.cgroups().sandbox(n).map_err(StepError::at("find the cgroups"))?;
        self.paths.cgroups().prepare().and_then(|()| cgroup.make()).map_err(StepError::at("make the cgroup"))?;
        let request = Request {
            sandbox_id: spec.sandbox_id,
            first_id: rights.ids().base(n),
            ids: rights.ids().each(),
            disk,
            root: self.root.clone(),
            stage: self.stage.clone(),
            scratch,
            sockets,
            log: dir.join("agent.log"),
            toolchains: toolchains
                .iter()
                .filter(|found| found.bound)
                .map(|found| (found.name.to_owned(), found.prefix.clone()))
                .collect(),
            cgroup: cgroup.path(),
            cpu_millis: spec.limits.cpu_millis,
            memory_bytes: spec.limits.memory_bytes,
            swap_limit: cgroup::has_swap_limit(),
            pids: spec.limits.pids,
            variables: environment::variables(spec.sandbox_id, &toolchains),
            arguments: arguments.unwrap_or_else(|| vec![skeleton::AGENT.to_owned()]),
            token: spec.token,
        };
        let init = match self.ask(&request)? {
            Reply::Started(init) => init,
            Reply::Failed { step, detail } => return Err(StepError { step, detail }),
        };
        match cgroup.verify(&spec.limits) {
            Ok(()) => Ok(init),
            Err(error) => {
                init.kill().map_err(StepError::at("kill the init"))?;
                Err(StepError::at("check the limits")(error))
            }
        }
    }

    /// Has the request done by a fresh process.
    fn ask(&self, request: &Request) -> Result<Reply, StepError> {
        let text = serde_json::to_vec(request).map_err(StepError::at("write the request"))?;
        let mut child = Command::new(&self.paths.program)
            .args(["__runtime", "run"])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(StepError::at("start the runtime"))?;
        let told = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(&text));
        let mut answer = Vec::new();
        let heard = match child.stdout.take() {
            Some(mut stdout) => wait_readable(&stdout, START_LIMIT)
                .and_then(|()| (&mut stdout).take(64 * 1024).read_to_end(&mut answer).map(|_| ())),
            None => Ok(()),
        };
        if heard.is_err() {
            // Its reply below is empty then, and the caller ends what there is of the sandbox.
            let _ = child.kill();
        }
        let status = child.wait().map_err(StepError::at("wait for the runtime"))?;
        told.and(heard).map_err(StepError::at("ask the runtime"))?;
        serde_json::from_slice(&answer)
            .map_err(|_| StepError::new("ask the runtime", format!("it ended with {status}")))
    }
}

fn wait_readable(file: &impl std::os::fd::AsFd, limit: Duration) -> io::Result<()> {
    let timeout = rustix::event::Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: 0 };
    match rustix::event::poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer")),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
