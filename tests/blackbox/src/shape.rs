//! The fields that the contract gives every entity, checked wherever one is received.

use serde_json::Value;
use uuid::Uuid;

/// A field that is text.
///
/// # Panics
/// When it is not.
#[must_use]
pub fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}")).to_owned()
}

/// A field that is a UUID.
///
/// # Panics
/// When it is not.
#[must_use]
pub fn id(value: &Value, key: &str) -> Uuid {
    let text = text(value, key);
    text.parse().unwrap_or_else(|_| panic!("{key} is no UUID in {value}"))
}

fn present(value: &Value, keys: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    for &key in keys {
        assert!(object.contains_key(key), "{key} is missing in {value}");
    }
}

fn one_of(value: &Value, key: &str, words: &[&str]) {
    let word = text(value, key);
    assert!(words.contains(&&*word), "{key} is {word:?}, none of {words:?}");
}

/// Whether it is an RFC 3339 time in UTC.
#[must_use]
pub fn is_time(text: &str) -> bool {
    let Some(rest) = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00")) else { return false };
    let shape = "dddd-dd-ddTdd:dd:dd";
    let (Some(whole), Some(fraction)) = (rest.get(..shape.len()), rest.get(shape.len()..)) else { return false };
    let fits = |(c, s): (char, char)| if s == 'd' { c.is_ascii_digit() } else { c == s };
    whole.chars().zip(shape.chars()).all(fits)
        && (fraction.is_empty()
            || fraction
                .strip_prefix('.')
                .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())))
}

/// A field that is a time.
///
/// # Panics
/// When it is not.
pub fn time(value: &Value, key: &str) {
    let text = text(value, key);
    assert!(is_time(&text), "{key} is no RFC 3339 time in UTC: {text}");
}

fn time_or_null(value: &Value, key: &str) {
    if !value[key].is_null() {
        time(value, key);
    }
}

/// A workspace.
///
/// # Panics
/// When it is not whole.
pub fn workspace(value: &Value) {
    present(value, &["template", "sandbox"]);
    let _ = (id(value, "id"), id(value, "owner_id"), text(value, "name"));
    one_of(value, "sharing_mode", &["private", "view", "edit"]);
    one_of(value, "role", &["owner", "edit", "view"]);
    time(value, "created_at");
    time(value, "updated_at");
    if !value["sandbox"].is_null() {
        sandbox(&value["sandbox"]);
    }
}

/// A file.
///
/// # Panics
/// When it is not whole.
pub fn file(value: &Value) {
    present(value, &["symlink_target", "etag"]);
    let _ = (id(value, "id"), id(value, "workspace_id"));
    assert!(text(value, "path").starts_with('/'), "a path is absolute: {value}");
    assert!(value["is_directory"].is_boolean() && value["executable"].is_boolean(), "{value}");
    assert!(value["symlink_target"].is_null() || value["symlink_target"].is_string(), "{value}");
    assert!(value["size"].is_u64(), "{value}");
    assert!(!value["etag"].as_str().is_some_and(|etag| etag.contains('"')), "an etag field has no quotes: {value}");
    time(value, "created_at");
    time(value, "updated_at");
}

/// The statuses of a process that has ended.
pub const ENDED: &[&str] = &["completed", "failed", "cancelled"];

/// A process.
///
/// # Panics
/// When it is not whole.
pub fn process(value: &Value) {
    present(value, &["command", "exit_code", "signal", "reason", "started_at", "finished_at"]);
    let _ = (id(value, "id"), id(value, "workspace_id"), id(value, "sandbox_id"));
    assert!(value["pty"].is_boolean(), "{value}");
    one_of(value, "status", &["pending", "running", "completed", "failed", "cancelled"]);
    time_or_null(value, "started_at");
    time_or_null(value, "finished_at");
    if ENDED.contains(&&*text(value, "status")) {
        assert!(value["finished_at"].is_string(), "an ended process has finished_at: {value}");
    } else {
        assert!(value["finished_at"].is_null() && value["exit_code"].is_null(), "it has not ended: {value}");
    }
    if value["status"] == "completed" {
        assert_eq!(value["exit_code"], 0, "completed is exit 0: {value}");
    }
}

/// A sandbox.
///
/// # Panics
/// When it is not whole.
pub fn sandbox(value: &Value) {
    present(value, &["reason", "ip_address", "isolation", "expires_at", "usage"]);
    let _ = (id(value, "id"), id(value, "workspace_id"), id(value, "user_id"), text(value, "instance_type"));
    let statuses =
        ["provisioning", "warm", "assigned", "running", "idle", "suspending", "suspended", "terminated", "failed"];
    one_of(value, "status", &statuses);
    time(value, "created_at");
    time_or_null(value, "last_activity_at");
    time_or_null(value, "expires_at");
    for key in ["cpu_seconds", "memory_bytes", "disk_bytes"] {
        assert!(value["usage"][key].is_number(), "usage lacks {key}: {value}");
    }
}
