use std::path::Path;

use indicatif::ProgressBar;
use serde::Serialize;
use tenancy::core::{TenantId, TenantRecord};
use tenancy_sqlx::{
    TenantDetails,
    database::TenantHomes,
    transfer::{Export, Import, TransferError, TransferProgress},
};

use super::{
    engine::CliEngine,
    homes::{OverHomes, dispatch, reason_of_any},
    places::{Places, check_is_alone, every_tenant},
    signals::unless_broken_off,
};
use crate::{CliContext, CliError, tenants::find};

/// The data of a tenant, and the directory that it is written to or read from.
pub(crate) struct Transfer<'a> {
    pub(crate) id: &'a str,
    pub(crate) directory: &'a Path,
    pub(crate) way: Way<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    Out { with_settings: bool },
    In { replaces: bool, tenant_column: &'a str },
}

/// What was moved.
#[derive(Debug, Serialize)]
pub(crate) struct Transferred {
    pub(crate) tenant: TenantId,
    pub(crate) tables: usize,
    pub(crate) rows: u64,
    /// Of an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Of an import: whose data it was, by its own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    exported: Option<TenantId>,
}

pub(crate) async fn run(context: &CliContext, transfer: Transfer<'_>) -> Result<Transferred, CliError> {
    let id = find::parse_id(transfer.id)?;
    let settings = context.settings()?.settings;
    let store = context.catalogue_to_read_of(&settings).await?;
    let record = find::by_id(&store, &id).await?.record;
    let everybody = every_tenant(&store).await?;
    store.close().await;
    let moving = Moving {
        transfer,
        record: &record,
        everybody: &everybody,
    };
    dispatch(context, &settings, moving).await
}

struct Moving<'a> {
    transfer: Transfer<'a>,
    record: &'a TenantRecord,
    everybody: &'a [TenantDetails],
}

impl OverHomes for Moving<'_> {
    type Done = Transferred;

    async fn over<DB: CliEngine>(self, homes: TenantHomes<DB>) -> Result<Transferred, CliError> {
        let record = self.record;
        let places = Places::of(&homes, self.everybody.iter().map(|details| &details.record));
        check_is_alone(&homes, &places, record)
            .map_err(|reason| CliError::invalid(format!("tenant {}: {reason}", record.id)))?;
        let bar = ProgressBar::new_spinner();
        let seen = bar.clone();
        let observe = move |progress: TransferProgress<'_>| {
            seen.set_message(format!("{}: {} rows", progress.table, progress.rows));
            seen.tick();
        };
        let Transfer { directory, way, .. } = self.transfer;
        let moved = unless_broken_off(async {
            match way {
                Way::Out { with_settings } => {
                    let export = Export::of(&homes, record).observe(observe);
                    let export = if with_settings {
                        export.with_settings()
                    } else {
                        export
                    };
                    let done = export.to(directory).await?;
                    Ok((done.tables, done.rows, Some(done.bytes), None))
                }
                Way::In {
                    replaces,
                    tenant_column,
                } => {
                    let import = Import::into(&homes, record).observe(observe);
                    let import = import.tenant_column(tenant_column);
                    let import = if replaces { import.replace() } else { import };
                    let done = import.from(directory).await?;
                    Ok((done.tables, done.rows, None, Some(done.exported.id)))
                }
            }
        });
        let moved = moved.await;
        bar.finish_and_clear();
        let moved = moved.ok_or_else(|| CliError::failed("broken off: nothing of it stays"))?;
        let (tables, rows, bytes, exported) = moved.map_err(|error: TransferError| failed(&error))?;
        Ok(Transferred {
            tenant: record.id.clone(),
            tables,
            rows,
            bytes,
            exported,
        })
    }
}

fn failed(error: &TransferError) -> CliError {
    let message = reason_of_any(error);
    if error.is_not_empty() {
        CliError::conflict(message).advise("--replace deletes what is there.")
    } else if error.is_mismatch() || error.is_migrating() || error.is_unsupported() {
        CliError::conflict(message)
    } else if error.is_placement() || error.is_files() || error.is_damaged() {
        CliError::invalid(message)
    } else {
        CliError::failed(message)
    }
}
