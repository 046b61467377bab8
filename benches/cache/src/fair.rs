//! A quiet tenant beside one that asks for ten times as many keys as there is room for.

use std::time::Duration;

use tenancy::cache::{CacheKey, CacheSettings, EntryOptions, Keys, TenantCache};
use tenancy_bench::{
    Failure,
    report::{Report, Row},
};

use crate::{
    correctness::{self, Finding, TENANCY},
    memory::{self, Bed, Contender, Memory},
    stack::{cache_of_one, caches_of, names},
    trace::Zipf,
};

const CAPACITY: u32 = 10_000;
const QUIET_KEYS: u32 = 200;
const LOUD_KEYS: usize = 100_000;
const SKEW: f64 = 0.9;
/// One request of so many is the quiet tenant's.
const QUIET_ONE_OF: u32 = 200;
const STEPS: usize = 400_000;

/// The same requests for all.
struct Traffic {
    /// Whether it is the quiet tenant's, and its key.
    requests: Vec<(bool, u32)>,
}

impl Traffic {
    fn new() -> Self {
        let mut chance = fastrand::Rng::with_seed(2);
        let mut zipf = Zipf::new(LOUD_KEYS, SKEW, 1);
        let mut draw = |_| match chance.u32(..QUIET_ONE_OF) {
            0 => (true, chance.u32(..QUIET_KEYS)),
            _ => (false, zipf.draw()),
        };
        Self {
            requests: (0..STEPS).map(&mut draw).collect(),
        }
    }

    /// Hits in percent, of the quiet one and the loud one, in the second half; of those that `runs` lets through.
    fn hits(
        &self,
        runs: impl Fn(bool) -> bool,
        mut ask: impl FnMut(bool, u32) -> Result<bool, Failure>,
    ) -> Result<(f64, f64), Failure> {
        let (mut hits, mut asked) = ([0_u32; 2], [0_u32; 2]);
        for (step, &(quiet, key)) in self.requests.iter().enumerate() {
            if runs(quiet) {
                let is_hit = ask(quiet, key)?;
                let counts = u32::from(step >= STEPS / 2);
                hits[usize::from(!quiet)] += counts * u32::from(is_hit);
                asked[usize::from(!quiet)] += counts;
            }
        }
        let percent = |at: usize| 100.0 * f64::from(hits[at]) / f64::from(asked[at].max(1));
        Ok((percent(0), percent(1)))
    }
}

/// Measures tenancy, moka and `others`.
///
/// # Errors
/// A cache can not be made, or a load fails.
pub(crate) async fn measure(report: &mut Report, others: &[Contender]) -> Result<(), Failure> {
    let traffic = Traffic::new();
    let mut rows = Vec::new();
    eprintln!("cache     fair: tenancy");
    let (alone, _) = of_tenancy(&traffic, |quiet| quiet).await?;
    let (_, loud_alone) = of_tenancy(&traffic, |quiet| !quiet).await?;
    let (beside, loud) = of_tenancy(&traffic, |_| true).await?;
    let note =
        format!("{alone:.1} % alone, {beside:.1} % beside; the neighbour {loud_alone:.1} % and {loud:.1} %");
    let mut findings = vec![finding(TENANCY, beside / alone)];
    rows.push(
        Row::shown(TENANCY, "of its hits alone", beside / alone)
            .at_least(0.99)
            .note(note),
    );
    let moka = Contender {
        name: "moka",
        make: memory::moka,
    };
    for contender in std::iter::once(&moka).chain(others) {
        eprintln!("cache     fair: {}", contender.name);
        let (alone, _) = of_memory(&traffic, contender, |quiet| quiet)?;
        let (beside, loud) = of_memory(&traffic, contender, |_| true)?;
        let note = format!("{alone:.1} % alone, {beside:.1} % beside; the neighbour {loud:.1} %");
        findings.push(finding(contender.name, beside / alone));
        rows.push(Row::shown(contender.name, "of its hits alone", beside / alone).note(note));
    }
    report.add(
        "cache: a quiet tenant with 0.5 % of the traffic beside a loud one, room for 10,000 entries",
        rows,
    );
    correctness::add(report, "a quiet tenant beside a loud one (pitfall 23)", findings);
    Ok(())
}

fn finding(name: &'static str, share: f64) -> Finding {
    Finding::seen(
        name,
        share >= 0.99,
        format!("{:.1} % of its hits alone", 100.0 * share),
    )
}

fn of_memory(
    traffic: &Traffic,
    contender: &Contender,
    runs: impl Fn(bool) -> bool,
) -> Result<(f64, f64), Failure> {
    let bed = Bed::new(LOUD_KEYS + QUIET_KEYS as usize, CAPACITY);
    let cache: Box<dyn Memory> = (contender.make)(&bed)?;
    traffic.hits(runs, |quiet, key| {
        // The quiet one's keys lie behind the other's.
        let key = if quiet { LOUD_KEYS as u32 + key } else { key };
        let is_hit = cache.get(key);
        if !is_hit {
            cache.put(key);
        }
        Ok(is_hit)
    })
}

const NOTES: Keys<u32, Vec<u8>> = Keys::new("notes", 1);

/// Through what applications use, in one thread.
async fn of_tenancy(traffic: &Traffic, runs: impl Fn(bool) -> bool) -> Result<(f64, f64), Failure> {
    let settings = CacheSettings::new().max_bytes(u64::from(CAPACITY) * bytes_of_one().await?);
    let caches = caches_of(&names(2), settings).await?;
    let options = EntryOptions::new()
        .ttl(Duration::from_secs(3600))
        .early_refresh(false);
    let mut hits = Vec::with_capacity(traffic.requests.len());
    for &(quiet, key) in &traffic.requests {
        hits.push(runs(quiet) && get_or_load(&caches[usize::from(quiet)], &NOTES.key(key), &options).await?);
    }
    let mut hits = traffic
        .requests
        .iter()
        .zip(hits)
        .filter(|((quiet, _), _)| runs(*quiet));
    traffic.hits(&runs, |_, _| Ok(hits.next().is_some_and(|(_, is_hit)| is_hit)))
}

async fn get_or_load(
    cache: &TenantCache,
    key: &CacheKey<Vec<u8>>,
    options: &EntryOptions,
) -> Result<bool, Failure> {
    let loads = cache.statistics().loads;
    cache
        .remember(key, options, || async { Ok::<_, std::io::Error>(vec![1; 256]) })
        .await?;
    Ok(cache.statistics().loads == loads)
}

/// What an entry of this size weighs.
async fn bytes_of_one() -> Result<u64, Failure> {
    let cache = cache_of_one(CacheSettings::new()).await?;
    let key = NOTES.key(70_000);
    get_or_load(&cache, &key, &EntryOptions::new()).await?;
    Ok(cache.statistics().bytes)
}
