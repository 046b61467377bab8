//! The cache of one stack: accounts of scopes, both levels, and the tasks that keep them together.
//!
//! Nothing is allocated and no task runs before the cache is used for the first time. Tasks hold the hub weakly and end with it.

mod account;
mod flushing;
mod link;
mod renewal;
mod reporting;
mod retries;
mod tasks;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use tenancy_core::Clock;
use tokio::runtime::Handle;

use self::{account::Owner, renewal::Listed, retries::Retries, tasks::Tasks};
pub(crate) use self::{
    account::{Account, AnyValue},
    link::{Link, Unanswered},
};
use super::{
    CacheSettings, OnOutage,
    level1::{Level1, Level1Settings},
    loads::LoadSettings,
    shared::ScopeName,
    versions::{ScopeVersions, lease_length},
    warm::{Recipe, Warmer, WarmingSettings, warm_in_use},
};
use crate::Tenant;

/// Room beside a value for its key and what is noted of it.
const KEY_AND_BOOKS: u32 = 8 << 10;

/// What a stack knows of its cache before anybody uses it.
pub(crate) struct LazyHub {
    settings: CacheSettings,
    recipes: Mutex<Vec<Recipe>>,
    warming: WarmingSettings,
    clock: Arc<dyn Clock>,
    hub: OnceLock<Arc<Hub>>,
}

impl LazyHub {
    pub(crate) fn new(settings: CacheSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            recipes: Mutex::default(),
            warming: WarmingSettings::new(),
            clock,
            hub: OnceLock::new(),
        }
    }

    pub(crate) fn warmed_by(self, recipes: Vec<Recipe>, warming: WarmingSettings) -> Self {
        Self {
            recipes: Mutex::new(recipes),
            warming,
            ..self
        }
    }

    /// What is wrong with adding this recipe; it is added if nothing is.
    pub(crate) fn add_recipe(&self, recipe: Recipe) -> Vec<String> {
        let mut recipes = self.recipes();
        if self.hub.get().is_some() {
            return vec![format!(
                "the recipe {:?} comes too late: the cache was used before",
                recipe.name()
            )];
        }
        recipes.push(recipe);
        let mistakes = Recipe::mistakes(&recipes);
        if !mistakes.is_empty() {
            recipes.pop();
        }
        mistakes
    }

    fn recipes(&self) -> MutexGuard<'_, Vec<Recipe>> {
        self.recipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> &CacheSettings {
        &self.settings
    }

    pub(crate) fn get(&self) -> &Arc<Hub> {
        self.hub.get_or_init(|| {
            let warmer = Warmer::new(self.recipes().clone(), self.warming, self.settings.max_bytes);
            Hub::new(self.settings.clone(), Arc::clone(&self.clock), warmer)
        })
    }
}

impl fmt::Debug for LazyHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// See the [module](self).
pub(crate) struct Hub {
    pub(crate) settings: CacheSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) level1: Level1,
    pub(crate) link: Option<Link>,
    lease: Duration,
    accounts: Mutex<HashMap<ScopeName, Weak<Account>>>,
    central: OnceLock<Arc<Account>>,
    listed: Listed,
    retries: Retries,
    tasks: Tasks,
    pub(crate) warmer: Arc<Warmer>,
}

impl Hub {
    fn new(settings: CacheSettings, clock: Arc<dyn Clock>, warmer: Warmer) -> Arc<Self> {
        let level1 = Level1::new(
            &Level1Settings {
                max_bytes: settings.max_bytes,
                // The setting is of the value alone.
                max_entry_bytes: settings.max_entry_bytes.saturating_add(KEY_AND_BOOKS),
                ..Level1Settings::default()
            },
            Arc::clone(&clock),
        );
        let link = settings
            .shared
            .clone()
            .map(|level| Link::new(level, Arc::clone(&clock)));
        Arc::new(Self {
            lease: lease_length(settings.staleness_bound),
            level1,
            link,
            clock,
            settings,
            accounts: Mutex::default(),
            central: OnceLock::new(),
            listed: Listed::default(),
            retries: Retries::default(),
            tasks: Tasks::default(),
            warmer: Arc::new(warmer),
        })
    }

