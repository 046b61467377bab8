//! The account of one request, and what keeps all of them.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::extract::MatchedPath;
use tenancy_memory::{
    Account, AccountOwner, Meter, Usage, are_owners_kept, is_installed, is_on, with_current_owner,
};

use super::{
    extract::MemoryUnavailable,
    settings::MemorySettings,
    survivors::Survivors,
    totals::{MemoryTotals, RouteMemory, RouteTable, Sums},
    warning::Warnings,
};
use crate::{Tenant, home::Home};

/// What all requests of one stage have in common.
pub(crate) struct Keeper {
    pub(super) settings: MemorySettings,
    pub(super) home: Arc<Home>,
    pub(super) routes: RouteTable,
    pub(super) all: Sums,
    pub(super) warnings: Warnings,
    has_said_unavailable: AtomicBool,
}

impl Keeper {
    pub(crate) fn new(settings: MemorySettings, home: Arc<Home>) -> Self {
        Self {
            routes: RouteTable::of_at_most(settings.max_routes),
            warnings: Warnings::every(settings.warn_every),
            all: Sums::new(),
            has_said_unavailable: AtomicBool::new(false),
            settings,
            home,
        }
    }

    pub(crate) fn tenant_budget(&self) -> Option<u64> {
        self.settings.tenant_budget
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Opens an account, unless nobody counts. Whose blocks are is told through it also while the meter is switched off.
    pub(crate) fn open(self: &Arc<Self>) -> Option<Account> {
        if !is_installed() {
            self.say_unavailable();
            return None;
        }
        if !is_on() && !are_owners_kept() {
            return None;
        }
        Some(Account::of(Arc::new(RequestAccount {
            meter: Meter::new(),
            keeper: Arc::clone(self),
            tenant: OnceLock::new(),
            route: OnceLock::new(),
            survivors: OnceLock::new(),
        })))
    }

    pub(crate) fn totals(&self) -> Result<MemoryTotals, MemoryUnavailable> {
        available().map(|()| self.all.read())
    }

    pub(crate) fn by_route(&self) -> Result<Vec<RouteMemory>, MemoryUnavailable> {
        available().map(|()| self.routes.read())
    }

    #[cold]
    fn say_unavailable(&self) {
        if !self.has_said_unavailable.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "memory is not counted: this program's allocator is not `tenancy_memory::Metered`; reports say `unavailable`"
            );
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn available() -> Result<(), MemoryUnavailable> {
    if is_installed() {
        Ok(())
    } else {
        Err(MemoryUnavailable::NotInstalled)
    }
}

/// One request: its sums, and whose they are as soon as that is known.
pub(super) struct RequestAccount {
    meter: Meter,
    pub(super) keeper: Arc<Keeper>,
    tenant: OnceLock<Tenant>,
    route: OnceLock<MatchedPath>,
    /// What few requests have: allocated at first use.
    survivors: OnceLock<Box<Survivors>>,
}

impl RequestAccount {
    pub(super) fn survivors(&self) -> &Survivors {
        self.survivors.get_or_init(Box::default)
    }

    fn report(&self) {
        let usage = self.meter.usage();
        let keeper = &self.keeper;
        let (tenant, route) = (self.tenant.get(), self.route.get().map(MatchedPath::as_str));
        let is_large = keeper.warnings.is_large(&usage, &keeper.settings);
        keeper.all.add(&usage, is_large);
        keeper.routes.add(route, &usage, is_large);
        if let Some(tenant) = tenant {
            tenant.memory_block().sums.add(&usage, is_large);
        }
        if is_large {
            keeper.warn(&usage, route, tenant);
        }
        if keeper.settings.log_cleanup {
            log_cleanup(&usage, route, tenant);
        }
        if let Some(survivors) = self.survivors.get() {
            survivors.look_later(keeper, route, tenant);
        }
    }
}

impl AccountOwner for RequestAccount {
    fn meter(&self) -> &Meter {
        &self.meter
    }

    fn closed(&self) {
        // Code of the application runs here: its log's subscriber, its listener, its clock.
        if catch_unwind(AssertUnwindSafe(|| self.report())).is_err() {
            let _ = catch_unwind(|| tracing::error!("a report on a request's memory panicked"));
        }
    }
}

fn log_cleanup(usage: &Usage, route: Option<&str>, tenant: Option<&Tenant>) {
    tracing::debug!(
        route,
        tenant = tenant.map(tracing::field::display),
        allocated = usage.allocated,
        freed = usage.freed,
        escaped = usage.escaped,
        retained = usage.retained(),
        complete = usage.complete,
        "a request's memory was cleaned up"
    );
}

/// The request that runs here was found to be this tenant's. Its blocks are the tenant's from now on, where owners are kept.
pub(crate) fn note_tenant(tenant: &Tenant) {
    with_current_owner(|account: Option<&RequestAccount>| {
        let Some(account) = account else { return };
        if account.tenant.set(tenant.clone()).is_ok()
            && let Some(owner) = tenant.memory_block().owner(tenant.home())
        {
            owner.own_current_part();
        }
    });
}

/// The route of the request that runs here.
pub(crate) fn note_route(route: &MatchedPath) {
    with_current_owner(|account: Option<&RequestAccount>| {
        if let Some(account) = account
            && account.route.get().is_none()
        {
            let _ = account.route.set(route.clone());
        }
    });
}
