//! Memory, and the behaviour under floods and hang-ups.

use std::{env, process::Command};

use serde::de::DeserializeOwned;

use crate::{
    Extent, Failure,
    report::{Report, Row, number},
    scale::{Flood, HangUps, Memory},
};

const TENANTS: usize = 1_000_000;
const HOSTS: usize = 1_000_000;
const CLIENTS: usize = 400;
/// `ResolveSettings::miss_burst`: with the clock standing still, all that strangers may cost the store.
const MISS_BURST: f64 = 200.0;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub(crate) fn measure(report: &mut Report, extent: Extent) -> Result<(), Failure> {
    eprintln!("memory    {} tenants, a slug each", number(TENANTS as f64));
    let slugs: Memory = child(&["memory", &TENANTS.to_string()])?;
    report.add("scale: memory", memory_rows("a slug each", &slugs));
    report.add(
        "scale: memory",
        [Row::shown(
            format!("one change among {} tenants copies", number(TENANTS as f64)),
            "bytes",
            slugs.largest_change as f64,
        )
        .at_most(65_536.0)
        .note("all that is allocated, the largest of 200 changes")],
    );
    if extent == Extent::Full {
        eprintln!(
            "memory    {} tenants, a slug and a domain each",
            number(TENANTS as f64)
        );
        let both: Memory = child(&["memory", &TENANTS.to_string(), "--domains"])?;
        let rows = memory_rows("a slug and a domain each", &both);
        report.add("scale: memory", rows.map(Row::without_budget));
    }

    eprintln!("strangers {} unknown hosts, complete list", number(HOSTS as f64));
    let listed: Flood = child(&["flood", &HOSTS.to_string()])?;
    report.add("strangers", flood_rows("complete list", &listed, 0.0));
    eprintln!(
        "strangers {} unknown hosts, store that only finds",
        number(HOSTS as f64)
    );
    let found: Flood = child(&["flood", &HOSTS.to_string(), "--finds-only"])?;
    report.add(
        "strangers",
        flood_rows("store that only finds", &found, MISS_BURST),
    );

    let hang_ups: HangUps = child(&["hang-ups", &CLIENTS.to_string()])?;
    let name = |what: &str| format!("{CLIENTS} clients hang up during one cold look-up: {what}");
    report.add(
        "strangers",
        [
            Row::shown(name("store calls"), "calls", hang_ups.store_calls as f64).at_most(1.0),
            Row::shown(name("panics"), "panics", hang_ups.panics as f64).at_most(0.0),
        ],
    );
    Ok(())
}

fn memory_rows(keys: &str, memory: &Memory) -> [Row; 2] {
    let each = |bytes: f64| (bytes / memory.tenants as f64 - memory.own_text as f64).round();
    let note = format!("beside {} bytes of its own id and keys", memory.own_text);
    [
        Row::shown(
            format!("resident memory of a tenant, {keys}"),
            "bytes",
            each(memory.resident as f64),
        )
        .at_most(300.0)
        .note(&note),
        Row::shown(
            format!("heap of a tenant as asked for, {keys}"),
            "bytes",
            each(memory.heap as f64),
        )
        .note(&note),
    ]
}

fn flood_rows(store: &str, flood: &Flood, most_calls: f64) -> [Row; 2] {
    let name = |what: &str| format!("{} unknown hosts, {store}: {what}", number(flood.hosts as f64));
    let answers = format!(
        "{} × 404, {} × 503",
        number(flood.not_found as f64),
        number(flood.unavailable as f64)
    );
    [
        Row::shown(name("store calls"), "calls", flood.store_calls as f64)
            .at_most(most_calls)
            .note(answers),
        Row::shown(name("memory growth"), "bytes", flood.resident as f64).at_most(MEBIBYTE),
    ]
}

/// Runs this program again, for one measurement in a process of its own.
fn child<T: DeserializeOwned>(arguments: &[&str]) -> Result<T, Failure> {
    let output = Command::new(env::current_exe()?).args(arguments).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}\n{said}", arguments.join(" "), output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
