//! Where the agent finds what it needs: variables that the host sets, with the sandbox's places as defaults.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Context;
use playhouse_protocol::host::{EGRESS_PORT, SANDBOX_SOCKETS};
use uuid::Uuid;

/// The tree, and the programs' home, as they are called in requests and in a sandbox.
const WORKSPACE: &str = "/workspace";
const HOME: &str = "/home/sandbox";

/// The variable that names the sandbox. It has no default.
const SANDBOX_ID: &str = "PLAYHOUSE_SANDBOX_ID";

/// Read once, at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The sandbox this agent is the init of.
    pub sandbox_id: Uuid,
    /// `PLAYHOUSE_SOCKETS`: the directory of the sockets to the node and the egress proxy.
    pub sockets: PathBuf,
    /// `PLAYHOUSE_WORKSPACE`: the directory that is the tree.
    pub workspace: PathBuf,
    /// `PLAYHOUSE_HOME`: the programs' home directory.
    pub home: PathBuf,
    /// `PLAYHOUSE_EGRESS_PORT`: the loopback port of the way out; 0 for none.
    pub egress_port: u16,
}

impl Config {
    /// What `variable` says.
    ///
    /// # Errors
    /// The sandbox's id is missing or malformed, or the port is.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        let path = |name: &str, default: &str| variable(name).map_or_else(|| default.into(), PathBuf::from);
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let sandbox_id = text(SANDBOX_ID).with_context(|| format!("{SANDBOX_ID} is not set"))?;
        let egress_port = match text("PLAYHOUSE_EGRESS_PORT") {
            Some(port) => port.parse().context("PLAYHOUSE_EGRESS_PORT is no port")?,
            None => EGRESS_PORT,
        };
        Ok(Self {
            sandbox_id: sandbox_id.parse().with_context(|| format!("{SANDBOX_ID} is no id"))?,
            sockets: path("PLAYHOUSE_SOCKETS", SANDBOX_SOCKETS),
            workspace: path("PLAYHOUSE_WORKSPACE", WORKSPACE),
            home: path("PLAYHOUSE_HOME", HOME),
            egress_port,
        })
    }

    /// Where the directories that requests name are: without a sandbox they are elsewhere.
    #[must_use]
    pub fn places(&self) -> Places {
        Places([(WORKSPACE, self.workspace.clone()), (HOME, self.home.clone())])
    }
}

/// Where the directories that requests name are.
#[derive(Debug)]
pub struct Places([(&'static str, PathBuf); 2]);

impl Places {
    /// Where `path` is.
    #[must_use]
    pub fn find(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        let below = self.0.iter().find_map(|(name, place)| Some((place, path.strip_prefix(name).ok()?)));
        match below {
            None => path.to_owned(),
            // Joined, it would end in a slash, which programs show.
            Some((place, rest)) if rest.as_os_str().is_empty() => place.clone(),
            Some((place, rest)) => place.join(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_directories_as_a_sandbox_has_them() {
        let places = Places([(WORKSPACE, "/data/s/workspace".into()), (HOME, "/data/s/home".into())]);
        for (named, found) in [
            ("/workspace", "/data/s/workspace"),
            ("/workspace/src/a", "/data/s/workspace/src/a"),
            ("/workspaces", "/workspaces"),
            ("/home/sandbox/.cache", "/data/s/home/.cache"),
            ("/home", "/home"),
            ("/tmp", "/tmp"),
        ] {
            assert_eq!(places.find(named).as_os_str(), found);
        }
    }

    #[test]
    fn only_the_id_must_be_given() {
        assert!(Config::read(|_| None).is_err());
        let id = Uuid::from_u128(7);
        let config = Config::read(|name| (name == SANDBOX_ID).then(|| id.to_string().into())).unwrap();
        assert_eq!((config.sandbox_id, config.egress_port), (id, 3128));
        assert_eq!(config.workspace, PathBuf::from("/workspace"));
        assert!(
            Config::read(|name| Some(if name == SANDBOX_ID { id.to_string() } else { "x".into() }.into())).is_err()
        );
    }
}
