use std::{sync::Arc, time::Duration};

use tenancy_core::TenantId;

use super::{Goal, MigrationJournal};
use crate::{
    CatalogueError,
    central::{Connection, Row, Statement, sql},
    store::StoreKind,
};

/// What a run is begun with.
pub(crate) struct NewRun<'a> {
    /// What processes that share the run agree on.
    pub(crate) name: &'a str,
    pub(crate) goal: &'a Goal,
    /// Tried before all others.
    pub(crate) canaries: u64,
    /// The canaries by name; the first ones by id unless named.
    pub(crate) named_canaries: &'a [TenantId],
    /// A run of other migrations whose last sign of life is older than this has been left alone.
    pub(crate) lease: Duration,
}

/// When a run is given up. A canary that fails always ends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopRule {
    pub(crate) rate: f64,
    pub(crate) at_least: u64,
}

impl StopRule {
    pub(super) fn says_stop(self, done: u64, failed: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tenants")]
        let (tried, failed) = ((done + failed).max(self.at_least) as f64, failed as f64);
        failed > tried * self.rate
    }
}

pub(crate) enum Begun {
    /// Every tenant is at the goal.
    UpToDate { tenants: u64 },
    /// There is work, which other processes may have begun.
    Run {
        run: Arc<str>,
        is_joined: bool,
        total: u64,
        up_to_date: u64,
    },
    /// A run of other migrations is under way.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    Open,
    Done,
    CanaryFailed,
    TooManyFailed,
    Abandoned,
}

impl RunState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::CanaryFailed => "canary failed",
            Self::TooManyFailed => "too many failed",
            Self::Abandoned => "abandoned",
        }
    }

    fn parse(text: &str) -> Self {
        [Self::Open, Self::Done, Self::CanaryFailed, Self::TooManyFailed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .unwrap_or(Self::Abandoned)
    }
}

pub(crate) struct RunSummary {
    pub(crate) state: RunState,
    pub(crate) total: u64,
    pub(crate) done: u64,
    pub(crate) failed: Vec<(TenantId, String)>,
}

impl MigrationJournal {
    /// Joins the run that is open, or begins one with all tenants that are not at the goal. One query where all are.
    pub(crate) async fn join_or_begin(&self, new: &NewRun<'_>) -> Result<Begun, CatalogueError> {
        let run = format!("{:016x}", crate::store::random_stamp()?);
        // Where another process begins one at the same moment, the row that is unique refuses this one, and it joins.
        self.repeat(|| {
            Box::pin(async {
                let mut connection = self.begin().await?;
                let begun = self.begin_in(&mut connection, new, &run).await?;
                connection.commit().await?;
                Ok(begun)
            })
        })
        .await
    }

