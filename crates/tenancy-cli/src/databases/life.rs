//! What makes, fills, empties and removes the homes of tenants.

use tenancy::core::TenantId;
use tenancy_server::settings::Settings;
use tenancy_sqlx::{
    CatalogueError, NewTenant, TenantDetails,
    database::TenantHomes,
    lifecycle::{Lifecycle, LifecycleBuilder, LifecycleError, PendingRefill},
    migrate::Migrations,
    store::SqlStore,
};

use super::{
    engine::CliEngine,
    homes::{OverHomes, dispatch, reason_of_any},
    pending::PendingReport,
    progress::Progress,
};
use crate::{CliContext, CliError, redact::without_passwords};

/// What is to be done to one tenant.
pub(crate) enum Errand {
    Create(Box<NewTenant>),
    Reset(TenantId),
    Remove(TenantId),
    Recover,
    LookAtPending,
    Fill(u64),
    Drain,
}

/// What came of it.
pub(crate) enum Outcome {
    Tenant(Box<TenantDetails>),
    Removed,
    Recovered(usize),
    Pending(PendingReport),
}

/// What is to be done to each of many tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    MakeHome,
    Seed,
}

/// Which tenants it was done to, and to which it could not be.
#[derive(Debug, Default)]
pub(crate) struct ChoreReport {
    pub(crate) done: Vec<TenantId>,
    pub(crate) failed: Vec<(TenantId, String)>,
}

/// Over a managed catalogue.
pub(crate) async fn run(
    context: &CliContext,
    settings: &Settings,
    store: &SqlStore,
    migrations: Option<Migrations>,
    errand: Errand,
) -> Result<Outcome, CliError> {
    let parts = Parts {
        settings,
        store,
        migrations,
    };
    Box::pin(dispatch(context, settings, One { parts, errand })).await
}

/// The same for one tenant after the other; one that fails does not keep the others.
pub(crate) async fn run_for_many(
    context: &CliContext,
    settings: &Settings,
    store: &SqlStore,
    migrations: Option<Migrations>,
    chore: Chore,
    tenants: Vec<TenantId>,
) -> Result<ChoreReport, CliError> {
    let parts = Parts {
        settings,
        store,
        migrations,
    };
    let many = Many {
        parts,
        chore,
        tenants,
    };
    Box::pin(dispatch(context, settings, many)).await
}

/// What a lifecycle is made of.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) store: &'a SqlStore,
    pub(super) migrations: Option<Migrations>,
}

impl Parts<'_> {
    async fn lifecycle<DB: CliEngine>(self, homes: &TenantHomes<DB>) -> Result<Lifecycle<DB>, CliError> {
        let built = self.builder(homes).build().await;
        built.map_err(|error| failed(&error))
    }

    pub(super) fn builder<DB: CliEngine>(self, homes: &TenantHomes<DB>) -> LifecycleBuilder<DB> {
        let mut builder = Lifecycle::builder(self.store, homes);
        if let Some(migrations) = self.migrations {
            builder = builder.migrations(migrations);
        }
        if let Some(seeds) = &self.settings.databases.seeds {
            builder = builder.seeds_from_directory(seeds);
        }
        builder
    }
}

struct One<'a> {
    parts: Parts<'a>,
    errand: Errand,
}

impl OverHomes for One<'_> {
    type Done = Outcome;

    async fn over<DB: CliEngine>(self, homes: TenantHomes<DB>) -> Result<Outcome, CliError> {
        let lifecycle = self.parts.lifecycle(&homes).await?;
        let outcome = match self.errand {
            // One that is ready is quicker; how many there shall be is for those to say who make them.
            Errand::Create(new) => tenant(lifecycle.pending(0).claim(*new).await),
            Errand::Reset(id) => tenant(lifecycle.reset(&id).await),
            Errand::Remove(id) => lifecycle.remove(&id).await.map(|()| Outcome::Removed),
            Errand::Recover => lifecycle.recover().await.map(Outcome::Recovered),
            Errand::LookAtPending => pending(&lifecycle, 0, Ahead::Leave).await,
            Errand::Fill(wanted) => pending(&lifecycle, wanted, Ahead::Fill).await,
            Errand::Drain => pending(&lifecycle, 0, Ahead::Drain).await,
        };
        lifecycle.close().await;
        outcome.map_err(|error| failed(&error))
    }
}

fn tenant(made: Result<TenantDetails, LifecycleError>) -> Result<Outcome, LifecycleError> {
    made.map(|details| Outcome::Tenant(Box::new(details)))
}

/// What becomes of homes that nobody has.
enum Ahead {
    Leave,
    Fill,
    Drain,
}

async fn pending<DB: CliEngine>(
    lifecycle: &Lifecycle<DB>,
    wanted: u64,
    ahead: Ahead,
) -> Result<Outcome, LifecycleError> {
    let homes = lifecycle.pending(wanted);
    let (mut refill, mut dropped) = (PendingRefill::default(), 0);
    match ahead {
        Ahead::Leave => {}
        Ahead::Fill => refill = homes.refill_once().await?,
        Ahead::Drain => dropped = homes.drain().await?,
    }
    Ok(Outcome::Pending(PendingReport {
        status: homes.status().await?,
        made: refill.made,
        migrated: refill.migrated,
        dropped,
    }))
}

struct Many<'a> {
    parts: Parts<'a>,
    chore: Chore,
    tenants: Vec<TenantId>,
}

impl OverHomes for Many<'_> {
    type Done = ChoreReport;

    async fn over<DB: CliEngine>(self, homes: TenantHomes<DB>) -> Result<ChoreReport, CliError> {
        let lifecycle = self.parts.lifecycle(&homes).await?;
        let progress = Progress::new(self.tenants.len() as u64);
        let mut report = ChoreReport::default();
        for id in self.tenants {
            let done = match self.chore {
                Chore::MakeHome => lifecycle.make_home(&id).await.map(drop),
                Chore::Seed => lifecycle.seed(&id).await,
            };
            match done {
                Ok(()) => {
                    progress.done();
                    report.done.push(id);
                }
                Err(error) => {
                    progress.failed();
                    report
                        .failed
                        .push((id, without_passwords(&reason_of_any(&error))));
                }
            }
        }
        progress.clear();
        lifecycle.close().await;
        Ok(report)
    }
}

pub(super) fn failed(error: &LifecycleError) -> CliError {
    let refused = std::error::Error::source(error).and_then(|source| source.downcast_ref::<CatalogueError>());
    if let Some(refused) = refused {
        return CliError::from_catalogue_in(refused);
    }
    let message = reason_of_any(error);
    if error.is_no_tenant() {
        CliError::not_found(message)
    } else if error.is_busy() || error.is_not_emptied() || error.is_not_movable() || error.is_occupied() {
        CliError::conflict(message)
    } else if error.is_not_ours() {
        CliError::conflict(message).advise(
            "`tenants delete` and `tenants purge` take the tenant out of the catalogue; drop its data by hand.",
        )
    } else if error.is_misplaced() || error.is_settings() {
        CliError::invalid(message)
    } else {
        CliError::failed(message)
    }
}
