//! What a response cache does, as it is written beside a route.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};

use super::Fingerprint;
use crate::cache::EntryOptions;

/// How responses of a route are kept. [`Tenancy::response_cache`](crate::Tenancy::response_cache) makes a layer of it.
///
/// | setting | default |
/// |---|---|
/// | [`tag`](Self::tag), [`tags`](Self::tags) | none; handlers name theirs by [`CacheTags`](super::CacheTags) |
/// | [`stale_for`](Self::stale_for) | 30 s |
/// | [`early_refresh`](Self::early_refresh) | yes |
/// | [`vary`](Self::vary) | no header is part of the key |
/// | [`only_query`](Self::only_query) | the whole query is part of the key |
/// | [`max_body`](Self::max_body) | 256 KiB |
/// | [`also`](Self::also) | 200 alone |
/// | [`name`](Self::name) | none |
/// | [`version`](Self::version) | 0 |
/// | [`client_cache_control`](Self::client_cache_control) | `private, no-cache` |
/// | [`cache_status`](Self::cache_status) | yes |
#[derive(Clone)]
#[must_use = "it is no layer yet: see Tenancy::response_cache"]
pub struct ResponseCache {
    pub(super) settings: Settings,
    mistakes: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) who: Who,
    pub(super) entry: EntryOptions,
    ttl: Duration,
    pub(super) name: &'static str,
    pub(super) version: u32,
    pub(super) max_body: usize,
    /// Sorted, each once.
    pub(super) vary: Vec<HeaderName>,
    pub(super) only_query: Option<Vec<String>>,
    also: Vec<(StatusCode, Duration)>,
    pub(super) client_cache_control: HeaderValue,
    pub(super) says_status: bool,
}

type ReadFingerprint = dyn Fn(&Parts) -> Option<Fingerprint> + Send + Sync;

/// For whom a page is.
#[derive(Clone)]
pub(super) enum Who {
    Everybody { without_cookies: bool },
    Permitted(Arc<ReadFingerprint>),
}

/// What an address of a page is made of, beside its path. Where proxies are configured, only believed forwarding headers come as
/// far as here.
pub(super) const OF_EVERY_KEY: [&str; 6] = [
    "host",
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
];

/// A year: nothing is kept for longer.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a key must not be made of, and what to do instead.
const NO_KEYS: [(&str, &str); 6] = [
    ("authorization", "name what it permits by `for_permissions`"),
    ("proxy-authorization", "name what it permits by `for_permissions`"),
    ("cookie", "name what it says by `for_permissions`"),
    ("range", "requests for a part are never answered from the cache"),
    ("if-none-match", "conditions are answered without"),
    ("if-modified-since", "conditions are answered without"),
];

impl ResponseCache {
    /// Pages that everybody who comes as far as this layer may see, fresh for `ttl`.
    ///
    /// Authentication, if the route has any, must stand outside of this layer. As a net for where it does not, requests with
    /// `Authorization`, `Proxy-Authorization` or `Cookie` go to the handler, and what it answers them is not kept; see
    /// [`without_cookies`](Self::without_cookies).
    pub fn same_for_everybody(ttl: Duration) -> Self {
        Self::of(
            Who::Everybody {
                without_cookies: false,
            },
            ttl,
        )
    }

