//! Web pages have no business here.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

pub(super) async fn refuse_web_pages(request: Request, next: Next) -> Response {
    match refused(request.uri(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

fn refused(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let of_a_page = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "none" && site != "same-origin");
    if of_a_page || headers.contains_key(header::ORIGIN) {
        return Some("requests of web pages are refused here\n");
    }
    // A page of evil.example whose name leads to 127.0.0.1 is of the same origin to a browser.
    if !is_for_this_machine(uri, headers) {
        return Some("this address is reached as localhost or 127.0.0.1, and by no other name\n");
    }
    None
}

/// HTTP/1 says whom it asks in `Host`, HTTP/2 in the authority. Who says it in both must be right in both.
fn is_for_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), None, _) => names_this_machine(authority),
        (authority, Some(host), None) => {
            let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
            authority.is_none_or(names_this_machine) && host.as_ref().is_some_and(names_this_machine)
        }
        _ => false,
    }
}

/// localhost, or an address in digits that leads nowhere else. 0.0.0.0 leads here too, past what browsers forbid to web pages.
fn names_this_machine(authority: &Authority) -> bool {
    let name = authority.host();
    let digits = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let address = digits.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses_of(uri: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        refused(&uri.parse().unwrap(), &map).is_some()
    }

    fn refuses(headers: &[(&'static str, &'static str)]) -> bool {
        refuses_of("/memory", headers)
    }

    #[test]
    fn only_the_names_of_this_machine_lead_here() {
        for host in [
            "127.0.0.1:2113",
            "127.0.0.1",
            "localhost:2113",
            "LOCALHOST",
            "[::1]:2113",
            "[::ffff:127.0.0.1]:2113",
        ] {
            assert!(!refuses(&[("host", host)]), "{host}");
        }
        for host in [
            "evil.example:2113",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil.example",
            "a b",
            "0.0.0.0:2113",
            "[::]:2113",
            "[::ffff:0.0.0.0]:2113",
            "0",
            "10.0.0.1",
        ] {
            assert!(refuses(&[("host", host)]), "{host}");
        }
        assert!(refuses(&[]));
        assert!(refuses(&[("host", "localhost"), ("host", "evil.example")]));
        assert!(refuses(&[("host", "localhost"), ("host", "localhost")]));
    }

    #[test]
    fn http_2_names_it_in_the_authority_and_who_names_it_twice_must_be_right_twice() {
        assert!(!refuses_of("http://localhost:2113/memory", &[]));
        assert!(!refuses_of("http://[::1]:2113/memory", &[]));
        assert!(refuses_of("http://evil.example:2113/memory", &[]));
        assert!(refuses_of("http://0.0.0.0:2113/memory", &[]));
        let right = ("host", "localhost");
        assert!(!refuses_of("http://127.0.0.1:2113/memory", &[right]));
        assert!(refuses_of("http://evil.example/memory", &[right]));
        assert!(refuses_of("http://localhost/memory", &[("host", "evil.example")]));
        assert!(refuses_of("http://localhost/memory", &[right, right]));
    }

    #[test]
    fn requests_of_web_pages_are_refused() {
        let host = ("host", "127.0.0.1");
        assert!(refuses(&[host, ("origin", "https://evil.example")]));
        assert!(refuses(&[host, ("origin", "null")]));
        assert!(refuses(&[host, ("sec-fetch-site", "cross-site")]));
        // Typed by the operator.
        assert!(!refuses(&[host, ("sec-fetch-site", "none")]));
    }
}
