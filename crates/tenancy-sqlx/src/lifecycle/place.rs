//! Where a home is, or is to be.

use tenancy_core::{TenantId, TenantRecord};

use super::{Inner, LifecycleError};
use crate::{
    CatalogueError, NewTenant,
    engine::{Options, Plot, TenantEngine},
    isolation::EngineKind,
    pool::{Target, target::Session},
    store::journal::HomePlace,
};

/// Letters of the slug that a home's name begins with. With what follows, it fits wherever names of 63 bytes do.
const NAME_LETTERS: usize = 40;

/// What keeps a tenant apart, as far as making and dropping is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HomeKind {
    /// A database, schema or file: it is made, and it is dropped.
    Own,
    /// Rows that policies leave to the tenant.
    Rows,
    /// Rows that only the application knows.
    Guarded,
}

/// A place on a server, as the journal has it and as the server knows it.
pub(super) struct Spot<'a, DB: TenantEngine> {
    pub(super) place: HomePlace,
    pub(super) target: Target,
    pub(super) kind: HomeKind,
    pub(super) owner: &'a Options<DB>,
    pub(super) app: &'a Options<DB>,
    template: Option<&'a str>,
    is_migrated: bool,
}

impl<DB: TenantEngine> Spot<'_, DB> {
    pub(super) fn plot(&self) -> Plot<'_, DB> {
        Plot {
            owner: self.owner,
            app: self.app,
            target: &self.target,
            is_shared: !self.is_own(),
            is_migrated: self.is_migrated,
            template: self.template,
        }
    }

    pub(super) fn has_policies(&self) -> bool {
        self.kind == HomeKind::Rows
    }

    pub(super) fn is_own(&self) -> bool {
        self.kind == HomeKind::Own
    }
}

impl<DB: TenantEngine> Inner<DB> {
    /// Where the home of a new tenant is to be made.
    pub(super) fn spot_for(&self, new: &NewTenant) -> Result<Spot<'_, DB>, LifecycleError> {
        self.new_spot(&provisional(new)?, &new.slug)
    }

    /// Another place for a tenant, on the same server and kept apart in the same way.
    pub(super) fn new_spot(&self, record: &TenantRecord, slug: &str) -> Result<Spot<'_, DB>, LifecycleError> {
        self.spot_named(record, name_for::<DB>(slug)?)
    }

    /// The same, of this name.
    pub(super) fn spot_named(
        &self,
        record: &TenantRecord,
        name: Box<str>,
    ) -> Result<Spot<'_, DB>, LifecycleError> {
        let mut record = record.clone();
        if let Some(placement) = &mut record.placement {
            placement.database = Box::default();
        }
        let (strategy, derived) = self.homes.place(&record)?;
        let isolation: Box<str> = strategy.name().into();
        let kind = kind_of(&derived)?;
        let placement = record.placement.get_or_insert_default();
        placement.isolation = isolation;
        if kind == HomeKind::Own {
            placement.database = name.clone();
        }
        let spot = self.spot(&record, kind, Some(name))?;
        // The name decides, and not who asks.
        if kind == HomeKind::Own && self.spot_at(&spot.place, None)?.target.place() != spot.target.place() {
            return Err(LifecycleError::misplaced(
                "the strategy does not take the name of a database from the placement",
            ));
        }
        Ok(spot)
    }

    /// Where a tenant lives.
    pub(super) fn spot_of(&self, record: &TenantRecord) -> Result<Spot<'_, DB>, LifecycleError> {
        let (_, target) = self.homes.place(record)?;
        self.spot(record, kind_of(&target)?, None)
    }

    /// What the journal has. The tenant is whose rows are meant, where tables are shared.
    pub(super) fn spot_at(
        &self,
        place: &HomePlace,
        tenant: Option<&TenantId>,
    ) -> Result<Spot<'_, DB>, LifecycleError> {
        let mut record = default_record()?;
        if let Some(tenant) = tenant {
            record.id = tenant.clone();
        }
        let mut placement = place.placement();
        placement.database = Box::default();
        record.placement = Some(Box::new(placement));
        let name = place.name.clone();
        let kind = kind_of(&self.homes.place(&record)?.1)?;
        if kind == HomeKind::Own {
            record.placement.get_or_insert_default().database = name.clone();
        }
        let spot = self.spot(&record, kind, Some(name))?;
        // The server's URL may name another database by now.
        if spot.place.inside != place.inside {
            return Err(LifecycleError::not_ours(
                "it is in another database than the server's URL names now",
            ));
        }
        Ok(spot)
    }

    fn spot(
        &self,
        record: &TenantRecord,
        kind: HomeKind,
        name: Option<Box<str>>,
    ) -> Result<Spot<'_, DB>, LifecycleError> {
        let (strategy, target) = self.homes.place(record)?;
        let site = self.homes.site_of(record)?;
        let (database, schema) = target.place();
        let (inside, own) = match (kind, schema) {
            (HomeKind::Own, None) if DB::KIND == EngineKind::Sqlite => {
                ("", below(site.home.database(), database))
            }
            (HomeKind::Own, None) => ("", database),
            (HomeKind::Own, Some(schema)) => (database, schema),
            (HomeKind::Rows | HomeKind::Guarded, _) => (database, record.id.as_str()),
        };
        let place = HomePlace {
            server: self.homes.server_of(record).into(),
            isolation: strategy.name().into(),
            name: name.unwrap_or_else(|| own.into()),
            inside: inside.into(),
        };
        Ok(Spot {
            place,
            kind,
            owner: site.owner()?,
            app: &site.options,
            template: self.template.as_deref(),
            is_migrated: self.fleet.is_some(),
            target,
        })
    }
}

