use clap::{Args, ValueEnum};
use serde::Serialize;
use tenancy::core::TenantStatus;
use tenancy_sqlx::{
    TenantDetails,
    store::{ListFilter, SqlStore, TenantList},
};

use crate::{
    CliContext, CliError,
    output::Output,
    view::{self, TenantView},
};

/// What the store gives at once at most.
const LARGEST_PAGE: usize = 1000;

/// Arguments of `tenants list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those with this status
    #[arg(long, value_enum)]
    status: Option<StatusName>,

    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    tenant_type: Option<String>,

    /// At most this many: 1 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,

    /// Where to go on, as the page before said
    #[arg(long)]
    cursor: Option<String>,

    /// All of them, however many; a heading is repeated after every 1000
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatusName {
    Pending,
    Active,
    Suspended,
    Deleted,
}

impl From<StatusName> for TenantStatus {
    fn from(name: StatusName) -> Self {
        match name {
            StatusName::Pending => Self::Pending,
            StatusName::Active => Self::Active,
            StatusName::Suspended => Self::Suspended,
            StatusName::Deleted => Self::Deleted,
        }
    }
}

#[derive(Serialize)]
struct PageView<'a> {
    tenants: Vec<TenantView<'a>>,
    next: Option<&'a str>,
}

impl ListArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let all = self.all;
        let filter = self.filter();
        let store = context.catalogue_to_read().await?;
        if all {
            write_all(&store, filter, out).await?;
        } else {
            write_page(&page(&store, &filter).await?, out)?;
        }
        store.close().await;
        Ok(())
    }

    fn filter(self) -> ListFilter {
        let mut filter = ListFilter::default();
        filter.status = self.status.map(TenantStatus::from);
        filter.tenant_type = self.tenant_type;
        filter.limit = if self.all { LARGEST_PAGE } else { self.limit };
        filter.cursor = self.cursor;
        filter
    }
}

async fn page(store: &SqlStore, filter: &ListFilter) -> Result<TenantList, CliError> {
    store.page(filter).await.map_err(CliError::from_catalogue)
}

fn write_page(page: &TenantList, out: &mut Output<'_>) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(&PageView {
            tenants: page.tenants.iter().map(TenantView::from).collect(),
            next: page.next.as_deref(),
        });
    }
    write_rows(&page.tenants, out)?;
    match &page.next {
        Some(cursor) => out.line(format_args!("\nThere are more: add --cursor {cursor}, or --all.")),
        None => Ok(()),
    }
}

fn write_rows(tenants: &[TenantDetails], out: &mut Output<'_>) -> Result<(), CliError> {
    if tenants.is_empty() {
        return out.line("No tenants.");
    }
    out.table(view::HEADING, tenants.iter().map(view::row))
}

/// Page by page, so that a million tenants need no more memory than a thousand.
async fn write_all(store: &SqlStore, mut filter: ListFilter, out: &mut Output<'_>) -> Result<(), CliError> {
    let mut separator = "";
    if out.is_json() {
        out.text("{\"tenants\":[")?;
    }
    loop {
        let page = page(store, &filter).await?;
        if out.is_json() {
            for details in &page.tenants {
                out.text(separator)?;
                out.json_part(&TenantView::from(details))?;
                separator = ",\n";
            }
        } else {
            out.text(separator)?;
            write_rows(&page.tenants, out)?;
            separator = "\n";
        }
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => break,
        }
    }
    if out.is_json() {
        out.line("],\"next\":null}")?;
    }
    Ok(())
}
