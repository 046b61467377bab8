//! What lives on purpose, counted apart from requests.

use std::sync::OnceLock;

use crate::account::{Meter, Part, Usage};

/// How many names of an application's own there is room for. What comes after is counted as `other`.
pub const PURPOSES: usize = 64;

/// What memory is for that is meant to outlive the request that happens to allocate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Entries of caches.
    Cache,
    /// Connections and other things that are lent out.
    Pool,
    /// An application's own, by a name for reports. Up to [`PURPOSES`] different ones have sums of their own.
    Other(&'static str),
}

impl Purpose {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Pool => "pool",
            Self::Other(name) => name,
        }
    }

    fn meter(self) -> &'static Meter {
        match self {
            Self::Cache => &CACHE,
            Self::Pool => &POOL,
            Self::Other(name) => meter_of(name),
        }
    }
}

static CACHE: Meter = Meter::new();
static POOL: Meter = Meter::new();
static REST: Meter = Meter::new();
static NAMED: [Named; PURPOSES] = [const { Named::new() }; PURPOSES];

/// A place that is taken once and never given up.
struct Named {
    name: OnceLock<&'static str>,
    meter: Meter,
}

impl Named {
    const fn new() -> Self {
        Self {
            name: OnceLock::new(),
            meter: Meter::new(),
        }
    }
}

fn meter_of(name: &'static str) -> &'static Meter {
    let mut places = NAMED.iter();
    // Two that come with one name at once get one place: who loses it looks whose it has become.
    let place = places.find(|place| *place.name.get_or_init(|| name) == name);
    place.map_or(&REST, |place| &place.meter)
}

/// What was counted for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PurposeUsage {
    /// Its name.
    pub name: &'static str,
    /// The sums of all parts that have ended. `peak` means nothing here.
    pub usage: Usage,
}

/// Runs something whose bytes are the purpose's, not the request's that runs it: what fills a cache, opens a connection.
///
/// Freeing counts where it happens: free what belongs to a purpose within it, too, or its `net` only grows.
///
/// ```
/// use tenancy_memory::{Purpose, charge_to};
///
/// let entry = charge_to(Purpose::Cache, || vec![0_u8; 4_096]);
/// # drop(entry);
/// ```
pub fn charge_to<R>(purpose: Purpose, run: impl FnOnce() -> R) -> R {
    part_of_purpose(purpose).run(run)
}

/// As [`charge_to`], for a future: poll it in the part that this returns.
pub fn part_of_purpose(purpose: Purpose) -> Part {
    Part::of_purpose(purpose.meter())
}

/// What was counted for each purpose that was ever used, and for `cache` and `pool`. Allocates the list.
pub fn purposes() -> Vec<PurposeUsage> {
    let known = [("cache", &CACHE), ("pool", &POOL)];
    let named = NAMED
        .iter()
        .map_while(|place| Some((*place.name.get()?, &place.meter)));
    let rest = (REST.usage().polls > 0).then_some(("other", &REST));
    known
        .into_iter()
        .chain(named)
        .chain(rest)
        .map(|(name, meter)| PurposeUsage {
            name,
            usage: meter.usage(),
        })
        .collect()
}
