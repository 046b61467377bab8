//! What an application keeps for each tenant: a mailer, an API client, an object store. Made at first use.
//!
//! * [`Tenant::resource`] returns the object, or makes it. Who asks at the same time waits for the same one.
//! * It is made in a task of its own, in the tenant's scope: a request that hangs up neither stops nor spoils it.
//! * A failure is told to those who wait, and not kept: the next call tries again.
//! * It is dropped when the tenant's record changes and when the tenant is purged, so that it never works with old
//!   settings; and when the process keeps more of them than [`TenancyBuilder::max_resources`] says, the one that was
//!   not used for longest goes first.
//! * Keys are typed: a [`ResourceKey<Mailer>`](ResourceKey) leads to a `Mailer` and to nothing else.
//!
//! **Caveats.** "Dropped" means that nobody is given it any more: who holds it goes on with it. An object that keeps
//! its [`Tenant`] keeps what this process knows of it in memory until it is dropped. The status is not checked here:
//! that was done where the `Tenant` came from.
//!
//! What is there is found by a look into one map, without waiting.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io;
//! use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain, resource::ResourceKey};
//!
//! struct Mailer {
//!     from: String,
//! }
//!
//! const MAILER: ResourceKey<Mailer> = ResourceKey::new("mailer");
//!
//! async fn connect(tenant: Tenant) -> Result<Mailer, io::Error> {
//!     Ok(Mailer { from: format!("{tenant}@example.com") })
//! }
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?);
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! let mailer = acme.resource(MAILER, connect).await?;
//! assert_eq!(mailer.from, "acme@example.com");
//! assert!(std::sync::Arc::ptr_eq(&mailer, &acme.resource(MAILER, connect).await?));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//! use tenancy::{MemoryStore, Tenancy, resolve::Subdomain, resource::ResourceKey};
//!
//! const GREETING: ResourceKey<String> = ResourceKey::new("greeting");
//!
//! let store = MemoryStore::of(["acme"])?;
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, store.clone());
//! tenancy.ready().await;
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! let greeting = || {
//!     acme.resource(GREETING, |tenant| async move {
//!         Ok::<_, Infallible>(tenant.record().plan.as_deref().unwrap_or("none").to_owned())
//!     })
//! };
//!
//! assert_eq!(*greeting().await?, "none");
//! store.update(acme.id(), |record| record.plan = Some("pro".into())).await?;
//! assert_eq!(*greeting().await?, "pro", "made anew after the change");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! [`TenancyBuilder::max_resources`]: crate::stack::TenancyBuilder::max_resources

mod error;
mod keep;
#[cfg(test)]
mod tests;

use std::{
    any::{Any, TypeId},
    fmt,
    marker::PhantomData,
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::FutureExt;
use tenancy_core::BoxError;
use tokio::sync::watch;

pub use self::error::ResourceError;
pub(crate) use self::keep::{Resources, TenantResources};
use self::{
    error::Fault,
    keep::{Begun, Place},
};
use crate::{Tenant, scope};

type Object = Arc<dyn Any + Send + Sync>;
type Outcome = Result<Object, Fault>;

/// The name of one kind of object, and its type. Make it a `const`.
///
/// Equal names with different types are different keys.
pub struct ResourceKey<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> ResourceKey<T> {
    /// A key of this name. The name stands in errors and logs.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            of: PhantomData,
        }
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> Clone for ResourceKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ResourceKey<T> {}

impl<T> fmt::Debug for ResourceKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResourceKey").field(&self.name).finish()
    }
}

/// One kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Slot {
    name: &'static str,
    of_type: TypeId,
}

impl Tenant {
    /// The tenant's object of this key, made by `init` if there is none. See [`resource`](crate::resource).
    ///
    /// Waits only where the object is made. `init` runs at most once for each state of the tenant's record that the
    /// object is asked for in, unless it failed or the object was dropped; other callers' `init` is not called.
    /// Dropping the future loses only the wait.
    ///
    /// # Errors
    /// When `init` failed or panicked, for all who waited for it; or when the runtime that it ran on was shut down.
    ///
    /// # Panics
    /// Outside of a tokio runtime, if the object is not there.
    pub async fn resource<T, F, Fut, E>(&self, key: ResourceKey<T>, init: F) -> Result<Arc<T>, ResourceError>
    where
        T: Send + Sync + 'static,
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let slot = Slot {
            name: key.name,
            of_type: TypeId::of::<T>(),
        };
        // Who has seen the new record must not be given what was made of the old one. It is a matter of instants.
        while self.block().is_changing() {
            tokio::task::yield_now().await;
        }
        let outcome = match self.resources().begin(slot) {
            Begun::There(object) => Ok(object),
            Begun::Flies(landed) => wait(landed).await,
            Begun::Start(place, flight, landed) => {
                let flight = Flight {
                    tenant: self.clone(),
                    place,
                    landed: Some(flight),
                };
                tokio::spawn(flight.fly(init));
                wait(landed).await
            }
        };
        // The type is part of the slot: the other arm is never taken.
        let object = outcome.and_then(|object| object.downcast::<T>().map_err(|_| Fault::Abandoned));
        object.map_err(|fault| ResourceError::new(self.id().clone(), key.name, fault))
    }
}

async fn wait(mut landed: watch::Receiver<Option<Outcome>>) -> Outcome {
    match landed.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Err(Fault::Abandoned)),
        Err(_) => Err(Fault::Abandoned),
    }
}

/// An object that is being made. Ends when it is dropped, by whatever way: nobody waits in vain.
struct Flight {
    tenant: Tenant,
    place: Place,
    landed: Option<watch::Sender<Option<Outcome>>>,
}

impl Flight {
    async fn fly<T, F, Fut, E>(mut self, init: F)
    where
        T: Send + Sync + 'static,
        F: FnOnce(Tenant) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError> + 'static,
    {
        let tenant = self.tenant.clone();
        let making = scope::run(&self.tenant, async move { init(tenant).await });
        let outcome = match AssertUnwindSafe(making).catch_unwind().await {
            Ok(Ok(object)) => Ok(Arc::new(object) as Object),
            Ok(Err(error)) => Err(Fault::Failed(error.into().into())),
            Err(panic) => Err(Fault::Panicked(scope::panic_message(&*panic).into())),
        };
        if outcome.is_err() {
            self.tenant.note_failure();
        }
        self.land(outcome);
    }

    fn land(&mut self, outcome: Outcome) {
        if let Some(landed) = self.landed.take() {
            self.tenant.resources().end(self.place, outcome.as_ref().ok());
            landed.send_replace(Some(outcome));
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.land(Err(Fault::Abandoned));
    }
}
