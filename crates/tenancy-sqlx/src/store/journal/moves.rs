//! A tenant that moves: its record and the journal of homes, in one transaction at a time.

use tenancy_core::{Maintenance, Placement, TenantId, TenantStatus};

use super::{
    Goal, Home, HomePlace, HomeStage, MigrationJournal,
    homes::{insert, push_place},
    tenants::placed,
};
use crate::{
    CatalogueError, TenantDetails,
    central::{Statement, sql},
    store::{SqlStore, change::Change},
};

/// Seconds after which those who are refused try again.
const RETRY_AFTER: u32 = 10;

/// Bits of the journal's `version`.
const LIFTS_MAINTENANCE: i64 = 1;
const MADE_ELSEWHERE: i64 = 2;

/// A home that its tenant is about to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) place: HomePlace,
    pub(crate) tenant: TenantId,
    /// Tells this move from others of the same home, and names the directory that it goes through.
    pub(crate) stamp: Box<str>,
    /// Whether it is in the journal but for this move, and is dropped after it.
    pub(crate) was_made_here: bool,
    /// Whether the tenant was in no maintenance before.
    lifts_maintenance: bool,
}

impl Leaving {
    pub(crate) fn of(home: &Home) -> Option<Self> {
        Some(Self {
            place: home.place.clone(),
            tenant: home.tenant.clone()?,
            stamp: home.checksum.clone(),
            was_made_here: home.version & MADE_ELSEWHERE == 0,
            lifts_maintenance: home.version & LIFTS_MAINTENANCE != 0,
        })
    }

    fn bits(&self) -> i64 {
        let lifts = if self.lifts_maintenance {
            LIFTS_MAINTENANCE
        } else {
            0
        };
        let elsewhere = if self.was_made_here { 0 } else { MADE_ELSEWHERE };
        lifts | elsewhere
    }

    /// Of this very move, and of no later one.
    fn push_this(&self, statement: &mut Statement, stage: HomeStage) {
        push_place(statement, &self.place);
        statement.push(" AND stage = ").push_bind(stage.as_str());
        statement.push(" AND checksum = ").push_bind(&*self.stamp);
    }

    /// What becomes of its row when it is over.
    fn end(&self, from: HomeStage, to: HomeStage, tenant: &str, now_ms: i64) -> Statement {
        let mut end = if self.was_made_here {
            sql("UPDATE tenancy_homes SET stage = ?, tenant_id = ?, version = 0, checksum = '', at_ms = ?")
                .bind(to.as_str())
                .bind(tenant)
                .bind(now_ms)
        } else {
            sql("DELETE FROM tenancy_homes")
        };
        self.push_this(&mut end, from);
        end
    }
}

impl MigrationJournal {
    /// The tenant stays: from here on, the move can not come to its end any more. Whether it had not.
    pub(crate) async fn turn_back(&self, leaving: &Leaving) -> Result<bool, CatalogueError> {
        let mut back = sql("UPDATE tenancy_homes SET stage = 'returning', at_ms = ?").bind(self.now_ms());
        leaving.push_this(&mut back, HomeStage::Leaving);
        Ok(self.execute(back).await? > 0)
    }
}

