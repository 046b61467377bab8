use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, MySqlConnection, PgConnection, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use tenancy_core::{ChangeBatch, ChangeMark, TenantChange, TenantEntry, TenantId, TenantStore};
use tenancy_sqlx::{
    NewTenant,
    store::{SqlStore, SqlStoreOptions},
};
use tenancy_test::servers::{MariaDb, MariaDbDatabase, Postgres, TestDatabase};

/// Runs each of these tests, which take a [`Place`], once on every database.
macro_rules! on_every_database {
    ($($test:ident),* $(,)?) => {
        on_every_database!(sqlite, Sqlite: $($test),*);
        on_every_database!(postgres, Postgres: $($test),*);
        on_every_database!(mariadb, MariaDb: $($test),*);
    };
    ($module:ident, $backend:ident: $($test:ident),*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let place = crate::support::Place::on(crate::support::Backend::$backend).await;
                    super::$test(place).await;
                }
            )*
        }
    };
}
pub(crate) use on_every_database;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
    MariaDb,
}

/// Where a test's catalogue is: a file or a database of its own, gone when dropped.
pub(crate) enum Place {
    File(TempDir),
    Postgres(TestDatabase),
    MariaDb(MariaDbDatabase),
}

impl Place {
    /// A file.
    pub(crate) fn new() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn on(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::new(),
            Backend::Postgres => Self::Postgres(Postgres::shared().await.database("catalogue").await),
            Backend::MariaDb => Self::MariaDb(MariaDb::shared().await.database("catalogue").await),
        }
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Self::File(_) => Backend::Sqlite,
            Self::Postgres(_) => Backend::Postgres,
            Self::MariaDb(_) => Backend::MariaDb,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::File(directory) => directory.path().join("catalogue.db"),
            _ => panic!("it is no file"),
        }
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::File(_) => format!("sqlite:{}", self.path().display()),
            Self::Postgres(database) => database.owner_url(),
            Self::MariaDb(database) => database.owner_url(),
        }
    }

    pub(crate) fn options(&self) -> SqlStoreOptions {
        SqlStoreOptions::url(&self.url())
            .unwrap()
            .connections(0..=4)
            .connect_timeout(Duration::from_secs(60))
            .wait(Duration::from_secs(20))
    }

    pub(crate) async fn open(&self) -> SqlStore {
        SqlStore::open(self.options()).await.unwrap()
    }

    /// A connection to a file as another process would have it.
    pub(crate) async fn raw(&self) -> SqliteConnection {
        raw(SqliteConnectOptions::new().filename(self.path())).await
    }

    /// The same, where there is no file yet.
    pub(crate) async fn raw_new(&self) -> SqliteConnection {
        raw(SqliteConnectOptions::new()
            .filename(self.path())
            .create_if_missing(true))
        .await
    }

    /// A connection of another process, which knows nothing of tenancy.
    pub(crate) async fn other(&self) -> Other {
        match self {
            Self::File(_) => Other::Sqlite(self.raw_new().await),
            Self::Postgres(database) => {
                Other::Postgres(PgConnection::connect(&database.owner_url()).await.unwrap())
            }
            Self::MariaDb(database) => {
                let mut connection = MySqlConnection::connect(&database.owner_url()).await.unwrap();
                let mode = sqlx::raw_sql("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')");
                mode.execute(&mut connection).await.unwrap();
                Other::MySql(connection)
            }
        }
    }

    /// Runs SQL as another process.
    pub(crate) async fn run(&self, sql: &str) {
        self.other().await.run(sql).await;
    }

    pub(crate) async fn ask(&self, sql: &str) -> i64 {
        self.other().await.ask(sql).await
    }
}

