//! What sandboxes may reach: names, and where an operator says that a name is.

use std::net::SocketAddr;

use playhouse_protocol::{dns::host_name, host::EgressRule};

/// The registries of Python, npm, Rust, Go and Debian, and GitHub.
pub const REGISTRIES: &str = "pypi.org,files.pythonhosted.org,registry.npmjs.org,crates.io,index.crates.io,\
static.crates.io,static.rust-lang.org,proxy.golang.org,sum.golang.org,storage.googleapis.com,deb.debian.org,\
security.debian.org,github.com,api.github.com,codeload.github.com,raw.githubusercontent.com,objects.githubusercontent.com,\
release-assets.githubusercontent.com";

/// Reads a list of `NAME` and `NAME=ADDR:PORT`.
///
/// # Errors
/// Names the entry that is neither.
pub fn rules(text: &str) -> Result<Vec<EgressRule>, String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(rule).collect()
}

fn rule(entry: &str) -> Result<EgressRule, String> {
    let (name, address) = match entry.split_once('=') {
        Some((name, address)) => (name.trim(), Some(address.trim())),
        None => (entry, None),
    };
    let read = match name.strip_prefix("*.") {
        Some(rest) => host_name(rest).map(|name| format!("*.{name}")),
        None => host_name(name),
    };
    let name = read.ok_or_else(|| format!("{entry:?}: a host name is needed, such as pypi.org or *.example.org"))?;
    if let Some(address) = address
        && address.parse::<SocketAddr>().is_err()
    {
        return Err(format!("{entry:?}: after `=` an address and a port are needed, such as 127.0.0.1:8443"));
    }
    Ok(EgressRule { name, address: address.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rules = rules("PyPI.org, *.example.org ,local.test=127.0.0.1:8443,v6.test=[::1]:1,").expect("fine");
        let read: Vec<_> = rules.iter().map(|rule| (rule.name.as_str(), rule.address.as_deref())).collect();
        assert_eq!(
            read,
            [
                ("pypi.org", None),
                ("*.example.org", None),
                ("local.test", Some("127.0.0.1:8443")),
                ("v6.test", Some("[::1]:1"))
            ]
        );
        for bad in ["a b", "http://a", "a:443", "*", "a..b", "a=localhost:1", "a=127.0.0.1", "=1.2.3.4:5", "a.*.b"] {
            assert!(rule(bad).is_err(), "{bad:?}");
        }
        assert!(!super::rules(REGISTRIES).expect("ours").is_empty());
    }
}
