//! The few pages the server writes itself: plain HTML that works without a script.

use axum::{
    http::{HeaderMap, header},
    response::Html,
};

/// Whether a browser asks, which shows what comes to a person.
pub fn wants_html(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// Text made safe to stand in HTML, in text and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A page with this title and this body, which is HTML.
pub fn page(title: &str, body: &str) -> Html<String> {
    let title = escape(title);
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title} · Playhouse</title>\
         <style>:root{{color-scheme:light dark}}body{{font:16px/1.6 system-ui,sans-serif;max-width:36rem;margin:14vh auto;\
         padding:0 1.5rem}}h1{{font-size:1.3rem}}button{{font:inherit;padding:.4rem 1.1rem}}\
         code{{background:#8883;padding:.1rem .3rem;border-radius:.2rem}}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_title_becomes_markup() {
        let Html(page) = page("<script>\"&'", "<p>fine</p>");
        assert!(page.contains("&lt;script&gt;&quot;&amp;&#39;") && page.contains("<p>fine</p>"));
    }
}
