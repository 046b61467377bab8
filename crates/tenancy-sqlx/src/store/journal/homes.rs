use tenancy_core::{Placement, TenantId};

use super::{Goal, MigrationJournal};
use crate::{
    CatalogueError,
    central::{Row, Statement, sql},
    store::{StoreKind, change::lock_head},
};

/// Where a home is, as a placement says it, with nothing left to defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HomePlace {
    pub(crate) server: Box<str>,
    pub(crate) isolation: Box<str>,
    /// The database, schema or file. Of rows in shared tables, any name that no other home has.
    pub(crate) name: Box<str>,
    /// The database that it is in, unless it is one.
    pub(crate) inside: Box<str>,
}

/// What the journal knows of a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) place: HomePlace,
    pub(crate) slug: Box<str>,
    /// Whose it is. The same transaction makes the record and notes it here.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) stage: HomeStage,
    /// Of a pending one: the state of its schema. Of one that is left: what [`Leaving`](super::Leaving) has.
    pub(crate) checksum: Box<str>,
    pub(crate) version: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HomeStage {
    /// For a tenant that is made with it, and goes with it.
    Making,
    /// For a tenant that was there before.
    Adding,
    Made,
    /// Rows of shared tables, which have no other home to go to.
    Emptying,
    Dropping,
    /// For nobody yet.
    Filling,
    /// Ready for whoever comes first.
    Pending,
    /// Its tenant moves: nobody writes to it, or soon.
    Leaving,
    /// Its tenant stays after all.
    Returning,
    /// Its tenant has moved. Kept until all have heard of it.
    Left,
}

impl HomeStage {
    const ALL: [Self; 10] = [
        Self::Making,
        Self::Adding,
        Self::Made,
        Self::Emptying,
        Self::Dropping,
        Self::Filling,
        Self::Pending,
        Self::Leaving,
        Self::Returning,
        Self::Left,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Making => "making",
            Self::Adding => "adding",
            Self::Made => "made",
            Self::Emptying => "emptying",
            Self::Dropping => "dropping",
            Self::Filling => "filling",
            Self::Pending => "pending",
            Self::Leaving => "leaving",
            Self::Returning => "returning",
            Self::Left => "left",
        }
    }
}

pub(super) const COLUMNS: &str =
    "SELECT server, isolation, name, inside, slug, tenant_id, stage, checksum, version FROM tenancy_homes";

impl MigrationJournal {
    /// Before anything is made, so that whatever is left of it is found again. Returns whether the journal knew of nothing
    /// there.
    pub(crate) async fn begin_home(
        &self,
        place: &HomePlace,
        slug: &str,
        tenant: Option<&TenantId>,
        stage: HomeStage,
    ) -> Result<bool, CatalogueError> {
        let begin = insert(place, slug, tenant, stage, self.now_ms());
        let mut connection = self.pool.acquire().await.map_err(CatalogueError::from_sqlx)?;
        match connection.execute(begin).await {
            Ok(_) => Ok(true),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
            Err(error) => Err(CatalogueError::from_sqlx(error)),
        }
    }

