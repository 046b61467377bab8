//! What is counted and timed of the meter. The same code in two programs, of which one has it as its allocator.

#![expect(
    clippy::print_stdout,
    reason = "two programs that print what they have counted"
)]

use std::{
    convert::Infallible,
    env,
    error::Error,
    hint::black_box,
    io::{self, BufRead},
    pin::{Pin, pin},
    process::ExitCode,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use axum::{
    body::Body,
    http::{Request, Response},
};
use serde::{Deserialize, Serialize};
use tenancy::{
    core::{Clock, SystemClock},
    memory::{MemoryLayer, MemorySettings},
};
use tenancy_memory::{Account, switch};
use tower::{Layer, Service, ServiceExt};

/// What a program says when it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Allocations of all requests, where the meter counts them.
    pub allocations: u64,
    /// Bytes by which the account is wrong.
    pub wrong_bytes: u64,
    /// Nanoseconds for each time, at best.
    pub nanoseconds: f64,
}

/// Allocations of the request that is measured, in each of its polls.
const PAIRS: usize = 10;
const POLLS: usize = 5;

/// Runs `SCENARIO TIMES` as it is named on the command line.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tenancy-bench-memory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let scenario = arguments.next().ok_or("no scenario is named")?;
    let times: usize = arguments.next().ok_or("it is not said how often")?.parse()?;
    let said = match scenario.as_str() {
        "pair" => in_part(times, pair),
        "pair-off" => {
            switch(false);
            in_part(times, pair)
        }
        "loop" => counted(times, &mut || black_box(())),
        "poll" => {
            let mut part = Account::new().part();
            counted(times, &mut || part.run(|| black_box(())))
        }
        "request" => request(times, &handler()),
        "request-metered" => {
            let layer = MemoryLayer::new(MemorySettings::new());
            let mut said = request(times, &layer.layer(handler()))?;
            said.allocations += layer.totals()?.allocations;
            Ok(said)
        }
        "time-pair" => Ok(timed(times)),
        "accuracy" => Ok(accuracy(times)),
        _ => return Err(format!("there is no scenario {scenario:?}").into()),
    }?;
    println!("{}", serde_json::to_string(&said)?);
    Ok(())
}

#[inline(never)]
fn pair() {
    drop(black_box(Vec::<u8>::with_capacity(64)));
}

fn in_part(times: usize, mut work: impl FnMut()) -> io::Result<Said> {
    let mut part = Account::new().part();
    let said = part.run(|| counted(times, &mut work));
    drop(part);
    said
}

/// Says that it is ready, waits for a line, and does the work so often within the function that is counted.
fn counted(times: usize, work: &mut impl FnMut()) -> io::Result<Said> {
    for _ in 0..200 {
        work();
    }
    println!("ready");
    io::stdin().lock().read_line(&mut String::new())?;
    counted_request(times, work);
    Ok(Said::default())
}

/// Callgrind counts within the function of this name.
#[inline(never)]
fn counted_request(times: usize, work: &mut impl FnMut()) {
    for _ in 0..times {
        work();
    }
    black_box(work);
}

/// A handler that waits often.
struct Waits {
    polls_left: usize,
}

impl Future for Waits {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        (0..PAIRS).for_each(|_| pair());
        self.polls_left -= 1;
        if self.polls_left == 0 {
            return Poll::Ready(Ok(Response::new(Body::empty())));
        }
        Poll::Pending
    }
}

fn handler() -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone {
    tower::service_fn(|_: Request<Body>| Waits { polls_left: POLLS })
}

fn request<S>(times: usize, service: &S) -> io::Result<Said>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let send = || {
        let mut future = pin!(service.clone().oneshot(Request::new(Body::empty())));
        let mut context = Context::from_waker(Waker::noop());
        while future.as_mut().poll(&mut context).is_pending() {}
    };
    // What is allocated outside of the request's own account.
    let account = Account::new();
    let mut part = account.part();
    let said = part.run(|| counted(times, &mut || send()))?;
    drop(part);
    Ok(Said {
        allocations: account.usage().allocations,
        ..said
    })
}

/// The shortest of many short runs: what else the machine does only ever adds.
fn timed(times: usize) -> Said {
    const PAIRS_IN_A_RUN: u32 = 1_000;
    let clock = SystemClock::new();
    let mut part = Account::new().part();
    let shortest = part.run(|| {
        (0..times)
            .map(|_| {
                let began = clock.monotonic();
                (0..PAIRS_IN_A_RUN).for_each(|_| pair());
                clock.monotonic().saturating_sub(began)
            })
            .min()
    });
    let shortest: Duration = shortest.unwrap_or(Duration::MAX);
    Said {
        nanoseconds: shortest.as_secs_f64() * 1e9 / f64::from(PAIRS_IN_A_RUN),
        ..Said::default()
    }
}

/// Blocks of known sizes on eight threads, against the sum of those sizes.
fn accuracy(times: usize) -> Said {
    let work = move |seed: usize| {
        let account = Account::new();
        let mut part = account.part();
        let mut expected = 0;
        for round in 1..=times {
            let size = (seed * 131 + round * 17) % 5_000 + 1;
            expected += part.run(|| {
                let mut block = Vec::<u8>::with_capacity(size);
                block.reserve_exact(2 * size);
                let allocated = size + black_box(&block).capacity();
                drop(block);
                allocated as u64
            });
        }
        drop(part);
        let usage = account.usage();
        usage.allocated.abs_diff(expected) + usage.freed.abs_diff(expected)
    };
    let threads: Vec<_> = (0..8).map(|seed| thread::spawn(move || work(seed))).collect();
    let wrong = threads
        .into_iter()
        .map(|thread| thread.join().unwrap_or(u64::MAX));
    Said {
        wrong_bytes: wrong.fold(0, u64::saturating_add),
        ..Said::default()
    }
}