    /// Pages that depend on who asks, fresh for `ttl`. `fingerprint` reads what the client may see out of what authentication,
    /// which stands outside of this layer, has left in the request; clients of one fingerprint get one page.
    ///
    /// `None`: the request goes to the handler, and the answer is not kept. It is called once for each request, before
    /// anything is looked up.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tenancy::response_cache::{Fingerprint, ResponseCache};
    ///
    /// #[derive(Clone)]
    /// struct User { role: String }
    ///
    /// let cache = ResponseCache::for_permissions(Duration::from_secs(60), |parts| {
    ///     let user = parts.extensions.get::<User>()?;
    ///     Some(Fingerprint::of([&user.role]))
    /// });
    /// # drop(cache);
    /// ```
    pub fn for_permissions(
        ttl: Duration,
        fingerprint: impl Fn(&Parts) -> Option<Fingerprint> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Who::Permitted(Arc::new(fingerprint)), ttl)
    }

    fn of(who: Who, ttl: Duration) -> Self {
        let ttl = ttl.min(LONGEST);
        Self {
            settings: Settings {
                who,
                entry: EntryOptions::new().ttl(ttl),
                ttl,
                name: "",
                version: 0,
                max_body: 256 << 10,
                vary: Vec::new(),
                only_query: None,
                also: Vec::new(),
                client_cache_control: HeaderValue::from_static("private, no-cache"),
                says_status: true,
            },
            mistakes: Vec::new(),
        }
    }

    /// Takes `Cookie` out of requests before the handler sees them, for pages that do not depend on it: so that clients with
    /// cookies get pages from the cache, too. Of pages [for permissions](Self::for_permissions) it changes nothing.
    ///
    /// Layers further in see no cookies either. A session layer there takes every client for a new one.
    pub fn without_cookies(mut self) -> Self {
        if let Who::Everybody { without_cookies } = &mut self.settings.who {
            *without_cookies = true;
        }
        self
    }

    /// A flush of this tag flushes all pages.
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.settings.entry = self.settings.entry.tag(tag);
        self
    }

    /// All of these, as [`tag`](Self::tag).
    pub fn tags<T: AsRef<str>>(self, tags: impl IntoIterator<Item = T>) -> Self {
        tags.into_iter().fold(self, Self::tag)
    }

    /// For so long after its time a page is still served where making it anew fails, with a status of 5xx for instance, or takes
    /// longer than the cache's [`soft_timeout`](crate::cache::CacheSettings::soft_timeout).
    pub fn stale_for(mut self, grace: Duration) -> Self {
        self.settings.entry = self.settings.entry.stale_for(grace.min(LONGEST));
        self
    }

    /// Whether one of many requests makes a page anew shortly before its end: see
    /// [`EntryOptions::early_refresh`](crate::cache::EntryOptions::early_refresh).
    pub fn early_refresh(mut self, refresh: bool) -> Self {
        self.settings.entry = self.settings.entry.early_refresh(refresh);
        self
    }

    /// Headers of the request that pages depend on, such as `accept-language`: each value has pages of its own. They are named in
    /// the `Vary` of pages. A request whose value is longer than 512 bytes goes to the handler, and its answer is not kept.
    ///
    /// A response whose own `Vary` names another header is not kept.
    pub fn vary<'a>(mut self, headers: impl IntoIterator<Item = &'a str>) -> Self {
        for header in headers {
            match header.parse::<HeaderName>() {
                Ok(name) => self.settings.vary.push(name),
                Err(_) => {
                    let header: String = header.chars().take(64).collect();
                    self.mistakes.push(format!("{header:?} is no name of a header"));
                }
            }
        }
        let vary = &mut self.settings.vary;
        vary.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        vary.dedup();
        self
    }

    /// The only parameters of the query that count: the others are taken out before the handler sees the request, so that they
    /// neither make pages of their own nor change one. Without any, the handler sees no query.
    pub fn only_query<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.settings.only_query = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// How large a body may be to be kept, in bytes. A larger one is passed on as it comes. In a shared level that is written as
    /// JSON a body takes four times as much.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// Keeps responses of this status, too, for this long: `404 Not Found`, `301 Moved Permanently`.
    pub fn also(mut self, status: StatusCode, ttl: Duration) -> Self {
        self.settings.also.push((status, ttl.min(LONGEST)));
        self
    }

    /// Tells the pages of one router from those of another on the same stack or the same Redis, where both have a route of one path:
    /// the application for customers from the one for the staff, for instance. Whoever may ask both finds no page of the other.
    pub fn name(mut self, name: &'static str) -> Self {
        self.settings.name = name;
        self
    }

    /// Count it up when a release makes other pages, or means something else by a fingerprint: what older releases have kept is
    /// not served then.
    pub fn version(mut self, version: u32) -> Self {
        self.settings.version = version;
        self
    }

    /// What pages say to clients, and to proxies between, in the place of the handler's `Cache-Control`.
    ///
    /// The default lets a client keep a page for itself and ask each time whether it is still the one (`304`), which a flush needs,
    /// and no proxy keep it: one that looks at less than this stack does would serve one tenant's page to another.
    pub fn client_cache_control(mut self, value: HeaderValue) -> Self {
        self.settings.client_cache_control = value;
        self
    }

    /// Whether responses say in `Cache-Status` (RFC 9211) what came of the cache.
    pub fn cache_status(mut self, says: bool) -> Self {
        self.settings.says_status = says;
        self
    }

    /// What is wrong, in words for the one who wrote it. `max_entry_bytes`: of the stack's cache.
    pub(super) fn mistakes(&self, max_entry_bytes: u32) -> Vec<String> {
        let mut mistakes = self.mistakes.clone();
        let settings = &self.settings;
        if settings.ttl.is_zero() {
            mistakes.push("its time to live is zero; leave the layer out instead".to_owned());
        }
        if settings.max_body > max_entry_bytes as usize {
            mistakes.push(format!(
                "a body may have {} bytes, and an entry of the cache {max_entry_bytes}; lower max_body or raise max_entry_bytes",
                settings.max_body
            ));
        }
        for (name, advice) in NO_KEYS {
            if settings.vary.iter().any(|header| header == name) {
                mistakes.push(format!("pages can not vary by {name}: {advice}"));
            }
        }
        for (status, _) in settings.also.iter().filter(|(status, _)| !may_be_kept(*status)) {
            mistakes.push(format!(
                "a response of status {} is for one request alone",
                status.as_u16()
            ));
        }
        mistakes
    }
}

