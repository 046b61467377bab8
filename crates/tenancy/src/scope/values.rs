//! Values and clean-up that belong to one request.

use std::{
    any::{Any, TypeId, type_name},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
};

use super::current::{Entered, with_current};
use crate::{Tenant, event::Event, home::Home};

/// What was registered in one request, in order.
#[derive(Default)]
pub(crate) struct RequestValues {
    entries: Vec<Entry>,
}

pub(crate) enum Entry {
    Value {
        of_type: TypeId,
        type_name: &'static str,
        value: Arc<dyn Any + Send + Sync>,
    },
    CleanUp(Box<dyn FnOnce() + Send>),
}

/// A callback may register another one, but not without end: what comes after so many steps is dropped unrun.
const MOST_STEPS: usize = 100_000;

/// Something request-scoped was used where no scope is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoScope;

impl fmt::Display for NoScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no tenant or central scope is open here; did this code run in a plain `tokio::spawn`?")
    }
}

impl std::error::Error for NoScope {}

/// Keeps a value for the rest of this request, or of this `run`. Returns a handle on it.
///
/// The value is dropped at the end, after the response's body. Whoever still holds a handle then has made it
/// outlive its request, which is reported to the log and to the listener, with its type, the route and the tenant.
/// One value of each type: a second one hides the first.
///
/// # Errors
/// When no scope is open.
pub fn put<T: Any + Send + Sync>(value: T) -> Result<Arc<T>, NoScope> {
    let value = Arc::new(value);
    register(Entry::Value {
        of_type: TypeId::of::<T>(),
        type_name: type_name::<T>(),
        value: Arc::clone(&value) as Arc<dyn Any + Send + Sync>,
    })?;
    Ok(value)
}

/// The value of this type that this request has put away last.
pub fn get<T: Any + Send + Sync>() -> Option<Arc<T>> {
    let value = with_current(|current| {
        let entries = &current?.values()?.entries;
        entries.iter().rev().find_map(|entry| match entry {
            Entry::Value { of_type, value, .. } if *of_type == TypeId::of::<T>() => Some(Arc::clone(value)),
            _ => None,
        })
    })?;
    value.downcast().ok()
}

/// Runs a callback at the end of this request, or of this `run`: after success, error, panic and hang-up alike.
///
/// Callbacks run last first, in the scope, after the response's body has ended, and find the values that were put
/// away before them. One that panics does not keep the others from running; one may register another. They must
/// not block.
///
/// # Errors
/// When no scope is open; the callback is dropped unrun.
pub fn on_exit(callback: impl FnOnce() + Send + 'static) -> Result<(), NoScope> {
    register(Entry::CleanUp(Box::new(callback)))
}

fn register(entry: Entry) -> Result<(), NoScope> {
    // The entry comes back when it finds no place, so that its drop runs outside of the look.
    let refused = with_current(move |current| match current {
        Some(current) => {
            current.values_mut().entries.push(entry);
            None
        }
        None => Some(entry),
    });
    match refused {
        None => Ok(()),
        Some(_) => Err(NoScope),
    }
}

impl RequestValues {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Entry> {
        self.entries.pop()
    }
}

/// Cleans up what is registered in the scope that was entered, last first. Each entry is taken out only when its
/// turn has come, so that callbacks find the values that were put away before them.
pub(crate) fn clean_up(
    entered: &mut Entered<'_>,
    tenant: Option<&Tenant>,
    route: Option<&str>,
    listening: Option<&Home>,
) {
    let mut dropped: Vec<(&'static str, Weak<dyn Any + Send + Sync>)> = Vec::new();
    let mut steps = 0;
    while let Some(entry) = entered.pop_value() {
        steps += 1;
        match entry {
            Entry::Value { type_name, value, .. } => {
                let weak = Arc::downgrade(&value);
                guarded(|| drop(value), tenant, listening);
                dropped.push((type_name, weak));
            }
            Entry::CleanUp(callback) if steps <= MOST_STEPS => guarded(callback, tenant, listening),
            Entry::CleanUp(callback) => {
                tracing::error!(
                    "a clean-up callback is dropped unrun: they register one another without end"
                );
                guarded(|| drop(callback), tenant, listening);
            }
        }
    }
    for (type_name, value) in dropped {
        if value.strong_count() > 0 {
            report_survivor(type_name, tenant, route, listening);
        }
    }
}

fn guarded(step: impl FnOnce(), tenant: Option<&Tenant>, listening: Option<&Home>) {
    if catch_unwind(AssertUnwindSafe(step)).is_err() {
        let tenant = tenant.map(|tenant| tenant.id().clone());
        tracing::error!(
            tenant = tenant.as_ref().map(tracing::field::display),
            "a clean-up callback panicked"
        );
        if let Some(home) = listening {
            home.emit(|| Event::CleanupPanicked { tenant });
        }
    }
}

fn report_survivor(
    type_name: &'static str,
    tenant: Option<&Tenant>,
    route: Option<&str>,
    listening: Option<&Home>,
) {
    let tenant = tenant.map(|tenant| tenant.id().clone());
    tracing::warn!(
        type_name,
        route,
        tenant = tenant.as_ref().map(tracing::field::display),
        "a value registered for one request has outlived it"
    );
    if let Some(home) = listening {
        let route = route.map(str::to_owned);
        home.emit(|| Event::ValueOutlivedRequest {
            type_name,
            route,
            tenant,
        });
    }
}
