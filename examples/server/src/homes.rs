//! The homes of tenants: each is given one, with its tables, when the server starts, and when somebody creates a tenant
//! while it runs.

use std::{collections::BTreeSet, path::Path, time::Duration};

use tenancy::core::TenantId;
use tenancy_sqlx::{
    database::TenantDatabases,
    lifecycle::{Lifecycle, LifecycleError},
    migrate::{FleetSettings, Migrations},
    store::SqlStore,
};
use tokio::time::Instant;

use crate::{
    notes::NotesDatabase,
    roles::Grant,
    start::{StartError, with_causes},
};

/// How often the catalogue is asked for new tenants.
const LOOK: Duration = Duration::from_millis(500);

/// How often a home is tried again that could not be made.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// After how long, and then how often, it is said how far it is.
const PROGRESS: Duration = Duration::from_secs(1);

/// Changes that are read at once.
const BATCH: usize = 500;

/// Makes the homes of tenants, and their tables.
#[derive(Debug)]
pub struct Caretaker<DB: NotesDatabase> {
    catalogue: SqlStore,
    lifecycle: Lifecycle<DB>,
    /// What is to be done once there is a table that tenants share.
    grant: Option<Grant>,
    /// Tenants whose home could not be made or migrated.
    left: BTreeSet<TenantId>,
    /// The last change of the catalogue that was looked at.
    seen: u64,
}

impl<DB: NotesDatabase> Caretaker<DB> {
    /// Sets it up. Nothing is made yet.
    ///
    /// # Errors
    /// When the catalogue fails, which has the journal of homes.
    pub(crate) async fn new(
        catalogue: &SqlStore,
        databases: &TenantDatabases<DB>,
        migrations: Migrations,
        seeds: Option<&Path>,
        grant: Option<Grant>,
    ) -> Result<Self, StartError> {
        // Each tenant for itself: one that fails keeps nobody else waiting.
        let each = FleetSettings::new().canaries(0).stop_at(1.0);
        let mut lifecycle = Lifecycle::builder(catalogue, databases.homes())
            .migrations(migrations)
            .migration_settings(each)
            .serving(databases)
            .broken_off_after(Duration::from_secs(30));
        if let Some(seeds) = seeds {
            lifecycle = lifecycle.seeds_from_directory(seeds);
        }
        let lifecycle = lifecycle
            .build()
            .await
            .map_err(|error| StartError::new("the homes of tenants can not be made", &error))?;
        let head = catalogue.head().await;
        let head = head.map_err(|error| StartError::catalogue("the catalogue can not be read", &error))?;
        Ok(Self {
            catalogue: catalogue.clone(),
            lifecycle,
            grant,
            left: BTreeSet::new(),
            seen: head.number,
        })
    }

    /// Gives these tenants a home, and brings the tables of all tenants to what this program needs. A tenant that fails is
    /// logged, and tried again later.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn prepare(&mut self, new: &[TenantId]) -> Result<(), StartError> {
        let failed = |error: LifecycleError| StartError::new("the homes of tenants can not be made", &error);
        let taken_up = self.lifecycle.recover().await.map_err(failed)?;
        if taken_up > 0 {
            tracing::info!(
                homes = taken_up,
                "what an earlier process left half-way was taken up"
            );
        }
        self.make_all(new).await;
        let Some(fleet) = self.lifecycle.fleet() else {
            return Ok(());
        };
        let report = fleet.migrate().await;
        let report = report.map_err(|error| StartError::new("the tenants can not be migrated", &error))?;
        if report.migrated > 0 {
            tracing::info!(tenants = report.migrated, version = report.version, "migrated");
        }
        // Such as one that was created without a home while no server ran.
        let failed: Vec<_> = report.failed.into_iter().map(|failed| failed.tenant).collect();
        let failed: Vec<_> = failed.into_iter().filter(|id| !self.left.contains(id)).collect();
        self.make_all(&failed).await;
        self.let_in().await;
        Ok(())
    }

    async fn let_in(&mut self) {
        let Some(grant) = &self.grant else { return };
        match grant.run().await {
            Ok(true) => self.grant = None,
            // The first tenant brings it.
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "requests may not use the table of notes yet; tried again"),
        }
    }

    async fn make_all(&mut self, tenants: &[TenantId]) {
        let mut said = Instant::now();
        for (done, tenant) in tenants.iter().enumerate() {
            if said.elapsed() >= PROGRESS {
                tracing::info!(done, of = tenants.len(), "the homes of tenants are being made");
                said = Instant::now();
            }
            self.make(tenant).await;
        }
    }

    async fn make(&mut self, tenant: &TenantId) {
        match self.lifecycle.make_home(tenant).await {
            Ok(_) => {
                self.left.remove(tenant);
            }
            // Deleted meanwhile.
            Err(error) if error.is_no_tenant() => {
                self.left.remove(tenant);
            }
            Err(error) => {
                let is_first = self.left.insert(tenant.clone());
                let reason = with_causes(&error);
                match is_first && !error.is_busy() {
                    true => tracing::error!(
                        %tenant, reason, "the tenant has no home or no tables, and is answered with 503; tried again"
                    ),
                    false => tracing::debug!(%tenant, reason, "still no home"),
                }
            }
        }
    }

    /// From now on, makes the homes of tenants that others create, in a task that ends with the runtime.
    pub fn watch(mut self) {
        tokio::spawn(async move {
            let mut tried = Instant::now();
            loop {
                tokio::time::sleep(LOOK).await;
                let new = self.new_tenants().await;
                self.make_all(&new).await;
                if !new.is_empty() {
                    self.let_in().await;
                }
                if tried.elapsed() >= TRY_AGAIN {
                    let left: Vec<_> = self.left.iter().cloned().collect();
                    self.make_all(&left).await;
                    self.let_in().await;
                    tried = Instant::now();
                }
            }
        });
    }

    /// Those that were created since it was last looked.
    async fn new_tenants(&mut self) -> Vec<TenantId> {
        let changes = match self.catalogue.changes_since(self.seen, BATCH).await {
            Ok(changes) => changes,
            Err(error) => {
                tracing::debug!(%error, "the catalogue does not say who is new");
                return Vec::new();
            }
        };
        self.seen = changes.last().map_or(self.seen, |change| change.number);
        let new = changes
            .into_iter()
            .filter(|change| matches!(&*change.kind, "create" | "restore"));
        new.filter_map(|change| change.tenant_id?.parse().ok()).collect()
    }
}
