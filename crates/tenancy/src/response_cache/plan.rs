//! What is to be done with a request, by its head.

use axum::{
    body::{Body, HttpBody as _},
    extract::MatchedPath,
};
use http::{HeaderMap, HeaderName, Method, Request, Response, header, request::Parts};

use super::{
    conditional::Conditions,
    directives::directives,
    key::page_key,
    page::{Answer, Wanted},
    settings::{Settings, Who},
    status::Told,
    target::spell_query,
};
use crate::{
    Tenant,
    cache::{CacheKey, CacheScope, TenantCache},
    home::Home,
    rejection::{Rejection, RejectionReason, respond},
    resolve::Resolution,
};

pub(super) enum Plan {
    /// The layer stands where it can not work.
    Refuse(Box<Response<Body>>),
    /// To the handler, and the answer is not kept.
    Pass(Told),
    Look(Box<Look>),
}

pub(super) struct Look {
    pub(super) cache: TenantCache,
    pub(super) key: CacheKey<Answer>,
    pub(super) wanted: Wanted,
}

/// `home`: of the stack that made the layer, which answers for requests that no stack has seen. Gives the query its one spelling.
pub(super) fn plan(settings: &Settings, home: &Home, parts: &mut Parts, body: &Body) -> Plan {
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    let is_spelled = is_read && spell_query(settings, parts);
    let parts = &*parts;
    let Some(resolution) = parts.extensions.get::<Resolution>() else {
        let detail = "a response cache stands where the resolve stage of tenancy has not run; \
                      put it on routes inside of Tenancy::wrap or Tenancy::routes";
        return misbuilt(home, detail);
    };
    let tenant = match tenant_of(resolution) {
        Ok(Some(tenant)) => tenant,
        // A stage that only observes let it through: extractors further in say what is missing.
        Ok(None) => return Plan::Pass(Told::Bypass),
        Err(detail) => return misbuilt(resolution.home(), detail),
    };
    if !is_read {
        return Plan::Pass(Told::Method);
    }
    if !is_spelled || !body.is_end_stream() || wants_what_is_not_kept(&parts.headers) {
        return Plan::Pass(Told::Bypass);
    }
    let fingerprint = match &settings.who {
        Who::Everybody { without_cookies } if says_who_it_is(&parts.headers, *without_cookies) => {
            return Plan::Pass(Told::Bypass);
        }
        Who::Everybody { .. } => None,
        Who::Permitted(read) => match read(parts) {
            Some(fingerprint) => Some(fingerprint),
            None => return Plan::Pass(Told::Bypass),
        },
    };
    // What matched no route is nobody's page: there is no end of such paths.
    let route = parts.extensions.get::<MatchedPath>();
    let key = route.and_then(|route| page_key(settings, route.as_str(), parts, fingerprint.as_ref()));
    let Some(key) = key else {
        return Plan::Pass(Told::Bypass);
    };
    Plan::Look(Box::new(Look {
        cache: TenantCache::of(tenant),
        key,
        wanted: Wanted {
            is_head: parts.method == Method::HEAD,
            conditions: Conditions::of(&parts.headers),
        },
    }))
}

/// Whose pages these are; `None` where nobody was found and the stack only observes.
fn tenant_of(resolution: &Resolution) -> Result<Option<&Tenant>, &'static str> {
    if resolution.would_refuse().is_some() {
        return Ok(None);
    }
    match resolution.tenant() {
        None => Err(
            "a response cache keeps pages of tenants, and this request is central; \
                     put it on routes of tenants",
        ),
        Some(tenant) if CacheScope::is_open_for(tenant) => Ok(Some(tenant)),
        Some(_) => Err("a response cache stands outside of the cache_scope stage; \
                        put it on routes inside of Tenancy::wrap or Tenancy::routes"),
    }
}

fn misbuilt(home: &Home, detail: &str) -> Plan {
    let rejection = Rejection::new(RejectionReason::MisbuiltStack, &detail);
    Plan::Refuse(Box::new(respond(rejection, home.responder.as_deref())))
}