    async fn begin_in(
        &self,
        connection: &mut Connection,
        new: &NewRun<'_>,
        run: &str,
    ) -> Result<Begun, sqlx::Error> {
        if let Some(open) = self.open_run(connection, new).await? {
            return Ok(open);
        }
        let up_to_date = self.count_at(connection, new.goal).await?;
        let living = count(connection, living(self.store.kind(), "SELECT count(*) AS answer")).await?;
        if living == up_to_date {
            return Ok(Begun::UpToDate { tenants: living });
        }
        // The list of the last run was kept for who asks what failed.
        connection
            .execute(sql("DELETE FROM tenancy_migration_work"))
            .await?;
        let row = sql(
            "INSERT INTO tenancy_migration_runs (run, is_open, goal, state, total, canaries, canaries_done, done,
                 failed, started_at_ms) VALUES (?, 1, ?, 'open', 0, 0, 0, 0, 0, ?)",
        )
        .bind(run)
        .bind(new.name)
        .bind(self.now_ms());
        connection.execute(row).await?;
        let total = connection.execute(self.line_up(new, run)).await?;
        let canaries = self.count_canaries(connection, new, run, total).await?;
        let sizes = sql("UPDATE tenancy_migration_runs SET total = ?, canaries = ? WHERE run = ?")
            .bind(signed(total))
            .bind(signed(canaries))
            .bind(run);
        connection.execute(sizes).await?;
        Ok(Begun::Run {
            run: run.into(),
            is_joined: false,
            total,
            up_to_date,
        })
    }

    /// The run that is open, unless it was left alone: that one is closed.
    async fn open_run(
        &self,
        connection: &mut Connection,
        new: &NewRun<'_>,
    ) -> Result<Option<Begun>, sqlx::Error> {
        let open = sql(
            "SELECT r.run, r.goal, r.total, (SELECT coalesce(max(w.heartbeat_ms), 0)
                 FROM tenancy_migration_work w WHERE w.run = r.run) AS beat, r.started_at_ms FROM tenancy_migration_runs r WHERE r.is_open = 1",
        );
        let Some(row) = connection.fetch_optional(open).await? else {
            return Ok(None);
        };
        let run: Arc<str> = row.text("run")?.into();
        if row.text("goal")? == new.name {
            let total = unsigned(&row, "total")?;
            let up_to_date = self.count_at(connection, new.goal).await?;
            return Ok(Some(Begun::Run {
                run,
                is_joined: true,
                total,
                up_to_date,
            }));
        }
        let last_sign = row.int("beat")?.max(row.int("started_at_ms")?);
        if self.now_ms().saturating_sub(last_sign) < milliseconds(new.lease) {
            return Ok(Some(Begun::Other));
        }
        self.close_run(connection, &run, RunState::Abandoned).await?;
        Ok(None)
    }

    pub(super) async fn close_run(
        &self,
        connection: &mut Connection,
        run: &str,
        state: RunState,
    ) -> Result<(), sqlx::Error> {
        let close = sql(
            "UPDATE tenancy_migration_runs SET is_open = NULL, state = ?, ended_at_ms = ?
             WHERE run = ? AND is_open = 1",
        )
        .bind(state.as_str())
        .bind(self.now_ms())
        .bind(run);
        connection.execute(close).await.map(drop)
    }

    async fn count_at(&self, connection: &mut Connection, goal: &Goal) -> Result<u64, sqlx::Error> {
        let mut at = living(self.store.kind(), "SELECT count(*) AS answer");
        at.push(" AND m.checksum = ").push_bind(&*goal.checksum);
        count(connection, at).await
    }

    fn line_up(&self, new: &NewRun<'_>, run: &str) -> Statement {
        let mut line = sql(
            "INSERT INTO tenancy_migration_work (run, tenant_id, place_in_line, state, attempts, worker, heartbeat_ms) \
             SELECT ",
        );
        line.push_bind(run).push(", t.id, row_number() OVER (ORDER BY ");
        if !new.named_canaries.is_empty() {
            line.push("CASE WHEN t.id IN (");
            push_ids(&mut line, new.named_canaries);
            line.push(") THEN 0 ELSE 1 END, ");
        }
        line.push("t.id) - 1, 'waiting', 0, '', 0");
        let mut from = living(self.store.kind(), "");
        from.push(" AND (m.checksum IS NULL OR m.checksum <> ")
            .push_bind(&*new.goal.checksum)
            .push(")");
        line.append(from);
        line
    }

    async fn count_canaries(
        &self,
        connection: &mut Connection,
        new: &NewRun<'_>,
        run: &str,
        total: u64,
    ) -> Result<u64, sqlx::Error> {
        if new.named_canaries.is_empty() {
            return Ok(new.canaries.min(total));
        }
        let mut named = sql("SELECT count(*) AS answer FROM tenancy_migration_work WHERE run = ");
        named.push_bind(run).push(" AND tenant_id IN (");
        push_ids(&mut named, new.named_canaries);
        named.push(")");
        count(connection, named).await
    }

    /// How a run stands, or ended.
    pub(crate) async fn summary(&self, run: &str) -> Result<RunSummary, CatalogueError> {
        let row = sql("SELECT state, total, done FROM tenancy_migration_runs WHERE run = ?").bind(run);
        let failed = sql(
            "SELECT tenant_id, coalesce(reason, '') AS reason FROM tenancy_migration_work
             WHERE run = ? AND state = 'failed' ORDER BY place_in_line",
        )
        .bind(run);
        let rows = self.fetch_all(row).await?;
        let failed = self.fetch_all(failed).await?;
        read_summary(rows.first(), &failed).map_err(CatalogueError::from_sqlx)
    }
}

pub(super) fn tenants_table(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Adopted => "tenancy_tenants",
        StoreKind::Managed | StoreKind::ReadOnly => "tenants",
    }
}

/// The tenants that have a schema to migrate, with what the journal says of them.
pub(super) fn living(kind: StoreKind, select: &'static str) -> Statement {
    let mut living = sql(select);
    living.push(" FROM ").push(tenants_table(kind)).push(
        " t LEFT JOIN tenancy_migrations m ON m.tenant_id = t.id AND m.incarnation = t.incarnation \
         AND m.server = coalesce(t.placement_server, '') AND m.place = coalesce(t.placement_database, '') \
         AND m.isolation = ",
    );
    living.push(match kind {
        StoreKind::Adopted => "''",
        StoreKind::Managed | StoreKind::ReadOnly => "coalesce(t.placement_isolation, '')",
    });
    living.push(" WHERE t.status <> 'deleted'");
    living
}

fn read_summary(row: Option<&Row>, failed: &[Row]) -> Result<RunSummary, sqlx::Error> {
    let row = row.ok_or(sqlx::Error::RowNotFound)?;
    let failed = failed.iter().map(|row| {
        let tenant = super::work::tenant_of(row)?;
        Ok((tenant, row.text("reason")?.to_owned()))
    });
    Ok(RunSummary {
        state: RunState::parse(row.text("state")?),
        total: unsigned(row, "total")?,
        done: unsigned(row, "done")?,
        failed: failed.collect::<Result<_, sqlx::Error>>()?,
    })
}

fn push_ids(statement: &mut Statement, ids: &[TenantId]) {
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            statement.push(", ");
        }
        statement.push_bind(id.as_str());
    }
}

async fn count(connection: &mut Connection, statement: Statement) -> Result<u64, sqlx::Error> {
    unsigned(&connection.fetch_one(statement).await?, "answer")
}

pub(super) fn unsigned(row: &Row, column: &str) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.int(column)?).unwrap_or(0))
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stops_when_more_than_the_rate_of_the_tried_failed() {
        let rule = |rate| StopRule { rate, at_least: 20 };
        for (rate, done, failed, stops) in [
            (0.0, 1_000, 0, false),
            (0.0, 1_000, 1, true),
            (0.05, 0, 1, false),
            (0.05, 0, 2, true),
            (0.05, 98, 2, false),
            (0.05, 94, 6, true),
            (1.0, 0, 1_000, false),
        ] {
            assert_eq!(
                rule(rate).says_stop(done, failed),
                stops,
                "{rate} {done} {failed}"
            );
        }
    }
}
