//! What is true, what was promised, and what was read.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tenancy::{
    cache::FlushReceipt,
    core::{Clock, ManualClock},
};
use tokio::sync::oneshot;

use super::Served;

pub(super) const TENANTS: [&str; 2] = ["acme", "globex"];
pub(super) const KEYS: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const TAGS: [&str; 3] = ["even", "odd", "all"];
pub(super) const BOUND: Duration = Duration::from_secs(2);
/// After an outage a process leaves the level alone for a while: what a call waits, the longest pause, and until the next renewal.
const UNTIL_IT_ASKS_AGAIN: Duration = Duration::from_secs(8);
/// Until a failover has been made good.
const MADE_GOOD: Duration = Duration::from_secs(4 * BOUND.as_secs());
const MOST_LOADS_WAITING: usize = 6;

/// By the place of the key: how often it was written.
pub(super) type Versions = [u64; KEYS.len()];

/// Which keys have this tag.
pub(super) fn has_tag(key: usize, tag: usize) -> bool {
    TAGS[tag] == "all" || key % 2 == tag
}

/// How a load that waits goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answers,
    Fails,
}

/// Who reads or flushes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who {
    pub(super) process: u32,
    pub(super) tenant: usize,
}

/// What a flush has promised.
#[derive(Debug)]
struct Flushed {
    who: Who,
    /// Nothing older than this; 0 where it did not flush.
    versions: Versions,
    is_hard: bool,
    receipt: FlushReceipt,
    due: Option<Duration>,
    /// Processes that have heard of a gap since.
    asked_since: HashSet<u32>,
    lost_until: Option<Duration>,
}

impl Flushed {
    /// When the level had heard of it.
    fn told(&self) -> Option<Duration> {
        Some(self.due?.saturating_sub(BOUND))
    }

    /// `cut_off_for`: how much longer a process may not know it, if it is cut off.
    fn binds(&self, process: u32, now: Duration, cut_off_for: Option<Duration>) -> bool {
        if self.who.process == process {
            return true;
        }
        let Some(due) = self.due else {
            return false;
        };
        let end = due.max(self.lost_until.unwrap_or_default()) + cut_off_for.unwrap_or_default();
        let has_asked = self.lost_until.is_none() && self.asked_since.contains(&process);
        end <= now || (has_asked && cut_off_for.is_none())
    }
}

/// A read that has begun.
pub(super) struct Reading {
    who: Who,
    sees_soft: bool,
    began: Duration,
    /// What it may give at the least, by whether the process was cut off meanwhile.
    connected: Versions,
    cut_off: Versions,
    newest: Versions,
}

#[derive(Clone, Copy)]
struct Failover {
    at: Duration,
    made_good_at: Duration,
}