pub(crate) enum Other {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

impl Other {
    pub(crate) async fn try_run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let text = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Sqlite(connection) => text.execute(connection).await.map(drop),
            Self::Postgres(connection) => text.execute(connection).await.map(drop),
            Self::MySql(connection) => text.execute(connection).await.map(drop),
        }
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        if let Err(error) = self.try_run(sql).await {
            panic!("{error}: {sql}");
        }
    }

    /// The number that a query returns.
    pub(crate) async fn ask(&mut self, sql: &str) -> i64 {
        let text = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(text).fetch_one(connection).await.unwrap(),
            Self::Postgres(connection) => {
                let cast = AssertSqlSafe(format!("SELECT ({sql})::bigint"));
                sqlx::query_scalar(cast).fetch_one(connection).await.unwrap()
            }
            Self::MySql(connection) => sqlx::query_scalar(text).fetch_one(connection).await.unwrap(),
        }
    }

    /// Begins a transaction that keeps others from changing the catalogue.
    pub(crate) async fn begin(&mut self) {
        let begin = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_) | Self::MySql(_) => "BEGIN",
        };
        self.run(begin).await;
    }
}

async fn raw(options: SqliteConnectOptions) -> SqliteConnection {
    // On a busy machine the lock of a file may be another's for long.
    let options = options.busy_timeout(Duration::from_secs(60));
    options.connect().await.unwrap()
}

pub(crate) async fn run(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// SQL that was made, not written here.
pub(crate) async fn run_text(connection: &mut SqliteConnection, sql: String) {
    let made = sqlx::raw_sql(AssertSqlSafe(sql));
    made.execute(connection).await.unwrap();
}

pub(crate) fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

pub(crate) fn with_domains(slug: &str, domains: &[&str]) -> NewTenant {
    let mut tenant = NewTenant::new(slug);
    tenant.domains = domains.iter().map(ToString::to_string).collect();
    tenant
}

pub(crate) fn is_reload(batch: &ChangeBatch) -> bool {
    matches!(batch, ChangeBatch::Reload { .. })
}

/// The changes of a batch that is no reload.
pub(crate) fn followed(batch: ChangeBatch) -> (ChangeMark, Vec<TenantChange>, bool) {
    match batch {
        ChangeBatch::Changes { mark, changes, more } => (mark, changes, more),
        other => panic!("expected changes, got {other:?}"),
    }
}

pub(crate) fn keys(change: &TenantChange) -> Vec<String> {
    change.keys_touched.iter().map(ToString::to_string).collect()
}

/// What a reader holds that lists once and then follows the log.
pub(crate) struct Follower {
    pub(crate) mark: ChangeMark,
    pub(crate) entries: BTreeMap<TenantId, TenantEntry>,
}

impl Follower {
    pub(crate) async fn start(store: &SqlStore) -> Self {
        let ChangeBatch::Reload { mark } = store.changes(ChangeMark::NONE, 10).await.unwrap() else {
            panic!("nothing comes before the first reload");
        };
        let mut follower = Self {
            mark,
            entries: BTreeMap::new(),
        };
        follower.entries = list(store, 3).await;
        follower
    }

    pub(crate) async fn follow(&mut self, store: &SqlStore, limit: usize) {
        loop {
            let (mark, changes, more) = followed(store.changes(self.mark, limit).await.unwrap());
            assert!(changes.len() <= limit);
            assert!(mark.number > self.mark.number || !more, "no progress");
            self.mark = mark;
            for change in changes {
                match change.current {
                    Some(entry) => {
                        // It is no newer than what the store says that it has told.
                        assert!(more || entry.record.epoch <= mark.number);
                        self.entries.insert(change.id, entry)
                    }
                    None => self.entries.remove(&change.id),
                };
            }
            if !more {
                return;
            }
        }
    }
}

pub(crate) async fn list(store: &SqlStore, page_size: usize) -> BTreeMap<TenantId, TenantEntry> {
    let mut entries = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store.list(after.as_ref(), page_size).await.unwrap();
        for entry in page.entries {
            let repeated = entries.insert(entry.record.id.clone(), entry);
            assert!(repeated.is_none());
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return entries,
        }
    }
}
