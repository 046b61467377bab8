//! Which tenants are used most: in this process, and in those before it.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use crate::{
    Tenant,
    cache::{
        hub::{Account, Hub},
        shared::{HOTTEST, ScopeName},
    },
};

impl Hub {
    /// Those first that were asked for most: as the shared level has it of all processes, then as this process has seen, then
    /// in the order given.
    pub(super) async fn hottest_first(&self, mut tenants: Vec<Tenant>) -> Vec<Tenant> {
        let ranks = self.ranks().await;
        tenants.sort_by_cached_key(|tenant| {
            let name = ScopeName::of_tenant(tenant.id().as_str(), tenant.incarnation());
            let rank = ranks.get(&name).copied().unwrap_or(usize::MAX);
            let heat = self
                .known_account(&name)
                .map_or(0.0, |account| self.heat_of(&account));
            (rank, Reverse(heat as u64))
        });
        tenants
    }

    async fn ranks(&self) -> HashMap<ScopeName, usize> {
        let Some(link) = &self.link else {
            return HashMap::new();
        };
        // Without an answer the order is another one, and that is all.
        let hottest = link.call(link.level.hottest(HOTTEST)).await.unwrap_or_default();
        hottest.into_iter().zip(0..).collect()
    }

    pub(super) fn heat_of(&self, account: &Account) -> f64 {
        account.warm_state(&self.warmer).heat(account.uses())
    }

    /// Once a minute. What is not told now, because the shared level does not answer, is lost.
    pub(super) async fn tell_heat(&self, accounts: &[Arc<Account>]) {
        let mut new: Vec<_> = accounts
            .iter()
            .map(|account| {
                let state = account.warm_state(&self.warmer);
                state.cool(account.uses());
                (account.name.clone(), state.take_new_uses(account.uses()))
            })
            .filter(|(_, uses)| *uses > 0)
            .collect();
        new.sort_by_key(|(_, uses)| Reverse(*uses));
        new.truncate(HOTTEST);
        if let Some(link) = &self.link
            && !new.is_empty()
        {
            let _ = link.call(link.level.heat(&new)).await;
        }
    }
}
