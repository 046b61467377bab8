//! Which responses may be kept for others: RFC 9111 §3, and what a careful cache adds.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{directives::directives, settings::Settings};

/// What is to be done with a response, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Kept, for this long at most.
    Keep(Duration),
    /// For the one who asked alone. Those who ask next need not wait for each other.
    ForOne(&'static str),
    /// It went wrong: for the one who asked alone, and a stale page is better.
    Failed,
}

use Verdict::{Failed, ForOne, Keep};

pub(super) fn judge(settings: &Settings, status: StatusCode, headers: &HeaderMap) -> Verdict {
    let Some(ttl) = settings.ttl_of(status) else {
        return match status.is_server_error() {
            true => Failed,
            false => ForOne("its status"),
        };
    };
    if let Some(reason) = forbidden(headers) {
        return ForOne(reason);
    }
    if !is_of_the_key_alone(settings, headers) {
        return ForOne("it varies by what is not in the key");
    }
    match freshness(headers) {
        Some(Freshness::Unstated) => Keep(ttl),
        Some(Freshness::AtMost(limit)) if !limit.is_zero() => Keep(ttl.min(limit)),
        Some(Freshness::AtMost(_)) | None => ForOne("its Cache-Control or Expires"),
    }
}

/// What is one client's, or one moment's.
fn forbidden(headers: &HeaderMap) -> Option<&'static str> {
    let names = [
        ("set-cookie", "Set-Cookie"),
        ("set-cookie2", "Set-Cookie2"),
        ("clear-site-data", "Clear-Site-Data"),
        ("www-authenticate", "WWW-Authenticate"),
        ("authentication-info", "Authentication-Info"),
        ("content-range", "Content-Range"),
        ("trailer", "Trailer"),
        ("upgrade", "Upgrade"),
        ("pragma", "Pragma"),
    ];
    let present = names.into_iter().find(|(name, _)| headers.contains_key(*name));
    present
        .map(|(_, reason)| reason)
        .or_else(|| is_endless(headers).then_some("a stream of events"))
}

/// Nobody waits for its end.
fn is_endless(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    content_type.starts_with(b"text/event-stream") || content_type.starts_with(b"multipart/x-mixed-replace")
}

/// Whether all that the response says it depends on is part of the key.
fn is_of_the_key_alone(settings: &Settings, headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::VARY).iter();
    let all_known = lines.map(HeaderValue::to_str).all(|line| {
        line.is_ok_and(|line| {
            let mut names = line.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.all(|name| settings.key_has(name))
        })
    });
    all_known
        && (is_plain(headers.get(header::CONTENT_ENCODING), b"identity")
            || settings.key_has("accept-encoding"))
        && (is_plain(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN), b"*") || settings.key_has("origin"))
}

fn is_plain(value: Option<&HeaderValue>, plain: &[u8]) -> bool {
    value.is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(plain))
}

enum Freshness {
    Unstated,
    AtMost(Duration),
}

/// `None`: it must not be kept. `s-maxage` is said to caches like this one, and goes before `max-age`. An `Expires` that stands
/// alone is mostly said to forbid.
fn freshness(headers: &HeaderMap) -> Option<Freshness> {
    let (mut max_age, mut shared) = (None, None);
    for (name, value) in directives(headers)? {
        let seconds = || value.as_ref()?.parse::<u64>().ok().map(Duration::from_secs);
        match name.as_str() {
            "no-store" | "private" | "no-cache" => return None,
            "max-age" => max_age = Some(least(max_age, seconds()?)),
            "s-maxage" => shared = Some(least(shared, seconds()?)),
            _ => {}
        }
    }
    match shared.or(max_age) {
        Some(limit) => Some(Freshness::AtMost(limit.saturating_sub(age(headers)?))),
        None if headers.contains_key(header::EXPIRES) => None,
        None => Some(Freshness::Unstated),
    }
}

/// Of a directive that is said twice.
fn least(before: Option<Duration>, now: Duration) -> Duration {
    before.map_or(now, |before| before.min(now))
}

