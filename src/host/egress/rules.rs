//! What a sandbox may reach: names, and where the operator says they are.

use std::net::{Ipv6Addr, SocketAddr};

use playhouse_protocol::{dns::host_name, host::EgressRule};

/// The port that names without an address of their own may be reached on by a tunnel.
pub const HTTPS: u16 = 443;
/// The same by a request that the proxy forwards.
pub const HTTP: u16 = 80;

/// A sandbox's rules, checked.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    name: String,
    any_subdomain: bool,
    address: Option<SocketAddr>,
}

/// Where a connection may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To what the name resolves to, on this port, if that is public.
    Name(String, u16),
    /// Here: the operator said so.
    Address(SocketAddr),
}

/// Why a connection may not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request names no host and port.
    #[error("a request to a proxy names a host and its port")]
    Malformed,
    /// The name is on no rule.
    #[error("{0} is not on the list of names that sandboxes may reach")]
    NotListed(String),
    /// The name is listed, but not for this port.
    #[error("port {0} is not open: only 443 is for https, and 80 for http")]
    Port(u16),
    /// The name resolves to nothing that is out on the network.
    #[error("{0} has no public address")]
    NotPublic(String),
}

impl Rules {
    /// The rules of a sandbox.
    ///
    /// # Errors
    /// Which rule is none.
    pub fn new(rules: &[EgressRule]) -> Result<Self, String> {
        let rules = rules
            .iter()
            .map(|rule| {
                let (name, any_subdomain) = match rule.name.strip_prefix("*.") {
                    Some(rest) => (rest, true),
                    None => (rule.name.as_str(), false),
                };
                let name = host_name(name).ok_or_else(|| format!("{:?} is no host name", rule.name))?;
                let address = rule
                    .address
                    .as_deref()
                    .map(|text| text.parse().map_err(|_| format!("{text:?} is no ADDR:PORT")))
                    .transpose()?;
                Ok(Rule { name, any_subdomain, address })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { rules })
    }

    /// Where a connection to `authority`, `HOST:PORT`, may go. A name is reached on the port `open` alone; one with an
    /// address of its own also on that one's port.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge(&self, authority: &str, open: u16) -> Result<Target, Refusal> {
        let (host, port) = authority.rsplit_once(':').ok_or(Refusal::Malformed)?;
        let port: u16 = port.parse().map_err(|_| Refusal::Malformed)?;
        // An address in brackets is well said, though no rule lists one.
        let address = || host.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(|host: Ipv6Addr| host.to_string());
        let name = host_name(host).or_else(address).ok_or(Refusal::Malformed)?;
        let matching = || self.rules.iter().filter(|rule| rule.matches(&name));
        if matching().next().is_none() {
            return Err(Refusal::NotListed(name));
        }
        match matching().find_map(|rule| rule.address) {
            Some(address) if port == open || port == address.port() => Ok(Target::Address(address)),
            None if port == open => Ok(Target::Name(name, port)),
            Some(_) | None => Err(Refusal::Port(port)),
        }
    }
}

impl Rule {
    fn matches(&self, name: &str) -> bool {
        if self.any_subdomain {
            name.strip_suffix(&self.name).is_some_and(|front| front.ends_with('.') && front.len() > 1)
        } else {
            name == self.name
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> Rules {
        let rule =
            |name: &str, address: Option<&str>| EgressRule { name: name.into(), address: address.map(Into::into) };
        Rules::new(&[rule("pypi.org", None), rule("*.crates.io", None), rule("registry.test", Some("127.0.0.1:4873"))])
            .expect("rules")
    }

    #[test]
    fn listed_names_go_out_on_443_and_on_80_for_http() {
        let rules = rules();
        assert_eq!(rules.judge("PyPI.org.:443", HTTPS), Ok(Target::Name("pypi.org".into(), 443)));
        assert_eq!(rules.judge("static.crates.io:443", HTTPS), Ok(Target::Name("static.crates.io".into(), 443)));
        assert_eq!(rules.judge("pypi.org:22", HTTPS), Err(Refusal::Port(22)));
        assert_eq!(rules.judge("pypi.org:80", HTTPS), Err(Refusal::Port(80)));
        assert_eq!(rules.judge("pypi.org:80", HTTP), Ok(Target::Name("pypi.org".into(), 80)));
        for refused in ["crates.io", "evilcrates.io", "pypi.org.evil.test", "xpypi.org", "1.1.1.1", "169.254.169.254"] {
            assert!(matches!(rules.judge(&format!("{refused}:443"), HTTPS), Err(Refusal::NotListed(_))), "{refused}");
        }
        for malformed in ["pypi.org", "pypi.org:", "pypi.org:99999", ":443", "a b:443", "", "pypi.org\u{0}:443"] {
            assert_eq!(rules.judge(malformed, HTTPS), Err(Refusal::Malformed), "{malformed:?}");
        }
        assert!(matches!(rules.judge("[::1]:443", HTTPS), Err(Refusal::NotListed(_))));
    }

    #[test]
    fn a_named_address_is_dialled_whatever_dns_says() {
        let address = "127.0.0.1:4873".parse().expect("an address");
        assert_eq!(rules().judge("registry.test:443", HTTPS), Ok(Target::Address(address)));
        for port in [80, 4873] {
            assert_eq!(rules().judge(&format!("registry.test:{port}"), HTTP), Ok(Target::Address(address)));
        }
        assert_eq!(rules().judge("registry.test:22", HTTPS), Err(Refusal::Port(22)));
    }

    #[test]
    fn rules_that_are_none_are_refused() {
        for (name, address) in
            [("", None), ("*.", None), ("a b", None), ("a.test", Some("127.0.0.1")), ("a.test", Some("b:1"))]
        {
            let rule = EgressRule { name: name.into(), address: address.map(Into::into) };
            assert!(Rules::new(&[rule]).is_err(), "{name:?} {address:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_not_listed_gets_out(authority in ".{0,300}") {
            if let Ok(target) = rules().judge(&authority, HTTPS) {
                let listed = match target {
                    Target::Name(name, port) => port == 443 && (name == "pypi.org" || name.ends_with(".crates.io")),
                    Target::Address(address) => address.port() == 4873,
                };
                prop_assert!(listed, "{authority:?}");
            }
        }
    }
}
