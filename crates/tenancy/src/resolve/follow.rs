//! Keeps the snapshot in step with a store that can list and watch.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tenancy_core::{ChangeBatch, ChangeMark, ChangeSubscription, StoreError, TenantPage};
use tokio::task::JoinHandle;

use super::{
    lookup::{Lookup, Trust},
    snapshot_file,
};

const PAGE: usize = 5_000;
const BATCH: usize = 1_000;
/// How often in a row the log may outrun the list before the store gets a rest.
const RELOADS: usize = 3;
/// A list may be long; each page of it has this long.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

impl Lookup {
    /// Starts the task that follows the store, unless it runs. Needs a tokio runtime; without one it does nothing.
    pub(crate) fn follow(self: &Arc<Self>) {
        let Some(signal) = &self.signal else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.followed.swap(true, Ordering::AcqRel) {
            return;
        }
        let follower = Follower {
            lookup: Arc::downgrade(self),
            subscription: signal.subscribe(),
            mark: self.mark(),
            failures: 0,
            file_is_due: None,
            writing: None,
        };
        runtime.spawn(follower.run());
    }

    /// Waits until the snapshot is complete. Returns at once for stores that can not be watched.
    pub(crate) async fn ready(self: &Arc<Self>) {
        if self.signal.is_none() {
            return;
        }
        loop {
            let changed = self.trust_changed.notified();
            self.follow();
            if self.trust() == Trust::Fresh {
                return;
            }
            changed.await;
            if !self.followed.load(Ordering::Acquire) {
                // The task ended: a store that panics is not asked without pause.
                tokio::time::sleep(self.settings.poll_interval).await;
            }
        }
    }
}

struct Follower {
    lookup: Weak<Lookup>,
    subscription: ChangeSubscription,
    mark: ChangeMark,
    failures: u32,
    /// When the snapshot file should be written next, in monotonic time.
    file_is_due: Option<Duration>,
    writing: Option<JoinHandle<()>>,
}

impl Drop for Follower {
    /// A task that ends, by a panic or with its runtime, leaves a snapshot that nobody keeps up to date.
    fn drop(&mut self) {
        if let Some(lookup) = self.lookup.upgrade() {
            lookup.set_trust(Trust::None);
            lookup.first_list_is_over();
            lookup.followed.store(false, Ordering::Release);
            // Whoever waits for the list starts another one.
            lookup.trust_changed.notify_waiters();
        }
    }
}

