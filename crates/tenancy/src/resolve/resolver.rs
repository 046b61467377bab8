//! From a request to its tenant: host rules, identifiers, look-up, conflict policy.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{Extensions, HeaderValue, Method, Request, StatusCode, header};
use tenancy_core::{Host, Identification, Identified, Identify, KeyKind, RequestHead, TenantKey};

use super::{
    authority::{self, Authority, HeaderScan, Target, TrustedProxies},
    central::CentralHosts,
    dev_tenant::{DevTenant, is_address},
    found::{Edits, Found},
    identify::{Chain, ConflictPolicy, name_without_port},
    lookup::{CouldNotTell, Lookup, Now, Source},
    resolution::{FoundTenant, Resolution, Side},
};
use crate::rejection::RejectionReason;

pub(crate) struct Resolver {
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) chain: Chain,
    /// What [`Chain::vary`] says.
    pub(crate) vary: Option<Arc<HeaderValue>>,
    pub(crate) central_hosts: CentralHosts,
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) dev_tenant: Option<DevTenant>,
    /// Whether requests of a certificate authority are central, whatever their host.
    pub(crate) exempts_acme: bool,
    /// See [`room_for_extensions`](super::room_for_extensions).
    pub(crate) room: Extensions,
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: RejectionReason,
    pub(crate) detail: Cow<'static, str>,
    pub(crate) retry_after: Option<Duration>,
    /// Unless it is the reason's own.
    pub(crate) status: Option<StatusCode>,
}

impl Refusal {
    pub(crate) fn new(reason: RejectionReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry_after: None,
            status: None,
        }
    }

    fn unknown(key: &TenantKey<'_>) -> Self {
        let detail = match key.kind() {
            KeyKind::Id | KeyKind::Slug | KeyKind::Domain => format!("no tenant has the key {key}"),
            // It may be a secret, such as an API key with one letter left out.
            space => format!("no tenant has this key of the space {space}"),
        };
        Self::new(RejectionReason::UnknownTenant, detail)
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
            status: None,
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
    decided: Option<FoundTenant>,
    questions: Vec<Question>,
    /// What is wrong behind the questions. Counts only if they do not end it: an answer must not depend on what
    /// happens to be known.
    then: Option<Refusal>,
    edits: Edits,
}

struct Question {
    identifier: u8,
    key: TenantKey<'static>,
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

    pub(crate) fn is_central(&self, host: &Host<'_>) -> bool {
        self.central_hosts.contain(host)
    }

    /// Resolves a request as far as that goes without waiting. Allocates nothing when the tenant is known.
    pub(crate) fn resolve<B>(&self, request: &Request<B>) -> Outcome {
        match self.resolve_by_raw_host(request) {
            Some(found) => Outcome::Found(found),
            None => self.resolve_checked(request),
        }
    }

    /// The way of most requests: a plain HTTP/1 request whose `Host` is, byte for byte, that of a known tenant.
    ///
    /// It only ever finds what the checked way finds: whatever is unusual about the request, it leaves to that.
    #[inline(always)]
    pub(crate) fn resolve_by_raw_host<B>(&self, request: &Request<B>) -> Option<Found> {
        let shortcut = self.chain.shortcut()?;
        let (uri, headers) = (request.uri(), request.headers());
        let is_plain = uri.authority().is_none()
            && uri.scheme().is_none()
            && uri.path().as_bytes().first() == Some(&b'/')
            && *request.method() != Method::CONNECT
            // No header twice.
            && headers.len() == headers.keys_len()
            && self.proxies.is_none();
        if !is_plain {
            return None;
        }
        // Browsers and most clients send it first.
        let host = match headers.iter().next() {
            Some((name, host)) if *name == header::HOST => host,
            _ => headers.get(header::HOST)?,
        };
        let name = name_without_port(host.as_bytes())?;
        if self.central_hosts.contain_raw(name) {
            return None;
        }
        let (key_kind, value) = shortcut.key(name)?;
        let tenant = self.lookup.find_raw(key_kind, value)?;
        Some(Found {
            resolution: Resolution::of(Side::Tenant(FoundTenant {
                tenant,
                identifier: 0,
                key_kind,
                source: Source::Snapshot,
            })),
            edits: Edits {
                strip: None,
                remove_forwarding: authority::any_speaks_for_a_proxy(headers),
            },
        })
    }