impl SqlStore {
    /// Notes that a tenant is about to leave its home, and puts it into maintenance unless it is.
    ///
    /// # Errors
    /// Conflict when it is deleted, when its placement was changed, or when another process is at its home.
    pub(crate) async fn begin_to_leave(
        &self,
        tenant: &TenantId,
        place: HomePlace,
        from: Option<Placement>,
        was_made_here: bool,
    ) -> Result<(TenantDetails, Leaving), CatalogueError> {
        self.check_is_writable()?;
        let tenant = tenant.clone();
        self.change(move |change| {
            Box::pin(async move {
                let details = change.details_of_living(&tenant).await?;
                check_is_there(&details, from.as_ref())?;
                let leaving = Leaving {
                    place,
                    stamp: format!("{:016x}", crate::store::random_stamp()?).into(),
                    was_made_here,
                    lifts_maintenance: details.record.maintenance.is_none(),
                    tenant,
                };
                if !was_made_here {
                    let (slug, tenant) = (details.record.slug(), Some(&leaving.tenant));
                    let note = insert(&leaving.place, slug, tenant, HomeStage::Made, change.now_ms);
                    change.execute(note).await?;
                }
                let mut leave =
                    sql("UPDATE tenancy_homes SET stage = 'leaving', checksum = ?, version = ?, at_ms = ?")
                        .bind(&*leaving.stamp)
                        .bind(leaving.bits())
                        .bind(change.now_ms);
                push_place(&mut leave, &leaving.place);
                leave.push(" AND stage = 'made' AND tenant_id = ");
                leave.push_bind(leaving.tenant.as_str());
                change.only_if(leave).await?;
                change.keep_without_number();
                if leaving.lifts_maintenance {
                    change.set_maintenance(&leaving.tenant, Some(&moving())).await?;
                }
                Ok((change.details(&leaving.tenant).await?, leaving))
            })
        })
        .await
    }

    /// Leads a tenant from the home that it leaves to the new one, and out of maintenance. From here on, it has moved.
    ///
    /// # Errors
    /// Conflict when somebody turned back, or changed the tenant's placement.
    pub(crate) async fn arrive(
        &self,
        leaving: Leaving,
        new: HomePlace,
        from: Option<Placement>,
        goal: Option<Goal>,
    ) -> Result<TenantDetails, CatalogueError> {
        self.change(move |change| {
            Box::pin(async move {
                let before = change.details_of_living(&leaving.tenant).await?;
                check_is_there(&before, from.as_ref())?;
                let left = leaving.end(HomeStage::Leaving, HomeStage::Left, "", change.now_ms);
                change.only_if(left).await?;
                let mut enter = sql("UPDATE tenancy_homes SET stage = 'made', tenant_id = ?, at_ms = ?")
                    .bind(leaving.tenant.as_str())
                    .bind(change.now_ms);
                push_place(&mut enter, &new);
                enter.push(" AND stage = 'making'");
                change.only_if(enter).await?;
                let mut placement = placed(from.unwrap_or_default(), &new);
                placement.server = new.server.clone();
                change.lead_to(&leaving.tenant, placement).await?;
                change.lift_maintenance(&leaving).await?;
                let details = change.details(&leaving.tenant).await?;
                change.note(&details.record, goal.as_ref());
                Ok(details)
            })
        })
        .await
    }

    /// A home is as it was before its tenant was to leave it.
    pub(crate) async fn end_return(&self, leaving: Leaving) -> Result<(), CatalogueError> {
        self.change(move |change| {
            Box::pin(async move {
                let tenant = leaving.tenant.as_str();
                let back = leaving.end(HomeStage::Returning, HomeStage::Made, tenant, change.now_ms);
                change.only_if(back).await?;
                change.keep_without_number();
                change.lift_maintenance(&leaving).await
            })
        })
        .await
    }
}

impl Change {
    /// Unless the tenant was in maintenance before, or somebody has other plans for it by now.
    async fn lift_maintenance(&mut self, leaving: &Leaving) -> Result<(), CatalogueError> {
        let record = match self.details(&leaving.tenant).await {
            Ok(details) => details.record,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let is_ours = record.maintenance.as_deref() == Some(&moving());
        if leaving.lifts_maintenance && is_ours && record.status != TenantStatus::Deleted {
            self.set_maintenance(&leaving.tenant, None).await?;
        }
        Ok(())
    }
}

fn check_is_there(details: &TenantDetails, from: Option<&Placement>) -> Result<(), CatalogueError> {
    if details.record.placement.as_deref() == from {
        return Ok(());
    }
    Err(CatalogueError::conflict(
        "the tenant's placement was changed meanwhile",
        format!(
            "the tenant {} is led to another place than when its move began",
            details.record.id
        ),
    ))
}

/// How a tenant answers while it moves.
fn moving() -> Maintenance {
    let mut maintenance = Maintenance::default();
    maintenance.retry_after = RETRY_AFTER;
    maintenance
}
