//! The cells of one metric and one series: a few stripes, so that threads rarely meet.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

use super::{cells::Stripe, gathered::Gathered, scale::Scale, sketch::Sketch};

const MOST_STRIPES: usize = 4;

/// How many stripes there are on this machine: a power of two.
fn stripes() -> usize {
    static STRIPES: OnceLock<usize> = OnceLock::new();
    *STRIPES.get_or_init(|| {
        let threads = available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        threads.next_power_of_two().min(MOST_STRIPES)
    })
}

/// The same number for a thread all its life; those of the first threads differ.
#[inline]
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let number = NUMBER.try_with(|number| {
        number.get().unwrap_or_else(|| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            number.set(Some(next));
            next
        })
    });
    // A thread that is ending.
    number.unwrap_or(0)
}

/// Takes memory from the first value on.
#[derive(Debug, Default)]
pub(crate) struct Live {
    stripes: OnceLock<Box<[Stripe]>>,
}

impl Live {
    /// What one of them takes at most, on whichever machine.
    pub(super) fn bytes_at_most() -> usize {
        MOST_STRIPES * size_of::<Stripe>()
    }

    pub(super) fn bytes_now(&self) -> usize {
        self.stripes
            .get()
            .map_or(0, |stripes| size_of_val::<[Stripe]>(stripes))
    }

    #[inline]
    pub(super) fn record(&self, scale: &Scale, value: f64, is_error: bool) {
        let stripes = self.stripes.get_or_init(|| {
            let stripes = (0..stripes()).map(|_| Stripe::default());
            stripes.collect()
        });
        let place = thread_number() & (stripes.len() - 1);
        if let Some(stripe) = stripes.get(place) {
            stripe.record(scale, value, is_error);
        }
    }

    /// Takes out what was counted. One at a time may.
    pub(super) fn take(&self, scale: &Scale) -> Sketch {
        self.gather(scale, Stripe::take)
    }

    pub(super) fn look(&self, scale: &Scale) -> Sketch {
        self.gather(scale, Stripe::look)
    }

    fn gather(&self, scale: &Scale, get: impl Fn(&Stripe, &mut Gathered)) -> Sketch {
        let Some(stripes) = self.stripes.get() else {
            return Sketch::default();
        };
        let mut gathered = Gathered::default();
        for stripe in stripes {
            get(stripe, &mut gathered);
        }
        gathered.into_sketch(scale)
    }
}
