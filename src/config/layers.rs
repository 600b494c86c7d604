//! Where a value comes from: built-in defaults, the configuration file, the environment, flags; the later one wins.
//!
//! Every layer is a set of texts under the same names, so that a value means the same wherever it was written.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::Path,
};

use clap::{ArgMatches, parser::ValueSource};
use figment::{
    Figment,
    providers::{Format as _, Toml},
    value::{Dict, Value},
};

/// A setting that can be written in every layer.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name in TOML; the flag has hyphens for underscores.
    pub name: &'static str,
    /// What it is when nobody says.
    pub default: Option<&'static str>,
    /// Whether it is a switch.
    pub switch: bool,
}

const fn key(name: &'static str, default: Option<&'static str>) -> Key {
    Key { name, default, switch: false }
}

const fn switch(name: &'static str) -> Key {
    Key { name, default: Some("false"), switch: true }
}

/// Every setting, in the order `playhouse config` shows them.
pub const KEYS: &[Key] = &[
    key("listen", Some("127.0.0.1:8080")),
    key("admin_listen", Some("127.0.0.1:9090")),
    key("public_url", None),
    key("data_dir", None),
    key("metadata", Some("embedded")),
    key("replay", Some("file")),
    key("blobs", Some("fs")),
    key("node", None),
    key("cluster_listen", None),
    key("cluster_advertise", None),
    key("cluster_tls", None),
    key("secret_file", None),
    switch("no_host"),
    switch("keep_host"),
    key("sandbox_runtime", Some("auto")),
    switch("rootless"),
    switch("insecure_no_sandbox"),
    key("egress_allow", Some(super::egress::REGISTRIES)),
    key("instance_types", None),
    key("idle_after", Some("30m")),
    key("retention_bytes", Some("16MiB")),
    key("retention_ttl", Some("1h")),
    key("max_upload", Some("100MiB")),
    key("max_sockets", Some("10000")),
    key("rate_limit", Some("200")),
    key("join", None),
    key("name", None),
    key("admin", None),
    key("log_format", Some("text")),
    key("output", Some("text")),
];

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is built in.
    Default,
    /// In the configuration file.
    File(String),
    /// In this environment variable.
    Environment(String),
    /// As a flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The text.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

/// All settings as they were written.
#[derive(Debug, Clone, Default)]
pub struct Layers(BTreeMap<&'static str, Written>);

impl Layers {
    /// The built-in defaults.
    #[must_use]
    pub fn defaults() -> Self {
        let mut layers = Self::default();
        for key in KEYS {
            if let Some(text) = key.default {
                layers.set(key, text.to_owned(), Origin::Default);
            }
        }
        layers
    }

    fn set(&mut self, key: &Key, text: String, origin: Origin) {
        self.0.insert(key.name, Written { text, origin });
    }

    /// Puts a configuration file over what is there.
    ///
    /// # Errors
    /// When it can't be read, is no TOML, or has a key that is none of ours.
    pub fn file(&mut self, path: &Path) -> Result<(), String> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        self.toml(&text, &shown)
    }

    fn toml(&mut self, text: &str, shown: &str) -> Result<(), String> {
        let values: Dict = Figment::from(Toml::string(text))
            .extract()
            .map_err(|error| format!("{shown}: {}", first_line(&error.to_string())))?;
        for (name, value) in values {
            let key =
                KEYS.iter().find(|key| key.name == name).ok_or_else(|| format!("{shown}: unknown key `{name}`"))?;
            let text =
                written(&value).ok_or_else(|| format!("{shown}: `{name}` needs a text, a number or a list of them"))?;
            self.set(key, text, Origin::File(shown.to_owned()));
        }
        Ok(())
    }

    /// Puts the environment over what is there. Only our settings' names are looked at: other variables that begin
    /// alike belong to someone else.
    ///
    /// # Errors
    /// A value that is no UTF-8: the rest of it would mean something else.
    pub fn environment(&mut self, variable: impl Fn(&str) -> Option<OsString>) -> Result<(), String> {
        for key in KEYS {
            let name = format!("PLAYHOUSE_{}", key.name.to_ascii_uppercase());
            if let Some(value) = variable(&name) {
                let text = value.into_string().map_err(|value| no_text(&name, &value))?;
                self.set(key, text, Origin::Environment(name));
            }
        }
        Ok(())
    }

    /// Puts the flags of a command line over what is there.
    ///
    /// # Errors
    /// A value that is no UTF-8.
    pub fn flags(&mut self, matches: &ArgMatches) -> Result<(), String> {
        let mut level = Some(matches);
        while let Some(matches) = level {
            for key in KEYS {
                // A command that doesn't take a flag has no such id.
                let given = matches.try_contains_id(key.name).is_ok()
                    && matches.value_source(key.name) == Some(ValueSource::CommandLine);
                if given && key.switch {
                    self.set(key, matches.get_flag(key.name).to_string(), Origin::Flag);
                } else if given && let Some(values) = matches.get_raw(key.name) {
                    let flag = format!("--{}", key.name.replace('_', "-"));
                    let texts: Result<Vec<_>, _> =
                        values.map(|value| value.to_str().ok_or_else(|| no_text(&flag, value))).collect();
                    self.set(key, texts?.join(","), Origin::Flag);
                }
            }
            level = matches.subcommand().map(|(_, matches)| matches);
        }
        Ok(())
    }

    /// A setting as it was written, if it was.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Written> {
        self.0.get(name)
    }
}

