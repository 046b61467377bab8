//! What every store of tenants must do, against real files.

use std::{collections::BTreeSet, fs};

use tenancy::{Tenancy, resolve::Subdomain};
use tenancy_core::{BoxError, KeyKind, TenantEntry, TenantId, TenantStatus};
use tenancy_sqlx::{NewTenant, TenantPatch, store::SqlStore};
use tenancy_test::{
    caught_up,
    conformance::{self, Commit, Offered, StoreHarness},
};

use crate::support::{Backend, Place};

struct Catalogue {
    place: Place,
    store: SqlStore,
}

impl Catalogue {
    async fn on(backend: Backend) -> Self {
        let place = Place::on(backend).await;
        let store = place.open().await;
        Self { place, store }
    }

    async fn create(&self, entry: &TenantEntry) -> Result<(), BoxError> {
        let record = &entry.record;
        let mut new = NewTenant::new(record.slug());
        new.id = Some(record.id.clone());
        new.plan = record.plan.as_deref().map(str::to_owned);
        new.domains = domains_of(entry).into_iter().collect();
        if record.status != TenantStatus::Deleted {
            new.status = record.status;
        }
        self.store.create(new).await?;
        if record.status == TenantStatus::Deleted {
            self.store.delete(&record.id).await?;
        }
        Ok(())
    }

    async fn edit(&self, entry: &TenantEntry, had: BTreeSet<String>) -> Result<(), BoxError> {
        let id = &entry.record.id;
        let mut patch = TenantPatch::default();
        patch.slug = Some(entry.record.slug().to_owned());
        patch.plan = Some(entry.record.plan.as_deref().map(str::to_owned));
        self.store.update(id, patch).await?;
        let has = domains_of(entry);
        for gone in had.difference(&has) {
            self.store.remove_domain(id, gone).await?;
        }
        for added in has.difference(&had) {
            self.store.add_domain(id, added, false).await?;
        }
        Ok(())
    }

    async fn copy(&mut self, from: &str, to: &str) -> Result<(), BoxError> {
        self.store.close().await;
        let path = |name: &str| self.place.path().with_file_name(name);
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(path(&format!("{to}{suffix}")));
        }
        fs::copy(path(from), path(to))?;
        self.store = self.place.open().await;
        Ok(())
    }
}

fn domains_of(entry: &TenantEntry) -> BTreeSet<String> {
    let domains = entry.keys.iter().filter(|key| key.kind() == KeyKind::Domain);
    domains.map(|key| key.value().to_owned()).collect()
}

impl StoreHarness for Catalogue {
    type Store = SqlStore;

    fn store(&self) -> &SqlStore {
        &self.store
    }

    async fn put(&self, entry: TenantEntry) -> Result<(), BoxError> {
        match self.store.get(&entry.record.id).await? {
            None => self.create(&entry).await,
            Some(old) => {
                let had = old.domains.into_iter().map(|domain| domain.domain).collect();
                self.edit(&entry, had).await
            }
        }
    }

    async fn purge(&self, id: &TenantId) -> Result<(), BoxError> {
        Ok(self.store.force_purge(id).await?)
    }

    async fn break_down(&mut self) -> Result<Offered, BoxError> {
        self.store.close().await;
        Ok(Offered::Yes)
    }

    async fn back_up(&mut self) -> Result<Offered, BoxError> {
        match &self.place {
            Place::File(_) => self.copy("catalogue.db", "backup.db").await?,
            Place::Postgres(database) => {
                self.store.close().await;
                let name = database.name();
                let backup = format!("CREATE DATABASE {name}_backup TEMPLATE {name}");
                database.server().sql(backup).await;
                self.store = self.place.open().await;
            }
            Place::MariaDb(_) => return Ok(Offered::No),
        }
        Ok(Offered::Yes)
    }

    async fn restore(&mut self) -> Result<(), BoxError> {
        match &self.place {
            Place::File(_) => self.copy("backup.db", "catalogue.db").await,
            Place::Postgres(database) => {
                self.store.close().await;
                let name = database.name();
                database
                    .server()
                    .sql(format!("DROP DATABASE {name} WITH (FORCE)"))
                    .await;
                let restored = format!("CREATE DATABASE {name} OWNER owner TEMPLATE {name}_backup");
                database.server().sql(restored).await;
                self.store = self.place.open().await;
                Ok(())
            }
            Place::MariaDb(_) => Err("there is no backup".into()),
        }
    }

    /// By raw SQL, as another program would write.
    async fn put_held_open(&self, entry: TenantEntry) -> Result<Option<Commit>, BoxError> {
        let mut other = self.place.other().await;
        other.begin().await;
        let id = &entry.record.id;
        for sql in [
            "UPDATE tenancy_change_head SET number = number + 1".to_owned(),
            format!(
                "INSERT INTO tenants (id, slug, status, epoch, incarnation, created_at_ms, updated_at_ms)
                     SELECT '{id}', '{id}', 'active', number, number, 0, 0 FROM tenancy_change_head"
            ),
            format!(
                "INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, \"keys\", at_ms)
                     SELECT number, 4711, '{id}', 'create', '[\"slug:{id}\"]', 0 FROM tenancy_change_head"
            ),
        ] {
            other.run(&sql).await;
        }
        Ok(Some(Box::pin(async move {
            other.run("COMMIT").await;
            Ok(())
        })))
    }
}

async fn passes_every_check(backend: Backend) {
    let report = conformance::tenant_store(|| Catalogue::on(backend)).await;
    report.assert_passed();
    if backend == Backend::MariaDb {
        return;
    }
    assert_eq!(report.not_offered().collect::<Vec<_>>(), []);
    assert_eq!(report.passed().count(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_passes_every_check_for_stores() {
    passes_every_check(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_passes_every_check_for_stores() {
    passes_every_check(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_passes_every_check_for_stores() {
    passes_every_check(Backend::MariaDb).await;
}

#[tokio::test]
async fn a_change_by_raw_sql_is_waited_for_without_a_sleep() {
    let sqlite = Catalogue::on(Backend::Sqlite).await;
    let tenancy = Tenancy::new(Subdomain::of("app.test").unwrap(), sqlite.store.clone());
    tenancy.ready().await;
    assert_eq!(tenancy.status().tenants, 0);
    let acme = tenancy_test::TenantDraft::new("acme").into_entry();
    sqlite.put_held_open(acme).await.unwrap().unwrap().await.unwrap();
    caught_up(&tenancy, &sqlite.store).await;
    assert_eq!(tenancy.status().tenants, 1);
}
