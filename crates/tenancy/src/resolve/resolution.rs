//! What the stack says of a request: for which tenant it is, or for none, and by what.

use std::sync::Arc;

use tenancy_core::KeyKind;

use super::lookup::Source;
use crate::{Tenant, home::Home, rejection::Rejection, scope::Scope};

/// How a request was resolved: for which tenant or for none, and by what.
///
/// Stands in the request's extensions. An extractor of itself; [`Tenant`] and [`Central`](crate::Central) are
/// extracted from it.
#[derive(Clone, Debug)]
pub struct Resolution {
    side: Side,
    /// What a stage that only observes would have answered.
    would_refuse: Option<Box<Rejection>>,
}

#[derive(Clone, Debug)]
pub(super) enum Side {
    Tenant(FoundTenant),
    Central {
        home: Arc<Home>,
    },
    /// Only where the resolve stage observes.
    Nobody {
        home: Arc<Home>,
    },
}

/// A tenant, and what led to it.
#[derive(Clone, Debug)]
pub(super) struct FoundTenant {
    pub(super) tenant: Tenant,
    /// Its position in the chain; the name is the home's.
    pub(super) identifier: u8,
    pub(super) key_kind: KeyKind,
    pub(super) source: Source,
}

impl FoundTenant {
    pub(super) fn identifier_name(&self) -> Option<&str> {
        self.tenant.home().identifier_name(self.identifier)
    }
}

/// The position of no identifier: a chain has 16 at most.
const NO_IDENTIFIER: u8 = u8::MAX;

impl Resolution {
    pub(super) fn of(side: Side) -> Self {
        Self {
            side,
            would_refuse: None,
        }
    }

    /// Of a request that was let through though nobody was found.
    pub(crate) fn nobody(home: Arc<Home>, would_refuse: Rejection) -> Self {
        Self {
            side: Side::Nobody { home },
            would_refuse: Some(Box::new(would_refuse)),
        }
    }

    pub(crate) fn set_would_refuse(&mut self, rejection: Rejection) {
        self.would_refuse = Some(Box::new(rejection));
    }

    /// What a stage that only observes would have answered; extractors answer with it. See
    /// [`rollout`](crate::rollout).
    pub fn would_refuse(&self) -> Option<&Rejection> {
        self.would_refuse.as_deref()
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        match &self.side {
            Side::Tenant(found) => found.tenant.home(),
            Side::Central { home } | Side::Nobody { home } => home,
        }
    }

    /// Whether neither a tenant nor a central host was found.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(self.side, Side::Nobody { .. })
    }

    /// What a layer says of every request. Who says it of a tenant has that tenant.
    pub(crate) fn given(tenant: Option<Tenant>, home: &Arc<Home>) -> Self {
        Self::of(match tenant {
            Some(tenant) => Side::Tenant(FoundTenant {
                tenant,
                identifier: NO_IDENTIFIER,
                key_kind: KeyKind::Id,
                source: Source::Given,
            }),
            None => Side::Central {
                home: Arc::clone(home),
            },
        })
    }

    fn found(&self) -> Option<&FoundTenant> {
        match &self.side {
            Side::Tenant(found) => Some(found),
            Side::Central { .. } | Side::Nobody { .. } => None,
        }
    }

    /// The tenant; `None` for central requests.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.found().map(|found| &found.tenant)
    }

    /// For whom the request runs; `None` where nobody was found.
    pub(crate) fn scope(&self) -> Option<Scope> {
        match &self.side {
            Side::Tenant(found) => Some(Scope::Tenant(found.tenant.clone())),
            Side::Central { .. } => Some(Scope::Central),
            Side::Nobody { .. } => None,
        }
    }

    /// Whether the request is for no tenant, on a host that was configured as central.
    pub fn is_central(&self) -> bool {
        matches!(self.side, Side::Central { .. })
    }

    /// The name of the identifier that decided, such as `subdomain of example.com`; `None` for central requests,
    /// and where none decided ([`Source::Given`]).
    pub fn identifier(&self) -> Option<&str> {
        self.found().and_then(FoundTenant::identifier_name)
    }

    /// The space of the key that led to the tenant.
    pub fn key_kind(&self) -> Option<KeyKind> {
        self.found().map(|found| found.key_kind)
    }

    /// Where the answer came from.
    pub fn source(&self) -> Option<Source> {
        self.found().map(|found| found.source)
    }
}