fn no_text(name: &str, value: &OsStr) -> String {
    format!("{name} is no UTF-8: {}", value.display())
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, c) => Some(c.to_string()),
        Value::Bool(_, set) => Some(set.to_string()),
        Value::Num(..) => value.to_i128().map(|n| n.to_string()).or_else(|| value.to_f64().map(|n| n.to_string())),
        Value::Array(_, items) => items.iter().map(written).collect::<Option<Vec<_>>>().map(|texts| texts.join(",")),
        Value::Empty(..) | Value::Dict(..) => None,
    }
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::config::Cli;

    fn matches(args: &[&str]) -> ArgMatches {
        let matches = Cli::command().try_get_matches_from([&["playhouse"], args].concat()).expect("arguments");
        Cli::from_arg_matches(&matches).expect("a command");
        matches
    }

    fn origin_and_text(layers: &Layers, name: &str) -> (String, String) {
        let written = layers.get(name).expect("written");
        (written.origin.to_string(), written.text.clone())
    }

    #[test]
    fn the_later_layer_wins() {
        let mut layers = Layers::defaults();
        layers
            .toml("listen = \"a:1\"\nmax_sockets = 5\nmax_upload = \"1MiB\"\nno_host = true", "f.toml")
            .expect("fine");
        assert_eq!(origin_and_text(&layers, "listen"), ("file f.toml".into(), "a:1".into()));
        assert_eq!(origin_and_text(&layers, "no_host"), ("file f.toml".into(), "true".into()));
        layers
            .environment(|name| match name {
                "PLAYHOUSE_LISTEN" => Some("b:2".into()),
                "PLAYHOUSE_MAX_UPLOAD" => Some("2MiB".into()),
                _ => None,
            })
            .expect("texts");
        layers.flags(&matches(&["serve", "--listen", "c:3", "--insecure-no-sandbox"])).expect("texts");
        assert_eq!(origin_and_text(&layers, "listen"), ("flag".into(), "c:3".into()));
        assert_eq!(origin_and_text(&layers, "max_upload"), ("environment PLAYHOUSE_MAX_UPLOAD".into(), "2MiB".into()));
        assert_eq!(origin_and_text(&layers, "max_sockets"), ("file f.toml".into(), "5".into()));
        assert_eq!(origin_and_text(&layers, "insecure_no_sandbox"), ("flag".into(), "true".into()));
        assert_eq!(origin_and_text(&layers, "rate_limit"), ("default".into(), "200".into()));
    }

    #[test]
    fn lists_are_written_alike_everywhere() {
        let mut layers = Layers::defaults();
        layers.toml("egress_allow = [\"a\", \"b=1.2.3.4:5\"]", "f").expect("fine");
        assert_eq!(origin_and_text(&layers, "egress_allow").1, "a,b=1.2.3.4:5");
        layers.flags(&matches(&["serve", "--egress-allow", "c,d", "--egress-allow", "e"])).expect("texts");
        assert_eq!(origin_and_text(&layers, "egress_allow").1, "c,d,e");
    }

    #[test]
    fn what_is_no_key_or_no_toml_is_refused() {
        let mut layers = Layers::defaults();
        assert!(layers.toml("lisen = \"a\"", "f").expect_err("unknown").contains("`lisen`"));
        assert!(layers.toml("listen = ", "f").is_err());
        assert!(layers.toml("[listen]\na = 1", "f").is_err());
        assert!(layers.file(Path::new("/does/not/exist")).is_err());
    }

    #[test]
    fn every_flag_that_is_a_setting_has_its_key() {
        // Flags that belong to one command and not to the configuration.
        let own =
            ["config", "user", "org", "tier", "ttl", "probe", "node_name", "out", "help", "version", "only", "line"];
        fn walk(command: &clap::Command, own: &[&str]) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let known = KEYS.iter().any(|key| key.name == id) || own.contains(&id);
                assert!(known, "{} takes {id}", command.get_name());
                if let (Some(long), true) = (argument.get_long(), KEYS.iter().any(|key| key.name == id)) {
                    assert_eq!(long.replace('-', "_"), id);
                }
            }
            for command in command.get_subcommands() {
                walk(command, own);
            }
        }
        walk(&Cli::command(), &own);
    }

    #[test]
    fn what_is_no_text_is_refused_and_not_taken_for_something_like_it() {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = OsStr::from_bytes(b"a\xff");
        let error = Layers::defaults()
            .environment(|name| (name == "PLAYHOUSE_DATA_DIR").then(|| odd.to_owned()))
            .expect_err("refused");
        assert!(error.starts_with("PLAYHOUSE_DATA_DIR is no UTF-8: a"), "{error}");
        let arguments = [OsStr::new("playhouse"), OsStr::new("serve"), OsStr::new("--data-dir"), odd];
        let given = Cli::command().try_get_matches_from(arguments).expect("arguments");
        let error = Layers::defaults().flags(&given).expect_err("refused");
        assert!(error.starts_with("--data-dir is no UTF-8: a"), "{error}");
    }
}
