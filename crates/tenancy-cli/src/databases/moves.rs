//! A tenant goes to another server, database, schema or file.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use indicatif::ProgressBar;
use tenancy::core::TenantId;
use tenancy_server::settings::Settings;
use tenancy_sqlx::{
    database::TenantHomes,
    lifecycle::{LifecycleStep, Moment, MoveReport, MoveTo},
    migrate::Migrations,
    store::SqlStore,
};

use super::{
    engine::CliEngine,
    homes::{OverHomes, dispatch},
    life::{Parts, failed},
    signals::unless_broken_off,
};
use crate::{CliContext, CliError};

/// Who is to go where.
pub(crate) struct Move {
    pub(crate) id: TenantId,
    pub(crate) server: String,
    pub(crate) name: Option<String>,
    pub(crate) drops_left: bool,
    pub(crate) through: Option<PathBuf>,
}

/// Over a managed catalogue.
pub(crate) async fn run(
    context: &CliContext,
    settings: &Settings,
    store: &SqlStore,
    migrations: Option<Migrations>,
    errand: Move,
) -> Result<MoveReport, CliError> {
    let parts = Parts {
        settings,
        store,
        migrations,
    };
    Box::pin(dispatch(context, settings, Moving { parts, errand })).await
}

struct Moving<'a> {
    parts: Parts<'a>,
    errand: Move,
}

impl OverHomes for Moving<'_> {
    type Done = MoveReport;

    async fn over<DB: CliEngine>(self, homes: TenantHomes<DB>) -> Result<MoveReport, CliError> {
        let errand = self.errand;
        let is_broken_off = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_broken_off);
        let mut builder = self.parts.builder(&homes).hook(move |step| {
            let goes_on = go_on(&step, &stop);
            async move { goes_on.map_err(Into::into) }
        });
        if let Some(directory) = errand.through {
            builder = builder.move_through(directory);
        }
        let lifecycle = builder.build().await.map_err(|error| failed(&error))?;
        let bar = ProgressBar::new_spinner();
        let seen = bar.clone();
        let mut to = MoveTo::server(&errand.server).observe(move |progress| {
            seen.set_message(format!("{}: {} rows", progress.table, progress.rows));
            seen.tick();
        });
        if let Some(name) = &errand.name {
            to = to.named(name);
        }
        if errand.drops_left {
            to = to.drop_left();
        }
        let mut moving = pin!(lifecycle.move_home(&errand.id, to));
        let moved = match unless_broken_off(&mut moving).await {
            Some(moved) => moved,
            None => {
                // The tenant is not left in maintenance: what is begun is taken back, or comes to its end.
                is_broken_off.store(true, Ordering::Relaxed);
                moving.await
            }
        };
        bar.finish_and_clear();
        lifecycle.close().await;
        moved.map_err(|error| failed(&error))
    }
}

fn go_on(step: &LifecycleStep, stop: &AtomicBool) -> Result<(), &'static str> {
    if step.moment == Moment::Before && stop.load(Ordering::Relaxed) {
        return Err("it was broken off, and the tenant is served from where it was");
    }
    Ok(())
}
