//! What happens to tenants and scopes, told to one listener.
//!
//! * Without a listener nothing is built and nothing is called: the cost is one branch.
//! * The listener is called on the request path and must not block. Hand work to a channel.
//! * Events carry handles and ids, never what a client sent.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use tenancy::event::{Event, TenancyListener};
//!
//! #[derive(Default)]
//! struct CountFailures(AtomicU64);
//!
//! impl TenancyListener for CountFailures {
//!     fn on_event(&self, event: &Event) {
//!         if let Event::ResolutionFailed { .. } = event {
//!             self.0.fetch_add(1, Ordering::Relaxed);
//!         }
//!     }
//! }
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy::{MemoryStore, Tenancy, event::Event, resolve::Subdomain};
//!
//! // A closure is a listener.
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
//!     .listener(|event: &Event| tracing::debug!(?event))
//!     .build()?;
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use tenancy_core::TenantId;

use crate::{Tenant, domains::DomainReport, handoff::HandoffAudit, rejection::RejectionReason};

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A request was found to be for this tenant.
    TenantResolved {
        /// The tenant.
        tenant: Tenant,
    },
    /// A request was found to be for no tenant, or could not be resolved.
    ResolutionFailed {
        /// Why.
        reason: RejectionReason,
    },
    /// A stage that only observes would have refused a request; see [`rollout`](crate::rollout).
    WouldRefuse {
        /// Why.
        reason: RejectionReason,
    },
    /// The application's own way of finding the tenant led to another one; see [`rollout`](crate::rollout).
    LegacyDisagrees {
        /// The tenant that the stack found, if any.
        tenant: Option<Tenant>,
    },
    /// A credential was refused because it is not for this request's tenant, or there is none where one is demanded.
    CredentialRefused {
        /// The tenant of the request; `None` for central requests.
        tenant: Option<Tenant>,
        /// Why.
        reason: RejectionReason,
    },
    /// A single-use token was given out, redeemed or refused.
    Handoff {
        /// Who, for whom, what for.
        audit: Arc<HandoffAudit>,
    },
    /// A claim of a custom domain was checked, or a verified domain again; see [`domains`](crate::domains).
    DomainChecked {
        /// Whose, what was found, and what came of it.
        report: Arc<DomainReport>,
    },
    /// Code of this tenant begins to run: a request, a `run`, a carried task.
    ScopeEntered {
        /// The tenant.
        tenant: Tenant,
    },
    /// That code has ended, by whatever way, and its clean-up has run.
    ScopeLeft {
        /// The tenant.
        tenant: Tenant,
    },
    /// A value registered for one request is still held by somebody after the request's end.
    ValueOutlivedRequest {
        /// The value's type.
        type_name: &'static str,
        /// The matched route, where a stage asked for it.
        route: Option<String>,
        /// The tenant; `None` for central requests.
        tenant: Option<TenantId>,
    },
    /// A request took more memory than the threshold of its memory stage; see [`memory`](crate::memory).
    #[cfg(feature = "memory")]
    LargeRequest {
        /// The matched route, where something told it.
        route: Option<String>,
        /// The tenant; `None` for central requests, and for those that were refused before it was known.
        tenant: Option<TenantId>,
        /// What it took.
        usage: crate::memory::Usage,
    },
    /// A tenant has more live memory than its budget: its requests are answered with 503. Not where the stage only observes.
    #[cfg(feature = "memory")]
    MemoryBudgetExceeded {
        /// The tenant.
        tenant: Tenant,
        /// Its live bytes, without what its entries weigh in the cache.
        live_bytes: u64,
    },
    /// A clean-up callback panicked. The others have run.
    CleanupPanicked {
        /// The tenant; `None` for central requests.
        tenant: Option<TenantId>,
    },
    /// The tenant's record was replaced by a newer one.
    TenantChanged {
        /// The tenant.
        tenant: Tenant,
    },
    /// The tenant was purged. Handles that are still out are refused.
    TenantRetired {
        /// The tenant.
        tenant: Tenant,
    },
    /// The list of tenants follows the store again (`true`), or can not (`false`).
    CatalogueFollowed {
        /// Whether it does.
        following: bool,
    },
}

/// Is told what happens. One method, called synchronously; see the [module](self).
pub trait TenancyListener: Send + Sync + 'static {
    /// Something happened. Must not block. What panics is logged, and the request goes on.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> TenancyListener for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}
