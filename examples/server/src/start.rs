//! From settings to a server that is ready to serve.

use std::{error::Error, fmt, io, path::Path, time::Duration};

use tenancy::{
    Tenancy,
    cache::CacheSettings,
    health::{Health, HealthConfigError, checks},
};
use tenancy_redis::{Redis, RedisLevel};
use tenancy_server::settings::{DatabaseKind, IsolationName, Settings};
use tenancy_sqlx::{
    CatalogueError,
    database::{BuildError, TenantDatabases, TenantHomes},
    file::TenantsFile,
    store::{BulkReport, SqlStore, SqlStoreOptions},
};

use crate::{
    homes::Caretaker,
    notes::{NotesDatabase, Tables},
    roles::{self, Grant},
    routes::warm_notes,
};

/// The server could not be started. Says why and what to do.
#[derive(Debug)]
pub struct StartError {
    text: String,
}

impl StartError {
    pub(crate) fn saying(text: String) -> Self {
        Self { text }
    }

    pub(crate) fn new(what: &str, error: &dyn Error) -> Self {
        Self::saying(format!("{what}: {}", with_causes(error)))
    }

    pub(crate) fn catalogue(what: &str, error: &CatalogueError) -> Self {
        match error.operator_detail() {
            Some(detail) => Self {
                text: format!("{what}: {detail}"),
            },
            None => Self::new(what, error),
        }
    }
}

/// The whole chain in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for StartError {}

/// All that serving needs.
pub struct Ready<DB: NotesDatabase> {
    /// The stack.
    pub tenancy: Tenancy,
    /// The catalogue.
    pub catalogue: SqlStore,
    /// The databases of tenants.
    pub databases: TenantDatabases<DB>,
    /// What probes are told.
    pub health: Health,
    /// How many of the registered tenants are new.
    pub created: usize,
}

impl<DB: NotesDatabase> fmt::Debug for Ready<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

/// Opens the catalogue, registers the tenants, gives each a home and its tables, builds the stack and waits until it knows
/// them. From then on, tenants that others create get their home here.
///
/// # Errors
/// When the data directory can not be written, a tenant can not be registered, or the roles of a server would let one tenant
/// see another. What was committed before stays, and the error says what was not done. A tenant whose own database fails is
/// logged, and all others are served.
pub async fn prepare<DB: NotesDatabase>(
    settings: &Settings,
    tenants: TenantsFile,
) -> Result<Ready<DB>, StartError> {
    roles::check(settings)?;
    make_directories(settings)?;
    let homes = homes_of::<DB>(settings)?;
    let (cache, redis) = cache_of(settings)?;
    // Before anything is made on a server that must not be served from.
    refuse_unsafe(settings, &homes).await?;
    let catalogue = open_catalogue(settings).await?;
    let registered = register(&catalogue, tenants).await?;
    let tenancy = settings
        .stack(catalogue.clone())
        .map(|builder| builder.cache(cache).memory(settings.memory.of_requests()))
        .and_then(|builder| builder.build().map_err(|error| error.to_string()))
        .map_err(StartError::saying)?;
    let databases = TenantDatabases::over(&tenancy, &homes).audit(false).build().await;
    let databases = databases.map_err(|error| unusable(&error))?;
    tenancy
        .add_recipe(warm_notes(&databases))
        .map_err(|error| StartError::new("the cache can not be warmed", &error))?;
    let tables = tables_of(settings);
    let grant = Grant::of(settings)?;
    let seeds = settings.databases.seeds.as_deref();
    let migrations = DB::migrations(tables);
    let mut caretaker = Caretaker::new(&catalogue, &databases, migrations, seeds, grant).await?;
    caretaker.prepare(&registered.created).await?;
    // With the tables that there are now.
    refuse_unsafe(settings, &homes).await?;
    caretaker.watch();
    if tokio::time::timeout(Duration::from_secs(5), tenancy.ready())
        .await
        .is_err()
    {
        tracing::warn!("the list of tenants is not complete yet; serving begins all the same");
    }
    let health = health_of(settings, &tenancy, &catalogue, redis)
        .map_err(|error| StartError::new("health can not be checked", &error))?;
    Ok(Ready {
        health,
        tenancy,
        catalogue,
        databases,
        created: registered.created.len(),
    })
}

fn make_directories(settings: &Settings) -> Result<(), StartError> {
    let directory = &settings.catalogue.data_dir;
    let files = directory.join("tenants");
    let needed: &[&Path] = match (settings.database_kind(), &settings.databases.url) {
        (DatabaseKind::Sqlite, None) => &[directory, &files],
        // The list of known tenants is kept there in any case.
        _ => &[directory],
    };
    for directory in needed {
        make_private(directory).map_err(|error| {
            let what = format!(
                "the data directory {} can not be made; choose another with --data-dir",
                directory.display()
            );
            StartError::new(&what, &error)
        })?;
    }
    Ok(())
}

