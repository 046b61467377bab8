//! All identifiers on one request head.

use axum::http::Request;
use tenancy::{
    core::{Host, Identification, Identified, Identify, KeyKind, RequestHead},
    resolve::{Cookie, Domain, DomainOrSubdomain, Header, Origin, PathSegment, Query, Subdomain},
};

use super::head;

/// Shows a request to every identifier, with the host that it may be for and without one. Returns the keys.
pub fn identifiers(data: &[u8]) -> Vec<String> {
    let Some(request) = head::request(data) else {
        return Vec::new();
    };
    let host = request.headers().get("host").map(|value| value.as_bytes());
    let host = host.and_then(|raw| Host::parse(raw).ok());
    let bare = RequestHead::of(&request);
    let mut keys = Vec::new();
    for identifier in all() {
        let heads = std::iter::once(bare).chain(host.as_ref().map(|host| bare.with_host(host)));
        for head in heads {
            if let Identification::Key(identified) = identifier.identify(&head) {
                check(&request, &identified, &identifier.name());
                keys.push(identified.key().to_string());
            }
        }
    }
    keys
}

fn all() -> Vec<Box<dyn Identify>> {
    let header = || Header::named("x-tenant").unwrap();
    let query = || Query::named("tenant").unwrap();
    let cookie = || Cookie::named("tenant").unwrap();
    vec![
        Box::new(Domain::new()),
        Box::new(Subdomain::of("app.test").unwrap()),
        Box::new(DomainOrSubdomain::of_any(["app.test", "eu.app.test"]).unwrap()),
        Box::new(Origin::subdomain(["app.test"]).unwrap()),
        Box::new(Origin::domain_or_subdomain(["app.test"]).unwrap()),
        Box::new(PathSegment::first()),
        Box::new(PathSegment::at(2).strip(false)),
        Box::new(PathSegment::at(1).after_prefix("/t").unwrap()),
        Box::new(PathSegment::first().after_prefix("/t/of").unwrap()),
        Box::new(header()),
        Box::new(header().as_id()),
        Box::new(header().as_domain()),
        Box::new(header().as_custom("api-key").unwrap()),
        Box::new(query()),
        Box::new(query().as_id()),
        Box::new(query().as_domain()),
        Box::new(query().as_custom("api-key").unwrap()),
        Box::new(cookie()),
        Box::new(cookie().as_id()),
        Box::new(cookie().as_domain()),
        Box::new(cookie().as_custom("api-key").unwrap()),
    ]
}

fn check<B>(request: &Request<B>, identified: &Identified<'_>, identifier: &str) {
    let (kind, value) = (identified.key().kind(), identified.key().value());
    assert!(is_canonical(kind, value), "{identifier}: {kind} {value:?}");
    if identifier.starts_with("header") {
        let mut values = request.headers().get_all("x-tenant").iter();
        let only = values.next().map(|value| value.as_bytes());
        assert_eq!(
            (only, values.next()),
            (Some(value.as_bytes()), None),
            "{identifier}"
        );
    }
    if identifier.starts_with("path segment") {
        let path = request.uri().path();
        assert!(path.split('/').any(|segment| segment == value), "{identifier}");
        if let Some(bytes) = identified.stripped_path() {
            let (taken, after) = (&path[bytes.clone()], &path[bytes.end..]);
            assert!(
                taken.starts_with('/') && taken.ends_with(value),
                "{identifier}: {taken:?}"
            );
            assert!(
                after.is_empty() || after.starts_with('/'),
                "{identifier}: {after:?}"
            );
        }
    } else {
        assert_eq!(identified.stripped_path(), None, "{identifier}");
    }
}

/// The rules of `TenantId` and `TenantKey`, a second time.
fn is_canonical(kind: KeyKind, value: &str) -> bool {
    let made_of = |text: &str, more: &str| {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c);
        !text.is_empty() && text.chars().all(known)
    };
    let is_label = |label: &str| {
        made_of(label, "-") && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    match kind {
        KeyKind::Id => made_of(value, "-_") && value.len() <= 48 && !value.starts_with('-'),
        KeyKind::Slug => is_label(value) && value.len() <= 48,
        KeyKind::Domain => {
            let top = value.split('.').next_back().unwrap_or_default();
            value.len() <= 253 && value.split('.').all(is_label) && top.parse::<u128>().is_err()
        }
        KeyKind::Custom("api-key") => {
            (1..=253).contains(&value.len()) && value.chars().all(|c| c.is_ascii_graphic())
        }
        _ => false,
    }
}
