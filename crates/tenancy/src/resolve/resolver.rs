//! From a request to its tenant: host rules, identifiers, look-up, conflict policy.

use std::{borrow::Cow, ops::Range, sync::Arc, time::Duration};

use axum::{body::Body, extract::OriginalUri};
use http::{
    Request, Uri,
    uri::{InvalidUriParts, PathAndQuery},
};
use tenancy_core::{Host, Identification, Identified, Identify, KeyKind, RequestHead, TenantKey};

use super::{
    authority::{self, Authority, HeaderScan, Target, TrustedProxies},
    identify::{Chain, ConflictPolicy},
    lookup::{CouldNotTell, Lookup, Now, Source},
};
use crate::{Tenant, rejection::RejectionReason};

pub(crate) struct Resolver {
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) chain: Chain,
    /// Canonical names.
    pub(crate) central_hosts: Box<[Box<str>]>,
    pub(crate) proxies: Option<TrustedProxies>,
}

/// How a request was resolved: for which tenant or for none, and by what.
///
/// Stands in the request's extensions. An extractor of itself; [`Tenant`] and [`Central`](crate::Central) are
/// extracted from it.
#[derive(Clone, Debug)]
pub struct Resolution {
    side: Side,
}

#[derive(Clone, Debug)]
enum Side {
    Tenant {
        tenant: Tenant,
        identifier: Arc<str>,
        key_kind: KeyKind,
        source: Source,
    },
    Central,
}

impl Resolution {
    /// The tenant; `None` for central requests.
    pub fn tenant(&self) -> Option<&Tenant> {
        match &self.side {
            Side::Tenant { tenant, .. } => Some(tenant),
            Side::Central => None,
        }
    }

    /// Whether the request is for no tenant, on a host that was configured as central.
    pub fn is_central(&self) -> bool {
        matches!(self.side, Side::Central)
    }

    /// The name of the identifier that decided, such as `subdomain of example.com`; `None` for central requests.
    pub fn identifier(&self) -> Option<&str> {
        match &self.side {
            Side::Tenant { identifier, .. } => Some(identifier),
            Side::Central => None,
        }
    }

    /// The space of the key that led to the tenant.
    pub fn key_kind(&self) -> Option<KeyKind> {
        match &self.side {
            Side::Tenant { key_kind, .. } => Some(*key_kind),
            Side::Central => None,
        }
    }

    /// Where the answer came from.
    pub fn source(&self) -> Option<Source> {
        match &self.side {
            Side::Tenant { source, .. } => Some(*source),
            Side::Central => None,
        }
    }
}

/// What a request was resolved to, and what is to be done to it.
pub(crate) struct Found {
    pub(crate) resolution: Resolution,
    edits: Edits,
}

/// What the inner service must not see.
#[derive(Clone, Default)]
struct Edits {
    strip: Option<Range<usize>>,
    remove_forwarding: bool,
}

/// Why a request was not resolved.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: RejectionReason,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(reason: RejectionReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry_after: None,
        }
    }

    fn unknown(key: &TenantKey<'_>) -> Self {
        Self::new(
            RejectionReason::UnknownTenant,
            format!("no tenant has the key {key}"),
        )
    }
}

impl From<(RejectionReason, &'static str)> for Refusal {
    fn from((reason, detail): (RejectionReason, &'static str)) -> Self {
        Self::new(reason, detail)
    }
}

impl From<CouldNotTell> for Refusal {
    fn from(error: CouldNotTell) -> Self {
        Self {
            reason: if error.over_budget {
                RejectionReason::OverBudget
            } else {
                RejectionReason::StoreUnavailable
            },
            detail: error.to_string().into(),
            retry_after: Some(error.retry_after),
        }
    }
}

/// The first answer: all that can be said without waiting.
pub(crate) enum Outcome {
    Found(Found),
    Refused(Refusal),
    Ask(Pending),
}

/// A request that waits for the store.
pub(crate) struct Pending {
    decided: Option<Candidate>,
    questions: Vec<Question>,
    edits: Edits,
}

struct Candidate {
    tenant: Tenant,
    identifier: Arc<str>,
    key_kind: KeyKind,
    source: Source,
}

struct Question {
    position: usize,
    identifier: Arc<str>,
    key: TenantKey<'static>,
}

impl Candidate {
    fn into_resolution(self) -> Resolution {
        Resolution {
            side: Side::Tenant {
                tenant: self.tenant,
                identifier: self.identifier,
                key_kind: self.key_kind,
                source: self.source,
            },
        }
    }
}

pub(super) fn target<B>(request: &Request<B>) -> Target<'_> {
    Target {
        method: request.method(),
        uri: request.uri(),
        version: request.version(),
        headers: request.headers(),
        extensions: request.extensions(),
    }
}

