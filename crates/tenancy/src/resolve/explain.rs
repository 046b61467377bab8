//! Why a request gets the tenant that it gets, step by step.

use std::{fmt, sync::Arc};

use http::Request;
use serde::Serialize;
use tenancy_core::{Identification, TenantId};

use super::{
    authority::HeaderScan,
    dev_tenant::DevTenant,
    lookup::Now,
    resolver::{Outcome, Refusal, Resolver, head_for_identifiers},
};
use crate::{Tenant, gate::GatePolicy};

/// What each part of the resolution saw in a request, and what came of it.
///
/// For operators: it names tenants and quotes the request, an API key that identifies included. Do not log it where
/// such keys are used. `Display` prints a line for each step.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The steps, in order.
    pub steps: Vec<ExplanationStep>,
    /// The tenant that the request is for.
    pub tenant: Option<TenantId>,
    /// Whether the request is central.
    pub central: bool,
    /// What came of it, in words.
    pub outcome: String,
    /// The status that a refusal is answered with; `None` when the request reaches the application. In maintenance,
    /// that for clients that are neither redirected nor know the bypass.
    pub status: Option<u16>,
}

/// One step of an [`Explanation`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplanationStep {
    /// Which part looked: `host`, the name of an identifier, `look-up`, `gate`.
    pub part: String,
    /// What it found.
    pub finding: String,
}

impl ExplanationStep {
    fn new(part: &str, finding: String) -> Self {
        Self {
            part: part.to_owned(),
            finding,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.part.len()).max().unwrap_or(0);
        for step in &self.steps {
            writeln!(f, "{:width$}  {}", step.part, step.finding)?;
        }
        write!(f, "{:width$}  {}", "=>", self.outcome)
    }
}

/// What can be said of a request before the store is asked. Keeps nothing of it, so that its body need not be
/// `Sync` for the rest to be a future that is `Send`.
pub(crate) struct FirstLook {
    resolver: Arc<Resolver>,
    gate: Option<GatePolicy>,
    steps: Vec<ExplanationStep>,
    outcome: Outcome,
    is_exempt: bool,
}

impl FirstLook {
    pub(crate) fn at<B>(resolver: &Arc<Resolver>, gate: Option<GatePolicy>, request: &Request<B>) -> Self {
        let mut steps = Vec::new();
        look_at_request(resolver, request, &mut |part, finding| {
            steps.push(ExplanationStep::new(part, finding));
        });
        let exempted = resolver
            .exempts_acme
            .then(|| resolver.exempted(request))
            .flatten();
        let is_exempt = exempted.is_some();
        if is_exempt {
            let finding = "a challenge of ACME, which no identifier is asked about";
            steps.push(ExplanationStep::new("path", finding.to_owned()));
        }
        Self {
            resolver: Arc::clone(resolver),
            gate,
            steps,
            outcome: exempted.unwrap_or_else(|| resolver.resolve(request)),
            is_exempt,
        }
    }

    /// Asks the store where that is needed.
    pub(crate) async fn explain(self) -> Explanation {
        let mut steps = self.steps;
        let settled = match self.outcome {
            Outcome::Found(found) => Ok(found),
            Outcome::Refused(refusal) => Err(refusal),
            Outcome::Ask(pending) => {
                let finding = "the answer is not known here; the store is asked";
                steps.push(ExplanationStep::new("look-up", finding.to_owned()));
                self.resolver.settle(pending).await
            }
        };
        match settled {
            Err(refusal) => refused(steps, &refusal),
            Ok(found) => match found.resolution.tenant() {
                None => Explanation {
                    steps,
                    tenant: None,
                    central: true,
                    outcome: if self.is_exempt {
                        "central: challenges of ACME are, whatever their host".to_owned()
                    } else {
                        "central: the host is configured as central and no identifier is present".to_owned()
                    },
                    status: None,
                },
                Some(tenant) => {
                    let source = found.resolution.source().map_or("", |source| source.as_str());
                    let finding = format!("tenant {tenant}, from the {source}");
                    steps.push(ExplanationStep::new("look-up", finding));
                    gated(steps, tenant, self.gate)
                }
            },
        }
    }
}

fn look_at_request<B>(resolver: &Arc<Resolver>, request: &Request<B>, step: &mut dyn FnMut(&str, String)) {
    let scan = HeaderScan::of(request.headers());
    let authority = match resolver.authority(request, &scan) {
        Ok(authority) => authority,
        Err(refusal) => return step("host", refusal.detail.into_owned()),
    };
    let host = authority.host.name();
    let central = resolver.is_central(&authority.host);
    let by = if authority.by_proxy {
        "named by a trusted proxy"
    } else {
        "named by the client"
    };
    let side = if central { ", a central host" } else { "" };
    step("host", format!("{host}, {by}{side}"));
    if scan.has_forwarding() && !authority.by_proxy {
        step(
            "host",
            "forwarding headers are ignored: the peer is no trusted proxy".to_owned(),
        );
    }
    let head = head_for_identifiers(request, &authority.host, central);
    for (_, name, identifier) in resolver.chain.identifiers() {
        let finding = match identifier.identify(&head) {
            Identification::Absent => "absent".to_owned(),
            Identification::Key(identified) => {
                let key = identified.key();
                let known = match resolver.lookup.find_now(key.kind(), key.value()) {
                    Now::Tenant(tenant, source) => format!("leads to {tenant} ({})", source.as_str()),
                    Now::NoSuchTenant => "leads nowhere".to_owned(),
                    Now::MustAsk => "not known here".to_owned(),
                };
                format!("{key}, {known}")
            }
            Identification::Invalid(why) => format!("present but malformed: {why}"),
            _ => "present, but it can name no tenant".to_owned(),
        };
        step(name, finding);
    }
    if let Some(judged) = resolver.dev_tenant(request, &scan, &authority) {
        let finding = match judged {
            Ok(dev) => format!(
                "{}, for the peer is on this machine and names no tenant",
                dev.key()
            ),
            Err(why) => format!("not used: {why}"),
        };
        step(DevTenant::NAME, finding);
    }
}

fn refused(steps: Vec<ExplanationStep>, refusal: &Refusal) -> Explanation {
    let status = refusal.reason.default_status();
    Explanation {
        steps,
        tenant: None,
        central: false,
        outcome: format!("{status}: {} ({})", refusal.detail, refusal.reason),
        status: Some(status.as_u16()),
    }
}

fn gated(mut steps: Vec<ExplanationStep>, tenant: &Tenant, gate: Option<GatePolicy>) -> Explanation {
    let refused = gate.and_then(|gate| gate.would_refuse(tenant));
    if let Some(status) = refused {
        steps.push(ExplanationStep {
            part: "gate".to_owned(),
            finding: format!("closed: the tenant is {}", tenant.gate_state().as_str()),
        });
        return Explanation {
            steps,
            tenant: Some(tenant.id().clone()),
            central: false,
            outcome: format!("{status}: the gate is closed"),
            status: Some(status.as_u16()),
        };
    }
    Explanation {
        steps,
        tenant: Some(tenant.id().clone()),
        central: false,
        outcome: format!("tenant {tenant}"),
        status: None,
    }
}
