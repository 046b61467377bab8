//! Values that should not outlive their request, looked at after it.

use std::{
    any::type_name,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tenancy_memory::with_current_owner;
use tokio::runtime::Handle;

use super::account::{Keeper, RequestAccount};
use crate::{Tenant, event::Event, home::Home};

/// How many values of one request are looked at.
const MOST: usize = 256;

/// A value that is not to outlive the request in which it was made. Clones share it.
///
/// Where [`track_survivors`](super::MemorySettings::track_survivors) is on, the request remembers it weakly. If anybody still holds it some time after
/// the request has ended, the log names its type, the route and the tenant. Elsewhere it is an [`Arc`].
///
/// Values that the scope drops, with a report at once, are kept by [`scope::put`](crate::scope::put).
#[derive(Debug)]
pub struct RequestScoped<T> {
    value: Arc<T>,
}

impl<T: Send + Sync + 'static> RequestScoped<T> {
    /// Takes a value in. Registers it with the request for which this code runs, if there is one. Up to 256 values of one request.
    pub fn new(value: T) -> Self {
        let value = Arc::new(value);
        with_current_owner(|account: Option<&RequestAccount>| {
            if let Some(account) = account
                && account.keeper.settings.track_survivors
            {
                let weak: Weak<T> = Arc::downgrade(&value);
                account.survivors().add(type_name::<T>(), weak);
            }
        });
        Self { value }
    }
}

impl<T> Clone for RequestScoped<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
        }
    }
}

impl<T> Deref for RequestScoped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

struct Registered {
    type_name: &'static str,
    value: Weak<dyn Send + Sync>,
}

#[derive(Default)]
pub(super) struct Survivors {
    registered: Mutex<Vec<Registered>>,
}

impl Survivors {
    fn add(&self, type_name: &'static str, value: Weak<dyn Send + Sync>) {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        if registered.len() < MOST {
            registered.push(Registered { type_name, value });
        }
    }

    /// Begins the look at what is still there, if anything is.
    pub(super) fn look_later(&self, keeper: &Keeper, route: Option<&str>, tenant: Option<&Tenant>) {
        let mut registered =
            std::mem::take(&mut *self.registered.lock().unwrap_or_else(PoisonError::into_inner));
        registered.retain(|entry| entry.value.strong_count() > 0);
        if registered.is_empty() {
            return;
        }
        let look = Look {
            registered,
            home: Arc::clone(&keeper.home),
            route: route.map(str::to_owned),
            tenant: tenant.cloned(),
        };
        let grace = keeper.settings.grace;
        match Handle::try_current() {
            Ok(runtime) if !grace.is_zero() => {
                runtime.spawn(async move {
                    tokio::time::sleep(grace).await;
                    look.report();
                });
            }
            _ => look.report(),
        }
    }
}

struct Look {
    registered: Vec<Registered>,
    home: Arc<Home>,
    route: Option<String>,
    tenant: Option<Tenant>,
}

impl Look {
    fn report(self) {
        for entry in self.registered {
            if entry.value.strong_count() == 0 {
                continue;
            }
            let type_name = entry.type_name;
            tracing::warn!(
                type_name,
                route = self.route,
                tenant = self.tenant.as_ref().map(tracing::field::display),
                "a request-scoped value has outlived its request"
            );
            self.home.emit(|| Event::ValueOutlivedRequest {
                type_name,
                route: self.route.clone(),
                tenant: self.tenant.as_ref().map(|tenant| tenant.id().clone()),
            });
        }
    }
}
