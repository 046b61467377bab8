//! Whole responses of routes, kept for each tenant.
//!
//! [`Tenancy::response_cache`](crate::Tenancy::response_cache) makes a layer for the routes that are to be kept. It stands on
//! [`cache`](crate::cache): one memory with fair shares, a level that processes share, flushes with a promised bound, one load
//! for all who ask.
//!
//! * A page's key is the tenant, the route, the path, the query in one spelling, the host as the client sees it, the headers that
//!   [`vary`](ResponseCache::vary) names, and what the client may see: [`ResponseCache::same_for_everybody`], or a
//!   [`Fingerprint`] by [`ResponseCache::for_permissions`]. There is no third way, so that nobody forgets to choose.
//! * A flush of a tag flushes the pages with it: the layer's own ([`tag`](ResponseCache::tag)), and those that the handler names by
//!   [`CacheTags`]. A flush that comes while a page is being made counts.
//! * Concurrent requests for one page ask the handler once, unless something of the tenant is flushed, put or removed meanwhile. A response that is for one client alone, with `Set-Cookie` for instance,
//!   is given to that client and to nobody else: those who waited ask for themselves.
//! * Pages have an `ETag`, `If-None-Match` gets `304`, and `HEAD` is answered from the page of `GET`.
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use axum::{Router, body::Body, http::Request, response::IntoResponse, routing::get};
//! use tenancy::{
//!     MemoryStore, Tenancy, Tenant,
//!     resolve::Subdomain,
//!     response_cache::{CacheTags, ResponseCache},
//! };
//! use tower::ServiceExt;
//!
//! async fn report(tenant: Tenant) -> impl IntoResponse {
//!     (CacheTags::new(["notes"]), format!("the notes of {}", tenant.id()))
//! }
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! let cache = tenancy.response_cache(ResponseCache::same_for_everybody(Duration::from_secs(60)))?;
//! let app = tenancy.wrap(Router::new().route("/report", get(report).layer(cache)));
//!
//! for expected in ["tenancy; fwd=miss; stored", "tenancy; hit"] {
//!     let request = Request::get("/report").header("host", "acme.example.com").body(Body::empty())?;
//!     let response = app.clone().oneshot(request).await?;
//!     assert_eq!(response.headers()["cache-status"], expected);
//! }
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! # Where it stands
//!
//! On routes of tenants, inside of authentication: a layer that is added later stands further out, so this one is added first.
//!
//! | refused | when, and how |
//! |---|---|
//! | a stack without the stages `resolve` or `cache_scope`; no time to live; `vary` by `Cookie` or `Authorization`; a body larger than an entry may be | when the layer is made: [`ConfigError`](crate::stack::ConfigError) |
//! | a page without a choice of who may see it | does not compile |
//! | a route outside of the stack, a central one, one outside of the cache scope | by each request: 500, and an error in the log that says what to do. Nothing is served or kept |
//! | a client that says who it is, or of whom a proxy says it (`Authorization`, `Cookie`, `Remote-User`, `X-Forwarded-User`, `X-Auth-Request-…`, `X-Amzn-Oidc-…`, `Cf-Access-…` and others), where pages are the same for everybody: authentication may stand further in | by each request: it goes to the handler, and the answer is not kept |
//!
//! axum does not say which routes of a router have a layer, so that the third row can not be checked earlier. Where a proxy names
//! every client, and pages are the same for all of them nonetheless, say so by one fingerprint for all:
//! `for_permissions(ttl, |_| Some(Fingerprint::of(["all"])))`.
//!
//! # What is kept
//!
//! Responses to `GET` of status 200, and of those that [`also`](ResponseCache::also) names, up to
//! [`max_body`](ResponseCache::max_body). Never: with `Set-Cookie`, `Clear-Site-Data`, `WWW-Authenticate`, `Content-Range`, `Pragma`,
//! trailers, or `Cache-Control` of `private`, `no-store`, `no-cache` or `max-age=0`; with an `Expires` that stands alone; with a `Vary` that
//! names what is not in the key, or content coding or a CORS origin that was negotiated without it; streams of events, and
//! bodies that take longer than a second to come. `s-maxage` and `max-age` shorten the time to live.
//!
//! Not answered from the cache, nor kept: requests with a body, `Range`, `If-Match`, `If-Unmodified-Since`, `If-Range`, `Upgrade`, or
//! `Cache-Control: no-store`; those that match no route; and those whose path or query is longer than 2 KiB, or a header of the key
//! longer than 512 bytes. A client's `no-cache` and `max-age=0` are not heard: else anybody could make the server work at will.
//!
//! # What the handler sees
//!
//! The request of the first who asks. So that nothing of it changes the page of the others, what is not in the key is taken out:
//! conditions, `Cache-Control`, for pages that are the same for everybody `Cookie`. Other headers are there, and what layers have left in
//! the extensions: a page that depends on them must say so, by `vary` or by its fingerprint. Headers by which proxies tell the address
//! of a page, such as `X-Forwarded-Proto`, `X-Forwarded-Prefix` or `X-Script-Name`, are part of the key: who invents one gets a page of
//! its own.
//!
//! The query is in its one spelling: decoded, sorted by name, encoded, but for brackets (`?b=2&a[]=%31` is `?a[]=1&b=2`, and `?` is
//! none), and without what [`only_query`](ResponseCache::only_query) leaves out. So it is in every `GET` and `HEAD` that comes to this layer,
//! also in one that is not answered from the cache: what the handler answers does not depend on that. Only what has no such spelling, since
//! its escapes are broken or it is too long, is seen as it was sent, and not kept.
//!
//! It runs in a task of its own, in the tenant's scope and with its part of the cache open: who hangs up does not end it. Task-locals
//! and values of [`scope`](crate::scope) that layers further out have put away are not there, and what the handler itself puts away ends
//! before the body of an answer that is passed on.
//!
//! # Where it goes wrong
//!
//! | the handler | its own client | those who waited | who comes next |
//! |---|---|---|---|
//! | answers for one client alone | gets it | ask for themselves | ask for themselves, for 5 s |
//! | answers 5xx, or its body breaks off | gets it, or a stale page | the stale page, or ask for themselves | try again |
//! | panics | 500, or a stale page | the stale page, or ask for themselves | try again |
//! | takes longer than [`load_timeout`](crate::cache::CacheSettings::load_timeout) | 503, or a stale page | 503, or a stale page | try again |
//! | has no turn within that time, or 1,024 pages of the tenant are waited for already | 503, or a stale page | 503, or a stale page | try again |
//!
//! For each tenant four times [`loads_per_tenant`](crate::cache::CacheSettings::loads_per_tenant) pages are made at once; more wait for
//! their turn. `Cache-Status` says `stored` only of a page that was kept: not of one that is too large with its headers, has too many
//! tags, or was flushed while it was made.
//!
//! **Caveats.** Each query is a page of its own: where clients could invent parameters, name those that count by
//! [`only_query`](ResponseCache::only_query), or they fill the shared level with pages that nobody asks for again. RFC 9111 has a cache forget a page when its address is written to; here flushes say what has changed. A page that is
//! made of a value that the cache served stale, after a soft flush for instance, is not kept, however deep that value stands in others, and also where
//! its parts are made by [`scope::spawn`](crate::scope::spawn): it is made again for each who comes, and for those who ask at the same time
//! once, until the value is well. A plain `tokio::spawn` hides that a value was stale, and such a page is kept for its whole time. A believed `Forwarded` header is part of
//! the key with all that it says: where it names each client, no page is found again; have the proxy send `X-Forwarded-Host`. After any flush
//! of a tenant, who asks does not wait for a page that was begun before: what it depends on is not known yet.

mod collect;
mod conditional;
mod directives;
mod fingerprint;
mod key;
mod layer;
mod page;
mod plan;
mod query;
mod serve;
mod settings;
mod status;
mod storable;
mod tags;
mod target;
#[cfg(test)]
mod tests;
mod ticket;

use http::HeaderName;

pub use self::{
    fingerprint::Fingerprint,
    layer::{ResponseCacheFuture, ResponseCacheLayer, ResponseCacheService},
    settings::ResponseCache,
    tags::CacheTags,
};

/// RFC 9211: what came of the cache for this response, such as `tenancy; hit`.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