    pub(crate) fn resolve_checked<B>(&self, request: &Request<B>) -> Outcome {
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
                resolution: Resolution::of(Side::Tenant(candidate)),
                edits,
            }),
            Ok(Identity::Nobody) if central => Outcome::Found(self.central(edits)),
            Ok(Identity::Nobody) => {
                let detail = "no identifier is present and the host is not central";
                let refusal = Refusal::new(RejectionReason::UnknownTenant, detail);
                self.dev_tenant_or(refusal, request, &scan, &authority)
            }
            Ok(Identity::Unclear(unclear)) => Outcome::Ask(Pending { edits, ..*unclear }),
            Err(refusal) => self.dev_tenant_or(refusal, request, &scan, &authority),
        }
    }

    /// Whose requests for this host are that name nobody otherwise.
    pub(crate) fn resolve_host(&self, host: &Host<'_>) -> Outcome {
        let mut request = Request::new(());
        // A host has no bytes that a header can not have.
        if let Ok(value) = HeaderValue::from_str(host.name()) {
            request.headers_mut().insert(header::HOST, value);
        }
        let central = self.is_central(host);
        let head = head_for_identifiers(&request, host, central);
        match self.identify(&head, &mut Edits::default()) {
            Ok(Identity::Tenant(candidate)) => Outcome::Found(Found {
                resolution: Resolution::of(Side::Tenant(candidate)),
                edits: Edits::default(),
            }),
            Ok(Identity::Nobody) if central => Outcome::Found(self.central(Edits::default())),
            Ok(Identity::Nobody) => Outcome::Refused(Refusal::new(
                RejectionReason::UnknownTenant,
                "the host names nobody and is not central",
            )),
            Ok(Identity::Unclear(unclear)) => Outcome::Ask(*unclear),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    pub(super) fn central(&self, edits: Edits) -> Found {
        Found {
            resolution: Resolution::of(Side::Central {
                home: Arc::clone(&self.lookup.home),
            }),
            edits,
        }
    }

    #[cold]
    fn dev_tenant_or<B>(
        &self,
        refusal: Refusal,
        request: &Request<B>,
        scan: &HeaderScan<'_>,
        authority: &Authority<'_>,
    ) -> Outcome {
        let Some(Ok(dev)) = self.dev_tenant(request, scan, authority) else {
            return Outcome::Refused(refusal);
        };
        match self.look_up(Identified::new(dev.key()), dev.identifier) {
            Ok(Ok(candidate)) => Outcome::Found(Found {
                resolution: Resolution::of(Side::Tenant(candidate)),
                edits: Edits::default(),
            }),
            Ok(Err(key)) => Outcome::Ask(Pending::new(None, dev.identifier, key)),
            Err(unknown) => Outcome::Refused(unknown),
        }
    }

    /// The dev tenant, or why the request is not its; `None` if there is none.
    pub(super) fn dev_tenant<B>(
        &self,
        request: &Request<B>,
        scan: &HeaderScan<'_>,
        authority: &Authority<'_>,
    ) -> Option<Result<&DevTenant, &'static str>> {
        let dev = self.dev_tenant.as_ref()?;
        let judged = if self.is_central(&authority.host) {
            Err("the host is central")
        } else if !self.names_nobody(request, &authority.host) {
            Err("the request names a tenant, or tries to")
        } else {
            DevTenant::admit(request, scan, authority)
        };
        Some(judged.map(|()| dev))
    }

    /// Whether no identifier is present. To some, an address as the host is present and can name no tenant: here it
    /// names none.
    fn names_nobody<B>(&self, request: &Request<B>, host: &Host<'_>) -> bool {
        let identify = |head: RequestHead<'_>| self.identify(&head, &mut Edits::default());
        let head = RequestHead::of(request);
        match identify(head.with_host(host)) {
            Ok(Identity::Nobody) => true,
            Err(refusal) if refusal.reason == RejectionReason::UnknownTenant && is_address(host) => {
                matches!(identify(head), Ok(Identity::Nobody))
            }
            _ => false,
        }
    }

    #[inline]
    fn identify(&self, head: &RequestHead<'_>, edits: &mut Edits) -> Result<Identity, Refusal> {
        if let Some((name, identifier)) = self.chain.single() {
            return self.identify_by_one(head, edits, name, identifier);
        }
        self.identify_by_all(head, edits)
    }

    fn identify_by_all(&self, head: &RequestHead<'_>, edits: &mut Edits) -> Result<Identity, Refusal> {
        let mut decided: Option<FoundTenant> = None;
        let mut identifiers = self.chain.identifiers();
        while let Some((position, name, identifier)) = identifiers.next() {
            let Some(identified) = sight(identifier.identify(head), name)? else {
                continue;
            };
            edits.strip = edits
                .strip
                .take()
                .or_else(|| identified.stripped_path().map(Box::new));
            let first_present = self.chain.policy() == ConflictPolicy::FirstPresent;
            match self.look_up(identified, position)? {
                Ok(candidate) => decided = Some(agree(decided.take(), candidate)?),
                Err(key) => {
                    let mut unclear = Pending::new(decided, position, key);
                    if !first_present {
                        unclear.add_all(identifiers, head, edits);
                    }
                    return Ok(Identity::Unclear(Box::new(unclear)));
                }
            }
            if first_present {
                break;
            }
        }
        Ok(decided.map_or(Identity::Nobody, Identity::Tenant))
    }

    #[inline]
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
        edits.strip = identified.stripped_path().map(Box::new);
        Ok(match self.look_up(identified, 0)? {
            Ok(candidate) => Identity::Tenant(candidate),
            Err(key) => Identity::Unclear(Box::new(Pending::new(None, 0, key))),
        })
    }

    /// The tenant of a key, or the key itself where the store must be asked.
    #[inline]
    fn look_up(
        &self,
        identified: Identified<'_>,
        identifier: u8,
    ) -> Result<Result<FoundTenant, TenantKey<'static>>, Refusal> {
        let key = identified.into_key();
        match self.lookup.find_now(key.kind(), key.value()) {
            Now::Tenant(tenant, source) => Ok(Ok(FoundTenant {
                tenant,
                identifier,
                key_kind: key.kind(),
                source,
            })),
            Now::NoSuchTenant => Err(Refusal::unknown(&key)),
            Now::MustAsk => Ok(Err(key.into_owned())),
        }
    }

    /// Asks the store what is left to ask. May be dropped at any await: a question under way goes on for others.
    pub(crate) async fn settle(self: Arc<Self>, mut pending: Pending) -> Result<Found, Refusal> {
        self.lookup.first_list().await;
        for Question { identifier, key } in pending.questions {
            let key_kind = key.kind();
            let (tenant, source) = match self.lookup.find_now(key_kind, key.value()) {
                Now::Tenant(tenant, source) => (tenant, source),
                Now::NoSuchTenant => return Err(Refusal::unknown(&key)),
                Now::MustAsk => match self.lookup.ask(key.clone()).await? {
                    Some(answer) => answer,
                    None => return Err(Refusal::unknown(&key)),
                },
            };
            let candidate = FoundTenant {
                tenant,
                identifier,
                key_kind,
                source,
            };
            pending.decided = Some(agree(pending.decided.take(), candidate)?);
        }
        match (pending.then, pending.decided) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(candidate)) => Ok(Found {
                resolution: Resolution::of(Side::Tenant(candidate)),
                edits: pending.edits,
            }),
            (None, None) => Err(Refusal::new(RejectionReason::UnknownTenant, "nothing was asked")),
        }
    }
}

