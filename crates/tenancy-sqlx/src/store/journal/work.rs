use std::time::Duration;

use tenancy_core::{TenantId, TenantRecord};

use super::{
    Goal, MigrationJournal, lock_clause, note_of,
    runs::{RunState, StopRule, milliseconds, unsigned},
};
use crate::{
    CatalogueError,
    central::{Connection, Row, Statement, sql},
};

/// A tenant that this process may migrate, for as long as it shows signs of life.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) tenant: TenantId,
    pub(crate) is_canary: bool,
    /// How often it was begun, now included: more than once, and whoever began it before has died.
    pub(crate) attempts: u64,
}

pub(crate) enum Claim {
    Tenant(Claimed),
    /// Others are at work on what is left, or on the canaries.
    Wait,
    Ended,
}

impl MigrationJournal {
    /// Takes the next tenant of a run: one that nobody has, or one whose holder gave no sign of life for the lease. The
    /// last one to find nothing left ends the run.
    pub(crate) async fn claim(&self, run: &str, lease: Duration) -> Result<Claim, CatalogueError> {
        self.repeat(|| {
            Box::pin(async {
                let mut connection = self.begin().await?;
                let claim = self.claim_in(&mut connection, run, lease).await?;
                connection.commit().await?;
                Ok(claim)
            })
        })
        .await
    }

    async fn claim_in(
        &self,
        connection: &mut Connection,
        run: &str,
        lease: Duration,
    ) -> Result<Claim, sqlx::Error> {
        let standing =
            sql("SELECT canaries, canaries_done FROM tenancy_migration_runs WHERE run = ? AND is_open = 1")
                .bind(run);
        let Some(standing) = connection.fetch_optional(standing).await? else {
            return Ok(Claim::Ended);
        };
        let canaries = standing.int("canaries")?;
        let front = (standing.int("canaries_done")? < canaries).then_some(canaries);
        let stale = self.now_ms().saturating_sub(milliseconds(lease));
        let row = match self.lock_one(connection, waiting(run, front)).await? {
            None => self.lock_one(connection, left_alone(run, stale)).await?,
            found => found,
        };
        let Some(row) = row else {
            return self.claim_nothing(connection, run).await;
        };
        let claimed = Claimed {
            tenant: tenant_of(&row)?,
            is_canary: row.int("place_in_line")? < canaries,
            attempts: unsigned(&row, "attempts")? + 1,
        };
        let take = sql(
            "UPDATE tenancy_migration_work SET state = 'running', attempts = attempts + 1, worker = ?,
                 heartbeat_ms = ? WHERE run = ? AND tenant_id = ?",
        )
        .bind(&*self.worker)
        .bind(self.now_ms())
        .bind(run)
        .bind(claimed.tenant.as_str());
        connection.execute(take).await?;
        Ok(Claim::Tenant(claimed))
    }

    async fn lock_one(
        &self,
        connection: &mut Connection,
        mut statement: Statement,
    ) -> Result<Option<Row>, sqlx::Error> {
        statement
            .push(" ORDER BY place_in_line LIMIT 1")
            .push(lock_clause(connection.dialect()));
        connection.fetch_optional(statement).await
    }

