use serde::Serialize;
use tenancy_sqlx::store::SqlStore;

use crate::{
    CliContext, CliError,
    output::{Output, counted},
    place::CataloguePlace,
    view::FaultView,
};

/// Enough to see a pattern.
const FAULTS: usize = 1000;

#[derive(Serialize)]
struct CheckView {
    catalogue: String,
    tenants: u64,
    left_out: Vec<FaultView>,
}

pub(super) async fn run(context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
    let place = CataloguePlace::of(&context.settings()?.settings.catalogue);
    place.check_is_there()?;
    // Opening looks for views, columns and triggers, and names what is missing.
    let store = SqlStore::open(place.options()?.adopted())
        .await
        .map_err(CliError::from_catalogue)?;
    let tenants = store.count().await.map_err(CliError::from_catalogue)?;
    let faults = store.faults(FAULTS).await.map_err(CliError::from_catalogue)?;
    store.close().await;
    let view = CheckView {
        catalogue: place.to_string(),
        tenants,
        left_out: faults.into_iter().map(FaultView::from).collect(),
    };
    if out.is_json() {
        out.json(&view)?;
    } else {
        let tenants = counted(
            usize::try_from(tenants).unwrap_or(usize::MAX),
            "tenant",
            "tenants",
        );
        out.line(format_args!(
            "{} has the views and triggers that it needs, and {tenants}.",
            view.catalogue
        ))?;
        FaultView::write(&view.left_out, out)?;
    }
    if view.left_out.is_empty() {
        return Ok(());
    }
    Err(CliError::failed("some rows break the rules").told())
}
