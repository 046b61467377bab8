//! One tenant, recipe by recipe.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tenancy_core::BoxError;
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, sleep, timeout},
};

use super::{Recipe, RecipeFailure, TenantWarmed, WarmHandle, state::Present};
use crate::{
    Tenant,
    cache::{
        TenantCache,
        hub::{Account, Hub},
        level1::Share,
        shared::{Cell, Claim},
    },
    scope,
};

/// Who loads is looked for so often, about.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why a tenant is warmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is in use: recipes whose time has come.
    Due,
    /// It was asked for: all recipes.
    Asked,
}

/// Without a shared level an entry ends sooner.
pub(super) fn longest_refresh(hub: &Hub) -> Duration {
    match &hub.link {
        Some(_) => Duration::MAX,
        None => hub.settings.local_ttl / 4 * 3,
    }
}

impl Account {
    pub(super) fn present(&self, now: Duration) -> Present {
        Present {
            now,
            base: self.versions.level(Cell::Base).any,
            uses: self.uses(),
        }
    }
}

impl Hub {
    /// Runs the recipes of one tenant, one after the other. Who comes while another one does gets what comes of that.
    ///
    /// Cancel-safe: what a recipe has begun to load goes on, and the recipe counts as not run.
    pub(crate) async fn warm(self: &Arc<Self>, tenant: &Tenant, why: Why) -> TenantWarmed {
        self.run();
        let account = self.account_of(tenant);
        let state = account.warm_state(&self.warmer);
        let under_way = state.under_way();
        let _alone = state.turn.lock().await;
        let base = account.present(self.now()).base;
        if why == Why::Asked
            && let Some(outcome) = under_way.and_then(|run| state.outcome_of(run, base))
        {
            return outcome;
        }
        let run = state.begin();
        // What a recipe that is cancelled has begun is kept as well.
        self.keep_warm(&account);
        // So that the numbers under which it is warmed are the newest.
        TenantCache::of(tenant).renew_if_lapsed().await;
        let begun = account.present(self.now());
        let outcome = self.warm_each(tenant, &account, begun, why).await;
        if why == Why::Asked {
            state.keep_outcome(run.number, begun.base, &outcome);
        }
        // For as long as what was brought lives, though nobody may ask for it.
        self.keep_warm(&account);
        outcome
    }

    async fn warm_each(
        self: &Arc<Self>,
        tenant: &Tenant,
        account: &Arc<Account>,
        begun: Present,
        why: Why,
    ) -> TenantWarmed {
        let state = account.warm_state(&self.warmer);
        let longest_refresh = longest_refresh(self);
        let mut outcome = TenantWarmed::nothing(tenant.id());
        for (at, recipe) in self.warmer.recipes.iter().enumerate() {
            if why == Why::Due && !state.is_due(at, recipe, begun, longest_refresh) {
                continue;
            }
            if !tenant.is_served() || account.is_orphaned() {
                outcome.is_gone = true;
                return outcome;
            }
            let stay = self.settings.local_ttl;
            let Some(room) = self.warmer.room.reserve(recipe.bytes, self.now(), stay) else {
                outcome.is_out_of_room = true;
                continue;
            };
            let before = account.share.bytes();
            let ran = self.run_recipe(recipe, tenant, account).await;
            let brought = grown(&account.share, before);
            outcome.bytes += brought;
            room.fill(brought, self.now());
            state.note(at, begun, self.now(), ran.is_ok());
            match ran {
                Ok(()) => outcome.done += 1,
                Err(error) => outcome.failed.push(failed(tenant, recipe, &*error)),
            }
        }
        outcome
    }

