//! Playhouse.
fn main() {}
