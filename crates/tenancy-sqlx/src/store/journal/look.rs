//! Looks at the journal from a catalogue that may be opened read-only.

use std::time::Duration;

use tenancy_core::TenantId;

use super::{Goal, runs::living, work::tenant_of};
use crate::{
    CatalogueError,
    central::{Row, Statement, sql},
    lifecycle::{HomeState, KnownHome},
    migrate::is_missing_table,
    store::{SqlStore, unix_ms},
};

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
        let mut select = sql("SELECT t.id AS tenant_id, CASE WHEN m.checksum = ");
        select
            .push_bind(&*goal.checksum)
            .push(" THEN 0 ELSE 1 END AS is_behind");
        select.append(living(self.kind(), ""));
        select.push(" ORDER BY t.id");
        select
    }

    fn without_journal(&self) -> Statement {
        let mut select = sql("SELECT t.id AS tenant_id, 1 AS is_behind FROM ");
        select
            .push(super::runs::tenants_table(self.kind()))
            .push(" t WHERE t.status <> 'deleted' ORDER BY t.id");
        select
    }

    pub(crate) async fn known_homes(&self) -> Result<Vec<KnownHome>, CatalogueError> {
        let all = sql(
            "SELECT server, isolation, name, slug, tenant_id, stage, at_ms FROM tenancy_homes \
                       ORDER BY server, isolation, name",
        );
        let rows = self.read(async {
            match self.inner.readers.acquire().await?.fetch_all(all).await {
                Err(error) if is_missing_table(&error) => Ok(Vec::new()),
                answer => answer,
            }
        });
        let rows = rows.await?;
        let now_ms = unix_ms(&*self.inner.options.clock);
        let homes = rows.iter().map(|row| known_home(row, now_ms));
        homes.collect::<Result<_, _>>().map_err(CatalogueError::from_sqlx)
    }
}

fn known_home(row: &Row, now_ms: i64) -> Result<KnownHome, sqlx::Error> {
    let age_ms = now_ms.saturating_sub(row.int("at_ms")?);
    Ok(KnownHome {
        server: row.text("server")?.into(),
        isolation: row.text("isolation")?.into(),
        name: row.text("name")?.into(),
        slug: row.text("slug")?.into(),
        tenant: match row.text("tenant_id")? {
            "" => None,
            _ => Some(tenant_of(row)?),
        },
        state: match row.text("stage")? {
            "made" => HomeState::Made,
            "pending" => HomeState::Pending,
            "left" => HomeState::Left,
            _ => HomeState::UnderWay,
        },
        age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)),
    })
}
