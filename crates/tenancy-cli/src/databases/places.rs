use std::collections::HashMap;

use tenancy::core::{TenantId, TenantRecord, TenantStatus};
use tenancy_sqlx::{
    TenantDetails,
    database::{DatabaseError, TenantHomes},
    pool::Target,
    store::{CreationOrder, ListFilter, SqlStore},
};

use super::engine::CliEngine;
use crate::{CliError, tenants::find};

/// Which tenants are led to one place. Deleted ones count: their data is there until they are purged.
pub(crate) struct Places {
    tenants: HashMap<(Box<str>, Target), Vec<TenantId>>,
}

impl Places {
    pub(crate) fn of<'r, DB: CliEngine>(
        homes: &TenantHomes<DB>,
        records: impl IntoIterator<Item = &'r TenantRecord>,
    ) -> Self {
        let mut tenants: HashMap<_, Vec<_>> = HashMap::new();
        for record in records {
            // Who is led nowhere is in nobody's way.
            if let Ok((server, target)) = homes.locate(record) {
                let place = (Box::from(server), target);
                tenants.entry(place).or_default().push(record.id.clone());
            }
        }
        Self { tenants }
    }

    /// Another tenant that is led to where this one is.
    pub(crate) fn neighbour<DB: CliEngine>(
        &self,
        homes: &TenantHomes<DB>,
        record: &TenantRecord,
    ) -> Result<Option<&TenantId>, DatabaseError> {
        let (server, target) = homes.locate(record)?;
        let there = self.tenants.get(&(Box::from(server), target));
        Ok(there.into_iter().flatten().find(|id| **id != record.id))
    }

    /// Places that more than one tenant is led to.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (&str, &Target, &[TenantId])> {
        let several = self.tenants.iter().filter(|(_, tenants)| tenants.len() > 1);
        several.map(|((server, target), tenants)| (&**server, target, &**tenants))
    }
}

/// Every tenant of the catalogue, the first created first.
pub(crate) async fn every_tenant(store: &SqlStore) -> Result<Vec<TenantDetails>, CliError> {
    let mut filter = ListFilter::default();
    filter.order = CreationOrder::OldestFirst;
    filter.limit = 1000;
    let mut tenants = Vec::new();
    loop {
        let page = store.page(&filter).await.map_err(CliError::from_catalogue)?;
        tenants.extend(page.tenants);
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return Ok(tenants);
        }
    }
}

/// The tenants of these ids, in the order of the ids; with none, all that are not deleted, by id.
pub(crate) async fn chosen(
    store: &SqlStore,
    everybody: &[TenantDetails],
    ids: &[String],
) -> Result<Vec<TenantRecord>, CliError> {
    if ids.is_empty() {
        let living = everybody
            .iter()
            .filter(|details| details.record.status != TenantStatus::Deleted);
        let mut records: Vec<_> = living.map(|details| details.record.clone()).collect();
        records.sort_by(|one, other| one.id.cmp(&other.id));
        return Ok(records);
    }
    let mut records: Vec<TenantRecord> = Vec::new();
    for id in ids {
        let id = find::parse_id(id)?;
        if records.iter().all(|record| record.id != id) {
            records.push(find::by_id(store, &id).await?.record);
        }
    }
    Ok(records)
}

/// Refuses a tenant whose data is not its own.
pub(crate) fn check_is_alone<DB: CliEngine>(
    homes: &TenantHomes<DB>,
    places: &Places,
    record: &TenantRecord,
) -> Result<(), String> {
    match places.neighbour(homes, record) {
        Ok(None) => Ok(()),
        Ok(Some(other)) => Err(format!("its placement leads to where the tenant {other} is")),
        Err(error) => Err(super::homes::reason_of(&error)),
    }
}