/// The file as placements name it.
fn below<'a>(directory: &str, path: &'a str) -> &'a str {
    path.strip_prefix(directory)
        .map_or(path, |name| name.trim_start_matches('/'))
}

fn kind_of(target: &Target) -> Result<HomeKind, LifecycleError> {
    match (target.session(), target.place()) {
        (Session::SearchPath { .. }, _) | (Session::Own, (_, None)) => Ok(HomeKind::Own),
        (Session::Setting { .. }, _) => Ok(HomeKind::Rows),
        (Session::Guarded(_), _) => Ok(HomeKind::Guarded),
        (Session::Own, (_, Some(_))) => Err(LifecycleError::misplaced(
            "the strategy says nothing of what is to be made",
        )),
    }
}

/// A record that leads to a home, whosesoever that is.
pub(super) fn of_nobody(place: &HomePlace) -> Result<TenantRecord, LifecycleError> {
    let mut record = default_record()?;
    record.placement = Some(Box::new(place.placement()));
    Ok(record)
}

/// The tenant as far as it is known before its record is made.
pub(super) fn provisional(new: &NewTenant) -> Result<TenantRecord, LifecycleError> {
    let id = match &new.id {
        Some(id) => id.clone(),
        None => TenantId::new(&new.slug)
            .map_err(|error| CatalogueError::invalid_name("the slug is not valid", error))?,
    };
    let mut record = TenantRecord::new(id);
    record.plan = new.plan.as_deref().map(Into::into);
    record.tenant_type = new.tenant_type.as_deref().map(Into::into);
    record.settings = new.settings.as_deref().map(Into::into);
    record.placement = new.placement.clone().map(Box::new);
    record.status = new.status;
    Ok(record)
}

/// Where a home that is nobody's yet is to be made: as for a tenant of whom nothing is known.
pub(super) fn default_record() -> Result<TenantRecord, LifecycleError> {
    let id = TenantId::new("pending").map_err(LifecycleError::misplaced)?;
    Ok(TenantRecord::new(id))
}

/// The slug, so that people find it, and a number that nothing else has.
fn name_for<DB: TenantEngine>(slug: &str) -> Result<Box<str>, LifecycleError> {
    let plain = slug.chars().map(|letter| match letter {
        'a'..='z' | '0'..='9' => letter,
        _ => '_',
    });
    let readable: String = plain.take(NAME_LETTERS).collect();
    let end = match DB::KIND {
        EngineKind::Sqlite => ".db",
        EngineKind::Postgres | EngineKind::MySql => "",
    };
    Ok(format!("{readable}_{:016x}{end}", crate::store::random_stamp()?).into())
}
