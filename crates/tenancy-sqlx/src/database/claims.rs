//! Who is where. A place that is one tenant's alone is given to nobody else, whatever the catalogue says.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tenancy::Tenant;
use tenancy_core::TenantStatus;

use crate::{isolation::EngineKind, pool::Target};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    server: Box<str>,
    database: Box<str>,
    inside: Option<Box<str>>,
}

impl Place {
    fn new(engine: EngineKind, server: &str, target: &Target) -> Self {
        let (database, inside) = target.place();
        Self {
            server: server.into(),
            database: engine.folded(database).into(),
            inside: inside.map(|inside| engine.folded(inside).into()),
        }
    }
}

/// Whether two targets on one server lead to what it may take for one place.
pub(super) fn is_one_place(engine: EngineKind, first: &Target, second: &Target) -> bool {
    let [first, second] = [first, second].map(|target| {
        let (database, inside) = target.place();
        (
            engine.folded(database),
            inside.map(|inside| engine.folded(inside)),
        )
    });
    first == second
}

#[derive(Debug)]
struct Claim {
    tenant: Tenant,
    /// Whether its placement names the place. Otherwise it follows from its id, and is nobody else's.
    is_named: bool,
    is_checked: bool,
}

/// What becomes of a tenant that is led to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    /// Unless the place follows from the id of another tenant.
    AdmittedIfNotDerived,
    Taken,
}

/// Only places that placements name are kept: those that follow from ids are different for different ids.
#[derive(Debug)]
pub(super) struct Claims {
    engine: EngineKind,
    any: AtomicBool,
    by_place: Mutex<HashMap<Place, Claim>>,
}

impl Claims {
    pub(super) fn new(engine: EngineKind) -> Self {
        Self {
            engine,
            any: AtomicBool::new(false),
            by_place: Mutex::default(),
        }
    }

    /// Judges a tenant that is led to a place. `is_there` says whether another one is still led there.
    pub(super) fn judge(
        &self,
        server: &str,
        target: &Target,
        tenant: &Tenant,
        is_named: bool,
        is_there: impl FnOnce(&Tenant) -> bool,
    ) -> Verdict {
        if !is_named && !self.any.load(Ordering::Acquire) {
            return Verdict::Admitted;
        }
        let mut claims = self.lock();
        let place = Place::new(self.engine, server, target);
        let claim = |is_checked| Claim {
            tenant: tenant.clone(),
            is_named,
            is_checked,
        };
        match claims.entry(place) {
            Entry::Vacant(_) if !is_named => Verdict::Admitted,
            Entry::Vacant(free) => {
                free.insert(claim(false));
                self.any.store(true, Ordering::Release);
                Verdict::AdmittedIfNotDerived
            }
            Entry::Occupied(held) if held.get().tenant == *tenant => {
                if !is_named || held.get().is_checked {
                    Verdict::Admitted
                } else {
                    Verdict::AdmittedIfNotDerived
                }
            }
            Entry::Occupied(mut held) => {
                let holder = held.get();
                let has_left = holder.tenant.status() == TenantStatus::Deleted || !is_there(&holder.tenant);
                let goes_first = match (is_named, holder.is_named) {
                    (false, _) => true,
                    (true, false) => false,
                    // In every process the same, whoever came first.
                    (true, true) => tenant.incarnation() < holder.tenant.incarnation(),
                };
                if !has_left && !goes_first {
                    return Verdict::Taken;
                }
                held.insert(claim(!is_named));
                if is_named {
                    Verdict::AdmittedIfNotDerived
                } else {
                    Verdict::Admitted
                }
            }
        }
    }

    /// The place follows from nobody else's id.
    pub(super) fn is_not_derived(&self, server: &str, target: &Target, tenant: &Tenant) {
        if let Some(claim) = self.lock().get_mut(&Place::new(self.engine, server, target))
            && claim.tenant == *tenant
        {
            claim.is_checked = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Claim>> {
        self.by_place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
