//! Loading what tenants need before they ask for it.
//!
//! * A [`Recipe`] is a function of the application that uses the cache as a handler would. It loads through
//!   [`remember`](super::Cache::remember), so that what is there already costs nothing.
//! * Tenants in use are warmed by a task: at their first use, after a flush of all they have, and before recipes' times end.
//!   [`Tenancy::warm`](crate::Tenancy::warm) and its like do it on demand.
//! * Requests never wait for it. What it loads, it loads with turns that requests leave; at most
//!   [`at_once`](WarmingSettings::at_once) of database concurrency is used, and a share of level 1's bytes.
//! * With a shared level one process loads, by a claim, and the others take what it has left there.

mod heat;
mod outcome;
mod recipe;
mod room;
mod run;
mod schedule;
mod settings;
mod state;
mod tenant;

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
};

use self::room::Room;
pub use self::{
    outcome::{RecipeFailure, TenantWarmed},
    recipe::Recipe,
    run::{Warming, WarmingProgress},
    settings::WarmingSettings,
};
pub(crate) use self::{run::Whom, schedule::warm_in_use, state::WarmState, tenant::Why};
use super::hub::Account;

/// What one cache knows of warming.
pub(crate) struct Warmer {
    pub(crate) recipes: Box<[Recipe]>,
    pub(crate) settings: WarmingSettings,
    permits: Arc<Semaphore>,
    room: Arc<Room>,
    /// Whose time may have come. Each at most once.
    woken: Mutex<Vec<Weak<Account>>>,
    notify: Notify,
}

impl Warmer {
    pub(crate) fn new(recipes: Vec<Recipe>, settings: WarmingSettings, max_bytes: u64) -> Self {
        let budget = (max_bytes as f64 * settings.share_of_bytes) as u64;
        Self {
            permits: Arc::new(Semaphore::new(settings.at_once)),
            room: Arc::new(Room::new(budget)),
            recipes: recipes.into(),
            settings,
            woken: Mutex::default(),
            notify: Notify::new(),
        }
    }

    pub(crate) fn has_recipes(&self) -> bool {
        !self.recipes.is_empty()
    }

    /// Something has happened to the account after which it may have to be warmed. Does not wait.
    pub(crate) fn wake(&self, account: &Arc<Account>) {
        if !self.has_recipes() || !account.warm_state(self).begin_to_wait() {
            return;
        }
        self.woken().push(Arc::downgrade(account));
        self.notify.notify_one();
    }

    fn take_woken(&self) -> Vec<Arc<Account>> {
        let woken = std::mem::take(&mut *self.woken());
        woken.iter().filter_map(Weak::upgrade).collect()
    }

    fn woken(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Account>>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells a handle that a recipe has from one of a request.
#[derive(Default)]
pub(crate) struct WarmHandle {
    /// What is there and ends sooner is loaded anew.
    wanted: Duration,
    stores: Mutex<Vec<JoinHandle<()>>>,
}

impl WarmHandle {
    fn wanting(wanted: Duration) -> Arc<Self> {
        Arc::new(Self {
            wanted,
            stores: Mutex::default(),
        })
    }

    pub(crate) fn wanted(&self) -> Duration {
        self.wanted
    }

    /// Others are to find it: the recipe has not ended before it is stored.
    pub(crate) fn note_store(&self, store: JoinHandle<()>) {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|store| !store.is_finished());
        stores.push(store);
    }

    async fn stored(&self) {
        let stores = std::mem::take(&mut *self.stores.lock().unwrap_or_else(PoisonError::into_inner));
        for store in stores {
            // What could not be stored is loaded by others.
            let _ = store.await;
        }
    }
}
