//! From a request to its tenant: host rules, identifiers, look-up, conflict policy.

use std::{borrow::Cow, ops::Range, sync::Arc, time::Duration};

use axum::extract::OriginalUri;
use http::{Extensions, HeaderValue, Method, Request, StatusCode, Uri, header};
use tenancy_core::{Host, Identification, Identified, Identify, KeyKind, RequestHead, TenantKey};

use super::{
    authority::{self, Authority, HeaderScan, Target, TrustedProxies},
    dev_tenant::{DevTenant, is_address},
    identify::{Chain, ConflictPolicy, name_without_port},
    lookup::{CouldNotTell, Lookup, Now, Source},
};
use crate::{
    Tenant,
    home::Home,
    rejection::{Rejection, RejectionReason},
    scope::Scope,
    stack::Stage,
};

pub(crate) struct Resolver {
    pub(crate) lookup: Arc<Lookup>,
    pub(crate) chain: Chain,
    /// What [`Chain::vary`] says.
    pub(crate) vary: Option<Arc<HeaderValue>>,
    pub(crate) central_hosts: CentralHosts,
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) dev_tenant: Option<DevTenant>,
    /// See [`room_for_extensions`].
    pub(crate) room: Extensions,
}

/// Canonical names of hosts that are nobody's.
pub(crate) struct CentralHosts {
    names: Box<[Box<str>]>,
    /// Bit n is set where some name has n bytes, modulo 64: most other hosts are told apart by this alone.
    lengths: u64,
}

impl CentralHosts {
    pub(crate) fn new(names: Vec<Box<str>>) -> Self {
        Self {
            lengths: names.iter().fold(0, |bits, name| bits | length_bit(name.len())),
            names: names.into(),
        }
    }

    fn contain(&self, host: &Host<'_>) -> bool {
        self.names.iter().any(|name| host.is_named(name))
    }

    /// Whether these bytes are one of the names, in normal form.
    #[inline]
    fn contain_raw(&self, raw: &[u8]) -> bool {
        self.lengths & length_bit(raw.len()) != 0 && self.names.iter().any(|name| name.as_bytes() == raw)
    }
}

fn length_bit(length: usize) -> u64 {
    1 << (length % 64)
}

/// No extensions, with room for seven: a clone has the same room.
///
/// A router of axum adds three, which is all that a map has room for that was begun with one; with the resolution
/// before them, the third would make it grow and hash all anew.
pub(crate) fn room_for_extensions() -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(0_u8);
    extensions.insert(0_u16);
    extensions.insert(0_u32);
    extensions.insert(0_u64);
    extensions.clear();
    extensions
}

/// How a request was resolved: for which tenant or for none, and by what.
///
/// Stands in the request's extensions. An extractor of itself; [`Tenant`] and [`Central`](crate::Central) are
/// extracted from it.
#[derive(Clone, Debug)]
pub struct Resolution {
    side: Side,
    /// What a stage that only observes would have answered.
    would_refuse: Option<Box<Rejection>>,
}

#[derive(Clone, Debug)]
enum Side {
    Tenant {
        tenant: Tenant,
        /// Its position in the chain; the name is the home's.
        identifier: u8,
        key_kind: KeyKind,
        source: Source,
    },
    Central {
        home: Arc<Home>,
    },
    /// Only where the resolve stage observes.
    Nobody {
        home: Arc<Home>,
    },
}

/// The position of no identifier: a chain has 16 at most.
const NO_IDENTIFIER: u8 = u8::MAX;

impl Resolution {
    fn of(side: Side) -> Self {
        Self {
            side,
            would_refuse: None,
        }
    }

    /// Of a request that was let through though nobody was found.
    pub(crate) fn nobody(home: Arc<Home>, would_refuse: Rejection) -> Self {
        Self {
            side: Side::Nobody { home },
            would_refuse: Some(Box::new(would_refuse)),
        }
    }

    pub(crate) fn set_would_refuse(&mut self, rejection: Rejection) {
        self.would_refuse = Some(Box::new(rejection));
    }

    /// What a stage that only observes would have answered; extractors answer with it. See
    /// [`rollout`](crate::rollout).
    pub fn would_refuse(&self) -> Option<&Rejection> {
        self.would_refuse.as_deref()
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        match &self.side {
            Side::Tenant { tenant, .. } => tenant.home(),
            Side::Central { home } | Side::Nobody { home } => home,
        }
    }

