//! What the stage does to a request that passes.

use std::sync::Arc;

use axum::extract::MatchedPath;
use http::Request;

use super::{
    account::{Keeper, note_route, note_tenant},
    extract::RequestMemory,
    metering::Metering,
};
use crate::{
    event::Event,
    rejection::RejectionReason,
    resolve::Resolution,
    stack::{Stage, Step},
};

/// Opens the request's account, unless nobody counts.
#[inline(never)]
pub(crate) fn begin<B>(keeper: &Arc<Keeper>, request: &mut Request<B>) -> Step {
    let Some(account) = keeper.open() else {
        return Step::Next;
    };
    let mut metering = Metering::of(&account, keeper);
    if keeper.settings.in_extensions {
        request.extensions_mut().insert(RequestMemory::of(account));
    }
    // Known by now where the stage stands inside of resolve, or behind routing.
    let extensions = request.extensions();
    let tenant = extensions.get::<Resolution>().and_then(Resolution::tenant);
    let route = extensions.get::<MatchedPath>();
    if tenant.is_some() || route.is_some() {
        metering.run(|| {
            tenant.into_iter().for_each(note_tenant);
            route.into_iter().for_each(note_route);
        });
    }
    Step::Meter(metering)
}

/// Refuses requests of a tenant that has more live bytes than it may.
pub(crate) fn check_budget<B>(keeper: &Keeper, request: &Request<B>) -> Step {
    let tenant = request
        .extensions()
        .get::<Resolution>()
        .and_then(Resolution::tenant);
    let (Some(tenant), Some(budget)) = (tenant, keeper.tenant_budget()) else {
        return Step::Next;
    };
    let Some(live_bytes) = tenant.live_bytes().filter(|live| *live > budget) else {
        return Step::Next;
    };
    // The cache has a bound of its own, and gives nothing back by itself: a tenant could never get below again.
    let live_bytes = live_bytes.saturating_sub(tenant.cached_bytes());
    if live_bytes <= budget {
        return Step::Next;
    }
    // A stage that only watches refuses nobody; the rollout counts what it would do.
    if !keeper.home.rollout.observes(Stage::Memory) {
        tenant.memory_block().sums.add_refused();
        keeper.all.add_refused();
        keeper.home.emit(|| Event::MemoryBudgetExceeded {
            tenant: tenant.clone(),
            live_bytes,
        });
    }
    let detail =
        format!("tenant {tenant} has {live_bytes} bytes of memory besides its cache, and may have {budget}");
    Step::refuse(RejectionReason::MemoryBudget, detail)
}
