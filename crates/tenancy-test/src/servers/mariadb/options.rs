use std::collections::BTreeMap;

/// How a [`MariaDb`](super::MariaDb) of one's own is set up.
///
/// ```
/// use tenancy_test::servers::MariaDbOptions;
///
/// let options = MariaDbOptions::new().max_connections(20).setting("wait_timeout", "5");
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options start nothing"]
pub struct MariaDbOptions {
    settings: BTreeMap<String, String>,
}

impl MariaDbOptions {
    /// 100 connections; nothing is written through to the disk; small buffers.
    pub fn new() -> Self {
        let defaults = [
            ("max_connections", "100"),
            ("bind_address", "127.0.0.1"),
            ("skip_name_resolve", "1"),
            // Handed to the kernel at each commit, which survives SIGKILL, and never waited for.
            ("innodb_flush_log_at_trx_commit", "2"),
            ("innodb_flush_method", "nosync"),
            ("innodb_buffer_pool_size", "64M"),
            ("innodb_log_file_size", "8M"),
            ("performance_schema", "0"),
            ("character_set_server", "utf8mb4"),
            ("default_time_zone", "+00:00"),
        ];
        Self {
            settings: defaults
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    /// How many connections the server takes; it adds one for its superuser. Default: 100.
    pub fn max_connections(self, connections: u16) -> Self {
        self.setting("max_connections", &connections.to_string())
    }

    /// Any setting of the server, by its name with underscores. The last value given counts, also over the kit's own; a wrong
    /// one keeps the server from starting, which says so.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        self.settings
            .iter()
            .map(|(name, value)| format!("--{name}={value}"))
    }
}

impl Default for MariaDbOptions {
    fn default() -> Self {
        Self::new()
    }
}
