//! One line on standard error: the host keeps it.

use std::{fmt, io::Write};

/// Writes a line. Where nobody reads them, they are lost and the agent goes on.
pub fn line(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "playhouse-agent: {text}");
}
