use std::collections::BTreeMap;

/// How a [`Postgres`](super::Postgres) of one's own is set up.
///
/// ```
/// use tenancy_test::servers::PostgresOptions;
///
/// let options = PostgresOptions::new().max_connections(20).setting("log_statement", "all");
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options start nothing"]
pub struct PostgresOptions {
    settings: BTreeMap<String, String>,
}

impl PostgresOptions {
    /// 100 connections; nothing is written through to the disk; small buffers.
    pub fn new() -> Self {
        let defaults = [
            ("max_connections", "100"),
            ("listen_addresses", "127.0.0.1"),
            // What survives a power cut is of no interest. What is committed survives SIGKILL: it is in the kernel's cache,
            // which `synchronous_commit = off` would delay, and `full_page_writes = off` would let be torn.
            ("fsync", "off"),
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            ("shared_buffers", "32MB"),
            ("min_wal_size", "32MB"),
            ("max_wal_size", "256MB"),
            ("jit", "off"),
            ("timezone", "UTC"),
            // In files of the data directory, which go with it: POSIX shared memory would outlive SIGKILL.
            ("dynamic_shared_memory_type", "mmap"),
            ("log_line_prefix", "%m [%p] %u@%d "),
        ];
        Self {
            settings: defaults
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    /// How many connections the server takes, those that it reserves for its superuser among them. Default: 100.
    pub fn max_connections(self, connections: u16) -> Self {
        self.setting("max_connections", &connections.to_string())
    }

    /// Any setting of `postgresql.conf`. The last value given counts, also over the kit's own; a wrong one keeps the
    /// server from starting, which says so.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        self.settings
            .iter()
            .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
    }
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self::new()
    }
}
