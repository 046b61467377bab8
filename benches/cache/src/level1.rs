//! Level 1: hits, and getting or putting what is asked for by Zipf's law.

use std::{panic::resume_unwind, sync::Barrier, thread};

use tenancy_bench::{
    Extent, Failure,
    report::{Report, Row},
    statistics::median,
};

use crate::{
    memory::{self, Bed, Contender, Memory},
    rounds::{in_rounds, median_ratio, seconds},
    trace::{Zipf, uniform},
};

const HIT_KEYS: u32 = 1024;
const HITS: usize = 200_000;
const CAPACITY: u32 = 10_000;
const ZIPF_KEYS: usize = 100_000;
const SKEW: f64 = 0.99;
/// Of one thread, and of two together.
const ZIPF_STEPS: usize = 1_000_000;

/// First the one that the budgets are about, then what it is compared with, then that again, for what is noise.
fn beside(ours: Contender, others: &[Contender]) -> Vec<Contender> {
    let mut all = vec![
        ours,
        Contender {
            name: "moka",
            make: memory::moka,
        },
        Contender {
            name: "moka again",
            make: memory::moka,
        },
        Contender {
            name: "moka, by bytes",
            make: memory::moka_of_bytes,
        },
    ];
    all.extend(
        others
            .iter()
            .map(|Contender { name, make }| Contender { name, make: *make }),
    );
    all
}

/// Measures all rows, beside moka and `others`.
///
/// # Errors
/// A cache can not be made.
pub(crate) fn measure(report: &mut Report, others: &[Contender], extent: Extent) -> Result<(), Failure> {
    let less = if extent == Extent::Full { 1 } else { 3 };
    hits(report, others, less)?;
    for threads in [1, 2] {
        zipf(report, others, threads, 5 / less)?;
    }
    Ok(())
}

/// What a hit allocates, as `counted` counts it.
pub(crate) fn allocations(mut counted: impl FnMut(&mut dyn FnMut()) -> u64) -> Result<Report, Failure> {
    let bed = Bed::new(HIT_KEYS as usize, CAPACITY);
    let contenders = [
        Contender {
            name: "get",
            make: memory::tenant_get,
        },
        Contender {
            name: "get with its key",
            make: memory::tenant_get_by_number,
        },
        Contender {
            name: "remember",
            make: memory::tenant_remember,
        },
    ];
    let caches = filled(&contenders, &bed)?;
    let order = uniform(HIT_KEYS, HITS, 3);
    let rows = contenders.iter().zip(&caches).map(|(contender, cache)| {
        let made = counted(&mut || all_hit(&**cache, &order));
        Row::shown(contender.name, "allocations", made as f64)
            .at_most(0.0)
            .note(format!("in {HITS} hits"))
    });
    let mut report = Report::default();
    report.add("cache: what hits of level 1 allocate", rows);
    Ok(report)
}

fn hits(report: &mut Report, others: &[Contender], less: usize) -> Result<(), Failure> {
    let bed = Bed::new(HIT_KEYS as usize, CAPACITY);
    let mut contenders = beside(
        Contender {
            name: "tenancy, get",
            make: memory::tenant_get,
        },
        others,
    );
    contenders.push(Contender {
        name: "tenancy, get with its key",
        make: memory::tenant_get_by_number,
    });
    contenders.push(Contender {
        name: "tenancy, remember",
        make: memory::tenant_remember,
    });
    let caches = filled(&contenders, &bed)?;
    let order = uniform(HIT_KEYS, HITS, 3);

    eprintln!("cache     level 1: hits on one thread");
    let one = in_rounds(15 / less, caches.len(), |_, at| {
        seconds(|| all_hit(&*caches[at], &order)) * 1e9 / HITS as f64
    });
    let mut rows = Vec::new();
    for (contender, nanoseconds) in contenders.iter().zip(&one) {
        let row = Row::shown(contender.name, "ns", median(nanoseconds));
        rows.push(match contender.name {
            "tenancy, get" => row.at_most(100.0).note("two tags, the key at hand, polled once"),
            "tenancy, get with its key" => row.note("the key made of a number and a word for each call"),
            "tenancy, remember" => row.at_most(150.0).note("polled once"),
            _ => row,
        });
    }
    rows.push(Row::shown("tenancy, get / moka", "ratio", median_ratio(&one[0], &one[1])).at_most(0.5));
    rows.push(Row::shown("moka again / moka", "ratio", median_ratio(&one[2], &one[1])).note("noise"));
    report.add("cache: a hit of level 1, one thread", rows);

    eprintln!("cache     level 1: hits on two threads");
    let two = in_rounds(9 / less, caches.len(), |_, at| {
        let orders = [order.as_slice(), &order[HITS / 3..]];
        let hits: usize = orders.iter().map(|order| order.len()).sum();
        let took = on_threads(&orders, |order| {
            all_hit(&*caches[at], order);
            0
        });
        hits as f64 / took.seconds / 1e6
    });
    let mut rows: Vec<_> = contenders
        .iter()
        .zip(&two)
        .map(|(contender, rates)| Row::shown(contender.name, "million/s", median(rates)))
        .collect();
    rows.push(Row::shown("tenancy, get / moka", "ratio", median_ratio(&two[0], &two[1])).at_least(2.0));
    rows.push(Row::shown("moka again / moka", "ratio", median_ratio(&two[2], &two[1])).note("noise"));
    report.add("cache: hits of level 1, two threads together", rows);
    Ok(())
}

