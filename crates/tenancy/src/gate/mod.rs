//! Which tenants are served: status, maintenance of one tenant, maintenance of the whole service.
//!
//! * Deleted tenants are answered like unknown ones: 404.
//! * Suspended tenants get 403, or the same 404 with [`GatePolicy::hide_suspended`]; pending ones 503.
//! * In maintenance a tenant gets 503 with `Retry-After`, a page for browsers, or a redirect, as its record says.
//! * [`GlobalMaintenance`] does the same for everybody, and is a stage of its own that may stand before resolution.
//! * Who opens the link with the bypass secret gets a cookie that lets one tenant's requests through, or, for the
//!   global secret, everybody's.
//!
//! Flipping a switch takes effect on the next request. An open gate costs one atomic load; nothing is awaited.
//!
//! **Caveats.** The gate judges requests when they begin: open streams are not ended. [`GlobalMaintenance`] is a
//! switch of this process.
//!
//! ```
//! use tenancy::gate::{BypassKey, GlobalMaintenance};
//! use tenancy::core::Maintenance;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let switch = GlobalMaintenance::new();
//! let mut plan = Maintenance::default();
//! plan.retry_after = 600;
//! plan.bypass_key = Some(BypassKey::from_secret("correct horse battery")?.to_hex().into());
//! switch.enable(&plan)?; // https://example.com/?tenancy-bypass=correct+horse+battery still gets in
//! assert!(switch.is_enabled());
//! switch.disable();
//! # Ok(())
//! # }
//! ```
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tenancy::{MemoryStore, Tenancy, core::TenantStatus, gate::GatePolicy, resolve::Subdomain};
//! use tower::ServiceExt;
//!
//! let tenants = MemoryStore::of(["acme"])?;
//! let tenancy = Tenancy::builder(Subdomain::of("example.com")?, tenants.clone())
//!     .gate(GatePolicy::default().hide_suspended())
//!     .build()?;
//! let app = tenancy.wrap(Router::new().route("/", get(|| async { "hello" })));
//! let request = || Request::get("/").header("host", "acme.example.com").body(Body::empty());
//!
//! assert_eq!(app.clone().oneshot(request()?).await?.status(), 200);
//! tenants.set_status(&"acme".parse()?, TenantStatus::Suspended).await?;
//! assert_eq!(app.oneshot(request()?).await?.status(), 404);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod answer;
mod bypass;
mod global;

pub use answer::{CompiledMaintenance, InvalidMaintenance};
pub(crate) use answer::{MaintenanceDecision, MaintenanceRequest};
pub(crate) use bypass::Subject;
pub use bypass::{BypassKey, BypassSettings, InvalidBypassKey};
pub use global::GlobalMaintenance;

use http::StatusCode;

use crate::{Tenant, rejection::RejectionReason, tenant::GateState};

/// How the gate answers for tenants that are not served.
#[derive(Clone, Copy, Debug, Default)]
pub struct GatePolicy {
    hide_suspended: bool,
}

impl GatePolicy {
    /// Answers for suspended tenants as if they were unknown, instead of with 403.
    #[must_use]
    pub fn hide_suspended(mut self) -> Self {
        self.hide_suspended = true;
        self
    }

    /// Why a tenant in this state is not served, and with which status. Maintenance is not judged here.
    pub(crate) fn refusal(self, state: GateState) -> Option<(RejectionReason, StatusCode)> {
        let reason = match state {
            GateState::Open | GateState::Maintenance => return None,
            GateState::Pending => RejectionReason::PendingTenant,
            GateState::Suspended => RejectionReason::SuspendedTenant,
            GateState::Deleted => RejectionReason::DeletedTenant,
        };
        let hidden = reason == RejectionReason::SuspendedTenant && self.hide_suspended;
        let status = if hidden {
            StatusCode::NOT_FOUND
        } else {
            reason.default_status()
        };
        Some((reason, status))
    }

    /// The status that a request without a bypass gets, if it is not served.
    pub(crate) fn would_refuse(self, tenant: &Tenant) -> Option<StatusCode> {
        match tenant.gate_state() {
            GateState::Maintenance => Some(
                tenant
                    .maintenance()
                    .map_or(StatusCode::SERVICE_UNAVAILABLE, |m| m.status()),
            ),
            state => self.refusal(state).map(|(_, status)| status),
        }
    }
}
