//! Whether the example server grows with its requests: those that end well, those that clients give up, those that panic.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::Duration,
};

use serde_json::Value;
use tenancy_memory::process::{Growth, GrowthMeter};

use crate::{
    Extent, Failure,
    load::{Connection, Programs, Served, Server, request_bytes_of, round},
    report::{Report, Row, number},
};

const CONNECTIONS: usize = 8;
const TENANTS: usize = 5;
const SAMPLES: usize = 64;
/// How often the server looks at its memory, and how long a sample takes to be newer than the last request.
const LOOK: Duration = Duration::from_millis(10);
const SETTLE: Duration = Duration::from_millis(60);
/// Bytes for 1,000 requests.
const BUDGET: f64 = 1024.0;

pub(crate) fn measure(report: &mut Report, extent: Extent, folder: &Path) -> Result<(), Failure> {
    let data = folder.join("growth");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    let server = start(&data)?;
    let (requests, broken) = match extent {
        Extent::Full => (1_000_000, 10_000),
        Extent::Check => (100_000, 2_000),
    };
    let rows = [
        row("requests of five tenants", served(&server, requests)?)?,
        row("requests that clients gave up", given_up(&server, broken)?)?,
        row("requests that panicked", panicked(&server, broken)?)?,
        closed(&server, 2 * broken)?,
    ];
    report.add("the example server, growth for 1,000 requests", rows);
    drop(server);
    Ok(fs::remove_dir_all(&data)?)
}

fn start(data: &Path) -> Result<Server, Failure> {
    let programs = Programs::build()?;
    let tenants = data.join("tenants.toml");
    let list: String = (0..TENANTS)
        .map(|at| format!("[[tenant]]\nslug = \"tenant{at}\"\n"))
        .collect();
    fs::write(&tenants, list)?;
    Server::start_with(&programs, Served::Example, &data.join("data"), |command| {
        command
            .args(["--admin-listen", "127.0.0.1:0", "--debug-routes", "--tenants"])
            .arg(&tenants)
            .env("TENANCY__MEMORY__SAMPLE_EVERY_MS", LOOK.as_millis().to_string())
            // Nothing but the requests is to be seen.
            .env("TENANCY__MEMORY__PURGE_OVER_BYTES", "0");
    })
}

fn row(name: &str, growth: Growth) -> Result<Row, Failure> {
    let slope = growth.bytes_per_1000_requests.ok_or("too few samples")?;
    let note = format!("over {} requests", number(growth.requests as f64));
    Ok(Row::shown(name, "bytes", slope as f64).at_most(BUDGET).note(note))
}

fn requests_of(path: &str) -> Vec<Vec<u8>> {
    (0..TENANTS)
        .map(|at| request_bytes_of(&format!("tenant{at}.localhost"), path))
        .collect()
}

fn served(server: &Server, count: usize) -> Result<Growth, Failure> {
    let requests = requests_of("/about");
    let mut connections: Vec<Connection> = (0..CONNECTIONS)
        .map(|_| server.connect())
        .collect::<Result<_, _>>()?;
    let each = (count / SAMPLES / TENANTS / CONNECTIONS).max(1);
    eprintln!("growth    {count} requests of {TENANTS} tenants");
    measured(server, each * TENANTS * CONNECTIONS, SAMPLES, || {
        for request in &requests {
            round(server, &mut connections, request, each)?;
        }
        Ok(())
    })
}

fn given_up(server: &Server, count: usize) -> Result<Growth, Failure> {
    let requests = requests_of("/debug/wait");
    let batch = count / 16;
    eprintln!("growth    {count} requests that are given up");
    measured(server, batch, 16, || {
        let requests = requests.iter().cycle().take(batch);
        requests
            .into_iter()
            .try_for_each(|request| server.hang_up(request))
    })
}

fn panicked(server: &Server, count: usize) -> Result<Growth, Failure> {
    let requests = requests_of("/debug/panic");
    let batch = count / 16;
    let mut connection = server.connect()?;
    eprintln!("growth    {count} requests that panic");
    measured(server, batch, 16, || {
        let requests = requests.iter().cycle().take(batch);
        requests
            .into_iter()
            .try_for_each(|request| connection.exchange_for(request, 500))
    })
}

/// Runs batches, a quarter more for warming up, with a sample after each.
fn measured(
    server: &Server,
    batch: usize,
    batches: usize,
    mut run: impl FnMut() -> Result<(), Failure>,
) -> Result<Growth, Failure> {
    for _ in 0..(batches / 4) {
        run()?;
    }
    let mut meter = GrowthMeter::new(0);
    meter.record(0, live(server)?);
    for at in 1..=batches {
        run()?;
        meter.record((at * batch) as u64, live(server)?);
    }
    Ok(meter.growth())
}

/// What jemalloc says is live in the server, once what was sent before is over.
fn live(server: &Server) -> Result<u64, Failure> {
    thread::sleep(SETTLE);
    memory(server)?["process"]["heap"]["allocated"]
        .as_u64()
        .ok_or_else(|| "the server does not say what is live".into())
}

fn memory(server: &Server) -> Result<Value, Failure> {
    let address = server.admin()?;
    let mut connection = TcpStream::connect(address)?;
    write!(connection, "GET /memory HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("no answer of the admin address")?;
    Ok(serde_json::from_str(body)?)
}

/// The accounts of requests that were given up or panicked are all closed: routes count those that are.
fn closed(server: &Server, sent: usize) -> Result<Row, Failure> {
    thread::sleep(SETTLE);
    let memory = memory(server)?;
    let routes = memory["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_broken = routes.iter().filter(|route| {
        let name = route["name"].as_str().unwrap_or_default();
        name.ends_with("/debug/wait") || name.ends_with("/debug/panic")
    });
    let closed: u64 = of_broken.filter_map(|route| route["requests"].as_u64()).sum();
    // Those of the warm-up, too.
    let wanted = (sent / 2 / 16 * (16 + 4) * 2) as f64;
    Ok(Row::shown("accounts of those that are closed", "accounts", closed as f64).at_least(wanted))
}