    /// Begins a pending home, unless there are as many as are wanted. No other process counts at the same time.
    pub(crate) async fn begin_pending(&self, place: &HomePlace, wanted: u64) -> Result<bool, CatalogueError> {
        self.repeat(|| {
            Box::pin(async move {
                let mut connection = self.pool.acquire().await?;
                lock_head(&mut connection, self.wait()).await?;
                let count = sql("SELECT count(*) AS answer FROM tenancy_homes
                     WHERE server = ? AND isolation = ? AND stage IN ('filling', 'pending')")
                .bind(&*place.server)
                .bind(&*place.isolation);
                let there = connection.fetch_one(count).await?.int("answer")?;
                if u64::try_from(there).unwrap_or(0) >= wanted {
                    connection.roll_back().await?;
                    return Ok(false);
                }
                let begin = insert(place, "", None, HomeStage::Filling, self.now_ms());
                connection.execute(begin).await?;
                connection.commit().await?;
                Ok(true)
            })
        })
        .await
    }

    /// Whether the home was at a stage, and is at the next one now.
    pub(crate) async fn move_home(
        &self,
        place: &HomePlace,
        from: HomeStage,
        to: HomeStage,
    ) -> Result<bool, CatalogueError> {
        Ok(self.execute(moved(place, from, to, self.now_ms())).await? > 0)
    }

    /// Whether a home that was at a stage for so long that nobody is at it any more is this process's now.
    pub(crate) async fn take_over_home(
        &self,
        home: &Home,
        older_than_ms: i64,
    ) -> Result<bool, CatalogueError> {
        let now_ms = self.now_ms();
        let mut take = moved(&home.place, home.stage, home.stage, now_ms);
        take.push(" AND at_ms <= ")
            .push_bind(now_ms.saturating_sub(older_than_ms));
        Ok(self.execute(take).await? > 0)
    }

    /// Forgets a home that was begun, and that somebody else made.
    pub(crate) async fn give_up_home(&self, place: &HomePlace) -> Result<(), CatalogueError> {
        let mut forget = sql("DELETE FROM tenancy_homes");
        push_place(&mut forget, place);
        forget.push(" AND stage = 'making' AND tenant_id = ''");
        self.execute(forget).await.map(drop)
    }

    /// A pending home is ready, in this state of its schema.
    pub(crate) async fn ready_home(
        &self,
        place: &HomePlace,
        goal: Option<&Goal>,
    ) -> Result<bool, CatalogueError> {
        let mut ready =
            sql("UPDATE tenancy_homes SET stage = 'pending', version = ?, checksum = ?, at_ms = ?")
                .bind(goal.map_or(0, |goal| goal.version))
                .bind(goal.map_or("", |goal| &goal.checksum))
                .bind(self.now_ms());
        push_place(&mut ready, place);
        ready.push(" AND stage = 'filling'");
        Ok(self.execute(ready).await? > 0)
    }

    /// Says that somebody is still at it.
    pub(crate) async fn beat_home(&self, place: &HomePlace) -> Result<(), CatalogueError> {
        let mut beat = sql("UPDATE tenancy_homes SET at_ms = ?").bind(self.now_ms());
        push_place(&mut beat, place);
        beat.push(" AND stage NOT IN ('made', 'left')");
        self.execute(beat).await.map(drop)
    }

    pub(crate) async fn home(&self, place: &HomePlace) -> Result<Option<Home>, CatalogueError> {
        let mut one = sql(COLUMNS);
        push_place(&mut one, place);
        Ok(self.homes(one).await?.pop())
    }

    pub(crate) async fn homes_of(&self, tenant: &TenantId) -> Result<Vec<Home>, CatalogueError> {
        let mut of_tenant = sql(COLUMNS);
        of_tenant.push(" WHERE tenant_id = ").push_bind(tenant.as_str());
        self.homes(of_tenant).await
    }

    /// Those that are for nobody yet.
    pub(crate) async fn pending_homes(
        &self,
        server: &str,
        isolation: &str,
    ) -> Result<Vec<Home>, CatalogueError> {
        let mut pending = sql(COLUMNS);
        pending.push(" WHERE server = ").push_bind(server);
        pending.push(" AND isolation = ").push_bind(isolation);
        pending.push(" AND stage IN ('filling', 'pending') ORDER BY name");
        self.homes(pending).await
    }

    /// Those at which something was begun so long ago that nobody is at it any more.
    pub(crate) async fn broken_off_homes(&self, older_than_ms: i64) -> Result<Vec<Home>, CatalogueError> {
        let before = self.now_ms().saturating_sub(older_than_ms);
        let mut old = sql(COLUMNS);
        old.push(" WHERE stage NOT IN ('made', 'pending', 'left') AND at_ms <= ")
            .push_bind(before)
            .push(" ORDER BY name");
        self.homes(old).await
    }

    /// Those that their tenants left so long ago.
    pub(crate) async fn left_homes(&self, older_than_ms: i64) -> Result<Vec<Home>, CatalogueError> {
        let before = self.now_ms().saturating_sub(older_than_ms);
        let mut left = sql(COLUMNS);
        left.push(" WHERE stage = 'left' AND at_ms <= ")
            .push_bind(before)
            .push(" ORDER BY name");
        self.homes(left).await
    }

    /// Whether the placement of another tenant, or of any, be it a deleted one, names the same database, schema or file on a
    /// server that goes by these names.
    pub(crate) async fn is_named_by_others(
        &self,
        tenant: Option<&TenantId>,
        servers: [&str; 2],
        name: &str,
    ) -> Result<bool, CatalogueError> {
        let others = sql(match self.store.kind() {
            StoreKind::Adopted => {
                "SELECT count(*) AS answer FROM tenancy_tenants
                 WHERE placement_database = ? AND id <> ? AND coalesce(placement_server, '') IN (?, ?)"
            }
            StoreKind::Managed | StoreKind::ReadOnly => {
                "SELECT count(*) AS answer FROM tenants
                 WHERE placement_database = ? AND id <> ? AND coalesce(placement_server, '') IN (?, ?)"
            }
        });
        let others = others
            .bind(name)
            .bind(tenant.map_or("", TenantId::as_str))
            .bind(servers[0])
            .bind(servers[1]);
        let rows = self.fetch_all(others).await?;
        let count = rows.first().map_or(Ok(0), |row| row.int("answer"));
        Ok(count.map_err(CatalogueError::from_sqlx)? > 0)
    }

    async fn homes(&self, statement: Statement) -> Result<Vec<Home>, CatalogueError> {
        let rows = self.fetch_all(statement).await?;
        let homes = rows.iter().map(read_home).collect::<Result<_, _>>();
        homes.map_err(CatalogueError::from_sqlx)
    }

    pub(super) async fn execute(&self, statement: Statement) -> Result<u64, CatalogueError> {
        self.repeat(|| {
            let statement = statement.clone();
            Box::pin(async { self.pool.acquire().await?.execute(statement).await })
        })
        .await
    }
}

impl HomePlace {
    /// What leads a tenant there.
    pub(crate) fn placement(&self) -> Placement {
        let mut placement = Placement::default();
        placement.server = self.server.clone();
        placement.isolation = self.isolation.clone();
        placement.database = self.name.clone();
        placement
    }
}

pub(super) fn insert(
    place: &HomePlace,
    slug: &str,
    tenant: Option<&TenantId>,
    stage: HomeStage,
    now_ms: i64,
) -> Statement {
    sql("INSERT INTO tenancy_homes
             (server, isolation, name, inside, slug, tenant_id, stage, version, checksum, at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, 0, '', ?)")
    .bind(&*place.server)
    .bind(&*place.isolation)
    .bind(&*place.name)
    .bind(&*place.inside)
    .bind(slug)
    .bind(tenant.map_or("", TenantId::as_str))
    .bind(stage.as_str())
    .bind(now_ms)
}

pub(super) fn moved(place: &HomePlace, from: HomeStage, to: HomeStage, now_ms: i64) -> Statement {
    let mut change = sql("UPDATE tenancy_homes SET stage = ?, at_ms = ?")
        .bind(to.as_str())
        .bind(now_ms);
    push_place(&mut change, place);
    change.push(" AND stage = ").push_bind(from.as_str());
    change
}

pub(super) fn push_place(statement: &mut Statement, place: &HomePlace) {
    statement
        .push(" WHERE server = ")
        .push_bind(&*place.server)
        .push(" AND isolation = ")
        .push_bind(&*place.isolation)
        .push(" AND name = ")
        .push_bind(&*place.name);
}

pub(super) fn read_home(row: &Row) -> Result<Home, sqlx::Error> {
    let stage = row.text("stage")?;
    let stage = HomeStage::ALL.into_iter().find(|known| known.as_str() == stage);
    Ok(Home {
        place: HomePlace {
            server: row.text("server")?.into(),
            isolation: row.text("isolation")?.into(),
            name: row.text("name")?.into(),
            inside: row.text("inside")?.into(),
        },
        tenant: match row.text("tenant_id")? {
            "" => None,
            _ => Some(super::work::tenant_of(row)?),
        },
        slug: row.text("slug")?.into(),
        stage: stage
            .ok_or_else(|| sqlx::Error::Decode("a home is at a stage that is not known here".into()))?,
        checksum: row.text("checksum")?.into(),
        version: row.int("version")?,
    })
}
