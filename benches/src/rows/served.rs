//! The example server behind real sockets: paired runs against its routes without the stack, and response times.

use std::{fs, path::Path};

use crate::{
    Extent, Failure,
    load::{Connection, Programs, Round, Served, Server, latencies, request_bytes, round},
    report::{Report, Row, number},
    statistics::{Estimate, bootstrap_median, median, percentile},
};

const CONNECTIONS: usize = 8;
const EACH: usize = 250;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub(crate) fn measure(report: &mut Report, extent: Extent, folder: &Path) -> Result<(), Failure> {
    let data = folder.join("served");
    // Of a run that was cut short.
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let programs = Programs::build()?;
    paired(
        report,
        if extent == Extent::Full { 400 } else { 60 },
        &programs,
        &data,
    )?;
    targets(report, extent, &programs, &data)?;
    Ok(fs::remove_dir_all(&data)?)
}

/// A server with its connections.
struct Side {
    server: Server,
    connections: Vec<Connection>,
    rounds: Vec<Round>,
}

impl Side {
    fn start(programs: &Programs, served: Served, data: &Path) -> Result<Self, Failure> {
        let server = Server::start(programs, served, data)?;
        let connections = (0..CONNECTIONS)
            .map(|_| server.connect())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            server,
            connections,
            rounds: Vec::new(),
        })
    }

    fn round(&mut self, request: &[u8]) -> Result<Round, Failure> {
        round(&self.server, &mut self.connections, request, EACH)
    }
}

/// Rounds of the three servers in turn, in an order that changes, so that what drifts meets all alike.
fn paired(report: &mut Report, pairs: usize, programs: &Programs, data: &Path) -> Result<(), Failure> {
    let request = request_bytes("acme.localhost");
    let mut sides = [
        Side::start(programs, Served::WithoutStack, &data.join("without"))?,
        Side::start(programs, Served::Example, &data.join("with"))?,
        Side::start(programs, Served::WithoutStack, &data.join("without-again"))?,
    ];
    for side in &mut sides {
        side.round(&request)?;
    }
    for pair in 0..pairs {
        if (pair + 1) % 20 == 0 {
            eprintln!("served    pair {}/{pairs}", pair + 1);
        }
        for turn in 0..sides.len() {
            let at = if pair % 2 == 0 {
                turn
            } else {
                sides.len() - 1 - turn
            };
            let round = sides[at].round(&request)?;
            sides[at].rounds.push(round);
        }
    }
    let [bare, stack, again] = sides.map(|side| side.rounds);
    let wall = |round: &Round| round.wall.as_secs_f64();
    let section = "the example server, paired with its routes without the stack";
    let cpu = compare(&stack, &bare, Round::cpu_per_request);
    let same = compare(&again, &bare, Round::cpu_per_request);
    report.add(
        section,
        [
            ratio("CPU time of the server for a request, stack / bare", cpu).note("wanted: 1.1 at most"),
            ratio("the same, bare / bare", same),
            ratio(
                "wall clock of a round, stack / bare",
                compare(&stack, &bare, wall),
            ),
            ratio("the same, bare / bare", compare(&again, &bare, wall)),
            microseconds("CPU time of the server for a request, bare", &bare),
            microseconds("CPU time of the server for a request, stack", &stack),
        ],
    );
    Ok(())
}

fn compare(of: &[Round], base: &[Round], figure: impl Fn(&Round) -> f64) -> Estimate {
    let ratios: Vec<f64> = of
        .iter()
        .zip(base)
        .map(|(of, base)| figure(of) / figure(base))
        .collect();
    bootstrap_median(&ratios)
}

fn ratio(name: &str, estimate: Estimate) -> Row {
    Row::shown(name, "ratio", estimate.median).note(format!(
        "median of the pairs, 95 % between {} and {}",
        number(estimate.low),
        number(estimate.high)
    ))
}

fn microseconds(name: &str, rounds: &[Round]) -> Row {
    let times: Vec<f64> = rounds.iter().map(|round| 1e6 * round.cpu_per_request()).collect();
    Row::shown(name, "µs", median(&times)).note("kernel included")
}

/// What the server must do whatever the machine: the targets of the project this one grew from.
fn targets(report: &mut Report, extent: Extent, programs: &Programs, data: &Path) -> Result<(), Failure> {
    let count = if extent == Extent::Full { 50_000 } else { 10_000 };
    let mut side = Side::start(programs, Served::Example, &data.join("targets"))?;
    let acme = request_bytes("acme.localhost");
    let globex = request_bytes("globex.localhost");
    let connection = side.connections.first_mut().ok_or("no connection")?;
    latencies(connection, &[&acme, &globex], 2_000)?;
    let one = best_response_times(connection, &[&acme], count)?;
    let two = best_response_times(connection, &[&acme, &globex], count)?;
    let section = "the example server, targets";
    let best = format!("best of {REPEATED} runs of {}", number(count as f64));
    report.add(
        section,
        [
            Row::shown("response time of a simple route, p50", "ms", one.p50).at_most(10.0),
            Row::shown("response time of a simple route, p99", "ms", one.p99).at_most(10.0),
            Row::shown("switching between two tenants, response time p50", "ms", two.p50).at_most(5.0),
            Row::shown("switching between two tenants, response time p99", "ms", two.p99).at_most(5.0),
        ]
        .map(|row| row.note(&best)),
    );

    let rounds = count / 500;
    eprintln!("served    {rounds} rounds for memory and throughput");
    for _ in 0..5 {
        side.round(&acme)?;
    }
    let process = side.server.process();
    let before = process.resident()?;
    let rounds: Vec<Round> = (0..rounds).map(|_| side.round(&acme)).collect::<Result<_, _>>()?;
    let growth = process.resident()?.cast_signed() - before.cast_signed();
    let requests: usize = rounds.iter().map(|round| round.requests).sum();
    let rates: Vec<f64> = rounds.iter().map(Round::requests_per_second).collect();
    report.add(
        section,
        [
            Row::shown(
                "memory growth for 1,000 requests",
                "bytes",
                (growth as f64 * 1_000.0 / requests as f64).round(),
            )
            .at_most(MEBIBYTE)
            .note(format!("over {} requests", number(requests as f64))),
            Row::shown("throughput, one thread", "requests/s", median(&rates).round())
                .at_least(1_000.0)
                .note(format!("{CONNECTIONS} connections")),
        ],
    );
    Ok(())
}

/// Milliseconds.
struct ResponseTimes {
    p50: f64,
    p99: f64,
}

const REPEATED: usize = 3;

/// The best of some runs, figure by figure: what else the machine does only ever adds to them.
fn best_response_times(
    connection: &mut Connection,
    requests: &[&[u8]],
    count: usize,
) -> Result<ResponseTimes, Failure> {
    let mut best = ResponseTimes {
        p50: f64::INFINITY,
        p99: f64::INFINITY,
    };
    for run in 0..REPEATED {
        eprintln!(
            "served    {count} requests one after the other, run {}/{REPEATED}",
            run + 1
        );
        let seconds = latencies(connection, requests, count)?;
        best.p50 = best.p50.min(1e3 * percentile(&seconds, 0.5));
        best.p99 = best.p99.min(1e3 * percentile(&seconds, 0.99));
    }
    Ok(best)
}