/// A part of a page, a page of some moment, another protocol, or nothing that is kept. That a client wants it anew
/// (`no-cache`, `max-age=0`) is not heard: it would make the server work at will.
fn wants_what_is_not_kept(headers: &HeaderMap) -> bool {
    let unusual = [
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::UPGRADE,
    ];
    unusual.iter().any(|name| headers.contains_key(name)) || forbids_to_store(headers)
}

fn forbids_to_store(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::CACHE_CONTROL) {
        return false;
    }
    directives(headers).is_none_or(|all| all.iter().any(|(name, _)| name == "no-store"))
}

fn says_who_it_is(headers: &HeaderMap, without_cookies: bool) -> bool {
    let mut names = headers.keys().map(HeaderName::as_str);
    names.any(|name| (name == "cookie" && !without_cookies) || names_the_client(name))
}

/// Credentials, and what proxies that log users in tell of them. A handler may go by it.
fn names_the_client(name: &str) -> bool {
    // Most headers of a browser end here.
    match name.as_bytes().first() {
        Some(b'x') => name.strip_prefix("x-").is_some_and(x_names_the_client),
        Some(b'a' | b'p') => matches!(name, "authorization" | "proxy-authorization"),
        Some(b'r') => matches!(
            name,
            "remote-user" | "remote-name" | "remote-email" | "remote-groups"
        ),
        Some(b'c' | b's' | b't') => {
            let families = ["cf-access-", "client-cert", "ssl-client-", "tailscale-"];
            families.iter().any(|family| name.starts_with(family))
        }
        _ => false,
    }
}

fn x_names_the_client(rest: &str) -> bool {
    let families = [
        "access-token",
        "amzn-mtls-",
        "amzn-oidc-",
        "apigateway-api-",
        "arr-clientcert",
        "auth-request-",
        "authenticated-",
        "authentik-",
        "client-cert",
        "consumer-",
        "credential-",
        "endpoint-api-",
        "forwarded-access-token",
        "forwarded-client-cert",
        "forwarded-email",
        "forwarded-groups",
        "forwarded-preferred-username",
        "forwarded-tls-client-cert",
        "forwarded-user",
        "goog-authenticated-user-",
        "goog-iap-",
        "id-token",
        "jwt-",
        "ms-client-principal",
        "ms-token-",
        "pomerium-",
        "remote-",
        "ssl-client-",
        "token-",
        "userinfo",
        "vouch-",
        "webauth-",
    ];
    matches!(rest, "api-key" | "auth-token" | "user" | "user-id" | "user-email")
        || families.iter().any(|family| rest.starts_with(family))
}

/// What the handler is to see: a request for the whole page, with nothing of the client's state that is not in the key.
pub(super) fn for_everybody(settings: &Settings, mut request: Request<Body>) -> Request<Body> {
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    for name in [
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::CACHE_CONTROL,
        header::PRAGMA,
    ] {
        headers.remove(name);
    }
    if let Who::Everybody { .. } = settings.who {
        headers.remove(header::COOKIE);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::names_the_client;

    #[test]
    fn what_proxies_and_gateways_say_of_who_asks_names_the_client() {
        for name in [
            "authorization",
            "remote-user",
            "ssl-client-verify",
            "x-amzn-mtls-clientcert-subject",
            "x-amzn-oidc-identity",
            "x-apigateway-api-userinfo",
            "x-arr-clientcert",
            "x-client-cert",
            "x-consumer-username",
            "x-credential-identifier",
            "x-endpoint-api-userinfo",
            "x-forwarded-tls-client-cert",
            "x-forwarded-tls-client-cert-info",
            "x-id-token",
            "x-jwt-payload",
            "x-user-id",
            "x-userinfo",
        ] {
            assert!(names_the_client(name), "{name}");
        }
    }

    #[test]
    fn what_browsers_and_proxies_say_of_each_request_names_nobody() {
        for name in [
            "accept",
            "consumer-price",
            "user-agent",
            "x-amzn-trace-id",
            "x-arr-ssl",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
            "x-requested-with",
        ] {
            assert!(!names_the_client(name), "{name}");
        }
    }
}
