//! What this process has of an entry, without asking anybody.

use std::{sync::Arc, time::Duration};

use super::{
    Cache, CacheKey, CacheValue, EntryOptions,
    level1::Entry,
    versions::{Judgement, Stamp, nanos},
};

/// What was found in this process.
pub(super) enum Found<V> {
    /// To be served. With `early`, what is left of its time, this caller is to load it anew meanwhile.
    Fresh {
        value: Arc<V>,
        early: Option<Duration>,
    },
    /// To be served only if nothing better is had in time.
    Stale(Stale<V>),
    /// It may be fresh: this process has to ask first whether it was flushed.
    Unsure,
    Nothing,
}

/// A value that is not fresh and may still be served.
pub(super) struct Stale<V> {
    pub(super) value: Arc<V>,
    /// Flushed softly, rather than too old: nobody waits for the new one.
    pub(super) is_flushed: bool,
    stamp: Stamp,
    valid_at: Duration,
}

/// What is found at the first look, which is all that most callers need. Small: it is handed on in registers.
enum Glance<V> {
    Fresh(Arc<V>),
    Nothing,
    /// It is there, and more has to be found out.
    Unclear,
}

/// By what the numbers of this process are known to be the newest.
#[derive(Clone, Copy)]
pub(super) enum Trust {
    Lease,
    /// Nobody can be asked.
    Outage,
    None,
}

/// What an entry is worth at a time.
pub(super) enum Worth {
    Fresh,
    Stale { is_flushed: bool },
    Unsure,
    Nothing,
}

impl Cache {
    /// What the caller gets without waiting.
    #[inline]
    pub(super) fn serves_at_once<V>(&self, found: &Found<V>, options: &EntryOptions) -> Option<Arc<V>> {
        match found {
            Found::Fresh { value, early }
                if early.is_none() || !(options.early_refresh || self.warming.is_some()) =>
            {
                Some(Arc::clone(value))
            }
            _ => None,
        }
    }

    /// For how long what is found has to be fresh: a recipe wants it until it runs again.
    pub(super) fn wanted(&self) -> Duration {
        self.warming
            .as_ref()
            .map_or(Duration::ZERO, |warming| warming.wanted())
    }

    /// Fresh, and nothing else.
    #[inline]
    pub(super) fn get_now<V: CacheValue>(&self, key: &CacheKey<V>) -> Option<Arc<V>> {
        match self.glance(key, false) {
            Glance::Fresh(value) => return Some(value),
            Glance::Nothing => return None,
            Glance::Unclear => {}
        }
        match self.look(key) {
            Found::Fresh { early: Some(_), .. } if self.warming.is_some() => None,
            Found::Fresh { value, .. } => Some(value),
            Found::Stale(_) | Found::Unsure | Found::Nothing => None,
        }
    }

    /// What the caller gets without waiting, or else what there is.
    #[inline]
    pub(super) fn look_to_serve<V: CacheValue>(
        &self,
        key: &CacheKey<V>,
        options: &EntryOptions,
    ) -> Result<Arc<V>, Found<V>> {
        match self.glance(key, options.early_refresh) {
            Glance::Fresh(value) => Ok(value),
            Glance::Nothing => Err(Found::Nothing),
            Glance::Unclear => {
                let found = self.look(key);
                self.serves_at_once(&found, options).ok_or(found)
            }
        }
    }

    /// Takes no lock, and allocates nothing where the entry is asked for often. With `only_calm`, it is not for the first look to
    /// say whether an entry that ends soon is to be loaded anew.
    #[inline]
    fn glance<V: CacheValue>(&self, key: &CacheKey<V>, only_calm: bool) -> Glance<V> {
        // A recipe asks in another way, and has time.
        if self.warming.is_some() {
            return Glance::Unclear;
        }
        let now = self.now();
        self.hub.note_use(&self.account, now);
        // Before the entry is judged: an old judgement must not meet a new lease.
        let is_trusted = self.account.versions.holds_lease(now);
        let bytes = key.as_bytes();
        let share = &self.account.share;
        let hash = share.hash_of(key.hash_in_process());
        let found = self.hub.level1.glance(share, bytes, hash, now, |brief, entry| {
            let end = if only_calm {
                brief.calm_end
            } else {
                brief.fresh_end
            };
            let is_fresh = is_trusted
                && nanos(now) < end
                && self.account.versions.is_fresh(&entry.stamp, &brief.last_check);
            if !is_fresh {
                return None;
            }
            Arc::clone(&entry.value).downcast::<V>().ok()
        });
        match found {
            Some(Some(value)) => {
                self.account.counters.hits.add();
                Glance::Fresh(value)
            }
            Some(None) => Glance::Unclear,
            None => Glance::Nothing,
        }
    }

