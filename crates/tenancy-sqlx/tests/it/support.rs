use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tenancy_core::{ChangeBatch, ChangeMark, TenantChange, TenantEntry, TenantId, TenantStore};
use tenancy_sqlx::{
    NewTenant,
    store::{SqlStore, SqlStoreOptions},
};

/// A directory with a catalogue file, gone when dropped.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("catalogue.db")
    }

    pub(crate) fn options(&self) -> SqlStoreOptions {
        SqlStoreOptions::new(self.path()).wait(Duration::from_secs(20))
    }

    pub(crate) async fn open(&self) -> SqlStore {
        SqlStore::open(self.options()).await.unwrap()
    }

    /// A connection as another process would have it.
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
}

async fn raw(options: SqliteConnectOptions) -> SqliteConnection {
    options.connect().await.unwrap()
}

pub(crate) async fn run(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// SQL that was made, not written here.
pub(crate) async fn run_text(connection: &mut SqliteConnection, sql: String) {
    let made = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
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
                    Some(entry) => self.entries.insert(change.id, entry),
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
