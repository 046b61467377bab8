//! `status --memory`: what the admin address of a running server says of its memory.

use std::{io, time::Duration};

use serde_json::Value;
use tenancy_memory::process::{HumanBytes, Reading};
use tenancy_server::admin::{MemoryReport, MemoryRow};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use url::Url;

use crate::{
    CliContext, CliError,
    output::{Output, moment, printable},
};

/// Where a server's admin address mostly is.
const USUAL: &str = "http://127.0.0.1:2113";

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of an answer: some ten thousand tenants.
const LARGEST: u64 = 16 << 20;

/// So many tenants and routes are shown, those that needed most at a time first. `--json` has all.
const SHOWN: usize = 20;

/// Shows it.
pub(crate) async fn run(
    admin: Option<&str>,
    context: &CliContext,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let admin = match admin {
        Some(admin) => admin.to_owned(),
        None => of_settings(context)?,
    };
    let body = ask(&admin).await?;
    let report: MemoryReport = serde_json::from_slice(&body)
        .map_err(|error| CliError::failed(format!("{admin} is no admin address of this version: {error}")))?;
    if out.is_json() {
        // As it came: what this version does not know is passed on.
        let whole: Value = serde_json::from_slice(&body).unwrap_or_default();
        return out.json(&whole);
    }
    write(&report, out)
}

fn of_settings(context: &CliContext) -> Result<String, CliError> {
    let listen = context.settings()?.settings.admin.listen;
    Ok(listen.map_or_else(|| USUAL.to_owned(), |listen| format!("http://{listen}")))
}

async fn ask(admin: &str) -> Result<Vec<u8>, CliError> {
    let url = Url::parse(admin).map_err(|error| CliError::usage(format!("{admin:?} is no URL: {error}")))?;
    let (Some(host), Some(port), "http") = (url.host_str(), url.port_or_known_default(), url.scheme()) else {
        return Err(CliError::usage(format!("{admin:?}: give a URL such as {USUAL}")));
    };
    let unreachable = |error: io::Error| {
        CliError::failed(format!("{host}:{port} does not answer: {error}"))
            .advise("Is the server running, and with an admin address? `admin.listen` of its settings says where; --admin tells this command.")
    };
    let exchange = exchange(host, port);
    let raw = match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(answer) => answer.map_err(unreachable)?,
        Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
    };
    body_of(&raw).map_err(|reason| CliError::failed(format!("{host}:{port}: {reason}")))
}

/// HTTP/1.0: the answer ends with the connection.
async fn exchange(host: &str, port: u16) -> io::Result<Vec<u8>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut connection = TcpStream::connect((bare, port)).await?;
    let request = format!("GET /memory HTTP/1.0\r\nHost: {host}:{port}\r\nAccept: application/json\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut raw = Vec::new();
    connection.take(LARGEST).read_to_end(&mut raw).await?;
    Ok(raw)
}

fn body_of(raw: &[u8]) -> Result<Vec<u8>, String> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = end
        .map(|end| (&raw[..end], &raw[end + 4..]))
        .ok_or("that is no answer in HTTP")?;
    let head = String::from_utf8_lossy(head);
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" {
        return Ok(body.to_vec());
    }
    let said: String = String::from_utf8_lossy(body).chars().take(200).collect();
    Err(format!(
        "it answers {}: {}",
        printable(status),
        printable(said.trim())
    ))
}

fn write(report: &MemoryReport, out: &mut Output<'_>) -> Result<(), CliError> {
    let process = &report.process;
    let growth = process.growth;
    let grows = match growth.bytes_per_1000_requests {
        Some(bytes) => format!(
            "{} for 1,000 requests, over {} of them",
            signed(bytes),
            growth.requests
        ),
        None => "not known yet".to_owned(),
    };
    let taken = i64::try_from(process.taken_at_ms).ok().and_then(moment);
    let mut facts = vec![
        ("allocator", format!("{:?}", process.allocator).to_lowercase()),
        ("live", process.heap.allocated.to_string()),
        ("resident", process.resident.to_string()),
        ("peak", process.peak.to_string()),
        ("resident beyond live", process.beyond_live.to_string()),
        ("outside of the allocator", process.unattributed.to_string()),
        ("limit", process.control_group.limit.to_string()),
        ("of it used", process.control_group.current.to_string()),
        ("requests", process.requests.to_string()),
        ("growth", grows),
        ("seen at", taken.unwrap_or_else(|| "-".to_owned())),
    ];
    if let Some(purger) = report.purger {
        let given_back = Reading::Bytes(purger.given_back_bytes);
        facts.push(("purges", format!("{}, gave back {given_back}", purger.purges)));
    }
    out.facts(facts)?;
    if let Some(tables) = &report.tables {
        rows("TENANT", &tables.tenants, out)?;
        rows("ROUTE", &tables.routes, out)?;
    }
    Ok(())
}

fn rows(heading: &'static str, rows: &[MemoryRow], out: &mut Output<'_>) -> Result<(), CliError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<&MemoryRow> = rows.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.peak));
    out.line("")?;
    let shown = rows.iter().take(SHOWN).map(|row| {
        [
            printable(&row.name),
            row.requests.to_string(),
            HumanBytes(row.allocated).to_string(),
            HumanBytes(row.peak).to_string(),
            signed(row.retained),
        ]
    });
    out.table([heading, "REQUESTS", "ALLOCATED", "PEAK", "RETAINED"], shown)?;
    match rows.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => out.line(format_args!("and {more} more, in --json")),
    }
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", HumanBytes(bytes.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_a_good_answer_is_taken_and_every_other_is_told_without_escapes() {
        assert_eq!(body_of(b"HTTP/1.0 200 OK\r\na: b\r\n\r\n{}").unwrap(), b"{}");
        let refused = body_of(b"HTTP/1.0 403 Forbidden\r\n\r\nby \x1b[31mname\n").unwrap_err();
        assert!(
            refused.contains("403") && refused.contains("name") && !refused.contains('\x1b'),
            "{refused:?}"
        );
        for broken in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"\r\n\r\n"] {
            assert!(body_of(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn what_shrinks_has_a_sign() {
        assert_eq!(signed(-2048), "-2.0 KiB");
        assert_eq!(signed(i64::MIN), "-8.0 EiB");
        assert_eq!(signed(0), "0 B");
    }
}