/// How old it was when it came, from another cache. `None`: nobody can say.
fn age(headers: &HeaderMap) -> Option<Duration> {
    let Some(age) = headers.get(header::AGE) else {
        return Some(Duration::ZERO);
    };
    let seconds = age.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether it must not be served once it is old, whatever happens: RFC 9111 §5.2.2.2, §5.2.2.8, §5.2.2.10.
pub(super) fn forbids_stale(headers: &HeaderMap) -> bool {
    let forbids = |name: &str| matches!(name, "must-revalidate" | "proxy-revalidate" | "s-maxage");
    directives(headers).is_none_or(|all| all.iter().any(|(name, _)| forbids(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response_cache::ResponseCache;

    fn minute() -> Duration {
        Duration::from_secs(60)
    }

    fn verdict(cache: &ResponseCache, status: u16, headers: &[(&'static str, &str)]) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        judge(&cache.settings, StatusCode::from_u16(status).unwrap(), &map)
    }

    #[test]
    fn what_is_one_clients_or_unclear_is_not_kept() {
        let cache = ResponseCache::same_for_everybody(minute())
            .vary(["accept-language"])
            .also(StatusCode::NOT_FOUND, Duration::from_secs(5));
        let kept = |seconds| Some(Duration::from_secs(seconds));
        for (status, headers, expected) in [
            (200, &[][..], kept(60)),
            (404, &[], kept(5)),
            (404, &[("cache-control", "max-age=1")], kept(1)),
            (301, &[], None),
            (206, &[], None),
            (304, &[], None),
            (403, &[], None),
            (200, &[("set-cookie", "a=b")], None),
            (200, &[("clear-site-data", "*")], None),
            (200, &[("content-range", "bytes 0-1/2")], None),
            (200, &[("trailer", "x")], None),
            (200, &[("pragma", "no-cache")], None),
            (200, &[("cache-control", "public")], kept(60)),
            (200, &[("cache-control", "no-store")], None),
            (200, &[("cache-control", "No-Cache")], None),
            (200, &[("cache-control", "max-age=5, PRIVATE")], None),
            (200, &[("cache-control", "private=\"x-name\"")], None),
            (200, &[("cache-control", "x=\"no-store\"")], kept(60)),
            (200, &[("cache-control", "max-age=5")], kept(5)),
            (200, &[("cache-control", "max-age=\"5\"")], kept(5)),
            (200, &[("cache-control", "max-age=500")], kept(60)),
            (200, &[("cache-control", "max-age=0")], None),
            (200, &[("cache-control", "max-age=-1")], None),
            (200, &[("cache-control", "max-age")], None),
            (200, &[("cache-control", "max-age=0, s-maxage=9")], kept(9)),
            (200, &[("cache-control", "max-age=9, s-maxage=0")], None),
            (200, &[("cache-control", "max-age=5, max-age=9")], kept(5)),
            (200, &[("cache-control", "max-age=9, max-age=0")], None),
            (200, &[("cache-control", "max-age=9"), ("age", "4")], kept(5)),
            (200, &[("cache-control", "max-age=9"), ("age", "9")], None),
            (200, &[("cache-control", "max-age=9"), ("age", "old")], None),
            (200, &[("cache-control", "x=\"a, no-store")], None),
            (200, &[("expires", "0")], None),
            (200, &[("expires", "0"), ("cache-control", "max-age=7")], kept(7)),
            (200, &[("vary", "*")], None),
            (200, &[("vary", "Accept-Language")], kept(60)),
            (200, &[("vary", "accept-language, cookie")], None),
            (200, &[("vary", "accept-language"), ("vary", "user-agent")], None),
            (200, &[("vary", "host")], kept(60)),
            (200, &[("vary", "")], kept(60)),
            (200, &[("content-encoding", "identity")], kept(60)),
            (200, &[("content-encoding", "gzip")], None),
            (200, &[("access-control-allow-origin", "*")], kept(60)),
            (200, &[("access-control-allow-origin", "https://a.example")], None),
            (200, &[("content-type", "text/event-stream; charset=utf-8")], None),
        ] {
            let expected_kept = match verdict(&cache, status, headers) {
                Keep(ttl) => Some(ttl),
                ForOne(_) => None,
                Failed => panic!("{status} {headers:?}"),
            };
            assert_eq!(expected_kept, expected, "{status} {headers:?}");
        }
        assert_eq!(verdict(&cache, 500, &[]), Failed);
        assert_eq!(verdict(&cache, 503, &[("set-cookie", "a=b")]), Failed);
        let negotiated = cache.vary(["accept-encoding", "origin"]);
        let gzip = &[
            ("content-encoding", "gzip"),
            ("access-control-allow-origin", "https://a.example"),
        ];
        assert_eq!(verdict(&negotiated, 200, gzip), Keep(minute()));
    }

    #[test]
    fn who_wants_to_be_asked_again_is_never_served_old() {
        for (line, expected) in [
            ("max-age=5", false),
            ("max-age=5, must-revalidate", true),
            ("Proxy-Revalidate", true),
            ("s-maxage=5", true),
            ("x=\"must-revalidate\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(line));
            assert_eq!(forbids_stale(&headers), expected, "{line}");
        }
        assert!(!forbids_stale(&HeaderMap::new()));
    }

    #[test]
    fn headers_that_are_no_text_forbid() {
        let cache = ResponseCache::same_for_everybody(minute());
        for name in [header::VARY, header::CACHE_CONTROL] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_bytes(b"\xff").unwrap());
            let verdict = judge(&cache.settings, StatusCode::OK, &headers);
            assert!(matches!(verdict, ForOne(_)));
        }
    }
}
