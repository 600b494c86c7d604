//! The settings: every value read, checked, and refused where it names what isn't built in.

use std::{cell::RefCell, fmt::Display, num::NonZeroU32, path::PathBuf, str::FromStr, time::Duration};

use playhouse_protocol::host::EgressRule;

use super::{
    cli::{LogFormat, OutputFormat, address},
    egress, instance_types,
    layers::Layers,
    units,
};
use crate::actors::views::InstanceType;

/// The settings are wrong: exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// The settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients are served.
    pub listen: String,
    /// Where operators are served.
    pub admin_listen: String,
    /// Where clients reach the server, without a slash at the end.
    pub public_url: Option<String>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// This node's name.
    pub node: String,
    /// The secret that signs tokens, where it is not the data directory's own.
    pub secret_file: Option<PathBuf>,
    /// No host is started beside the node.
    pub no_host: bool,
    /// The host stays when the node stops.
    pub keep_host: bool,
    /// The runtime's name.
    pub sandbox_runtime: String,
    /// Sandboxes without root.
    pub rootless: bool,
    /// No isolation at all.
    pub insecure_no_sandbox: bool,
    /// What sandboxes may reach.
    pub egress: Vec<EgressRule>,
    /// The instance types, the default first.
    pub instance_types: Vec<InstanceType>,
    /// After which an idle sandbox is ended.
    pub idle_after: Duration,
    /// Output kept of each process, in bytes.
    pub retention_bytes: u64,
    /// How long output is kept after its process ended.
    pub retention_ttl: Duration,
    /// The largest file, in bytes.
    pub max_upload: u64,
    /// Client sockets at a time.
    pub max_sockets: usize,
    /// Requests a second and user.
    pub rate_limit: NonZeroU32,
    /// The host's name.
    pub host_name: String,
    /// A node's admin listener.
    pub admin: String,
    /// How logs are written.
    pub log_format: LogFormat,
    /// How results are written.
    pub output: OutputFormat,
    /// What they ask for and isn't built in; nothing but showing them can be done then.
    pub lacking: Option<String>,
}

struct Reader<'a> {
    layers: &'a Layers,
    /// The first thing asked for that isn't built in.
    lacking: RefCell<Option<String>>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.layers.get(name).map(|written| written.text.clone()).filter(|text| !text.is_empty())
    }

    fn read<T, E: Display>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Result<T, ConfigError> {
        let text = self.text(name).unwrap_or_default();
        read(&text).map_err(|error| ConfigError(format!("{}: {error}", self.named(name))))
    }

    fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, ConfigError> {
        self.read(name, |text| text.trim().parse::<T>())
    }

    fn switch(&self, name: &str) -> Result<bool, ConfigError> {
        self.read(name, |text| match text.to_ascii_lowercase().as_str() {
            "" | "false" | "0" | "no" | "off" => Ok(false),
            "true" | "1" | "yes" | "on" => Ok(true),
            _ => Err("true or false is needed"),
        })
    }

    fn choice<T: clap::ValueEnum>(&self, name: &str) -> Result<T, ConfigError> {
        self.read(name, |text| T::from_str(text, false))
    }

    fn named(&self, name: &str) -> String {
        self.layers.get(name).map_or_else(|| name.to_owned(), |written| format!("{name} ({})", written.origin))
    }

    fn lack(&self, words: String) {
        self.lacking.borrow_mut().get_or_insert(words);
    }

    /// Notes what is known and not built in, and refuses what is unknown.
    fn only(&self, name: &str, built_in: &[&str], known: &[&str]) -> Result<String, ConfigError> {
        let text = self.text(name).unwrap_or_default();
        if built_in.contains(&text.as_str()) {
            return Ok(text);
        }
        if known.iter().any(|known| text.starts_with(known)) {
            let shown = mask(&text);
            let built_in = built_in.join(" or ");
            self.lack(format!("{}: {shown} isn't built in yet; {built_in} is", self.named(name)));
            return Ok(text);
        }
        let choices: Vec<&str> = built_in.iter().chain(known).copied().collect();
        Err(ConfigError(format!("{}: {:?} is none of {}", self.named(name), mask(&text), choices.join(", "))))
    }
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// Names the setting, where it was written, and what is wrong with it.
    pub fn read(layers: &Layers, machine: &Machine) -> Result<Self, ConfigError> {
        let reader = Reader { layers, lacking: RefCell::default() };
        reader.only("metadata", &["embedded"], &["cql://"])?;
        reader.only("replay", &["file"], &["redis://", "rediss://"])?;
        reader.only("blobs", &["fs"], &["s3://"])?;
        for name in ["cluster_listen", "cluster_advertise", "cluster_tls", "join"] {
            if reader.text(name).is_some() {
                let named = reader.named(name);
                reader.lack(format!("{named}: clusters aren't built in yet; leave it out for one node"));
            }
        }
        let data_dir = reader.text("data_dir").map_or_else(|| machine.data_dir(), |dir| Ok(PathBuf::from(dir)))?;
        let admin_listen = reader.read("admin_listen", address)?;
        Ok(Self {
            listen: reader.read("listen", address)?,
            public_url: reader.text("public_url").map(|url| public_url(&url)).transpose()?,
            data_dir,
            node: name(reader.text("node"), &machine.name)?,
            secret_file: reader.text("secret_file").map(PathBuf::from),
            no_host: reader.switch("no_host")?,
            keep_host: reader.switch("keep_host")?,
            sandbox_runtime: reader.only("sandbox_runtime", &["auto", "builtin"], &["crun", "runc", "runsc"])?,
            rootless: reader.switch("rootless")?,
            insecure_no_sandbox: reader.switch("insecure_no_sandbox")?,
            egress: reader.read("egress_allow", egress::rules)?,
            instance_types: reader.read("instance_types", |text| instance_types::instance_types(Some(text)))?,
            idle_after: reader.read("idle_after", units::duration)?,
            retention_bytes: reader.read("retention_bytes", units::size)?,
            retention_ttl: reader.read("retention_ttl", units::duration)?,
            max_upload: reader.read("max_upload", units::size)?,
            max_sockets: reader.parse("max_sockets")?,
            rate_limit: reader.parse("rate_limit")?,
            host_name: name(reader.text("name"), &machine.name)?,
            admin: reader.text("admin").unwrap_or_else(|| format!("http://{admin_listen}")),
            admin_listen,
            log_format: reader.choice("log_format")?,
            output: reader.choice("output")?,
            lacking: reader.lacking.into_inner(),
        })
    }
}