/// Full, and warm: the hot ones have been asked for often enough to be where hot ones are.
fn filled(contenders: &[Contender], bed: &Bed) -> Result<Vec<Box<dyn Memory>>, Failure> {
    let order = uniform(HIT_KEYS, HITS, 1);
    contenders
        .iter()
        .map(|contender| {
            let cache = (contender.make)(bed)?;
            (0..HIT_KEYS).for_each(|key| cache.put(key));
            cache.settle();
            all_hit(&*cache, &order);
            Ok(cache)
        })
        .collect()
}

fn all_hit(cache: &dyn Memory, order: &[u32]) {
    assert_eq!(cache.hits(order), order.len(), "everything is cached");
}

/// What threads did together.
struct Took {
    /// Of the one that took longest.
    seconds: f64,
    sum: usize,
}

fn on_threads(orders: &[&[u32]], work: impl Fn(&[u32]) -> usize + Sync) -> Took {
    let begin = Barrier::new(orders.len());
    let of_each: Vec<Took> = thread::scope(|scope| {
        let threads: Vec<_> = orders
            .iter()
            .map(|order| {
                scope.spawn(|| {
                    begin.wait();
                    let mut sum = 0;
                    let seconds = seconds(|| sum = work(order));
                    Took { seconds, sum }
                })
            })
            .collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|took| took.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    Took {
        seconds: of_each.iter().map(|took| took.seconds).fold(0.0, f64::max),
        sum: of_each.iter().map(|took| took.sum).sum(),
    }
}

fn zipf(report: &mut Report, others: &[Contender], threads: usize, rounds: usize) -> Result<(), Failure> {
    let bed = Bed::new(ZIPF_KEYS, CAPACITY);
    let contenders = beside(
        Contender {
            name: "tenancy, level 1",
            make: memory::level1,
        },
        others,
    );
    let mut hit_rates = vec![Vec::new(); contenders.len()];
    let mut failure = None;
    let mut orders = Vec::new();
    let rates = in_rounds(rounds, contenders.len(), |round, at| {
        if orders.len() <= round {
            eprintln!(
                "cache     level 1: Zipf on {threads} threads, round {}/{rounds}",
                round + 1
            );
            orders.push(orders_of(threads, round));
        }
        let cache = match (contenders[at].make)(&bed) {
            Ok(cache) => cache,
            Err(error) => {
                failure = Some(error);
                return f64::NAN;
            }
        };
        let orders: Vec<&[u32]> = orders[round].iter().map(Vec::as_slice).collect();
        // The first third fills it.
        let [first, rest]: [Vec<&[u32]>; 2] = [
            orders.iter().map(|order| &order[..order.len() / 3]).collect(),
            orders.iter().map(|order| &order[order.len() / 3..]).collect(),
        ];
        let filling = on_threads(&first, |order| cache.get_or_put(order));
        let full = on_threads(&rest, |order| cache.get_or_put(order));
        let counted: usize = rest.iter().map(|order| order.len()).sum();
        hit_rates[at].push(100.0 * full.sum as f64 / counted as f64);
        ZIPF_STEPS as f64 / (filling.seconds + full.seconds) / 1e6
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    let mut rows = Vec::new();
    for ((contender, rates), hits) in contenders.iter().zip(&rates).zip(&hit_rates) {
        let note = format!("{:.1} % hits", median(hits));
        rows.push(Row::shown(contender.name, "million/s", median(rates)).note(note));
    }
    rows.push(Row::shown("tenancy / moka", "ratio", median_ratio(&rates[0], &rates[1])).at_least(0.95));
    rows.push(Row::shown(
        "tenancy / moka, by bytes",
        "ratio",
        median_ratio(&rates[0], &rates[3]),
    ));
    rows.push(Row::shown("moka again / moka", "ratio", median_ratio(&rates[2], &rates[1])).note("noise"));
    let lost = median(&hit_rates[1]) - median(&hit_rates[0]);
    rows.push(Row::shown("hits of moka that tenancy does not have", "points", lost).at_most(1.0));
    let threads = if threads == 1 {
        "one thread"
    } else {
        "two threads together"
    };
    report.add(
        format!("cache: Zipf {SKEW}, 100,000 keys, room for 10,000, put what is not there, {threads}"),
        rows,
    );
    Ok(())
}

fn orders_of(threads: usize, round: usize) -> Vec<Vec<u32>> {
    let draw = |thread| Zipf::new(ZIPF_KEYS, SKEW, (round * 10 + thread) as u64).draws(ZIPF_STEPS / threads);
    (0..threads).map(draw).collect()
}