    async fn claim_nothing(&self, connection: &mut Connection, run: &str) -> Result<Claim, sqlx::Error> {
        let left = sql("SELECT count(*) AS answer FROM tenancy_migration_work
             WHERE run = ? AND state IN ('waiting', 'running')")
        .bind(run);
        if connection.fetch_one(left).await?.int("answer")? > 0 {
            return Ok(Claim::Wait);
        }
        self.close_run(connection, run, RunState::Done).await?;
        Ok(Claim::Ended)
    }

    /// Says of all that this process has claimed that it still lives.
    pub(crate) async fn beat(&self, run: &str) -> Result<(), CatalogueError> {
        self.repeat(|| Box::pin(async {
            let beat = sql(
                "UPDATE tenancy_migration_work SET heartbeat_ms = ? WHERE run = ? AND state = 'running' AND worker = ?",
            )
            .bind(self.now_ms())
            .bind(run)
            .bind(&*self.worker);
            self.pool.acquire().await?.execute(beat).await.map(drop)
        }))
        .await
    }

    /// A tenant is at the goal. Counts it, unless another process has claimed it meanwhile.
    pub(crate) async fn finish(
        &self,
        run: &str,
        claimed: &Claimed,
        record: &TenantRecord,
        goal: &Goal,
    ) -> Result<(), CatalogueError> {
        self.repeat(|| {
            Box::pin(async {
                let mut connection = self.begin().await?;
                // Also of one that another process has by now: it is so.
                let note = note_of(connection.dialect(), record, goal, self.now_ms());
                connection.execute(note).await?;
                if self
                    .end_claim(&mut connection, run, claimed, "done", None)
                    .await?
                {
                    let count = sql(
                        "UPDATE tenancy_migration_runs SET done = done + 1, canaries_done = canaries_done + ?
                     WHERE run = ?",
                    )
                    .bind(claimed.is_canary)
                    .bind(run);
                    connection.execute(count).await?;
                }
                connection.commit().await
            })
        })
        .await
    }

    /// A tenant is gone since the run began: it is neither done nor failed.
    pub(crate) async fn drop_from(&self, run: &str, claimed: &Claimed) -> Result<(), CatalogueError> {
        self.repeat(|| {
            Box::pin(async {
                let mut connection = self.begin().await?;
                if self
                    .end_claim(&mut connection, run, claimed, "gone", None)
                    .await?
                {
                    let count = sql(
                    "UPDATE tenancy_migration_runs SET total = total - 1, canaries_done = canaries_done + ?
                     WHERE run = ?",
                )
                .bind(claimed.is_canary)
                .bind(run);
                    connection.execute(count).await?;
                }
                connection.commit().await
            })
        })
        .await
    }

    /// A tenant could not be brought to the goal. Ends the run where the rule says so.
    pub(crate) async fn fail(
        &self,
        run: &str,
        claimed: &Claimed,
        reason: &str,
        rule: StopRule,
    ) -> Result<(), CatalogueError> {
        self.repeat(|| {
            Box::pin(async {
                let mut connection = self.begin().await?;
                if self
                    .end_claim(&mut connection, run, claimed, "failed", Some(reason))
                    .await?
                {
                    self.count_failure(&mut connection, run, claimed, rule).await?;
                }
                connection.commit().await
            })
        })
        .await
    }

    async fn count_failure(
        &self,
        connection: &mut Connection,
        run: &str,
        claimed: &Claimed,
        rule: StopRule,
    ) -> Result<(), sqlx::Error> {
        let count = sql("UPDATE tenancy_migration_runs SET failed = failed + 1 WHERE run = ?").bind(run);
        connection.execute(count).await?;
        let so_far = sql("SELECT done, failed FROM tenancy_migration_runs WHERE run = ?").bind(run);
        let so_far = connection.fetch_one(so_far).await?;
        if claimed.is_canary {
            self.close_run(connection, run, RunState::CanaryFailed).await
        } else if rule.says_stop(unsigned(&so_far, "done")?, unsigned(&so_far, "failed")?) {
            self.close_run(connection, run, RunState::TooManyFailed).await
        } else {
            Ok(())
        }
    }

    /// Whether it was still this process's.
    async fn end_claim(
        &self,
        connection: &mut Connection,
        run: &str,
        claimed: &Claimed,
        state: &'static str,
        reason: Option<&str>,
    ) -> Result<bool, sqlx::Error> {
        let end = sql("UPDATE tenancy_migration_work SET state = ?, reason = ?
             WHERE run = ? AND tenant_id = ? AND state = 'running' AND worker = ?")
        .bind(state)
        .bind(reason)
        .bind(run)
        .bind(claimed.tenant.as_str())
        .bind(&*self.worker);
        Ok(connection.execute(end).await? > 0)
    }
}

const CANDIDATE: &str = "SELECT tenant_id, place_in_line, attempts FROM tenancy_migration_work WHERE run = ";

fn waiting(run: &str, before: Option<i64>) -> Statement {
    let mut statement = sql(CANDIDATE);
    statement.push_bind(run).push(" AND state = 'waiting'");
    if let Some(place) = before {
        statement.push(" AND place_in_line < ").push_bind(place);
    }
    statement
}

fn left_alone(run: &str, last_sign_before: i64) -> Statement {
    let mut statement = sql(CANDIDATE);
    statement
        .push_bind(run)
        .push(" AND state = 'running' AND heartbeat_ms < ")
        .push_bind(last_sign_before);
    statement
}

pub(super) fn tenant_of(row: &Row) -> Result<TenantId, sqlx::Error> {
    TenantId::new(row.text("tenant_id")?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
