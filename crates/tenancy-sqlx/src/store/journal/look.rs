use tenancy_core::TenantId;

use super::{Goal, runs::living, work::tenant_of};
use crate::{CatalogueError, central::Statement, migrate::is_missing_table, store::SqlStore};

impl SqlStore {
    /// How many tenants have a schema to migrate, and which of them are not at the goal. Makes no table, so that a
    /// catalogue that only reads can be asked.
    pub(crate) async fn tenants_behind(&self, goal: &Goal) -> Result<(u64, Vec<TenantId>), CatalogueError> {
        let rows = self.read(async {
            let mut connection = self.inner.readers.acquire().await?;
            match connection.fetch_all(self.with_journal(goal)).await {
                Err(error) if is_missing_table(&error) => connection.fetch_all(self.without_journal()).await,
                answer => answer,
            }
        });
        let rows = rows.await?;
        let mut behind = Vec::new();
        for row in &rows {
            if row.int("is_behind").map_err(CatalogueError::from_sqlx)? == 1 {
                behind.push(tenant_of(row).map_err(CatalogueError::from_sqlx)?);
            }
        }
        Ok((rows.len() as u64, behind))
    }

    fn with_journal(&self, goal: &Goal) -> Statement {
        let mut select = crate::central::sql("SELECT t.id AS tenant_id, CASE WHEN m.checksum = ");
        select
            .push_bind(&*goal.checksum)
            .push(" THEN 0 ELSE 1 END AS is_behind");
        select.append(living(self.kind(), ""));
        select.push(" ORDER BY t.id");
        select
    }

    fn without_journal(&self) -> Statement {
        let mut select = crate::central::sql("SELECT t.id AS tenant_id, 1 AS is_behind FROM ");
        select
            .push(super::runs::tenants_table(self.kind()))
            .push(" t WHERE t.status <> 'deleted' ORDER BY t.id");
        select
    }
}
