//! Names of machines, as in DNS.

/// The longest name, in bytes.
const NAME_BYTES: usize = 253;
/// The longest part of a name between two dots, in bytes.
const LABEL_BYTES: usize = 63;

/// A host name in its one form, in lower case and without the root's dot, if it is one.
#[must_use]
pub fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| (1..=LABEL_BYTES).contains(&label.len()) && label.bytes().all(plain);
    (name.len() <= NAME_BYTES && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_have_one_form() {
        for (text, name) in [
            ("PyPI.org", "pypi.org"),
            ("pypi.org.", "pypi.org"),
            ("localhost", "localhost"),
            ("_service.a-b.test", "_service.a-b.test"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(host_name(text).as_deref(), Some(name));
        }
        let long_label = format!("{}.test", "a".repeat(64));
        let long = format!("{}.test", ["a"; 125].join("."));
        for bad in
            ["", ".", "..", ".a", "a..b", "a b", "a:443", "::1", "*.a", "a/b", "ä.test", "a\0", &long_label, &long]
        {
            assert_eq!(host_name(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_itself(text in "[a-zA-Z0-9._-]{0,260}") {
            if let Some(name) = host_name(&text) {
                prop_assert_eq!(host_name(&name), Some(name));
            }
        }
    }
}
