//! Whatever a client sends, as text or as a binary frame: it is taken apart or refused, and never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use playhouse_protocol::{EventId, client::{ClientMessage, input_frame}, path, text};

fuzz_target!(|bytes: &[u8]| {
    let _ = serde_json::from_slice::<ClientMessage>(bytes);
    if let Some(frame) = input_frame(bytes) {
        assert!(frame.bytes.len() <= bytes.len());
    }
    if let Ok(string) = std::str::from_utf8(bytes) {
        if let Ok(id) = string.parse::<EventId>() {
            assert_eq!(id.to_string(), string);
        }
        if path::check(string).is_ok() {
            assert!(path::components(string).all(|name| !name.is_empty() && name != "." && name != ".."));
        }
    }
    if bytes.len() >= 3 {
        let (carry, rest) = bytes.split_at(bytes.len() % 4);
        let _ = text::decode(carry, rest, false);
        assert!(text::undecoded(carry, rest).len() <= 3);
    }
});
