use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tenancy_sqlx::store::{CatalogueStatus, StoreKind};

use crate::{
    CliContext, CliError,
    context::{SettingsInUse, full_path},
    memory,
    output::Output,
    place::CataloguePlace,
    view::FaultView,
};

/// So many rows that break the rules are shown; `catalogue check` shows more.
const FAULTS: usize = 20;

/// What to show.
#[derive(Clone, Debug, Default, Args)]
pub struct StatusArgs {
    /// Show the memory of a running server instead: what is live and resident, whether it grows, and what tenants and routes need.
    /// Needs no catalogue
    #[arg(long)]
    memory: bool,

    /// Admin address of that server [default: `admin.listen` of the settings, or http://127.0.0.1:2113]
    #[arg(long, value_name = "URL", requires = "memory")]
    admin: Option<String>,
}

impl StatusArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        match self.memory {
            true => memory::run(self.admin.as_deref(), context, out).await,
            false => run(context, out).await,
        }
    }
}

#[derive(Serialize)]
struct StatusView {
    catalogue: String,
    kind: &'static str,
    file_bytes: u64,
    schema_version: u32,
    oldest_reader: u32,
    change_number: u64,
    oldest_change: u64,
    tenants: TenantCounts,
    domains: u64,
    settings_file: Option<PathBuf>,
    warnings: Vec<String>,
    /// At most so many as are shown.
    left_out: Vec<FaultView>,
}

#[derive(Serialize)]
struct TenantCounts {
    pending: u64,
    active: u64,
    suspended: u64,
    deleted: u64,
}

async fn run(context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
    let in_use = context.settings()?;
    let store = context.catalogue_to_read_of(&in_use.settings).await?;
    let status = store.status().await.map_err(CliError::from_catalogue)?;
    let kind = store.kind();
    // What is in a managed catalogue was checked when it was written; looking at every tenant again would take long.
    let faults = match kind {
        StoreKind::Adopted => store.faults(FAULTS).await.map_err(CliError::from_catalogue)?,
        _ => Vec::new(),
    };
    store.close().await;
    let left_out = faults.into_iter().map(FaultView::from).collect();
    let view = StatusView::new(in_use, kind, &status, left_out);
    if out.is_json() {
        return out.json(&view);
    }
    let TenantCounts {
        pending,
        active,
        suspended,
        deleted,
    } = view.tenants;
    let file = view.settings_file.as_ref();
    out.facts([
        ("catalogue", view.catalogue.clone()),
        ("kind", view.kind.to_owned()),
        ("size", format!("{} bytes", view.file_bytes)),
        ("schema version", view.schema_version.to_string()),
        ("change number", view.change_number.to_string()),
        (
            "tenants",
            format!("{active} active, {suspended} suspended, {pending} pending, {deleted} deleted"),
        ),
        ("domains", view.domains.to_string()),
        (
            "settings file",
            file.map_or("none".to_owned(), |file| file.display().to_string()),
        ),
    ])?;
    for warning in &view.warnings {
        out.line(format_args!("\nwarning: {warning}"))?;
    }
    FaultView::write(&view.left_out, out)
}

impl StatusView {
    fn new(
        in_use: SettingsInUse,
        kind: StoreKind,
        status: &CatalogueStatus,
        left_out: Vec<FaultView>,
    ) -> Self {
        Self {
            catalogue: CataloguePlace::of(&in_use.settings.catalogue).to_string(),
            // Whether this command could change it was not tried.
            kind: match kind {
                StoreKind::Adopted => StoreKind::Adopted.as_str(),
                _ => StoreKind::Managed.as_str(),
            },
            file_bytes: status.file_bytes,
            schema_version: status.schema_version,
            oldest_reader: status.oldest_reader,
            change_number: status.change_number,
            oldest_change: status.oldest_change,
            tenants: TenantCounts {
                pending: status.pending,
                active: status.active,
                suspended: status.suspended,
                deleted: status.deleted,
            },
            domains: status.domains,
            settings_file: in_use.file.as_deref().map(full_path),
            warnings: in_use.warnings,
            left_out,
        }
    }
}