    /// Whether neither a tenant nor a central host was found.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(self.side, Side::Nobody { .. })
    }

    /// What a layer says of every request. Who says it of a tenant has that tenant.
    pub(crate) fn given(tenant: Option<Tenant>, home: &Arc<Home>) -> Self {
        Self::of(match tenant {
            Some(tenant) => Side::Tenant {
                tenant,
                identifier: NO_IDENTIFIER,
                key_kind: KeyKind::Id,
                source: Source::Given,
            },
            None => Side::Central {
                home: Arc::clone(home),
            },
        })
    }

    /// The tenant; `None` for central requests.
    pub fn tenant(&self) -> Option<&Tenant> {
        match &self.side {
            Side::Tenant { tenant, .. } => Some(tenant),
            Side::Central { .. } | Side::Nobody { .. } => None,
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        self.tenant()
            .map_or(Scope::Central, |tenant| Scope::Tenant(tenant.clone()))
    }

    /// Whether the request is for no tenant, on a host that was configured as central.
    pub fn is_central(&self) -> bool {
        matches!(self.side, Side::Central { .. })
    }

    /// The name of the identifier that decided, such as `subdomain of example.com`; `None` for central requests,
    /// and where none decided ([`Source::Given`]).
    pub fn identifier(&self) -> Option<&str> {
        match &self.side {
            Side::Tenant {
                tenant, identifier, ..
            } => tenant.home().identifier_name(*identifier),
            Side::Central { .. } | Side::Nobody { .. } => None,
        }
    }

    /// The space of the key that led to the tenant.
    pub fn key_kind(&self) -> Option<KeyKind> {
        match &self.side {
            Side::Tenant { key_kind, .. } => Some(*key_kind),
            Side::Central { .. } | Side::Nobody { .. } => None,
        }
    }

    /// Where the answer came from.
    pub fn source(&self) -> Option<Source> {
        match &self.side {
            Side::Tenant { source, .. } => Some(*source),
            Side::Central { .. } | Side::Nobody { .. } => None,
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
    /// Boxed, for few requests have it and every request is moved with it.
    strip: Option<Box<Range<usize>>>,
    remove_forwarding: bool,
}

impl Edits {
    #[inline]
    fn any(&self) -> bool {
        self.remove_forwarding || self.strip.is_some()
    }

    fn make<B>(self, request: &mut Request<B>, resolver: &Resolver) -> Result<(), Refusal> {
        if self.remove_forwarding {
            authority::remove_unbelieved(request.headers_mut(), resolver.proxies.is_some());
        }
        match self.strip {
            Some(bytes) => strip_path(request, *bytes),
            None => Ok(()),
        }
    }
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
    decided: Option<Candidate>,
    questions: Vec<Question>,
    /// What is wrong behind the questions. Counts only if they do not end it: an answer must not depend on what
    /// happens to be known.
    then: Option<Refusal>,
    edits: Edits,
}

struct Candidate {
    tenant: Tenant,
    identifier: u8,
    key_kind: KeyKind,
    source: Source,
}

struct Question {
    identifier: u8,
    key: TenantKey<'static>,
}

impl Candidate {
    fn identifier_name(&self) -> &str {
        self.tenant
            .home()
            .identifier_name(self.identifier)
            .unwrap_or_default()
    }

    fn into_resolution(self) -> Resolution {
        Resolution::of(Side::Tenant {
            tenant: self.tenant,
            identifier: self.identifier,
            key_kind: self.key_kind,
            source: self.source,
        })
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
            resolution: Resolution::of(Side::Tenant {
                tenant,
                identifier: 0,
                key_kind,
                source: Source::Snapshot,
            }),
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
                resolution: candidate.into_resolution(),
                edits,
            }),
            Ok(Identity::Nobody) if central => Outcome::Found(Found {
                resolution: Resolution::of(Side::Central {
                    home: Arc::clone(&self.lookup.home),
                }),
                edits,
            }),
            Ok(Identity::Nobody) => {
                let detail = "no identifier is present and the host is not central";
                let refusal = Refusal::new(RejectionReason::UnknownTenant, detail);
                self.dev_tenant_or(refusal, request, &scan, &authority)
            }
            Ok(Identity::Unclear(unclear)) => Outcome::Ask(Pending { edits, ..*unclear }),
            Err(refusal) => self.dev_tenant_or(refusal, request, &scan, &authority),
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
                resolution: candidate.into_resolution(),
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
        let mut decided: Option<Candidate> = None;
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
    ) -> Result<Result<Candidate, TenantKey<'static>>, Refusal> {
        let key = identified.into_key();
        match self.lookup.find_now(key.kind(), key.value()) {
            Now::Tenant(tenant, source) => Ok(Ok(Candidate {
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
            let candidate = Candidate {
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
                resolution: candidate.into_resolution(),
                edits: pending.edits,
            }),
            (None, None) => Err(Refusal::new(RejectionReason::UnknownTenant, "nothing was asked")),
        }
    }
}

enum Identity {
    Tenant(Candidate),
    Nobody,
    Unclear(Box<Pending>),
}

impl Pending {
    fn new(decided: Option<Candidate>, identifier: u8, key: TenantKey<'static>) -> Self {
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
fn agree(decided: Option<Candidate>, candidate: Candidate) -> Result<Candidate, Refusal> {
    match decided {
        None => Ok(candidate),
        Some(decided) if decided.tenant == candidate.tenant => Ok(decided),
        Some(decided) => Err(Refusal::new(
            RejectionReason::IdentifiersDisagree,
            format!(
                "{} leads to {}, {} to {}",
                decided.identifier_name(),
                decided.tenant,
                candidate.identifier_name(),
                candidate.tenant
            ),
        )),
    }
}

impl Found {
    /// Leaves in the request what the inner service may see, and the resolution.
    pub(crate) fn apply<B>(
        self,
        request: &mut Request<B>,
        resolver: &Resolver,
        home: &Home,
    ) -> Result<(), Refusal> {
        if self.edits.any() && !home.rollout.observes(Stage::Resolve) {
            self.edits.make(request, resolver)?;
        }
        let extensions = request.extensions_mut();
        if extensions.is_empty() {
            *extensions = resolver.room.clone();
        }
        extensions.insert(self.resolution);
        Ok(())
    }
}

/// Takes the tenant's part out of the path. The whole target stays available as axum's `OriginalUri`.
fn strip_path<B>(request: &mut Request<B>, bytes: Range<usize>) -> Result<(), Refusal> {
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
    let rewritten = with_target(request.uri(), &target).ok_or_else(misbuilt)?;
    let original = std::mem::replace(request.uri_mut(), rewritten);
    if request.extensions().get::<OriginalUri>().is_none() {
        request.extensions_mut().insert(OriginalUri(original));
    }
    Ok(())
}

fn with_target(uri: &Uri, target: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{MemoryStore, Tenancy, resolve::DomainOrSubdomain};

    /// A stack that knows all its tenants. Its follower ends with the runtime here, so each test trusts the list anew.
    fn ready() -> Tenancy {
        let tenants = MemoryStore::of(["acme", "beta", "www", "a-1"]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let shop = TenantKey::domain("shop.test").unwrap();
            tenants.add_key(&"acme".parse().unwrap(), shop).await.unwrap();
            let by = DomainOrSubdomain::of_any(["app.test", "eu.app.test"]).unwrap();
            let tenancy = Tenancy::builder(by, tenants)
                .central_hosts(["app.test", "www.app.test"])
                .build()
                .unwrap();
            tenancy.ready().await;
            tenancy
        })
    }

    fn request(host: &[u8]) -> Request<()> {
        let mut request = Request::new(());
        if let Ok(host) = HeaderValue::from_bytes(host) {
            request.headers_mut().insert(header::HOST, host);
        }
        request
    }

    fn tenant_of(outcome: &Outcome) -> Option<String> {
        match outcome {
            Outcome::Found(found) => found.resolution.tenant().map(ToString::to_string),
            Outcome::Refused(_) | Outcome::Ask(_) => None,
        }
    }

    #[test]
    fn the_short_way_and_the_checked_way_lead_to_the_same_tenant() {
        let tenancy = ready();
        tenancy.resolver().lookup.set_trust(crate::resolve::Trust::Fresh);
        let resolver = tenancy.resolver();
        let hosts = "(acme|beta|www|a-1|ACME|shop|eu|x|-)(\\.|\\.|\\.|\\.\\.|@|,)(app\\.test|eu\\.app\\.test|test|App\\.test)(|||\\.)(:[0-9]{0,6}|:x)?";
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(4000));
        let counted = std::cell::Cell::new(0);
        runner
            .run(&proptest::string::string_regex(hosts).unwrap(), |host| {
                let request = request(host.as_bytes());
                if let Some(found) = resolver.resolve_by_raw_host(&request) {
                    counted.set(counted.get() + 1);
                    let by_short = found.resolution.tenant().map(ToString::to_string);
                    prop_assert_eq!(by_short, tenant_of(&resolver.resolve_checked(&request)));
                }
                Ok(())
            })
            .unwrap();
        assert!(
            counted.get() > 100,
            "the short way was taken {} times",
            counted.get()
        );
    }

    #[test]
    fn the_short_way_leaves_the_unusual_to_the_checked_way() {
        let tenancy = ready();
        tenancy.resolver().lookup.set_trust(crate::resolve::Trust::Fresh);
        let resolver = tenancy.resolver();
        let is_short = |request: &Request<()>| resolver.resolve_by_raw_host(request).is_some();
        assert!(is_short(&request(b"acme.app.test")));
        assert!(is_short(&request(b"acme.app.test:8000")));
        assert!(is_short(&request(b"shop.test")));
        for host in [
            "ACME.app.test",
            "acme.app.test.",
            "acme.app.test:80000",
            "www.app.test",
            "app.test",
            ".app.test",
            "x.acme.app.test",
        ] {
            assert!(!is_short(&request(host.as_bytes())), "{host}");
        }
        let mut twice = request(b"acme.app.test");
        twice
            .headers_mut()
            .append(header::HOST, HeaderValue::from_static("acme.app.test"));
        let mut connect = request(b"acme.app.test");
        *connect.method_mut() = Method::CONNECT;
        let mut absolute = request(b"acme.app.test");
        *absolute.uri_mut() = Uri::from_static("http://beta.app.test/");
        let mut asterisk = request(b"acme.app.test");
        *asterisk.uri_mut() = Uri::from_static("*");
        for unusual in [twice, connect, absolute, asterisk] {
            assert!(!is_short(&unusual), "{unusual:?}");
        }
    }
}