    async fn run_recipe(
        self: &Arc<Self>,
        recipe: &Recipe,
        tenant: &Tenant,
        account: &Arc<Account>,
    ) -> Result<(), BoxError> {
        let (permits, claimed) = self.turn(recipe, account).await;
        let wanted = match recipe.refresh_every {
            Some(every) => every.min(longest_refresh(self)).saturating_add(recipe.deadline),
            None => Duration::ZERO,
        };
        let handle = WarmHandle::wanting(wanted);
        let cache = TenantCache::for_warming(tenant, self, account, Arc::clone(&handle));
        let running = async {
            let ran = scope::run(tenant, async { recipe.run(tenant.clone(), cache).await }).await;
            handle.stored().await;
            ran
        };
        let ran = timeout(recipe.deadline, AssertUnwindSafe(running).catch_unwind()).await;
        drop(permits);
        if let Some(claimed) = claimed {
            claimed.give_back().await;
        }
        match ran {
            Ok(Ok(ran)) => ran,
            Ok(Err(panic)) => Err(format!("it panicked: {}", scope::panic_message(&*panic)).into()),
            Err(_) => Err(format!("it took longer than {:?}", recipe.deadline).into()),
        }
    }

    /// One process loads; the others come later, and find what it has loaded. Without a claim: nobody can be asked, or the other took
    /// too long.
    ///
    /// Permits come first: a claim ends after a time, and keeps others from what this process may not begin for long. Who finds that
    /// another one has it waits without permits.
    async fn turn<'a>(
        self: &'a Arc<Self>,
        recipe: &Recipe,
        account: &Arc<Account>,
    ) -> (Option<SemaphorePermit<'a>>, Option<Claimed>) {
        let most = u32::try_from(self.warmer.settings.at_once).unwrap_or(u32::MAX);
        let mut give_up = None;
        loop {
            let permits = self.warmer.permits.acquire_many(recipe.cost.min(most)).await.ok();
            match self.claim(recipe, account).await {
                Asked::Mine(claimed) => return (permits, Some(claimed)),
                Asked::Another => {
                    let end = *give_up.get_or_insert_with(|| Instant::now().checked_add(recipe.deadline));
                    if end.is_some_and(|end| Instant::now() >= end) {
                        return (permits, None);
                    }
                    drop(permits);
                    sleep(LOOK_AGAIN.mul_f64(0.5 + fastrand::f64())).await;
                }
                Asked::Nobody => return (permits, None),
            }
        }
    }

    async fn claim(self: &Arc<Self>, recipe: &Recipe, account: &Arc<Account>) -> Asked {
        let Some(link) = &self.link else {
            return Asked::Nobody;
        };
        let claim = Claim {
            scope: account.name.clone(),
            what: format!("warm:{}", recipe.name),
            by: fastrand::u64(..),
        };
        // One that is never given back.
        let length = recipe.deadline.saturating_add(Duration::from_secs(1));
        match link.call(link.level.claim(&claim, length)).await {
            Ok(true) => Asked::Mine(Claimed {
                hub: Arc::clone(self),
                claim: Some(claim),
            }),
            Ok(false) => Asked::Another,
            Err(_) => Asked::Nobody,
        }
    }
}

/// Who has the right to load.
enum Asked {
    Mine(Claimed),
    Another,
    /// It can not be asked for.
    Nobody,
}

/// Given back also by who is cancelled.
struct Claimed {
    hub: Arc<Hub>,
    claim: Option<Claim>,
}

impl Claimed {
    async fn give_back(mut self) {
        if let Some(claim) = self.claim.take() {
            give_back(&self.hub, &claim).await;
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let hub = Arc::clone(&self.hub);
            runtime.spawn(async move { give_back(&hub, &claim).await });
        }
    }
}

async fn give_back(hub: &Hub, claim: &Claim) {
    if let Some(link) = &hub.link {
        // It ends by itself, too.
        let _ = link.call(link.level.release(claim)).await;
    }
}

fn grown(share: &Share, before: u64) -> u64 {
    share.bytes().saturating_sub(before)
}

fn failed(tenant: &Tenant, recipe: &Recipe, error: &(dyn std::error::Error + 'static)) -> RecipeFailure {
    tracing::warn!(tenant = %tenant.id(), recipe = recipe.name(), error, "a recipe could not warm the cache");
    RecipeFailure {
        recipe: recipe.name().to_owned(),
        error: crate::cache::explain::with_causes(error),
    }
}