    pub(super) fn look<V: CacheValue>(&self, key: &CacheKey<V>) -> Found<V> {
        self.look_while(key, self.hub.is_cut_off())
    }

    /// `is_cut_off`: the shared level does not answer, so that nobody can say what was flushed elsewhere.
    ///
    /// Takes no lock, and allocates nothing where the entry is asked for often.
    pub(super) fn look_while<V: CacheValue>(&self, key: &CacheKey<V>, is_cut_off: bool) -> Found<V> {
        let now = self.now();
        let is_request = self.warming.is_none();
        if is_request {
            self.hub.note_use(&self.account, now);
        }
        // Before the entry is judged: an old judgement must not meet a new lease.
        let trust = match self.account.versions.holds_lease(now) {
            true => Trust::Lease,
            false if is_cut_off => Trust::Outage,
            false => Trust::None,
        };
        let bytes = key.as_bytes();
        let share = &self.account.share;
        let hash = share.hash_of(key.hash_in_process());
        let found = self.hub.level1.get(share, bytes, hash, now, |entry| {
            self.found::<V>(entry, trust, now)
        });
        let found = found.unwrap_or(Found::Nothing);
        if let Found::Fresh { .. } = found
            && is_request
        {
            self.account.counters.hits.add();
        }
        found
    }

    fn found<V: CacheValue>(&self, entry: &Entry, trust: Trust, now: Duration) -> Found<V> {
        let worth = self.worth(entry, trust, now);
        match worth {
            Worth::Unsure => return Found::Unsure,
            Worth::Nothing => return Found::Nothing,
            Worth::Fresh | Worth::Stale { .. } => {}
        }
        // Of another type: two kinds of one name and version, which the schema tells apart in the shared level.
        let Ok(value) = Arc::clone(&entry.value).downcast::<V>() else {
            return Found::Nothing;
        };
        match worth {
            Worth::Fresh => Found::Fresh {
                value,
                early: self
                    .is_due_early(entry, now)
                    .then(|| entry.fresh_until.saturating_sub(now)),
            },
            Worth::Stale { is_flushed } => Found::Stale(Stale {
                value,
                is_flushed,
                stamp: entry.stamp.clone(),
                valid_at: entry.valid_at,
            }),
            Worth::Unsure | Worth::Nothing => Found::Nothing,
        }
    }

    /// Whether a value that was found stale a while ago may be served now: nothing of it was flushed hard since.
    pub(super) fn is_still_usable<V>(&self, stale: &Stale<V>) -> bool {
        let now = self.now();
        let is_trusted = self.account.versions.holds_lease(now)
            || self.hub.serves_unasked(&self.account, stale.valid_at, now);
        is_trusted && self.account.versions.judge(&stale.stamp) != Judgement::Dead
    }

    fn is_due_early(&self, entry: &Entry, now: Duration) -> bool {
        match &self.warming {
            None => is_due_early(entry, now),
            Some(warming) => entry.fresh_until.saturating_sub(now) < warming.wanted(),
        }
    }

    pub(super) fn worth(&self, entry: &Entry, trust: Trust, now: Duration) -> Worth {
        if now >= entry.usable_until {
            return Worth::Nothing;
        }
        let judgement = self.account.versions.judge(&entry.stamp);
        if judgement == Judgement::Dead {
            return Worth::Nothing;
        }
        let is_trusted = match trust {
            Trust::Lease => true,
            Trust::Outage => self.hub.serves_unasked(&self.account, entry.valid_at, now),
            Trust::None => false,
        };
        if !is_trusted {
            return Worth::Unsure;
        }
        match judgement {
            Judgement::Fresh if now < entry.fresh_until => Worth::Fresh,
            Judgement::Fresh => Worth::Stale { is_flushed: false },
            Judgement::Stale if self.account.is_in_grace(self.hub.settings.soft_flush_grace, now) => {
                Worth::Stale { is_flushed: true }
            }
            Judgement::Stale | Judgement::Dead => Worth::Nothing,
        }
    }
}

/// XFetch with a beta of 1: the chance that this caller loads the entry anew grows towards its end, over a time that is
/// proportional to what its load took.
fn is_due_early(entry: &Entry, now: Duration) -> bool {
    if now < entry.calm_until {
        return false;
    }
    let left = entry.fresh_until.saturating_sub(now);
    // Of (0, 1].
    let random = 1.0 - fastrand::f64();
    entry.load_cost.as_secs_f64() * -random.ln() >= left.as_secs_f64()
}
