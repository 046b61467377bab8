//! Looks at how far tenants are, and changes nothing.

use std::{fmt, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _,
    migrate::{Migrate as _, MigrateError},
};
use tenancy_core::TenantId;

use super::{MigrationError, MigrationPlace, Migrations, error::TenantFault, ledger::LEDGER};
use crate::{engine::TenantEngine, store::SqlStore};

/// Which tenants a run would migrate, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetPlan {
    /// The version that they would be brought to.
    pub version: i64,
    /// Tenants that are at it.
    pub up_to_date: u64,
    /// Those that a run would connect to, by id. Their own ledgers may have it all.
    pub waiting: Vec<TenantId>,
}

impl FleetPlan {
    /// Asks the journal beside a catalogue of any kind, one that was opened read-only, too. Connects to no tenant, and
    /// makes no table: where there is no journal, every tenant waits.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn of(store: &SqlStore, migrations: &Migrations) -> Result<Self, MigrationError> {
        let goal = migrations.goal(i64::MAX);
        let (living, waiting) = store.tenants_behind(&goal).await?;
        Ok(Self {
            version: goal.version,
            up_to_date: living.saturating_sub(waiting.len() as u64),
            waiting,
        })
    }
}

/// How the ledger in a tenant's own database differs from these migrations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerComparison {
    /// The newest version that was applied; 0 where there is no ledger.
    pub newest: i64,
    /// Versions that were not applied.
    pub missing: Vec<i64>,
    /// Versions that were applied and are not among these.
    pub unknown: Vec<i64>,
    /// Versions whose text was changed after they were applied.
    pub changed: Vec<i64>,
    /// A version that was broken off.
    pub half_applied: Option<i64>,
}

impl LedgerComparison {
    /// Whether the tenant is where these migrations lead.
    pub fn is_equal(&self) -> bool {
        self.missing.is_empty() && !self.differs()
    }

    /// Whether a run would not mend it.
    pub fn differs(&self) -> bool {
        !self.unknown.is_empty() || !self.changed.is_empty() || self.half_applied.is_some()
    }
}

/// What is not as it should be, in a few words.
impl fmt::Display for LedgerComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (versions, what) in [
            (&self.missing, "not applied"),
            (&self.changed, "changed after they were applied"),
            (&self.unknown, "applied and not known here"),
        ] {
            if !versions.is_empty() {
                let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
                parts.push(format!("{what}: {}", versions.join(", ")));
            }
        }
        if let Some(version) = self.half_applied {
            parts.push(format!("half applied: {version}"));
        }
        if parts.is_empty() {
            return f.write_str("at the version");
        }
        f.write_str(&parts.join("; "))
    }
}

impl<DB: TenantEngine> MigrationPlace<DB> {
    /// The name of a place that tenants share; `None` where it is the tenant's own.
    pub fn shared_name(&self) -> Option<&str> {
        self.shared.as_deref()
    }

    /// Connects and looks at the ledger there. Changes nothing, and takes no lock.
    ///
    /// # Errors
    /// [The tenant's](MigrationError::is_tenants), when it can not be connected to within `limit`, has no schema, or its
    /// ledger can not be read.
    pub async fn compare(
        &self,
        migrations: &Migrations,
        limit: Duration,
    ) -> Result<LedgerComparison, MigrationError> {
        let compared = match tokio::time::timeout(limit, self.options.connect()).await {
            Ok(Ok(mut connection)) => {
                let compared = self.compare_on(&mut connection, migrations).await;
                // It was only looked at.
                drop(connection.close().await);
                compared
            }
            Ok(Err(error)) => Err(TenantFault::connect(error)),
            Err(_) => Err(TenantFault::timed_out()),
        };
        compared.map_err(MigrationError::of_tenant)
    }

    async fn compare_on(
        &self,
        connection: &mut DB::Connection,
        migrations: &Migrations,
    ) -> Result<LedgerComparison, TenantFault> {
        if !DB::point(connection, &self.search_path).await? {
            return Err(TenantFault::new("its schema is not there"));
        }
        let applied = match connection.list_applied_migrations(LEDGER).await {
            Ok(applied) => applied,
            Err(error) if is_missing_ledger(&error) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut comparison = LedgerComparison::default();
        if !applied.is_empty() {
            comparison.half_applied = connection.dirty_version(LEDGER).await?;
        }
        for applied in &applied {
            comparison.newest = comparison.newest.max(applied.version);
            let known = migrations.ups().find(|known| known.version == applied.version);
            match known {
                None => comparison.unknown.push(applied.version),
                Some(known) if known.checksum != applied.checksum => comparison.changed.push(applied.version),
                Some(_) => {}
            }
        }
        comparison.missing = migrations
            .ups()
            .map(|known| known.version)
            .filter(|version| !applied.iter().any(|applied| applied.version == *version))
            .collect();
        Ok(comparison)
    }
}

fn is_missing_ledger(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) => is_missing_table(error),
        _ => false,
    }
}

/// As each database says it.
pub(crate) fn is_missing_table(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    match error.code().as_deref() {
        Some("42P01" | "42S02") => true,
        _ => error.message().starts_with("no such table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_says_what_differs() {
        let mut comparison = LedgerComparison::default();
        assert!(comparison.is_equal());
        assert_eq!(comparison.to_string(), "at the version");
        comparison.missing = vec![2, 3];
        assert!(!comparison.is_equal() && !comparison.differs());
        comparison.half_applied = Some(1);
        assert!(comparison.differs());
        assert_eq!(comparison.to_string(), "not applied: 2, 3; half applied: 1");
    }
}
