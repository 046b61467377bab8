//! The current tenant of the thread, swapped in for each poll and out again after it.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::extract::MatchedPath;

use crate::{Tenant, event::Event, home::Home};

use super::values::{Entry, RequestValues, clean_up};

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// For whom code runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// For this tenant.
    Tenant(Tenant),
    /// For no tenant, on purpose: the landing page, sign-up, administration.
    Central,
}

impl Scope {
    /// The tenant; `None` for central code.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Central => None,
        }
    }
}

/// A scope and what belongs to this one run of it. Small: it is moved twice for each poll.
pub(crate) struct Current {
    pub(crate) scope: Scope,
    extras: Option<Box<Extras>>,
    /// Whether the cache-scope stage has run.
    pub(crate) cache_scope: bool,
    stale: StaleMark,
}

/// Whether what runs for a load was served a value that is not fresh, also where its parts are made in scopes of their own. Outside
/// of loads nobody asks, and there is none.
#[derive(Clone, Default)]
pub(crate) struct StaleMark(Option<Arc<AtomicBool>>);

impl StaleMark {
    /// Of a load that begins.
    pub(crate) fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// That of the current scope.
    pub(crate) fn current() -> Self {
        with_current(|current| current.map(|current| current.stale.clone())).unwrap_or_default()
    }

    // Relaxed: who reads it has awaited who has set it.
    fn set(&self) {
        if let Some(mark) = &self.0 {
            mark.store(true, Ordering::Relaxed);
        }
    }

    fn is_set(&self) -> bool {
        self.0.as_ref().is_some_and(|mark| mark.load(Ordering::Relaxed))
    }
}

/// What few runs have: allocated at first use.
#[derive(Default)]
struct Extras {
    route: Option<MatchedPath>,
    values: RequestValues,
    /// Who is told, for central scopes when somebody listens. A tenant knows by itself.
    central_home: Option<Arc<Home>>,
}

impl Current {
    pub(crate) fn values(&self) -> Option<&RequestValues> {
        self.extras.as_ref().map(|extras| &extras.values)
    }

    pub(crate) fn values_mut(&mut self) -> &mut RequestValues {
        &mut self.extras.get_or_insert_default().values
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn route(&self) -> Option<&MatchedPath> {
        self.extras.as_ref().and_then(|extras| extras.route.as_ref())
    }

    /// Keeps the first route that is noted.
    pub(crate) fn note_route(&mut self, route: &MatchedPath) {
        let place = &mut self.extras.get_or_insert_default().route;
        if place.is_none() {
            *place = Some(route.clone());
        }
    }

    fn pop_value(&mut self) -> Option<Entry> {
        self.extras.as_mut()?.values.pop()
    }
}

/// Where a future keeps its scope between polls. Ends the scope when it is dropped.
#[derive(Default)]
pub(crate) struct Slot {
    current: Option<Current>,
}

impl Slot {
    pub(crate) fn new(scope: Scope, home: Option<&Arc<Home>>) -> Self {
        let listening = match &scope {
            Scope::Tenant(tenant) => {
                tenant.home().emit(|| Event::ScopeEntered {
                    tenant: tenant.clone(),
                });
                None
            }
            Scope::Central => home.filter(|home| home.listener.is_some()),
        };
        let extras = listening.map(|home| {
            Box::new(Extras {
                central_home: Some(Arc::clone(home)),
                ..Extras::default()
            })
        });
        Self {
            current: Some(Current {
                scope,
                extras,
                cache_scope: false,
                // What is made in here is a part of what is made around it.
                stale: StaleMark::current(),
            }),
        }
    }

    pub(crate) fn with_stale_mark(mut self, mark: StaleMark) -> Self {
        if let Some(current) = &mut self.current {
            current.stale = mark;
        }
        self
    }

    pub(crate) fn scope(&self) -> Option<&Scope> {
        self.current.as_ref().map(|current| &current.scope)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.current.is_some()
    }

    pub(crate) fn has_values(&self) -> bool {
        self.current
            .as_ref()
            .and_then(Current::values)
            .is_some_and(|values| !values.is_empty())
    }