/// Which host a request is for and how the client came, where that can be told.
pub(crate) fn authority_of<'a, B>(
    request: &'a Request<B>,
    proxies: Option<&TrustedProxies>,
) -> Option<Authority<'a>> {
    let scan = HeaderScan::of(request.headers());
    authority::effective_host(&target(request), &scan, proxies).ok()
}

impl Resolver {
    pub(super) fn authority<'a, B>(
        &self,
        request: &'a Request<B>,
        scan: &HeaderScan<'a>,
    ) -> Result<Authority<'a>, Refusal> {
        Ok(authority::effective_host(
            &target(request),
            scan,
            self.proxies.as_ref(),
        )?)
    }

    pub(super) fn is_central(&self, host: &Host<'_>) -> bool {
        self.central_hosts.iter().any(|central| **central == *host.name())
    }

    /// Resolves a request as far as that goes without waiting. Allocates nothing when the tenant is known.
    pub(crate) fn resolve<B>(&self, request: &Request<B>) -> Outcome {
        let scan = HeaderScan::of(request.headers());
        let authority = match self.authority(request, &scan) {
            Ok(authority) => authority,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let mut edits = Edits {
            strip: None,
            remove_forwarding: scan.has_forwarding() && !authority.by_proxy,
        };
        let central = self.is_central(&authority.host);
        let head = head_for_identifiers(request, &authority.host, central);
        match self.identify(&head, &mut edits) {
            Ok(Identity::Tenant(candidate)) => Outcome::Found(Found {
                resolution: candidate.into_resolution(),
                edits,
            }),
            Ok(Identity::Nobody) if central => Outcome::Found(Found {
                resolution: Resolution { side: Side::Central },
                edits,
            }),
            Ok(Identity::Nobody) => Outcome::Refused(Refusal::new(
                RejectionReason::UnknownTenant,
                "no identifier is present and the host is not central",
            )),
            Ok(Identity::Unclear(decided, questions)) => Outcome::Ask(Pending {
                decided,
                questions,
                edits,
            }),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn identify(&self, head: &RequestHead<'_>, edits: &mut Edits) -> Result<Identity, Refusal> {
        if let Some((name, identifier)) = self.chain.single() {
            return self.identify_by_one(head, edits, name, identifier);
        }
        let mut decided: Option<Candidate> = None;
        let mut questions = Vec::new();
        for (position, name, identifier) in self.chain.identifiers() {
            let Some(identified) = sight(identifier.identify(head), name)? else {
                continue;
            };
            edits.strip = edits.strip.take().or(identified.stripped_path());
            match self.look_up(identified, name)? {
                Ok(candidate) => decided = Some(agree(decided.take(), candidate)?),
                Err(key) => questions.push(Question {
                    position,
                    identifier: Arc::clone(name),
                    key,
                }),
            }
            if self.chain.policy() == ConflictPolicy::FirstPresent {
                break;
            }
        }
        Ok(match (decided, questions.is_empty()) {
            (None, true) => Identity::Nobody,
            (Some(candidate), true) => Identity::Tenant(candidate),
            (decided, false) => Identity::Unclear(decided, questions),
        })
    }

    fn identify_by_one(
        &self,
        head: &RequestHead<'_>,
        edits: &mut Edits,
        name: &Arc<str>,
        identifier: &dyn Identify,
    ) -> Result<Identity, Refusal> {
        let Some(identified) = sight(identifier.identify(head), name)? else {
            return Ok(Identity::Nobody);
        };
        edits.strip = identified.stripped_path();
        Ok(match self.look_up(identified, name)? {
            Ok(candidate) => Identity::Tenant(candidate),
            Err(key) => Identity::Unclear(
                None,
                vec![Question {
                    position: 0,
                    identifier: Arc::clone(name),
                    key,
                }],
            ),
        })
    }

    /// The tenant of a key, or the key itself where the store must be asked.
    fn look_up(
        &self,
        identified: Identified<'_>,
        identifier: &Arc<str>,
    ) -> Result<Result<Candidate, TenantKey<'static>>, Refusal> {
        let key = identified.into_key();
        match self.lookup.find_now(key.kind(), key.value()) {
            Now::Tenant(tenant, source) => Ok(Ok(Candidate {
                tenant,
                identifier: Arc::clone(identifier),
                key_kind: key.kind(),
                source,
            })),
            Now::NoSuchTenant => Err(Refusal::unknown(&key)),
            Now::MustAsk => Ok(Err(key.into_owned())),
        }
    }

    /// Asks the store what is left to ask. May be dropped at any await: a question under way goes on for others.
    pub(crate) async fn settle(self: Arc<Self>, mut pending: Pending) -> Result<Found, Refusal> {
        pending.questions.sort_by_key(|question| question.position);
        for Question { identifier, key, .. } in pending.questions {
            let key_kind = key.kind();
            let Some((tenant, source)) = self.lookup.ask(key.clone()).await? else {
                return Err(Refusal::unknown(&key));
            };
            let candidate = Candidate {
                tenant,
                identifier,
                key_kind,
                source,
            };
            pending.decided = Some(agree(pending.decided.take(), candidate)?);
        }
        match pending.decided {
            Some(candidate) => Ok(Found {
                resolution: candidate.into_resolution(),
                edits: pending.edits,
            }),
            None => Err(Refusal::new(RejectionReason::UnknownTenant, "nothing was asked")),
        }
    }
}

enum Identity {
    Tenant(Candidate),
    Nobody,
    Unclear(Option<Candidate>, Vec<Question>),
}

/// On a central host the host names nobody; other identifiers still may.
pub(super) fn head_for_identifiers<'a, B>(
    request: &'a Request<B>,
    host: &'a Host<'a>,
    central: bool,
) -> RequestHead<'a> {
    let head = RequestHead::of(request);
    if central { head } else { head.with_host(host) }
}

