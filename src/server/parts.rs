//! A node's parts, put together from the settings: by the server, and by operators' commands when none runs.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use playhouse_protocol::host::ToHost;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::Failure;
use crate::{
    actors::{Node, host::HostLink, node},
    cluster::Region,
    config::Settings,
    http::tokens::Keys,
    sandbox::rights,
    store::{
        Retention, Store, StoreOpenError,
        metadata::{OpenError, file_in},
    },
};

/// How often a store that another process has open is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// Output kept of a whole workspace, in process shares.
const PROCESSES_A_WORKSPACE: u64 = 8;

/// The data directory as an absolute path, for its owner alone, made if need be.
pub(crate) fn data_dir(settings: &Settings) -> Result<PathBuf, Failure> {
    let dir = &settings.data_dir;
    private(dir).map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))
}

/// One that was there and holds other things too stays as it is: it may be one that everybody needs.
fn private(dir: &Path) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let dir = dir.canonicalize()?;
    let metadata = dir.metadata()?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let ours = metadata.uid() == rustix::process::geteuid().as_raw();
        let shown = dir.display();
        if ours && (file_in(&dir).exists() || fs::read_dir(&dir)?.next().is_none()) {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
            tracing::info!("{shown} is closed to others now: it holds secrets");
        } else {
            tracing::warn!("others can look into {shown}, which holds secrets: it should have mode 0700");
        }
    }
    Ok(dir)
}

/// The key that signs tokens.
pub(crate) fn keys(settings: &Settings, data_dir: &Path) -> Result<Keys, Failure> {
    let keys = match &settings.secret_file {
        Some(file) => Keys::from_file(file),
        None => Keys::from_file_or_new(&data_dir.join("secret")),
    };
    keys.map_err(|error| Failure::failed(error.to_string()))
}

/// Opens the stores. One that another process has open is waited for so long: an operator's command may have it for a
/// moment.
pub(crate) async fn store(settings: &Settings, data_dir: &Path, wait: Duration) -> Result<Store, Failure> {
    let retention = Retention {
        process_bytes: settings.retention_bytes,
        workspace_bytes: settings.retention_bytes.saturating_mul(PROCESSES_A_WORKSPACE),
        ttl: settings.retention_ttl,
    };
    let until = Instant::now() + wait;
    loop {
        match Store::open(data_dir, retention.clone()).await {
            Ok(store) => return Ok(store),
            Err(StoreOpenError::Metadata(OpenError::Locked)) if Instant::now() < until => sleep(RETRY).await,
            Err(StoreOpenError::Metadata(OpenError::Locked)) => {
                let dir = data_dir.display();
                return Err(Failure::failed(format!("{dir} is in use: another `playhouse serve` runs on it")));
            }
            Err(error @ StoreOpenError::Metadata(OpenError::Schema { .. })) => {
                return Err(Failure::lacking(error.to_string()));
            }
            Err(error) => return Err(Failure::failed(error.to_string())),
        }
    }
}

/// A node over these stores, under a fresh epoch. Nothing is linked to it yet.
pub(crate) async fn node(
    settings: &Settings,
    data_dir: PathBuf,
    store: Store,
    public_url: String,
) -> Result<(Node, mpsc::UnboundedReceiver<ToHost>), Failure> {
    let claim = store.metadata.claim(&settings.node).await.map_err(|error| Failure::failed(error.to_string()))?;
    let region = Region::start().await.map_err(|error| Failure::failed(error.to_string()))?;
    let (to_host, frames) = mpsc::unbounded_channel();
    let node = Node::new(node::Parts {
        name: settings.node.clone(),
        incarnation: claim.incarnation,
        epoch: claim.epoch,
        store,
        settings: node::Settings {
            max_upload: settings.max_upload,
            public_url,
            egress: settings.egress.clone(),
            instance_types: settings.instance_types.clone(),
            idle_after: settings.idle_after,
            isolation: match (settings.insecure_no_sandbox, settings.rootless) {
                (true, _) => rights::NONE,
                (false, true) => rights::ROOTLESS,
                (false, false) => rights::HARDENED,
            },
            data_dir,
        },
        region,
        host: HostLink::new(to_host),
        sessions: crate::actors::session::Sessions::default(),
    });
    Ok((node, frames))
}

/// As many open files as the system allows: each client is one.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum }) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", now.current);
    }
}

/// Where a browser reaches a listener: an address that means "every interface" is named as this machine's own.
pub(crate) fn url_of(address: io::Result<std::net::SocketAddr>) -> Result<String, Failure> {
    let mut address = address.map_err(|error| Failure::failed(error.to_string()))?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    Ok(format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_closed_to_others_unless_it_holds_other_things() {
        let parent = tempfile::tempdir().expect("a directory");
        let mode = |dir: &Path| dir.metadata().expect("it is there").permissions().mode() & 0o777;
        let open = |name: &str, holds: Option<&str>| {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).expect("made");
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("set");
            if let Some(file) = holds {
                fs::write(dir.join(file), "").expect("written");
            }
            mode(&private(&dir).expect("a directory"))
        };
        assert_eq!(mode(&private(&parent.path().join("new/one")).expect("a directory")), 0o700);
        assert_eq!(open("empty", None), 0o700);
        assert_eq!(open("used", Some("metadata.redb")), 0o700);
        assert_eq!(open("shared", Some("other")), 0o755);
    }
}
