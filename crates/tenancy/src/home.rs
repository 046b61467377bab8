//! What all parts of one stack share: its clock and its listener.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock, Weak},
};

use tenancy_core::{Clock, SystemClock};

use crate::{
    cache::{CacheSettings, LazyHub},
    event::{Event, TenancyListener},
    gate::BypassSettings,
    rejection::RejectionResponder,
    resolve::Lookup,
    resource::Resources,
    rollout::Rollout,
    tenant::PublicUrl,
};

pub(crate) struct Home {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) listener: Option<Arc<dyn TenancyListener>>,
    pub(crate) bypass: BypassSettings,
    /// Of the chain, by position: a resolution says which one with a byte.
    pub(crate) identifiers: Box<[Arc<str>]>,
    pub(crate) rollout: Rollout,
    pub(crate) responder: Option<Arc<RejectionResponder>>,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) resources: Resources,
    pub(crate) cache: LazyHub,
    #[cfg(feature = "memory")]
    pub(crate) owner_search: crate::memory::OwnerSearch,
    /// Where tenants are found, which holds this; set once when the stack is built.
    pub(crate) lookup: OnceLock<Weak<Lookup>>,
}

impl Home {
    /// Of what belongs to no stack: nobody listens, nothing is set.
    pub(crate) fn of_no_stack(max_resources: u64) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self {
            rollout: Rollout::new([], Arc::clone(&clock), None),
            cache: LazyHub::new(CacheSettings::new(), Arc::clone(&clock)),
            clock,
            listener: None,
            bypass: BypassSettings::default(),
            identifiers: Box::default(),
            responder: None,
            public_url: None,
            resources: Resources::at_most(max_resources),
            #[cfg(feature = "memory")]
            owner_search: crate::memory::OwnerSearch::default(),
            lookup: OnceLock::new(),
        }
    }

    pub(crate) fn identifier_name(&self, position: u8) -> Option<&str> {
        self.identifiers.get(usize::from(position)).map(|name| &**name)
    }

    /// Tells the listener, if there is one. The event is not built otherwise.
    ///
    /// A panic of the listener ends here: scopes tell of their end while they are dropped, during another panic
    /// too, and a panic that left a drop then would end the process.
    #[inline(always)]
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if let Some(listener) = &self.listener {
            tell(&**listener, &event());
        }
    }
}

fn tell(listener: &dyn TenancyListener, event: &Event) {
    if catch_unwind(AssertUnwindSafe(|| listener.on_event(event))).is_err() {
        tracing::error!(?event, "the listener panicked");
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home")
            .field("clock", &self.clock)
            .field("listens", &self.listener.is_some())
            .finish()
    }
}
