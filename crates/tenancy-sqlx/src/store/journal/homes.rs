use tenancy_core::TenantId;

use super::MigrationJournal;
use crate::{
    CatalogueError,
    central::{Row, Statement, sql},
};

/// What the journal knows of a home: the database or schema of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) name: Box<str>,
    pub(crate) slug: Box<str>,
    /// Whose it is, once the record was made.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) stage: HomeStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HomeStage {
    Making,
    Made,
    Dropping,
}

impl HomeStage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Making => "making",
            Self::Made => "made",
            Self::Dropping => "dropping",
        }
    }
}

impl MigrationJournal {
    /// Before anything is made, so that whatever is left of it is found again.
    pub(crate) async fn begin_home(&self, name: &str, slug: &str) -> Result<(), CatalogueError> {
        let begin =
            sql("INSERT INTO tenancy_homes (home, slug, tenant_id, stage, at_ms) VALUES (?, ?, '', ?, ?)")
                .bind(name)
                .bind(slug)
                .bind(HomeStage::Making.as_str())
                .bind(self.now_ms());
        self.execute(begin).await.map(drop)
    }

    /// Notes whose it is.
    pub(crate) async fn give_home(&self, name: &str, tenant: &TenantId) -> Result<(), CatalogueError> {
        let give = sql("UPDATE tenancy_homes SET tenant_id = ? WHERE home = ?")
            .bind(tenant.as_str())
            .bind(name);
        self.execute(give).await.map(drop)
    }

    /// Whether the home was at a stage, and is at the next one now.
    pub(crate) async fn move_home(
        &self,
        name: &str,
        from: HomeStage,
        to: HomeStage,
    ) -> Result<bool, CatalogueError> {
        let change = sql("UPDATE tenancy_homes SET stage = ?, at_ms = ? WHERE home = ? AND stage = ?")
            .bind(to.as_str())
            .bind(self.now_ms())
            .bind(name)
            .bind(from.as_str());
        Ok(self.execute(change).await? > 0)
    }

    pub(crate) async fn end_home(&self, name: &str) -> Result<(), CatalogueError> {
        self.execute(sql("DELETE FROM tenancy_homes WHERE home = ?").bind(name))
            .await
            .map(drop)
    }

    pub(crate) async fn home(&self, name: &str) -> Result<Option<Home>, CatalogueError> {
        let one = sql("SELECT home, slug, tenant_id, stage FROM tenancy_homes WHERE home = ?").bind(name);
        Ok(self.homes(one).await?.pop())
    }

    /// Those that were begun to be made or dropped so long ago that nobody is at it any more.
    pub(crate) async fn broken_off_homes(&self, older_than_ms: i64) -> Result<Vec<Home>, CatalogueError> {
        let before = self.now_ms().saturating_sub(older_than_ms);
        let old = sql(
            "SELECT home, slug, tenant_id, stage FROM tenancy_homes WHERE stage <> 'made' AND at_ms <= ? ORDER BY home",
        )
        .bind(before);
        self.homes(old).await
    }

    async fn homes(&self, statement: Statement) -> Result<Vec<Home>, CatalogueError> {
        let rows = self.fetch_all(statement).await?;
        let homes = rows.iter().map(read_home).collect::<Result<_, _>>();
        homes.map_err(CatalogueError::from_sqlx)
    }

    async fn execute(&self, statement: Statement) -> Result<u64, CatalogueError> {
        self.repeat(|| {
            let statement = statement.clone();
            Box::pin(async { self.pool.acquire().await?.execute(statement).await })
        })
        .await
    }
}

fn read_home(row: &Row) -> Result<Home, sqlx::Error> {
    let tenant = match row.text("tenant_id")? {
        "" => None,
        _ => Some(super::work::tenant_of(row)?),
    };
    Ok(Home {
        tenant,
        name: row.text("home")?.into(),
        slug: row.text("slug")?.into(),
        stage: match row.text("stage")? {
            "making" => HomeStage::Making,
            "made" => HomeStage::Made,
            _ => HomeStage::Dropping,
        },
    })
}