fn sight<'a>(seen: Identification<'a>, name: &Arc<str>) -> Result<Option<Identified<'a>>, Refusal> {
    match seen {
        Identification::Absent => Ok(None),
        Identification::Key(identified) => Ok(Some(identified)),
        Identification::Invalid(why) => Err(Refusal::new(
            RejectionReason::InvalidIdentifier,
            format!("{name}: {why}"),
        )),
        // What a later version of an identifier may say is no tenant to this one.
        _ => Err(Refusal::new(
            RejectionReason::UnknownTenant,
            format!("{name}: what is there can name no tenant"),
        )),
    }
}

/// The earlier identifier stays the one that decided.
fn agree(decided: Option<Candidate>, candidate: Candidate) -> Result<Candidate, Refusal> {
    match decided {
        None => Ok(candidate),
        Some(decided) if decided.tenant == candidate.tenant => Ok(decided),
        Some(decided) => Err(Refusal::new(
            RejectionReason::IdentifiersDisagree,
            format!(
                "{} leads to {}, {} to {}",
                decided.identifier, decided.tenant, candidate.identifier, candidate.tenant
            ),
        )),
    }
}

impl Found {
    /// Leaves in the request what the inner service may see, and the resolution.
    pub(crate) fn apply(
        self,
        request: &mut Request<Body>,
        proxies_are_configured: bool,
    ) -> Result<(), Refusal> {
        if self.edits.remove_forwarding {
            authority::remove_unbelieved(request.headers_mut(), proxies_are_configured);
        }
        if let Some(bytes) = self.edits.strip {
            strip_path(request, bytes)?;
        }
        request.extensions_mut().insert(self.resolution);
        Ok(())
    }
}

/// Takes the tenant's part out of the path. The whole target stays available as axum's `OriginalUri`.
fn strip_path(request: &mut Request<Body>, bytes: Range<usize>) -> Result<(), Refusal> {
    let misbuilt = || {
        Refusal::new(
            RejectionReason::MisbuiltStack,
            "an identifier wants bytes stripped that are no whole segments of the path",
        )
    };
    let path = request.uri().path();
    let (before, after) = match (path.get(..bytes.start), path.get(bytes.end..)) {
        (Some(before), Some(after)) if bytes.start <= bytes.end => (before, after),
        _ => return Err(misbuilt()),
    };
    let whole_segments = path[bytes].starts_with('/') && (after.is_empty() || after.starts_with('/'));
    if !whole_segments {
        return Err(misbuilt());
    }
    let path = match (before, after) {
        ("", "") => "/",
        _ => &[before, after].concat(),
    };
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let rewritten = with_target(request.uri(), &target).map_err(|_| misbuilt())?;
    let original = std::mem::replace(request.uri_mut(), rewritten);
    if request.extensions().get::<OriginalUri>().is_none() {
        request.extensions_mut().insert(OriginalUri(original));
    }
    Ok(())
}

fn with_target(uri: &Uri, target: &str) -> Result<Uri, InvalidUriParts> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = target.parse::<PathAndQuery>().ok();
    Uri::from_parts(parts)
}
