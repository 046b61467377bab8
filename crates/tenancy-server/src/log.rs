//! The log: to standard error, as text or as JSON lines, with what settings say, and for which tenant.

use std::io::{self, IsTerminal};

use tenancy::log::{TenantLevels, TenantLines};
use tracing_subscriber::{EnvFilter, fmt, prelude::*, registry};

use crate::settings::{LogFormat, LogSettings};

/// Sets up the log of this process: each line that is written for a tenant says so. Returns the levels of single
/// tenants, by which they are raised and quieted; `None` where the program has a log already, which it keeps.
///
/// Colours are used on a terminal only. A filter that can not be parsed counts as `info`.
pub fn set_up(settings: &LogSettings) -> Option<TenantLevels> {
    let levels = TenantLevels::new();
    let filter = EnvFilter::builder()
        .parse(&settings.filter)
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = levels.filter(filter);
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let is_set_up = match settings.format {
        LogFormat::Json => {
            let lines = lines.json().map_event_format(TenantLines::new);
            registry().with(lines.with_filter(filter)).try_init()
        }
        LogFormat::Text => {
            let lines = lines.map_event_format(TenantLines::new);
            registry().with(lines.with_filter(filter)).try_init()
        }
    };
    is_set_up.is_ok().then_some(levels)
}
