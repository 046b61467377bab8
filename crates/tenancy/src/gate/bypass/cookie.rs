//! The bypass cookie: `1.<expiry>.<mac>`, for one subject and one kind of transport.

use std::time::Duration;

use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use sha2::Sha256;

use super::{Subject, decode_hex, encode_hex};

/// More cookies of one name than this are somebody's experiment.
const MAX_CANDIDATES: usize = 8;

/// How far a node's clock may be ahead of another's.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

pub(super) fn issue(
    mac: &Hmac<Sha256>,
    lifetime: Duration,
    subject: Subject<'_>,
    now: Duration,
    secure: bool,
) -> HeaderValue {
    let name = name(subject, secure);
    let max_age = lifetime.as_secs();
    let expiry = now.as_secs().saturating_add(max_age);
    let tag = encode_hex(
        &mac.clone()
            .chain_update(mac_input(subject, expiry, secure))
            .finalize()
            .into_bytes(),
    );
    let attributes = if secure { "; Secure" } else { "" };
    let cookie =
        format!("{name}=1.{expiry}.{tag}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{attributes}");
    #[expect(
        clippy::expect_used,
        reason = "every part is ASCII: a constant, a tenant id, digits"
    )]
    let mut value = HeaderValue::try_from(cookie).expect("a bypass cookie is visible ASCII");
    // Kept out of `Debug` and out of HPACK's table.
    value.set_sensitive(true);
    value
}

pub(super) fn verify(
    mac: &Hmac<Sha256>,
    lifetime: Duration,
    subject: Subject<'_>,
    headers: &HeaderMap,
    now: Duration,
    secure: bool,
) -> bool {
    let name = name(subject, secure);
    // A cookie from a node whose clock had run off must not open for years.
    let latest = now.saturating_add(lifetime).saturating_add(CLOCK_SKEW).as_secs();
    let opens = |candidate: &[u8]| {
        let Some((expiry, tag)) = parse(candidate) else {
            return false;
        };
        let genuine = mac
            .clone()
            .chain_update(mac_input(subject, expiry, secure))
            .verify_slice(&tag)
            .is_ok();
        genuine && now < Duration::from_secs(expiry) && expiry <= latest
    };
    match candidates(headers, name.as_bytes()) {
        Some(candidates) => candidates.into_iter().flatten().any(opens),
        None => false,
    }
}

/// Tenants that are told apart by path share a host, hence each has a name of its own.
fn name(subject: Subject<'_>, secure: bool) -> String {
    let base = if secure {
        "__Host-tenancy-bypass"
    } else {
        "tenancy-bypass"
    };
    match subject {
        Subject::Tenant { id, .. } => format!("{base}.{id}"),
        Subject::Global => base.to_owned(),
    }
}

/// What the MAC is over. Every field has a fixed length or its length before it, so no two inputs are alike.
///
/// The transport is part of it: a cookie that was read off a plain connection opens nothing under TLS.
pub(super) fn mac_input(subject: Subject<'_>, expiry: u64, secure: bool) -> Vec<u8> {
    let mut input = Vec::with_capacity(96);
    match subject {
        Subject::Global => input.push(0),
        Subject::Tenant { id, incarnation } => {
            let id = id.as_str().as_bytes();
            input.push(1);
            input.extend_from_slice(&(id.len() as u64).to_be_bytes());
            input.extend_from_slice(id);
            input.extend_from_slice(&incarnation.to_be_bytes());
        }
    }
    input.push(u8::from(secure));
    input.extend_from_slice(&expiry.to_be_bytes());
    input
}

/// The values of all cookies called `name`; `None` if there are too many to look at.
fn candidates<'h>(headers: &'h HeaderMap, name: &[u8]) -> Option<[Option<&'h [u8]>; MAX_CANDIDATES]> {
    let mut found = [None; MAX_CANDIDATES];
    let mut free = found.iter_mut();
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    for pair in pairs {
        let value = pair
            .trim_ascii()
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(b"="));
        if let Some(value) = value {
            *free.next()? = Some(value);
        }
    }
    Some(found)
}

fn parse(value: &[u8]) -> Option<(u64, [u8; 32])> {
    let mut parts = std::str::from_utf8(value).ok()?.split('.');
    let (version, expiry, tag) = (parts.next()?, parts.next()?, parts.next()?);
    if version != "1" || parts.next().is_some() {
        return None;
    }
    Some((parse_expiry(expiry)?, decode_hex(tag)?))
}

/// Decimal without sign or leading zero: one time has one spelling.
fn parse_expiry(digits: &str) -> Option<u64> {
    if digits.starts_with(['0', '+']) {
        return None;
    }
    digits.parse().ok()
}