fn homes_of<DB: NotesDatabase>(settings: &Settings) -> Result<TenantHomes<DB>, StartError> {
    if settings.databases.isolation == Some(IsolationName::Guarded) {
        let text = "databases.isolation: notes are not written with guarded statements; choose another one";
        return Err(StartError::saying(text.to_owned()));
    }
    let homes = settings.homes::<DB>().map_err(StartError::saying)?;
    homes
        .build()
        .map_err(|error| StartError::new("the settings of databases can not be used", &error))
}

/// Does not ask whether Redis is there: without it, and until it comes, each server caches for itself.
fn cache_of(settings: &Settings) -> Result<(CacheSettings, Option<Redis>), StartError> {
    let cache = settings.cache.settings();
    let Some(url) = &settings.cache.redis_url else {
        return Ok((cache, None));
    };
    let level = RedisLevel::connect(url.as_str());
    let level = level.map_err(|error| StartError::new("the cache can not be shared", &error))?;
    let redis = level.redis();
    Ok((cache.shared(level), Some(redis)))
}

/// Nothing takes this process out of a load balancer but its own start and end: what its checks ask is shared with all others.
fn health_of(
    settings: &Settings,
    tenancy: &Tenancy,
    catalogue: &SqlStore,
    redis: Option<Redis>,
) -> Result<Health, HealthConfigError> {
    let catalogue = catalogue.clone();
    let ping = move || {
        let catalogue = catalogue.clone();
        async move { catalogue.ping().await }
    };
    let health = Health::builder()
        // Known tenants are served without it.
        .check(checks::database(ping).degrades())
        .check(checks::catalogue(tenancy))
        .check(checks::memory(
            checks::DEFAULT_MEMORY_LIMIT,
            checks::resident_memory,
        ))
        .event_loop(Duration::from_millis(500));
    #[cfg(unix)]
    let health = health.check(checks::disk(&settings.catalogue.data_dir, 100 * 1024 * 1024));
    let Some(redis) = redis else {
        return health.build();
    };
    let ping = move || {
        let redis = redis.clone();
        async move { redis.ping().await }
    };
    health.check(checks::redis(ping)).build()
}

fn tables_of(settings: &Settings) -> Tables {
    match settings.databases.isolation {
        Some(IsolationName::Rows) => Tables::Shared,
        _ => Tables::OfEach,
    }
}

async fn refuse_unsafe<DB: NotesDatabase>(
    settings: &Settings,
    homes: &TenantHomes<DB>,
) -> Result<(), StartError> {
    let report = homes.audit().await.map_err(|error| unusable(&error))?;
    if !report.refuses() {
        return Ok(());
    }
    let mut text = format!("the databases of tenants are not safe to serve:\n{report}");
    if let Some(url) = &settings.databases.url {
        text.push('\n');
        text.push_str(&roles::advice(url));
    }
    Err(StartError::saying(text))
}

fn unusable(error: &BuildError) -> StartError {
    StartError::new("the databases of tenants can not be used", error)
}

async fn open_catalogue(settings: &Settings) -> Result<SqlStore, StartError> {
    let catalogue = &settings.catalogue;
    let place = match settings.catalogue_url() {
        Some(url) => SqlStoreOptions::url(url.as_str()),
        None => Ok(SqlStoreOptions::new(catalogue.file())),
    };
    let opened = match place {
        Ok(options) => {
            let options = options
                .connections(catalogue.pool_min..=catalogue.pool_max)
                .connect_timeout(Duration::from_millis(catalogue.connect_timeout_ms))
                .wait(Duration::from_millis(catalogue.wait_timeout_ms));
            SqlStore::open(options).await
        }
        Err(error) => Err(error),
    };
    opened.map_err(|error| StartError::catalogue("the catalogue can not be opened", &error))
}

/// Makes a directory that only its owner can read. One that is there is left as it is.
fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

async fn register(catalogue: &SqlStore, tenants: TenantsFile) -> Result<BulkReport, StartError> {
    let report = catalogue
        .acting_as("example-server")
        .ensure_many(tenants.tenants)
        .await;
    if report.is_complete() {
        return Ok(report);
    }
    let mut text = format!(
        "not all tenants could be registered; {} are new, {} were there before",
        report.created.len(),
        report.existing.len()
    );
    for (slug, error) in &report.failed {
        let reason = error
            .operator_detail()
            .map_or_else(|| error.to_string(), str::to_owned);
        text.push_str(&format!("\n  - {slug}: {reason}"));
    }
    for slug in &report.not_attempted {
        text.push_str(&format!("\n  - {slug}: not tried, the catalogue failed before"));
    }
    Err(StartError { text })
}
