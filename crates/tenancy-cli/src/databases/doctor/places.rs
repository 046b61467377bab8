use std::path::Path;

use tenancy_sqlx::{
    TenantDetails,
    database::{ClientHome, Login, TenantHomes},
};
use url::Url;

use super::finding::Findings;
use crate::{
    databases::{engine::CliEngine, homes::reason_of, places::Places},
    place::CataloguePlace,
};

/// Placements that lead where they may not. Connects to nothing.
pub(super) fn examine<DB: CliEngine>(
    homes: &TenantHomes<DB>,
    everybody: &[TenantDetails],
    catalogue: &CataloguePlace,
    findings: &mut Findings,
) {
    for details in everybody {
        let record = &details.record;
        let id = record.id.as_str();
        match homes.locate(record) {
            Err(error) => {
                let remedy = "correct its placement; it gets no connection until then";
                findings.problem("placement", id, &reason_of(&error), remedy);
            }
            Ok((_, target)) if target.is_shared_database() => {}
            Ok(_) => {
                let home = homes.client(record, Login::Application);
                if home.is_ok_and(|home| is_of_catalogue(&home, catalogue)) {
                    let remedy = "correct its placement, and name the database in databases.reserved";
                    findings.problem(
                        "placement",
                        id,
                        "it leads to the database of the catalogue",
                        remedy,
                    );
                }
            }
        }
    }
    let places = Places::of(homes, everybody.iter().map(|details| &details.record));
    let mut shared: Vec<_> = places.shared().collect();
    shared.sort_by(|one, other| one.2.cmp(other.2));
    for (server, target, tenants) in shared {
        let names: Vec<_> = tenants.iter().map(|id| id.as_str()).collect();
        let schema = target.schema_name().map(|schema| schema.as_str());
        let place = schema.unwrap_or(target.database_name());
        findings.problem(
            "placement",
            &names.join(", "),
            &format!("all of them are led to {place:?} on server {server:?}, and see each other's data"),
            "correct the placements of all but the one that it belongs to",
        );
    }
}

fn is_of_catalogue(home: &ClientHome, catalogue: &CataloguePlace) -> bool {
    match catalogue {
        CataloguePlace::File(file) => {
            let same = std::fs::canonicalize(home.database()).ok();
            same.is_some() && same == std::fs::canonicalize(file).ok() && Path::new(home.database()).is_file()
        }
        CataloguePlace::Url(url) => {
            let (Ok(one), Ok(other)) = (Url::parse(home.url()), Url::parse(url.as_str())) else {
                return false;
            };
            (one.host(), one.port(), one.path()) == (other.host(), other.port(), other.path())
        }
    }
}
