//! Whose scope it is at every point, and what ends with it.

mod events;
mod many;
mod nesting;
mod requests;
mod values;

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use tenancy::{
    MemoryStore, Tenancy, Tenant,
    core::TenantId,
    event::{Event, TenancyListener},
    resolve::Subdomain,
    scope::{Scope, current},
    stack::TenancyBuilder,
};

pub(crate) fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

pub(crate) fn subdomains() -> Subdomain {
    Subdomain::of("app.test").unwrap()
}

/// A stack for `acme.app.test`, `globex.app.test` and `initech.app.test`, and for `app.test` as central host.
pub(crate) fn builder() -> TenancyBuilder {
    let store = MemoryStore::of(["acme", "globex", "initech"]).unwrap();
    Tenancy::builder(subdomains(), store).central_hosts(["app.test"])
}

pub(crate) fn tenancy() -> Tenancy {
    builder().build().unwrap()
}

pub(crate) async fn enter(tenancy: &Tenancy, name: &str) -> Tenant {
    tenancy.enter(&id(name)).await.unwrap()
}

/// `acme` and `globex`, of a stack of their own.
async fn two_tenants() -> (Tenant, Tenant) {
    let tenancy = tenancy();
    (enter(&tenancy, "acme").await, enter(&tenancy, "globex").await)
}

/// For whom the code that asks runs: a tenant's id, `central` or `nobody`.
pub(crate) fn here() -> String {
    match current() {
        Some(Scope::Tenant(tenant)) => tenant.to_string(),
        Some(_) => "central".to_owned(),
        None => "nobody".to_owned(),
    }
}

/// Notes, in order, shared by its clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    /// Notes what is said and for whom the code runs.
    pub(crate) fn note(&self, what: &str) {
        self.0.lock().unwrap().push(format!("{what} for {}", here()));
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Something that notes its drop.
    pub(crate) fn on_drop(&self, what: &'static str) -> NoteOnDrop {
        NoteOnDrop {
            notes: self.clone(),
            what,
        }
    }
}

pub(crate) struct NoteOnDrop {
    notes: Notes,
    what: &'static str,
}

impl Drop for NoteOnDrop {
    fn drop(&mut self) {
        self.notes.note(self.what);
    }
}

/// A listener that keeps what it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Event>>>);

impl TenancyListener for Recorder {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Recorder {
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The events in short: `entered acme`, `left acme`, `resolved acme`, ….
    pub(crate) fn take_short(&self) -> Vec<String> {
        self.take().iter().map(short).collect()
    }
}

fn short(event: &Event) -> String {
    match event {
        Event::TenantResolved { tenant } => format!("resolved {tenant}"),
        Event::ResolutionFailed { reason } => format!("failed {reason}"),
        Event::ScopeEntered { tenant } => format!("entered {tenant}"),
        Event::ScopeLeft { tenant } => format!("left {tenant}"),
        Event::ValueOutlivedRequest { tenant, .. } => format!("outlived {tenant:?}"),
        Event::CleanupPanicked { tenant } => format!("cleanup panicked {tenant:?}"),
        Event::TenantChanged { tenant } => format!("changed {tenant}"),
        Event::TenantRetired { tenant } => format!("retired {tenant}"),
        Event::CatalogueFollowed { following } => format!("followed {following}"),
        other => format!("{other:?}"),
    }
}

/// Waits `polls` times before it goes on.
pub(crate) async fn yields(polls: usize) {
    for _ in 0..polls {
        tokio::task::yield_now().await;
    }
}

/// Polls a future so many times, with room for other tasks in between, and then drops it.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Makes a future, drops it after 0, 1, 2, … polls, and checks after each drop, until one has come to its end.
/// Returns how many were dropped before their end.
pub(crate) async fn sweep<F: Future>(mut make: impl FnMut() -> F, mut check: impl FnMut(usize)) -> usize {
    for polls in 0..1000 {
        let finished = dropped_after(polls, make()).await.is_some();
        check(polls);
        if finished {
            return polls;
        }
    }
    panic!("the future does not end");
}

/// The output, or the panic's message.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    use futures_util::FutureExt;
    let future = pin!(future);
    let caught = std::panic::AssertUnwindSafe(future).catch_unwind().await;
    caught.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default()
    })
}
