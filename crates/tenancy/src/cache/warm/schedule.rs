//! When tenants in use are warmed.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{Warmer, Why, tenant::longest_refresh};
use crate::cache::hub::{Account, Hub};

/// Whose time has come without a sign is found by looking this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Who was not asked for within this time is not warmed.
const IN_USE: Duration = Duration::from_secs(300);
const COOL_EVERY: Duration = Duration::from_secs(60);

impl Hub {
    fn is_due(&self, account: &Account) -> bool {
        let now = self.now();
        let state = account.warm_state(&self.warmer);
        account.uses() > 0
            && account.was_asked_within(IN_USE, now)
            && state.is_any_due(&self.warmer.recipes, account.present(now), longest_refresh(self))
    }

    fn take_hottest(&self, waiting: &mut Vec<Arc<Account>>) -> Option<Arc<Account>> {
        let heats = waiting.iter().map(|account| self.heat_of(account)).enumerate();
        let (hottest, _) = heats.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        // The others keep their order, so that of two as hot the first is first.
        Some(waiting.remove(hottest))
    }
}

/// Warms tenants in use for as long as the cache lives, the hottest first.
pub(crate) async fn warm_in_use(warmer: Arc<Warmer>, hub: Weak<Hub>) {
    let mut running = JoinSet::new();
    let mut waiting = Vec::new();
    let mut cooled_at = Duration::ZERO;
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let looks_at_all = tokio::select! {
            () = warmer.notify.notified() => false,
            _ = looks.tick() => true,
            Some(_) = running.join_next() => false,
        };
        let Some(hub) = hub.upgrade() else {
            return;
        };
        if looks_at_all {
            let all = hub.listed_accounts();
            all.iter()
                .filter(|account| hub.is_due(account))
                .for_each(|account| warmer.wake(account));
            if hub.now().saturating_sub(cooled_at) >= COOL_EVERY {
                cooled_at = hub.now();
                let hub = Arc::clone(&hub);
                tokio::spawn(async move { hub.tell_heat(&all).await });
            }
        }
        waiting.extend(warmer.take_woken());
        while running.len() < warmer.settings.at_once
            && let Some(account) = hub.take_hottest(&mut waiting)
        {
            // What happens from now on makes it wait anew.
            account.warm_state(&warmer).end_to_wait();
            if let Some(tenant) = account.tenant()
                && hub.is_due(&account)
            {
                let hub = Arc::clone(&hub);
                running.spawn(async move {
                    hub.warm(&tenant, Why::Due).await;
                });
            }
        }
    }
}