    pub(crate) fn open_cache_scope(&mut self) {
        if let Some(current) = &mut self.current {
            current.cache_scope = true;
        }
    }

    pub(crate) fn take(&mut self) -> Self {
        Self {
            current: self.current.take(),
        }
    }

    /// Makes this the thread's current scope until the guard is dropped, by whatever way.
    /// An empty slot changes nothing: what is current stays so.
    #[inline]
    pub(crate) fn enter(&mut self) -> Entered<'_> {
        let swapped = self.current.is_some() && self.swap();
        Entered { slot: self, swapped }
    }

    /// Exchanges the slot's content with the thread's. False, and nothing changed, when the thread is ending.
    #[inline]
    fn swap(&mut self) -> bool {
        let exchanged = CURRENT.try_with(|current| {
            let outer = current.replace(self.current.take());
            self.current = outer;
        });
        exchanged.is_ok()
    }

    /// Ends the scope: what was registered is cleaned up, inside the scope, last first.
    #[inline(always)]
    pub(crate) fn close(&mut self) {
        if self.current.is_some() {
            self.end();
        }
    }

    #[inline(always)]
    fn end(&mut self) {
        if self.has_values() {
            self.clean_up();
        }
        if let Some(Scope::Tenant(tenant)) = self.scope() {
            tenant.home().emit(|| Event::ScopeLeft {
                tenant: tenant.clone(),
            });
        }
        self.current = None;
    }

    #[cold]
    fn clean_up(&mut self) {
        let Some(current) = &mut self.current else { return };
        let Some(extras) = &mut current.extras else { return };
        let route = extras.route.take();
        let central_home = extras.central_home.take();
        let tenant = current.scope.tenant().cloned();
        let home = tenant
            .as_ref()
            .map(Tenant::home)
            .or(central_home.as_ref())
            .cloned();
        let mut entered = self.enter();
        let route = route.as_ref().map(|route| route.as_str());
        clean_up(&mut entered, tenant.as_ref(), route, home.as_deref());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.close();
    }
}

/// The time during which a slot's scope is the current one.
pub(crate) struct Entered<'a> {
    slot: &'a mut Slot,
    swapped: bool,
}

impl Entered<'_> {
    /// Takes what was registered last in the scope that was entered, also on a thread that is ending.
    pub(crate) fn pop_value(&mut self) -> Option<Entry> {
        let pop = |current: Option<&mut Current>| current?.pop_value();
        if self.swapped {
            with_current(pop)
        } else {
            pop(self.slot.current.as_mut())
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.swapped {
            self.slot.swap();
        }
    }
}

/// Code that runs in the current scope was given a value that is not fresh.
pub(crate) fn note_stale() {
    with_current(|current| {
        if let Some(current) = current {
            current.stale.set();
        }
    });
}

/// Whether any was, in the load that runs in the current scope. Who awaits the tasks of its parts has seen what they have.
pub(crate) fn has_seen_stale() -> bool {
    with_current(|current| current.is_some_and(|current| current.stale.is_set()))
}

/// Looks at what is current. The callback must not call user code: nothing is current while it runs.
pub(crate) fn with_current<R>(look: impl FnOnce(Option<&mut Current>) -> R) -> R {
    let mut current = CURRENT.try_with(Cell::take).ok().flatten();
    let answer = look(current.as_mut());
    if current.is_some() {
        let _ = CURRENT.try_with(|place| place.set(current));
    }
    answer
}

/// For whom the code that asks runs; `None` outside of every scope, in a plain `tokio::spawn` for instance.
///
/// Copies a pointer; allocates nothing and takes no lock.
pub fn current() -> Option<Scope> {
    with_current(|current| current.map(|current| current.scope.clone()))
}

/// The current tenant; `None` outside of every scope and in central code.
pub fn current_tenant() -> Option<Tenant> {
    match current()? {
        Scope::Tenant(tenant) => Some(tenant),
        Scope::Central => None,
    }
}
