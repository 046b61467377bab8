//! Values that can be read and can not work.

use std::borrow::Cow;

use tenancy::{
    core::Host,
    resolve::{DomainOrSubdomain, TrustedProxies},
    stack::Stage,
};
use tracing_subscriber::EnvFilter;

use super::{
    DatabaseKind, DatabaseUrl,
    model::{
        CatalogueSettings, DatabaseServerSettings, DatabasesSettings, IsolationName, MemorySettings,
        Settings, StackSettings, TenantCacheSettings,
    },
};
use crate::admin;

/// The server of `databases.url`, in placements.
pub(super) const MAIN: &str = "main";

/// Letters of a server's name.
const LONGEST_NAME: usize = 32;

/// Bytes of one cached value.
const LARGEST_ENTRY: u64 = 1 << 20;

/// What was found, each with its key.
#[derive(Default)]
pub(super) struct Impossible(Vec<(Cow<'static, str>, String)>);

impl Impossible {
    fn refuse(&mut self, key: impl Into<Cow<'static, str>>, reason: Option<impl Into<String>>) {
        if let Some(reason) = reason {
            self.0.push((key.into(), reason.into()));
        }
    }

    /// Refuses zero.
    fn zero(&mut self, key: impl Into<Cow<'static, str>>, value: u64) {
        self.refuse(key, (value == 0).then_some("it must be above 0"));
    }

    /// Refuses what is no URL of a database.
    fn url(&mut self, key: impl Into<Cow<'static, str>>, url: Option<&DatabaseUrl>) {
        self.refuse(key, url.and_then(DatabaseUrl::mistake));
    }
}

impl Settings {
    /// Values that can be read and can not work, each with its key. All are named, and not only the first.
    pub(super) fn impossible_values(&self) -> Vec<(Cow<'static, str>, String)> {
        let mut found = Impossible::default();
        self.tenancy.look(&mut found);
        let filter = EnvFilter::builder().parse(&self.log.filter);
        found.refuse("log.filter", filter.err().map(|error| error.to_string()));
        self.catalogue.look(&mut found);
        self.databases.look(self.database_kind(), &mut found);
        self.cache.look(&mut found);
        self.memory.look(&mut found);
        let same = self.admin.listen == Some(self.server.listen) && self.server.listen.port() != 0;
        found.refuse(
            "admin.listen",
            same.then_some("this is where `server.listen` takes requests of everybody"),
        );
        let listen = self.admin.listen;
        let is_beyond = listen.is_some_and(|listen| !admin::is_of_this_machine(listen));
        found.refuse("admin.listen", is_beyond.then_some(admin::BEYOND_THIS_MACHINE));
        found.0
    }
}

impl MemorySettings {
    fn look(&self, found: &mut Impossible) {
        let too_often = self.sample_every_ms < 10;
        found.refuse(
            "memory.sample_every_ms",
            too_often.then_some("it must be 10 at least"),
        );
        found.zero("memory.warn_over_bytes", self.warn_over_bytes);
    }
}

impl StackSettings {
    fn look(&self, found: &mut Impossible) {
        for base in &self.base_domains {
            let invalid = DomainOrSubdomain::of(base).err();
            found.refuse("tenancy.base_domains", invalid.map(|error| error.to_string()));
        }
        let none = self.base_domains.is_empty();
        found.refuse("tenancy.base_domains", none.then_some("at least one is needed"));
        found.refuse("tenancy.order", self.parsed_order().err());
        for stage in &self.observe {
            let unknown = stage.parse::<Stage>().err();
            found.refuse("tenancy.observe", unknown.map(|error| error.to_string()));
        }
        for proxy in &self.trust_proxies {
            let invalid = TrustedProxies::new([proxy.as_str()]).err();
            found.refuse("tenancy.trust_proxies", invalid.map(|error| error.to_string()));
        }
        for host in self.central_hosts.iter().flatten() {
            found.refuse("tenancy.central_hosts", refused_central_host(host));
        }
        found.zero("tenancy.deadline_ms", self.deadline_ms);
        found.zero("tenancy.misses_per_second", self.misses_per_second.into());
        found.zero("tenancy.max_resources", self.max_resources);
        found.refuse("tenancy.public_url", self.refused_public_url());
        let in_debug_build = cfg!(debug_assertions);
        found.refuse("tenancy.dev_tenant", self.refused_dev_tenant(in_debug_build));
    }
}

/// Why the stack would refuse this central host.
fn refused_central_host(host: &str) -> Option<String> {
    let reason = match Host::parse(host.as_bytes()) {
        Ok(parsed) if parsed.port().is_none() => return None,
        Ok(_) => "ports play no part in who a request is for; leave it out".to_owned(),
        Err(invalid) => invalid.to_string(),
    };
    Some(format!("{host:?}: {reason}"))
}

impl CatalogueSettings {
    fn look(&self, found: &mut Impossible) {
        let nowhere = self.data_dir.as_os_str().is_empty();
        found.refuse("catalogue.data_dir", nowhere.then_some("it is empty"));
        let database = self.database.as_ref();
        let nothing = database.is_some_and(|database| database.as_os_str().is_empty());
        found.refuse("catalogue.database", nothing.then_some("it is empty"));
        found.url("catalogue.url", self.url.as_ref());
        let both = self.url.is_some() && database.is_some();
        found.refuse(
            "catalogue.url",
            both.then_some("`catalogue.database` is given too: give one of them"),
        );
        let too_few = self.pool_max < 2;
        found.refuse(
            "catalogue.pool_max",
            too_few.then_some("it must be 2 at least: one connection is for changes"),
        );
        let upside_down = !too_few && self.pool_min > self.pool_max;
        found.refuse(
            "catalogue.pool_min",
            upside_down.then(|| format!("it must not be above `catalogue.pool_max`, {}", self.pool_max)),
        );
        found.zero("catalogue.connect_timeout_ms", self.connect_timeout_ms);
        found.zero("catalogue.wait_timeout_ms", self.wait_timeout_ms);
    }
}

impl TenantCacheSettings {
    fn look(&self, found: &mut Impossible) {
        let url = self.redis_url.as_ref();
        found.refuse("cache.redis_url", url.and_then(DatabaseUrl::redis_mistake));
        let too_small = self.max_bytes < LARGEST_ENTRY;
        found.refuse(
            "cache.max_bytes",
            too_small.then(|| format!("it must not be below {LARGEST_ENTRY}, the largest entry")),
        );
        let possible = (100..=3_600_000).contains(&self.staleness_bound_ms);
        found.refuse(
            "cache.staleness_bound_ms",
            (!possible).then_some("it must be from 100 to 3600000"),
        );
    }
}

impl DatabasesSettings {
    fn look(&self, kind: DatabaseKind, found: &mut Impossible) {
        found.url("databases.url", self.url.as_ref());
        for (key, url) in [
            ("databases.owner_url", &self.owner_url),
            ("databases.replica_url", &self.replica_url),
        ] {
            let Some(url) = url else { continue };
            let refused = match &self.url {
                None => Some("it is of no use without `databases.url`".to_owned()),
                Some(server) => refused_beside(server, "databases.url", url),
            };
            found.refuse(key, refused);
        }
        let pooled = self.behind_transaction_pooler && kind == DatabaseKind::Sqlite;
        found.refuse("databases.behind_transaction_pooler", pooled.then_some(NO_POOLER));
        found.refuse("databases.isolation", self.refused_isolation(kind));
        let unused = !self.extra_path.is_empty() && self.isolation != Some(IsolationName::Schema);
        found.refuse(
            "databases.extra_path",
            unused.then_some("it is of no use without `isolation = \"schema\"`"),
        );
        for (key, value) in [
            ("databases.budget", self.budget),
            ("databases.max_tenants", self.max_tenants),
            ("databases.max_per_tenant", self.max_per_tenant.unwrap_or(1)),
        ] {
            found.zero(key, value as u64);
        }
        for (key, value) in [
            ("databases.connect_timeout_ms", self.connect_timeout_ms),
            ("databases.max_lifetime_ms", self.max_lifetime_ms),
        ] {
            found.zero(key, value);
        }
        for (name, server) in &self.servers {
            server.look(name, kind, found);
        }
    }

    fn refused_isolation(&self, kind: DatabaseKind) -> Option<String> {
        use DatabaseKind::{MySql, Postgres, Sqlite};
        let isolation = self.isolation?;
        let works_on: &[DatabaseKind] = match isolation {
            IsolationName::Database | IsolationName::Guarded => &[Postgres, MySql],
            IsolationName::Schema | IsolationName::Rows => &[Postgres],
            IsolationName::File => &[Sqlite],
        };
        if works_on.contains(&kind) {
            return None;
        }
        let place = match &self.url {
            Some(_) => "the scheme of `databases.url`",
            None => "no `databases.url`",
        };
        Some(format!(
            "it does not work on {kind}, which {place} stands for; {} would",
            match kind {
                Sqlite => "`file`",
                MySql => "`database`",
                Postgres => "`database`, `schema` or `rows`",
            }
        ))
    }
}

const NO_POOLER: &str = "nothing stands between a process and its SQLite files";

impl DatabaseServerSettings {
    fn look(&self, name: &str, kind: DatabaseKind, found: &mut Impossible) {
        let key = |key: &str| format!("databases.servers.{name}.{key}");
        found.refuse(format!("databases.servers.{name}"), refused_name(name));
        let Some(url) = &self.url else {
            found.refuse(key("url"), Some("it is missing"));
            return;
        };
        found.url(key("url"), Some(url));
        let other = url.kind().is_some_and(|own| own != kind);
        found.refuse(
            key("url"),
            other.then(|| {
                format!("all servers of tenants must speak the same, and `databases.url` is of {kind}")
            }),
        );
        for (name, beside) in [("owner_url", &self.owner_url), ("replica_url", &self.replica_url)] {
            let refused = beside
                .as_ref()
                .and_then(|beside| refused_beside(url, &key("url"), beside));
            found.refuse(key(name), refused);
        }
        found.zero(key("budget"), self.budget.unwrap_or(1) as u64);
        let pooled = self.behind_transaction_pooler && kind == DatabaseKind::Sqlite;
        found.refuse(key("behind_transaction_pooler"), pooled.then_some(NO_POOLER));
    }
}

/// Why one URL can not be the owner's or the replica's of the server of another.
fn refused_beside(server: &DatabaseUrl, key: &str, beside: &DatabaseUrl) -> Option<String> {
    if let Some(mistake) = beside.mistake() {
        return Some(mistake.to_owned());
    }
    // What the other one is is said there.
    let kind = server.kind()?;
    if kind == DatabaseKind::Sqlite {
        return Some(format!(
            "`{key}` is of SQLite, whose files have neither owner nor replica"
        ));
    }
    (beside.kind() != Some(kind)).then(|| format!("`{key}` has another scheme, of {kind}"))
}

fn refused_name(name: &str) -> Option<&'static str> {
    if name == MAIN {
        return Some("this is the name of the server of `databases.url`: choose another one");
    }
    let is_letter = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_letter);
    (!is_name).then_some("a server's name is of a-z, 0-9, - and _, 32 at most")
}