struct Pages {
    written: [Versions; TENANTS.len()],
    /// Rows that a put has locked.
    locked: [[bool; KEYS.len()]; TENANTS.len()],
    flushes: Vec<Flushed>,
    loads: Vec<oneshot::Sender<Fate>>,
    /// By process: until when it may think itself cut off.
    cut_off_until: HashMap<u32, Duration>,
    alive: HashSet<u32>,
    failed_over: Option<Failover>,
    served: Served,
    mistake: Option<String>,
    log: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Book {
    pages: Arc<Mutex<Pages>>,
    clock: Arc<ManualClock>,
    /// How much longer a process that is cut off may serve what it has.
    limit: Duration,
}

impl Book {
    pub(super) fn new(clock: Arc<ManualClock>, limit: Duration) -> Self {
        let pages = Pages {
            written: [[1; KEYS.len()]; TENANTS.len()],
            locked: Default::default(),
            flushes: Vec::new(),
            loads: Vec::new(),
            cut_off_until: HashMap::new(),
            alive: HashSet::new(),
            failed_over: None,
            served: Served::default(),
            mistake: None,
            log: Vec::new(),
        };
        Self {
            pages: Arc::new(Mutex::new(pages)),
            clock,
            limit,
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap()
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(super) fn note(&self, line: fmt::Arguments<'_>) {
        let line = format!("{:>6} ms  {line}", self.now().as_millis());
        self.pages().log.push(line);
    }

    /// What was wrong, with all that had happened.
    pub(super) fn mistake(&self) -> Option<String> {
        let pages = self.pages();
        let mistake = pages.mistake.as_ref()?;
        Some(format!("{}\n{mistake}", pages.log.join("\n")))
    }

    pub(super) fn served(&self) -> Served {
        self.pages().served
    }

    pub(super) fn is_born(&self, process: u32) {
        self.pages().alive.insert(process);
    }

    pub(super) fn has_died(&self, process: u32) {
        self.pages().alive.remove(&process);
    }

    /// Something keeps the process from the level, until it does not any more.
    pub(super) fn is_cut_off(&self, process: u32) {
        self.pages().cut_off_until.insert(process, Duration::MAX);
    }

    pub(super) fn is_connected(&self, process: u32) {
        let until = self.now() + UNTIL_IT_ASKS_AGAIN;
        let mut pages = self.pages();
        if let Some(former) = pages.cut_off_until.get_mut(&process) {
            *former = (*former).min(until);
        }
    }

    /// The process has heard that it may have missed messages.
    pub(super) fn has_heard_a_gap(&self, process: u32) {
        self.look_at_receipts();
        for flush in &mut self.pages().flushes {
            if flush.due.is_some() {
                flush.asked_since.insert(process);
            }
        }
    }

    /// All after `checkpoint` is lost. Returns when that has to be made good.
    pub(super) fn has_failed_over(&self, checkpoint: Duration) -> Duration {
        self.look_at_receipts();
        let now = self.now();
        let mut pages = self.pages();
        let pages = &mut *pages;
        let last_cut_off = pages
            .cut_off_until
            .iter()
            .filter(|(process, _)| pages.alive.contains(process))
            .map(|(_, until)| *until)
            .max();
        let until = last_cut_off.unwrap_or_default().max(now) + MADE_GOOD;
        pages.failed_over = Some(Failover {
            at: now,
            made_good_at: until,
        });
        let alive = &pages.alive;
        pages.flushes.retain_mut(|flush| {
            let settled = flush
                .told()
                .map(|told| told.max(flush.lost_until.unwrap_or_default()));
            let is_kept = settled.is_some_and(|settled| settled < checkpoint);
            if !is_kept {
                flush.lost_until = Some(until);
            }
            is_kept || alive.contains(&flush.who.process)
        });
        until
    }

    fn look_at_receipts(&self) {
        let now = self.now();
        for flush in &mut self.pages().flushes {
            if flush.due.is_none() {
                flush.due = flush.receipt.everywhere_within().map(|within| now + within);
            }
        }
    }

    /// Flushes of living processes that the level has not heard of.
    pub(super) fn pending(&self) -> usize {
        self.look_at_receipts();
        let pages = self.pages();
        let of_the_living = |flush: &&Flushed| pages.alive.contains(&flush.who.process);
        let pending = pages.flushes.iter().filter(|flush| flush.due.is_none());
        pending.filter(of_the_living).count()
    }

    /// Writes rows. None of them if one is locked; with `lock` they are.
    pub(super) fn write(&self, tenant: usize, keys: &[usize], lock: bool) -> bool {
        let mut pages = self.pages();
        if keys.iter().any(|&key| pages.locked[tenant][key]) {
            return false;
        }
        for &key in keys {
            pages.written[tenant][key] += 1;
            pages.locked[tenant][key] = lock;
        }
        true
    }

    pub(super) fn unlock(&self, tenant: usize, keys: &[usize]) {
        let mut pages = self.pages();
        for &key in keys {
            pages.locked[tenant][key] = false;
        }
    }

    pub(super) fn value(&self, tenant: usize, key: usize) -> String {
        let version = self.pages().written[tenant][key];
        format!("{}/{}/{version}", TENANTS[tenant], KEYS[key])
    }

    /// A load that has read the database. It waits to be told how it goes on, unless many do.
    pub(super) fn wait(&self) -> Option<oneshot::Receiver<Fate>> {
        let mut pages = self.pages();
        pages.loads.retain(|load| !load.is_closed());
        if pages.loads.len() >= MOST_LOADS_WAITING {
            return None;
        }
        let (sender, fate) = oneshot::channel();
        pages.loads.push(sender);
        Some(fate)
    }

    pub(super) fn loads_waiting(&self) -> usize {
        self.pages().loads.len()
    }

    pub(super) fn end_load(&self, at: usize, fate: Fate) {
        let load = self.pages().loads.swap_remove(at);
        let _ = load.send(fate);
    }

    /// A flush of these keys begins.
    pub(super) fn begin_flush(&self, who: Who, is_hard: bool, keys: impl Fn(usize) -> bool) -> Flushing {
        let pages = self.pages();
        let mut versions = pages.written[who.tenant];
        for (key, version) in versions.iter_mut().enumerate() {
            if !keys(key) {
                *version = 0;
            }
        }
        drop(pages);
        self.note(format_args!("{who:?} flushes to {versions:?}"));
        Flushing {
            who,
            versions,
            is_hard,
            began: self.now(),
        }
    }

    pub(super) fn end_flush(&self, flushing: &Flushing, receipt: FlushReceipt) {
        let (now, within) = (self.now(), receipt.everywhere_within());
        let Flushing { who, versions, .. } = *flushing;
        self.note(format_args!("{who:?} has flushed to {versions:?}: {receipt:?}"));
        let mut pages = self.pages();
        if within.is_some_and(|within| within > BOUND) {
            pages.mistake = Some(format!("a flush is in effect within {within:?}"));
        }
        let failover = pages.failed_over.filter(|failover| failover.at >= flushing.began);
        if failover.is_some() && !pages.alive.contains(&who.process) {
            return;
        }
        pages.flushes.push(Flushed {
            who,
            versions,
            is_hard: flushing.is_hard,
            receipt,
            due: within.map(|within| now + within),
            asked_since: HashSet::new(),
            lost_until: failover.map(|failover| failover.made_good_at),
        });
    }

    /// A read begins. `sees_soft`: it must not give what was flushed softly.
    pub(super) fn begin_read(&self, who: Who, sees_soft: bool) -> Reading {
        self.look_at_receipts();
        let pages = self.pages();
        let mut reading = Reading {
            who,
            sees_soft,
            began: self.now(),
            connected: Versions::default(),
            cut_off: Versions::default(),
            newest: pages.written[who.tenant],
        };
        reading.connected = pages.least(&reading, None);
        reading.cut_off = pages.least(&reading, Some(self.limit));
        reading
    }

    pub(super) fn end_read(&self, reading: &Reading, key: usize, value: &str) {
        let mut pages = self.pages();
        let cut_off_until = pages.cut_off_until.get(&reading.who.process).copied();
        let cut_off_for = (cut_off_until.unwrap_or_default() >= reading.began).then_some(self.limit);
        let mut least = match cut_off_for {
            Some(_) => reading.cut_off[key],
            None => reading.connected[key],
        };
        if pages
            .failed_over
            .is_some_and(|failover| failover.at >= reading.began)
        {
            // Of what was promised then, something may have been lost since.
            least = least.min(pages.least(reading, cut_off_for)[key]);
        }
        let place = format!("{}/{}/", TENANTS[reading.who.tenant], KEYS[key]);
        let version = value
            .strip_prefix(&place)
            .and_then(|version| version.parse::<u64>().ok());
        match version {
            Some(version) if version >= least => {
                pages.served.values += 1;
                pages.served.old += u64::from(version < reading.newest[key]);
            }
            _ => {
                let mistake = format!(
                    "{:?} was given {value} of {place}, at {:?} by a read that began at {:?}, and {least} was promised",
                    reading.who,
                    self.now(),
                    reading.began,
                );
                pages.mistake.get_or_insert(mistake);
            }
        }
    }
}

impl Pages {
    /// What a read must give at the least. `cut_off_for`: see [`Flushed::binds`].
    fn least(&self, reading: &Reading, cut_off_for: Option<Duration>) -> Versions {
        let mut least = Versions::default();
        let binding = self.flushes.iter().filter(|flush| {
            flush.who.tenant == reading.who.tenant
                && (flush.is_hard || reading.sees_soft)
                && flush.binds(reading.who.process, reading.began, cut_off_for)
        });
        for flush in binding {
            for (least, version) in least.iter_mut().zip(flush.versions) {
                *least = version.max(*least);
            }
        }
        least
    }
}

/// A flush that has begun.
pub(super) struct Flushing {
    who: Who,
    versions: Versions,
    is_hard: bool,
    began: Duration,
}
