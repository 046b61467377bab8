//! Web pages have no business here.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// What is refused depends on where one listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    is_of_this_machine: bool,
}

impl Guard {
    pub(super) fn of(address: SocketAddr) -> Self {
        Self {
            is_of_this_machine: address.ip().is_loopback(),
        }
    }

    fn refuses(self, headers: &HeaderMap) -> Option<&'static str> {
        let of_a_page = headers
            .get("sec-fetch-site")
            .is_some_and(|site| site != "none" && site != "same-origin");
        if of_a_page || headers.contains_key(header::ORIGIN) {
            return Some("requests of web pages are refused here\n");
        }
        // A page of evil.example whose name leads to 127.0.0.1 is of the same origin to a browser.
        if self.is_of_this_machine && !is_host_of_this_machine(headers) {
            return Some("this address is reached as localhost or by its number, and by no other name\n");
        }
        None
    }
}

/// An address in digits, or localhost.
fn is_host_of_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let name = authority.host();
    let digits = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || digits.parse::<IpAddr>().is_ok()
}

pub(super) async fn refuse_web_pages(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.refuses(request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(address: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Guard::of(address.parse().unwrap()).refuses(&map).is_some()
    }

    #[test]
    fn on_this_machine_only_its_own_names_lead_here() {
        for host in [
            "127.0.0.1:2113",
            "localhost:2113",
            "LOCALHOST",
            "[::1]:2113",
            "10.0.0.1",
        ] {
            assert!(!refuses("127.0.0.1:2113", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example:2113",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil.example",
            "a b",
        ] {
            assert!(refuses("127.0.0.1:2113", &[("host", host)]), "{host}");
        }
        assert!(refuses("[::1]:2113", &[]));
        assert!(refuses(
            "127.0.0.1:1",
            &[("host", "localhost"), ("host", "evil.example")]
        ));
    }

    #[test]
    fn on_a_network_names_are_the_networks_affair() {
        assert!(!refuses("10.0.0.7:2113", &[("host", "metrics.internal:2113")]));
    }

    #[test]
    fn requests_of_web_pages_are_refused_everywhere() {
        for address in ["127.0.0.1:2113", "10.0.0.7:2113"] {
            let host = ("host", "127.0.0.1");
            assert!(refuses(address, &[host, ("origin", "https://evil.example")]));
            assert!(refuses(address, &[host, ("origin", "null")]));
            assert!(refuses(address, &[host, ("sec-fetch-site", "cross-site")]));
            // Typed by the operator.
            assert!(!refuses(address, &[host, ("sec-fetch-site", "none")]));
        }
    }
}
