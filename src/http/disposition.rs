//! `Content-Disposition`: written for names that may hold anything, and read from the parts of an upload.

use axum::http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is escaped in an exact name (RFC 8187).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// An attachment of this name: in ASCII for old clients, and exactly (RFC 8187).
pub fn attachment(name: &str) -> HeaderValue {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' { c } else { '_' }).collect();
    let exact = utf8_percent_encode(name, ESCAPED);
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

/// The exact name of an upload's part. RFC 7578 wants names as they are in `filename`, but some clients send those
/// that are not ASCII as `filename*` alone.
pub fn exact_name(headers: &HeaderMap) -> Option<String> {
    let value = std::str::from_utf8(headers.get(header::CONTENT_DISPOSITION)?.as_bytes()).ok()?;
    let mut quoted = false;
    let mut escaped = false;
    // A `;` between quotes belongs to the value.
    let ends = |c: char| {
        let ends = c == ';' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && quoted && !escaped;
        ends
    };
    value.split(ends).find_map(|parameter| {
        let (key, value) = parameter.trim().split_once('=')?;
        let (charset, rest) = value.split_once('\'')?;
        let (_language, escaped) = rest.split_once('\'')?;
        if !key.eq_ignore_ascii_case("filename*") || !charset.eq_ignore_ascii_case("utf-8") {
            return None;
        }
        percent_decode_str(escaped).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    })
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

    #[test]
    fn an_exact_name_is_read() {
        let name = |value: &str| {
            let value = HeaderValue::from_str(value).expect("a value");
            exact_name(&HeaderMap::from_iter([(header::CONTENT_DISPOSITION, value)]))
        };
        assert_eq!(name("form-data; name=f; filename*=utf-8''%C3%BC%2Fb.txt").as_deref(), Some("ü/b.txt"));
        assert_eq!(name("form-data; name=f; FileName*=UTF-8'de'a").as_deref(), Some("a"));
        assert_eq!(name("form-data; name=\"a\\\";b\"; filename*=utf-8''c").as_deref(), Some("c"));
        let quoted = "form-data; filename=\"a;filename*=utf-8''b\"";
        for none in
            [quoted, "form-data; filename=\"a\"", "form-data; filename*=latin1''%FC", "form-data; filename*=utf-8''%FC"]
        {
            assert_eq!(name(none), None, "{none}");
        }
    }
}
