use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, where that is a terminal: how many are done, how fast, and how many failed. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    done: AtomicU64,
    failed: AtomicU64,
}

impl Progress {
    pub(crate) fn new(length: u64) -> Self {
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {msg}") {
            bar.set_style(style);
        }
        // What takes long for one tenant shows that it goes on.
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            tally: Arc::default(),
        }
    }

    pub(crate) fn set_length(&self, length: u64) {
        self.bar.set_length(length);
    }

    pub(crate) fn done(&self) {
        self.tally.done.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
    }

    pub(crate) fn failed(&self) {
        let failed = self.tally.failed.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.inc(1);
        self.bar.set_message(format!("{failed} failed"));
    }

    /// How many are done, and how many failed.
    pub(crate) fn tally(&self) -> (u64, u64) {
        let Tally { done, failed } = &*self.tally;
        (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