/// Not what is interim, partial, an answer to a condition or a credential, or said of the moment.
fn may_be_kept(status: StatusCode) -> bool {
    let is_of_the_moment = matches!(
        status.as_u16(),
        206 | 304 | 401 | 407 | 408 | 412 | 416 | 417 | 425 | 428 | 429
    );
    let is_lasting_failure = status == StatusCode::NOT_IMPLEMENTED;
    !status.is_informational() && !is_of_the_moment && (!status.is_server_error() || is_lasting_failure)
}

impl Settings {
    /// How long a response of this status is kept.
    pub(super) fn ttl_of(&self, status: StatusCode) -> Option<Duration> {
        let also = self.also.iter().rev().find(|(also, _)| *also == status);
        match also {
            Some((_, ttl)) => Some(*ttl),
            None => (status == StatusCode::OK).then_some(self.ttl),
        }
    }

    /// Whether the key has what this header says.
    pub(super) fn key_has(&self, header: &str) -> bool {
        let mut of_every_key = OF_EVERY_KEY.iter();
        self.vary
            .iter()
            .any(|name| name.as_str().eq_ignore_ascii_case(header))
            || of_every_key.any(|name| name.eq_ignore_ascii_case(header))
    }

    /// Adds to `Vary` what is not there yet.
    pub(super) fn say_what_it_varies_by(&self, headers: &mut HeaderMap) {
        let said: Vec<String> = headers
            .get_all(header::VARY)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        for name in &self.vary {
            if !said.iter().any(|said| said == name.as_str()) {
                headers.append(header::VARY, HeaderValue::from(name.clone()));
            }
        }
    }
}

impl fmt::Debug for ResponseCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCache")
            .field("ttl", &self.settings.ttl)
            .field("vary", &self.settings.vary)
            .field("only_query", &self.settings.only_query)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute() -> ResponseCache {
        ResponseCache::same_for_everybody(Duration::from_secs(60))
    }

    #[test]
    fn what_can_not_work_is_named_all_at_once() {
        let cache = ResponseCache::same_for_everybody(Duration::ZERO)
            .vary(["bad name", "Cookie", "authorization", "accept"])
            .max_body(2000)
            .also(StatusCode::PARTIAL_CONTENT, Duration::from_secs(1))
            .also(StatusCode::INTERNAL_SERVER_ERROR, Duration::from_secs(1))
            .also(StatusCode::NOT_FOUND, Duration::from_secs(1));
        let mistakes = cache.mistakes(1000);
        for part in [
            "zero",
            "bad name",
            "cookie",
            "authorization",
            "2000",
            "206",
            "500",
        ] {
            assert!(
                mistakes.iter().any(|mistake| mistake.contains(part)),
                "{part} in {mistakes:?}"
            );
        }
        assert_eq!(mistakes.len(), 7, "{mistakes:?}");
        assert!(minute().mistakes(1 << 20).is_empty());
    }

    #[test]
    fn what_a_page_varies_by_is_said_once() {
        let cache = minute().vary(["accept-language", "accept"]);
        let mut headers = HeaderMap::new();
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Host"));
        cache.settings.say_what_it_varies_by(&mut headers);
        let lines: Vec<_> = headers.get_all(header::VARY).iter().collect();
        assert_eq!(lines, ["Accept, Host", "accept-language"]);
    }
}