/// What is known of the machine.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// `XDG_DATA_HOME`.
    pub data_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { name, data_home: path("XDG_DATA_HOME"), home: path("HOME") }
    }

    fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        let home = || self.home.as_ref().map(|home| home.join(".local/share"));
        let data = self.data_home.clone().or_else(home).map(|data| data.join("playhouse"));
        data.ok_or_else(|| ConfigError("--data-dir is needed: there is neither XDG_DATA_HOME nor HOME".to_owned()))
    }
}

fn name(given: Option<String>, machine: &str) -> Result<String, ConfigError> {
    let plain = |name: &str| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match given {
        Some(name) if plain(&name) => Ok(name),
        Some(name) => Err(ConfigError(format!("{name:?} is no name: 1 to 64 letters, digits, `-`, `_` and `.`"))),
        None if plain(machine) => Ok(machine.to_owned()),
        None => Ok("node".to_owned()),
    }
}

fn public_url(url: &str) -> Result<String, ConfigError> {
    let host = url.strip_prefix("http://").or(url.strip_prefix("https://"));
    let fine =
        host.is_some_and(|host| !host.is_empty() && !host.starts_with('/')) && !url.contains(['?', '#', ' ', '"']);
    if fine {
        Ok(url.trim_end_matches('/').to_owned())
    } else {
        Err(ConfigError(format!("public_url: {url:?} is no http or https URL")))
    }
}

/// A value that may be shown: the password of a URL and secret parameters are not.
#[must_use]
pub fn mask(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}:***@{host}", user.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    let query = query.map_or_else(String::new, |query| {
        let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if secret(name) => format!("{name}=***"),
            _ => parameter.to_owned(),
        });
        format!("?{}", parameters.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{authority}{path}{query}")
}

fn secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["secret", "password", "token", "key"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let mut layers = Layers::defaults();
        layers
            .environment(|name| {
                let name = name.strip_prefix("PLAYHOUSE_").expect("ours").to_ascii_lowercase();
                values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
            })
            .expect("texts");
        let machine = Machine { name: "box".into(), data_home: None, home: Some("/home/ada".into()) };
        Settings::read(&layers, &machine)
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = settings(&[]).expect("fine");
        assert_eq!(settings.listen, "127.0.0.1:8080");
        assert_eq!(settings.admin, "http://127.0.0.1:9090");
        assert_eq!(settings.data_dir, PathBuf::from("/home/ada/.local/share/playhouse"));
        assert_eq!((settings.retention_bytes, settings.max_upload), (16 << 20, 100 << 20));
        assert_eq!(settings.retention_ttl, Duration::from_secs(3600));
        assert_eq!((settings.max_sockets, settings.rate_limit.get()), (10_000, 200));
        assert_eq!(settings.instance_types[0].name, "cpu-small");
        assert_eq!(settings.node, "box");
        assert_eq!(settings.lacking, None);
    }

    #[test]
    fn what_is_not_built_in_is_lacking_and_what_is_unknown_is_wrong() {
        for (name, value) in [
            ("metadata", "cql://a:9042/k"),
            ("replay", "redis://a"),
            ("blobs", "s3://b"),
            ("sandbox_runtime", "runsc"),
            ("cluster_listen", "0.0.0.0:7000"),
            ("join", "a:1"),
        ] {
            let lacking = settings(&[(name, value)]).expect("can be shown").lacking.expect("lacking");
            assert!(lacking.contains("isn't built in") || lacking.contains("aren't built in"), "{name}: {lacking}");
        }
        for (name, value) in [
            ("listen", "7"),
            ("metadata", "postgres://a"),
            ("sandbox_runtime", "docker"),
            ("max_upload", "much"),
            ("rate_limit", "0"),
            ("no_host", "perhaps"),
            ("log_format", "xml"),
            ("public_url", "ftp://a"),
            ("node", "a b"),
            ("egress_allow", "a b"),
        ] {
            let error = settings(&[(name, value)]).expect_err("refused").to_string();
            assert!(error.contains(name) || error.contains(value), "{name}: {error}");
        }
        let settings = settings(&[("replay", "redis://:hunter2@a")]).expect("can be shown");
        assert!(!settings.lacking.expect("lacking").contains("hunter2"));
    }

    #[test]
    fn secrets_are_masked() {
        assert_eq!(mask("redis://u:pw@h:1/0"), "redis://u:***@h:1/0");
        assert_eq!(mask("s3://b/p?region=x&secret_access_key=y"), "s3://b/p?region=x&secret_access_key=***");
        assert_eq!(mask("/a/b"), "/a/b");
        assert_eq!(mask("http://h/x@y"), "http://h/x@y");
    }
}
