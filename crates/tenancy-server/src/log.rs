//! The log: to standard error, as text or as JSON lines, with what settings say.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, LogSettings};

/// Sets up the log of this process. Returns whether it did: a program that has one keeps it.
///
/// Colours are used on a terminal only. A filter that can not be parsed counts as `info`.
pub fn set_up(settings: &LogSettings) -> bool {
    let filter = EnvFilter::builder()
        .parse(&settings.filter)
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match settings.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder.try_init(),
    }
    .is_ok()
}