    #[inline]
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic_coarse()
    }

    /// The account of this tenant's incarnation. Two loads where the tenant's cache has been used before.
    pub(crate) fn account_of(&self, tenant: &Tenant) -> Arc<Account> {
        tenant.cache_account(|incarnation| {
            let name = ScopeName::of_tenant(tenant.id().as_str(), incarnation);
            let owner = Owner {
                block: Arc::downgrade(tenant.block()),
                incarnation,
            };
            self.account(name, Some(owner))
        })
    }

    pub(crate) fn central_account(&self) -> Arc<Account> {
        let make = || self.account(ScopeName::central(), None);
        Arc::clone(self.central.get_or_init(make))
    }

    /// Interned: all who use a scope at the same time use one account.
    fn account(&self, name: ScopeName, owner: Option<Owner>) -> Arc<Account> {
        let mut accounts = self.accounts();
        if let Some(account) = accounts.get(&name).and_then(Weak::upgrade) {
            account.set_owner(owner);
            return account;
        }
        if accounts.len() == accounts.capacity() {
            accounts.retain(|_, account| account.strong_count() > 0);
        }
        let versions = match self.link {
            Some(_) => ScopeVersions::shared(),
            None => ScopeVersions::alone(1),
        };
        let account = Arc::new(Account::new(
            name.clone(),
            owner,
            versions,
            self.level1.share(),
            LoadSettings {
                deadline: self.settings.load_timeout,
                takeover_after: self.settings.takeover_after,
                at_once: self.settings.loads_per_tenant,
                ..LoadSettings::default()
            },
        ));
        accounts.insert(name, Arc::downgrade(&account));
        account
    }

    /// The account of a scope that is in use.
    pub(crate) fn known_account(&self, name: &ScopeName) -> Option<Arc<Account>> {
        self.accounts().get(name).and_then(Weak::upgrade)
    }

    fn live_accounts(&self) -> Vec<Arc<Account>> {
        self.accounts().values().filter_map(Weak::upgrade).collect()
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<ScopeName, Weak<Account>>> {
        // A map of weak pointers is whole after every step.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the shared level is left alone at the moment, so that it is not worth asking for a lease.
    #[inline]
    pub(crate) fn is_cut_off(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_away)
    }

    /// Whether an entry of this age may be served though nobody can say whether it was flushed elsewhere. To be asked only where
    /// the shared level does not answer.
    pub(crate) fn serves_unasked(&self, account: &Account, valid_at: Duration, now: Duration) -> bool {
        let OnOutage::ServeWithin(limit) = self.settings.on_outage else {
            return false;
        };
        let by_lease = account
            .versions
            .lease_ended_for(now)
            .is_some_and(|ago| ago < limit);
        by_lease || now.saturating_sub(valid_at) < limit
    }

    /// Starts the tasks on the runtime of whoever uses the cache first, and again if that has ended.
    pub(crate) fn run(self: &Arc<Self>) {
        if self.tasks.are_running() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Some(running) = self.tasks.begin() else {
            return;
        };
        let forget_after = self.forget_after();
        self.spawn(
            &runtime,
            renewal::forget_unused(Arc::downgrade(self), forget_after, running),
        );
        if self.warmer.has_recipes() {
            let warmer = Arc::clone(&self.warmer);
            self.spawn(&runtime, warm_in_use(warmer, Arc::downgrade(self)));
        }
        if self.link.is_some() {
            let round = self.settings.staleness_bound / 2;
            self.spawn(&runtime, renewal::renew_while_used(Arc::downgrade(self), round));
            self.spawn(&runtime, renewal::listen(Arc::downgrade(self)));
            self.spawn(&runtime, reporting::report_counts(Arc::downgrade(self)));
            self.retries.go_on(self);
        }
    }

    /// A task that ends with the cache.
    fn spawn(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.add(runtime.spawn(task).abort_handle());
    }

    /// The account is in use: it is kept, and its lease renewed, from now on.
    #[inline]
    pub(crate) fn note_use(&self, account: &Arc<Account>, now: Duration) {
        account.note_use(now);
        if account.begin_to_be_listed() {
            self.listed.add(account);
            self.warmer.wake(account);
        }
    }

    /// The account is kept for as long as its entries may live, though nobody uses it yet.
    pub(crate) fn keep_warm(&self, account: &Arc<Account>) {
        account.keep_until(self.now() + self.forget_after());
        if account.begin_to_be_listed() {
            self.listed.add(account);
        }
    }

    /// All accounts that are kept.
    pub(crate) fn listed_accounts(&self) -> Vec<Arc<Account>> {
        self.listed.all()
    }

    /// Longer than anything is fresh in level 1.
    fn forget_after(&self) -> Duration {
        self.settings.local_ttl.saturating_add(Duration::from_secs(300))
    }

    /// The account has been flushed here: what this process knows of it may be all that a failover leaves, so that it goes on
    /// asking for a while, though nobody uses it.
    fn note_flush(&self, account: &Arc<Account>) {
        account.renew_until(self.now() + self.settings.staleness_bound * 4);
        if account.begin_to_be_listed() {
            self.listed.add(account);
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
