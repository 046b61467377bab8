//! Sums of many requests: of a route, of a tenant, of all.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use tenancy_memory::Usage;

/// What many requests have used together. Bytes, as in [`Usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct MemoryTotals {
    /// How many requests there were.
    pub requests: u64,
    /// How many of them were dropped before their answer had ended.
    pub incomplete: u64,
    /// How many were above the threshold.
    pub large: u64,
    /// How many were answered with 503 because the tenant has used up its budget.
    pub refused: u64,
    /// Bytes that were allocated.
    pub allocated: u64,
    /// Bytes that were freed.
    pub freed: u64,
    /// How many times a block was allocated or resized.
    pub allocations: u64,
    /// Bytes of frames that were handed to connections.
    pub escaped: u64,
    /// What stayed, as far as can be told. Request bodies are freed here and allocated elsewhere: an indication.
    pub retained: i64,
    /// The largest peak of a request.
    pub largest: u64,
}

#[derive(Debug)]
pub(crate) struct Sums {
    requests: AtomicU64,
    incomplete: AtomicU64,
    large: AtomicU64,
    refused: AtomicU64,
    allocated: AtomicU64,
    freed: AtomicU64,
    allocations: AtomicU64,
    escaped: AtomicU64,
    retained: AtomicI64,
    largest: AtomicU64,
}

impl Sums {
    pub(super) fn new() -> Self {
        Self {
            requests: AtomicU64::new(0),
            incomplete: AtomicU64::new(0),
            large: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            allocated: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            allocations: AtomicU64::new(0),
            escaped: AtomicU64::new(0),
            retained: AtomicI64::new(0),
            largest: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, usage: &Usage, is_large: bool) {
        let add = |sum: &AtomicU64, more: u64| {
            if more > 0 {
                sum.fetch_add(more, Ordering::Relaxed);
            }
        };
        add(&self.requests, 1);
        add(&self.incomplete, u64::from(!usage.complete));
        add(&self.large, u64::from(is_large));
        add(&self.allocated, usage.allocated);
        add(&self.freed, usage.freed);
        add(&self.allocations, usage.allocations);
        add(&self.escaped, usage.escaped);
        self.retained.fetch_add(usage.retained(), Ordering::Relaxed);
        // Seldom a new one: a look is cheaper than an exchange.
        if self.largest.load(Ordering::Relaxed) < usage.peak_sum {
            self.largest.fetch_max(usage.peak_sum, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> MemoryTotals {
        let read = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        MemoryTotals {
            requests: read(&self.requests),
            incomplete: read(&self.incomplete),
            large: read(&self.large),
            refused: read(&self.refused),
            allocated: read(&self.allocated),
            freed: read(&self.freed),
            allocations: read(&self.allocations),
            escaped: read(&self.escaped),
            retained: self.retained.load(Ordering::Relaxed),
            largest: read(&self.largest),
        }
    }
}

/// What the requests of one route have used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RouteMemory {
    /// The route as the application wrote it, such as `/users/{id}`; `other` for those that came when there was no room, and `unknown`
    /// where no route was matched or told.
    pub route: String,
    /// The sums.
    pub totals: MemoryTotals,
}

/// Routes by their names. Read without a lock; copied when one is added, which happens once for each.
#[derive(Debug)]
pub(super) struct RouteTable {
    known: ArcSwap<HashMap<Box<str>, Arc<Sums>, foldhash::fast::FixedState>>,
    adding: Mutex<()>,
    most: usize,
    unknown: Sums,
    other: Sums,
}

impl RouteTable {
    pub(super) fn of_at_most(most: usize) -> Self {
        Self {
            known: ArcSwap::default(),
            adding: Mutex::new(()),
            most,
            unknown: Sums::new(),
            other: Sums::new(),
        }
    }

    pub(super) fn add(&self, route: Option<&str>, usage: &Usage, is_large: bool) {
        match route {
            None => self.unknown.add(usage, is_large),
            Some(route) => self.add_to(route, usage, is_large),
        }
    }

    fn add_to(&self, route: &str, usage: &Usage, is_large: bool) {
        let known = self.known.load();
        match known.get(route) {
            Some(sums) => sums.add(usage, is_large),
            // Routes are never taken out again: nobody has to wait to see that there is no room.
            None if known.len() >= self.most => self.other.add(usage, is_large),
            None => self.add_new(route, usage, is_large),
        }
    }

    #[cold]
    fn add_new(&self, route: &str, usage: &Usage, is_large: bool) {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load();
        if let Some(sums) = known.get(route) {
            return sums.add(usage, is_large);
        }
        if known.len() >= self.most {
            return self.other.add(usage, is_large);
        }
        let sums = Arc::new(Sums::new());
        sums.add(usage, is_large);
        let mut more = HashMap::clone(&known);
        more.insert(route.into(), sums);
        self.known.store(Arc::new(more));
    }

    /// In the order of their names.
    pub(super) fn read(&self) -> Vec<RouteMemory> {
        let entry = |route: &str, sums: &Sums| RouteMemory {
            route: route.to_owned(),
            totals: sums.read(),
        };
        let known = self.known.load();
        let mut routes: Vec<_> = known.iter().map(|(route, sums)| entry(route, sums)).collect();
        routes.sort_unstable_by(|a, b| a.route.cmp(&b.route));
        let rest = [("other", &self.other), ("unknown", &self.unknown)];
        routes.extend(
            rest.map(|(route, sums)| entry(route, sums))
                .into_iter()
                .filter(|route| route.totals.requests > 0),
        );
        routes
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn requests_of_routes_without_room_wait_for_nobody() {
        let table = Arc::new(RouteTable::of_at_most(1));
        table.add(Some("/a"), &Usage::default(), false);
        let adding = table.adding.lock().unwrap();
        let (tell, told) = mpsc::channel();
        let other = Arc::clone(&table);
        let adds = thread::spawn(move || {
            other.add(Some("/b"), &Usage::default(), false);
            tell.send(()).unwrap();
        });
        // As long as that only where it waits for the lock.
        let waited_for_nobody = told.recv_timeout(Duration::from_secs(30)).is_ok();
        drop(adding);
        adds.join().unwrap();
        assert!(waited_for_nobody);
        let routes = table.read();
        let names: Vec<_> = routes.iter().map(|route| route.route.as_str()).collect();
        assert_eq!(names, ["/a", "other"]);
    }
}
