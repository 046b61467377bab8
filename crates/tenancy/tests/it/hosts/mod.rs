//! Who a request is for, over real sockets, written byte by byte: a client library would not send most of this.

mod acme;
mod answers;
mod connections;
mod frames;
mod identifiers;
mod names;
mod proxies;
mod random;
mod requests;
mod site;
mod streams;
mod targets;
mod wire;

use site::{Site, tenants};
use wire::Answer;

/// What a row of a table expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// 200, by the handler, for this tenant.
    Tenant(&'static str),
    /// This status, by the stack, for this reason in the log.
    Refused(u16, &'static str),
    /// This status, by hyper: the stack is not asked.
    NotAsked(u16),
}

use Expect::{NotAsked, Refused, Tenant};

const BAD_HOST: Expect = Refused(400, "bad_host");
const UNKNOWN: Expect = Refused(404, "unknown_tenant");
const NO_TUNNEL: Expect = Refused(501, "connect_refused");

const ACME: Expect = Tenant("acme");
const BETA: Expect = Tenant("beta");

impl Expect {
    /// What is left of it where only these tenants exist.
    fn among(self, tenants: &[String]) -> Self {
        match self {
            Tenant(tenant) if !tenants.iter().any(|there| there == tenant) => UNKNOWN,
            other => other,
        }
    }

    /// Why the answer is not what is expected. `log` is what was written while it was made.
    fn fault_of(self, answer: &Answer, log: &str) -> Option<String> {
        match self {
            Tenant(tenant) => {
                let by = (
                    answer.header("x-tenant"),
                    answer.text().lines().next().map(str::to_owned),
                );
                let right = by == (Some(tenant.to_owned()), Some(format!("tenant {tenant}")));
                (answer.status != 200 || !right).then(|| format!("not an answer of {tenant}"))
            }
            Refused(status, reason) => fault_of_refusal(answer, status, reason, log),
            NotAsked(status) => {
                let asked =
                    answer.header("tenancy-reference").is_some() || answer.header("x-tenant").is_some();
                (answer.status != status || asked).then(|| format!("not a {status} of the server"))
            }
        }
    }
}

/// What holds for every request that the stack refuses.
fn fault_of_refusal(answer: &Answer, status: u16, reason: &str, log: &str) -> Option<String> {
    if answer.status != status {
        return Some(format!("not a {status} for {reason}"));
    }
    let Some(reference) = answer.header("tenancy-reference") else {
        return Some("no reference".to_owned());
    };
    let noted = |line: &str| line.contains(&reference) && line.contains(&format!("reason=\"{reason}\""));
    let raw = String::from_utf8_lossy(&answer.raw).to_lowercase();
    let body = answer.text();
    let faults = [
        (
            !log.lines().any(noted),
            "the log does not give the reason beside the reference",
        ),
        (
            !body.is_empty() && !body.contains(&reference),
            "the body has another reference",
        ),
        (
            answer.header("cache-control").as_deref() != Some("no-store"),
            "may be cached",
        ),
        (answer.body.len() > 200, "a large body"),
        (answer.header("x-tenant").is_some(), "the handler was called"),
        (
            ["acme", "beta", "app.test", "evil"]
                .iter()
                .any(|sent| raw.contains(sent)),
            "it repeats what was sent",
        ),
    ];
    let found = faults.into_iter().find(|(is_there, _)| *is_there);
    found.map(|(_, fault)| fault.to_owned())
}

/// Bytes as a test's message shows them.
fn shown(bytes: &[u8]) -> String {
    let (start, more) = bytes.split_at(bytes.len().min(600));
    let start = start.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n    ");
    if more.is_empty() {
        format!("    {start}")
    } else {
        format!("    {start} … and {} bytes more", more.len())
    }
}
