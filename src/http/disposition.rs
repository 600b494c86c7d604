//! `Content-Disposition` for names that may hold anything.

use std::fmt::Write as _;

use axum::http::HeaderValue;

/// An attachment of this name: in ASCII for old clients, and exactly (RFC 8187).
pub fn attachment(name: &str) -> HeaderValue {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' { c } else { '_' }).collect();
    let mut exact = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            // Writing into a string can't fail.
            let _ = write!(exact, "%{byte:02X}");
        }
    }
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_break_out() {
        let header = attachment("a\"; x=\"ä\r\n.html");
        assert_eq!(
            header,
            "attachment; filename=\"a_; x=_ä__.html\"; filename*=UTF-8''a%22%3B%20x%3D%22%C3%A4%0D%0A.html"
                .replace('ä', "_")
        );
        assert_eq!(attachment("a.zip"), "attachment; filename=\"a.zip\"; filename*=UTF-8''a.zip");
    }
}
