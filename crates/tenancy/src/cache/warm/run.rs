//! Warming many tenants on demand.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle};

use super::{TenantWarmed, Why};
use crate::{Tenancy, Tenant};

/// A warming of many tenants that is under way: see [`Tenancy::warm_all`]. Dropping it ends it; what recipes have begun to load goes
/// on.
#[must_use = "dropping it ends it: await `finished`, or call `detach`"]
pub struct Warming {
    progress: watch::Receiver<WarmingProgress>,
    task: EndsWhenDropped,
}

/// How far a warming has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WarmingProgress {
    /// How many tenants there are to warm; 0 until that is known.
    pub total: usize,
    /// Tenants that are warm.
    pub done: usize,
    /// Tenants of which a recipe failed.
    pub failed: usize,
    /// Tenants that are not served any more.
    pub gone: usize,
    /// Tenants that were not warmed yet, or not wholly because the share of level 1 is full.
    pub left: usize,
    /// Bytes that came into level 1.
    pub bytes: u64,
    /// Whether the share of level 1 that warming may fill is full: no more tenants are begun.
    pub is_out_of_room: bool,
    /// Whether it has ended.
    pub is_over: bool,
}

impl WarmingProgress {
    fn take(&mut self, warmed: &TenantWarmed) {
        self.bytes += warmed.bytes;
        self.is_out_of_room |= warmed.is_out_of_room;
        if !warmed.failed.is_empty() {
            self.failed += 1;
        } else if warmed.is_gone {
            self.gone += 1;
        } else if warmed.is_out_of_room {
            return;
        } else {
            self.done += 1;
        }
        self.left -= 1;
    }
}

/// Whom to warm.
pub(crate) enum Whom {
    All,
    Hottest(usize),
    These(Vec<Tenant>),
}

impl Warming {
    pub(crate) fn begin(tenancy: Tenancy, whom: Whom) -> Self {
        let (sender, progress) = watch::channel(WarmingProgress::default());
        let task = tokio::spawn(async move {
            drive(&tenancy, whom, &sender).await;
            sender.send_modify(|progress| progress.is_over = true);
        });
        Self {
            progress,
            task: EndsWhenDropped(Some(task)),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> WarmingProgress {
        *self.progress.borrow()
    }

    /// Waits until it is further than when this was called last. `None`: it has ended. Cancel-safe.
    pub async fn further(&mut self) -> Option<WarmingProgress> {
        self.progress.changed().await.ok()?;
        Some(*self.progress.borrow_and_update())
    }

    /// Waits for its end. Dropping this future ends the warming.
    pub async fn finished(mut self) -> WarmingProgress {
        // An error says that the task is gone, as when the runtime ends.
        let _ = self.progress.wait_for(|progress| progress.is_over).await;
        self.progress()
    }

    /// Lets it go on by itself, until its end or that of the runtime.
    pub fn detach(mut self) {
        self.task.0 = None;
    }
}

async fn drive(tenancy: &Tenancy, whom: Whom, progress: &watch::Sender<WarmingProgress>) {
    let hub = tenancy.cache_hub();
    let (tenants, most) = match whom {
        Whom::These(tenants) => (tenants, usize::MAX),
        Whom::All => (tenancy.all_tenants().await, usize::MAX),
        Whom::Hottest(most) => (tenancy.all_tenants().await, most),
    };
    let served = tenants.into_iter().filter(Tenant::is_served).collect();
    let mut tenants = hub.hottest_first(served).await;
    tenants.truncate(most);
    progress.send_modify(|progress| {
        progress.total = tenants.len();
        progress.left = tenants.len();
    });
    let is_full = AtomicBool::new(false);
    let (hub_ref, is_full_ref) = (&hub, &is_full);
    let one = |tenant: Tenant| async move {
        if is_full_ref.load(Ordering::Relaxed) {
            return None;
        }
        let warmed = hub_ref.warm(&tenant, Why::Asked).await;
        if warmed.is_out_of_room {
            is_full_ref.store(true, Ordering::Relaxed);
        }
        Some(warmed)
    };
    let mut ended = stream::iter(tenants)
        .map(one)
        .buffer_unordered(hub.warmer.settings.at_once);
    while let Some(warmed) = ended.next().await {
        if let Some(warmed) = warmed {
            progress.send_modify(|progress| progress.take(&warmed));
        }
    }
}

struct EndsWhenDropped(Option<JoinHandle<()>>);

impl Drop for EndsWhenDropped {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl fmt::Debug for Warming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Warming").field(&self.progress()).finish()
    }
}