impl Follower {
    async fn run(mut self) {
        loop {
            let Some(lookup) = self.lookup.upgrade() else {
                return;
            };
            let pause = match self.catch_up(&lookup).await {
                Ok(()) => {
                    self.failures = 0;
                    lookup.settings.poll_interval
                }
                Err(error) => self.failed(&lookup, &error).await,
            };
            self.write_file_if_due(&lookup);
            // The stack may go away while nothing happens.
            drop(lookup);
            tokio::select! {
                _ = self.subscription.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn catch_up(&mut self, lookup: &Lookup) -> Result<(), StoreError> {
        let mut reloads = 0;
        loop {
            let asked_at = lookup.home.clock.monotonic();
            let changes = lookup.store.changes(self.mark, BATCH);
            let batch = within(lookup.settings.poll_timeout, changes).await?;
            let (mark, more) = match batch {
                ChangeBatch::Reload { .. } if reloads == RELOADS => {
                    return Err(StoreError::unavailable(
                        "the change log does not go on from where the list was read",
                    ));
                }
                ChangeBatch::Reload { mark } => {
                    reloads += 1;
                    // After a restored backup the numbers begin anew below: no writer is to take what was seen before for its own.
                    self.subscription.applied(0);
                    self.reload(lookup).await?;
                    lookup.verified(asked_at);
                    // What changed while the list was read is asked for next.
                    (mark, true)
                }
                ChangeBatch::Changes { mark, more: true, .. } if mark == self.mark => {
                    return Err(StoreError::corrupt("the change log does not get on"));
                }
                ChangeBatch::Changes { mark, changes, more } => {
                    if !changes.is_empty() {
                        lookup.directory.apply(changes);
                        self.plan_file(lookup);
                    }
                    (mark, more)
                }
                _ => return Err(StoreError::unsupported("this kind of change batch")),
            };
            self.mark = mark;
            lookup.set_mark(mark);
            if !more {
                lookup.verified(asked_at);
                lookup.set_trust(Trust::Fresh);
                lookup.first_list_is_over();
                self.subscription.applied(mark.number);
                return Ok(());
            }
        }
    }

    async fn reload(&mut self, lookup: &Lookup) -> Result<(), StoreError> {
        let mut rebuild = lookup.directory.rebuild();
        let mut after = None;
        loop {
            let list = lookup.store.list(after.as_ref(), PAGE);
            let TenantPage { entries, next } = within(PAGE_TIMEOUT, list).await?;
            rebuild.add(entries);
            match next {
                Some(next) if after.as_ref() < Some(&next) => after = Some(next),
                Some(_) => return Err(StoreError::corrupt("the list of tenants does not get on")),
                None => break,
            }
        }
        rebuild.finish();
        self.plan_file(lookup);
        tracing::info!(tenants = lookup.directory.len(), "the list of tenants was read");
        Ok(())
    }

    /// Returns how long to wait before the next try.
    async fn failed(&mut self, lookup: &Lookup, error: &StoreError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        lookup.first_list_is_over();
        if self.failures == 1 {
            let cause = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            tracing::warn!(%error, cause, "the tenant store can not be followed");
        }
        if lookup.trust() != Trust::None || self.mark != ChangeMark::NONE {
            lookup.set_trust(Trust::Stale);
        } else if self.failures == 1 {
            self.mark = load_file(lookup).await;
        }
        let pause = lookup.settings.poll_interval * self.failures.min(4);
        pause.mul_f64(0.75 + 0.5 * fastrand::f64())
    }

    fn plan_file(&mut self, lookup: &Lookup) {
        if lookup.settings.snapshot_file.is_some() && self.file_is_due.is_none() {
            // The first one soon, so that a process that does not live long leaves one behind.
            let wait = if self.mark == ChangeMark::NONE {
                Duration::ZERO
            } else {
                lookup.settings.snapshot_interval
            };
            self.file_is_due = Some(lookup.home.clock.monotonic() + wait);
        }
    }

    /// Begins to write; following goes on meanwhile, for a large list takes longer than a change may. What the file
    /// then has beyond its mark, it gets once more from the changes since the mark.
    fn write_file_if_due(&mut self, lookup: &Arc<Lookup>) {
        let (Some(path), Some(due)) = (&lookup.settings.snapshot_file, self.file_is_due) else {
            return;
        };
        let busy = self
            .writing
            .as_ref()
            .is_some_and(|writing| !writing.is_finished());
        if busy || lookup.home.clock.monotonic() < due || lookup.trust() != Trust::Fresh {
            return;
        }
        self.file_is_due = None;
        let path = path.clone();
        let (mark, saved_at) = (self.mark, lookup.home.clock.unix_time());
        let of_lookup = Arc::clone(lookup);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let entries = of_lookup.directory.entries();
            if let Err(error) = snapshot_file::write(&path, mark, saved_at, &entries) {
                tracing::warn!(%error, "the snapshot file was not written");
            }
        }));
    }
}

/// Reads the snapshot file, once the store has failed to answer at the start. What it says is served as stale.
/// Returns where the changes since then begin.
async fn load_file(lookup: &Lookup) -> ChangeMark {
    let Some(path) = lookup.settings.snapshot_file.clone() else {
        return ChangeMark::NONE;
    };
    let (now, max_age) = (lookup.home.clock.unix_time(), lookup.settings.snapshot_max_age);
    let read = tokio::task::spawn_blocking(move || snapshot_file::read(&path, now, max_age)).await;
    match read {
        Ok(Ok(snapshot)) => {
            let mut rebuild = lookup.directory.rebuild();
            rebuild.add(snapshot.entries);
            rebuild.finish();
            lookup.verified(lookup.home.clock.monotonic());
            lookup.set_mark(snapshot.mark);
            lookup.set_trust(Trust::Stale);
            tracing::warn!(
                tenants = lookup.directory.len(),
                "the store is away; tenants are known from the snapshot file"
            );
            snapshot.mark
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "the snapshot file is not used");
            ChangeMark::NONE
        }
        Err(_) => ChangeMark::NONE,
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::unavailable("the store did not answer in time")),
    }
}
