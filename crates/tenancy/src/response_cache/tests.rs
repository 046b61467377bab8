//! Which requests have one page.

use std::time::Duration;

use axum::extract::OriginalUri;
use http::{Request, request::Parts};
use proptest::prelude::*;

use super::{Fingerprint, ResponseCache, key::page_key, target::spell_query};

/// All that makes a page another one.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    route: String,
    path: String,
    original: Option<String>,
    host: Vec<String>,
    proto: Vec<String>,
    query: Vec<(String, String)>,
    languages: Vec<String>,
    /// By a header that is not part of every key.
    scheme: Option<String>,
    fingerprint: Option<Vec<String>>,
    version: u32,
    name: &'static str,
}

fn wishes() -> impl Strategy<Value = Wish> {
    let lines = || prop::collection::vec("[ab,]{0,2}", 0..3);
    let schemes = prop::collection::vec(prop::sample::select(vec!["http", "https"]), 0..3);
    (
        ("/[ab]{0,1}", "/[ab/]{0,2}", prop::option::of("/[ab]{0,1}")),
        (lines(), schemes, lines(), prop::option::of("[ab]{0,2}")),
        prop::collection::vec(("[ab&=%]{0,2}", "[ab&=%]{0,2}"), 0..3),
        prop::option::of(prop::collection::vec("[ab]{0,2}", 0..3)),
        (0_u32..2, prop::sample::select(vec!["", "a"])),
    )
        .prop_map(
            |(
                (route, path, original),
                (host, proto, languages, scheme),
                query,
                fingerprint,
                (version, name),
            )| Wish {
                route,
                path,
                original,
                host,
                proto: proto.into_iter().map(str::to_owned).collect(),
                query,
                languages,
                scheme,
                fingerprint,
                version,
                name,
            },
        )
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn parts_of(wish: &Wish) -> Parts {
    let query: Vec<_> = wish
        .query
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    let mut request = Request::get(format!("{}?{}", wish.path, query.join("&")));
    let lines = [
        ("host", &wish.host),
        ("x-forwarded-proto", &wish.proto),
        ("accept-language", &wish.languages),
    ];
    for (name, values) in lines {
        for value in values {
            request = request.header(name, value);
        }
    }
    if let Some(scheme) = &wish.scheme {
        request = request.header("x-forwarded-scheme", scheme);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    if let Some(original) = &wish.original {
        parts.extensions.insert(OriginalUri(original.parse().unwrap()));
    }
    parts
}

fn key_of(wish: &Wish) -> String {
    let cache = ResponseCache::same_for_everybody(Duration::from_secs(1))
        .vary(["accept-language"])
        .name(wish.name)
        .version(wish.version);
    let fingerprint = wish.fingerprint.as_ref().map(Fingerprint::of);
    let mut parts = parts_of(wish);
    assert!(spell_query(&cache.settings, &mut parts));
    let key = page_key(&cache.settings, &wish.route, &parts, fingerprint.as_ref());
    key.unwrap().to_string()
}

impl Wish {
    /// The order of parameters of different names does not count.
    fn normal(mut self) -> Self {
        self.query.sort_by(|one, other| one.0.cmp(&other.0));
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn two_requests_have_one_key_exactly_if_all_that_counts_is_the_same(
        one in wishes(),
        other in wishes(),
        which in 0_usize..11,
    ) {
        // Mostly alike: else they would hardly ever be.
        let mut near = one.clone();
        match which {
            0 => near.route = other.route.clone(),
            1 => near.path = other.path.clone(),
            2 => near.original = other.original.clone(),
            3 => near.host = other.host.clone(),
            4 => near.proto = other.proto.clone(),
            5 => near.query = other.query.clone(),
            6 => near.languages = other.languages.clone(),
            7 => near.fingerprint = other.fingerprint.clone(),
            8 => near.name = other.name,
            9 => near.scheme = other.scheme.clone(),
            _ => near.version = other.version,
        }
        // A line may move from one header into the next.
        let mut moved = one.clone();
        moved.languages.extend(moved.proto.pop());
        for another in [other, near, moved] {
            let is_same = one.clone().normal() == another.clone().normal();
            prop_assert_eq!(key_of(&one) == key_of(&another), is_same, "{:?}", another);
        }
    }
}

#[test]
fn what_is_too_long_has_no_key() {
    let cache = ResponseCache::same_for_everybody(Duration::from_secs(1)).vary(["accept-language"]);
    let has_key = |path: &str, header: (&'static str, &str), times: usize| {
        let mut request = Request::get(path);
        for _ in 0..times {
            request = request.header(header.0, header.1);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        spell_query(&cache.settings, &mut parts) && page_key(&cache.settings, "/", &parts, None).is_some()
    };
    let long = |len: usize| "a".repeat(len);
    assert!(has_key(&format!("/{}", long(2047)), ("x", ""), 0));
    assert!(!has_key(&format!("/{}", long(2048)), ("x", ""), 0));
    assert!(has_key(&format!("/?{}", long(2048)), ("x", ""), 0));
    assert!(!has_key(&format!("/?{}", long(2049)), ("x", ""), 0));
    assert!(!has_key("/?%zz", ("x", ""), 0));
    for name in ["accept-language", "host", "x-forwarded-host"] {
        assert!(has_key("/", (name, &long(512)), 1));
        assert!(!has_key("/", (name, &long(513)), 1));
        assert!(!has_key("/", (name, &long(257)), 2));
        assert!(!has_key("/", (name, ""), 513));
    }
    assert!(has_key("/", ("user-agent", &long(5000)), 1));
    // Each spelling would be a page of its own.
    assert!(has_key("/", ("host", "acme.example.com:3000"), 1));
    for header in [
        ("host", "ACME.example.com"),
        ("host", "acme.example.com."),
        ("host", "acme.example.com:0080"),
        ("x-forwarded-port", "0443"),
        ("x-forwarded-proto", "HTTPS"),
    ] {
        assert!(!has_key("/", header, 1), "{header:?}");
    }
}