enum Identity {
    Tenant(FoundTenant),
    Nobody,
    Unclear(Box<Pending>),
}

impl Pending {
    fn new(decided: Option<FoundTenant>, identifier: u8, key: TenantKey<'static>) -> Self {
        Self {
            decided,
            questions: vec![Question { identifier, key }],
            then: None,
            edits: Edits::default(),
        }
    }

    /// Reads the identifiers behind the first question; what they lead to is judged in their order, later.
    fn add_all<'a>(
        &mut self,
        identifiers: impl Iterator<Item = (u8, &'a Arc<str>, &'a dyn Identify)>,
        head: &RequestHead<'_>,
        edits: &mut Edits,
    ) {
        for (position, name, identifier) in identifiers {
            match sight(identifier.identify(head), name) {
                Ok(None) => {}
                Ok(Some(identified)) => {
                    edits.strip = edits
                        .strip
                        .take()
                        .or_else(|| identified.stripped_path().map(Box::new));
                    self.questions.push(Question {
                        identifier: position,
                        key: identified.into_key().into_owned(),
                    });
                }
                Err(refusal) => {
                    self.then = Some(refusal);
                    return;
                }
            }
        }
    }
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

#[inline]
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
fn agree(decided: Option<FoundTenant>, candidate: FoundTenant) -> Result<FoundTenant, Refusal> {
    match decided {
        None => Ok(candidate),
        Some(decided) if decided.tenant == candidate.tenant => Ok(decided),
        Some(decided) => Err(Refusal::new(
            RejectionReason::IdentifiersDisagree,
            format!(
                "{} leads to {}, {} to {}",
                decided.identifier_name().unwrap_or_default(),
                decided.tenant,
                candidate.identifier_name().unwrap_or_default(),
                candidate.tenant
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
