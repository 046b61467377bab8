//! What this process has of an entry, without asking anybody.

use std::{sync::Arc, time::Duration};

use super::{
    Cache, CacheKey, CacheValue, EntryOptions,
    level1::Entry,
    versions::{Judgement, Stamp},
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
    pub(super) fn get_now<V: CacheValue>(&self, key: &CacheKey<V>) -> Option<Arc<V>> {
        match self.look(key) {
            Found::Fresh { early: Some(_), .. } if self.warming.is_some() => None,
            Found::Fresh { value, .. } => Some(value),
            Found::Stale(_) | Found::Unsure | Found::Nothing => None,
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
        let hash = self.hub.hash_of(&self.account, bytes);
        let share = &self.account.share;
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
    let left = entry.fresh_until.saturating_sub(now);
    // Beyond ten times the cost it would be one of twenty thousand: no random number for that.
    if left > entry.load_cost.saturating_mul(10) {
        return false;
    }
    // Of (0, 1].
    let random = 1.0 - fastrand::f64();
    entry.load_cost.as_secs_f64() * -random.ln() >= left.as_secs_f64()
}
