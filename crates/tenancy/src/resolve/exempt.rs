//! Requests of a certificate authority, which are nobody's.

use http::{Method, Request};

use super::{
    authority::HeaderScan,
    found::Edits,
    resolver::{Outcome, Resolver},
};

const ACME_PREFIX: &str = "/.well-known/acme-challenge/";

/// Far longer than those that authorities make.
const MAX_TOKEN: usize = 256;

/// Whether this is a challenge of ACME by HTTP (RFC 8555 §8.3): the prefix, and one token in the base64url alphabet.
///
/// The token's alphabet has no dot, slash or percent sign, so that no path that leads elsewhere can be written by it.
pub(crate) fn is_acme_challenge<B>(request: &Request<B>) -> bool {
    let Some(token) = request.uri().path().strip_prefix(ACME_PREFIX) else {
        return false;
    };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_TOKEN).contains(&token.len())
        && token.bytes().all(is_token)
        && matches!(*request.method(), Method::GET | Method::HEAD)
}

impl Resolver {
    /// What becomes of a challenge of ACME; `None` for all other requests. The rules for hosts count for it too.
    pub(crate) fn exempted<B>(&self, request: &Request<B>) -> Option<Outcome> {
        if !is_acme_challenge(request) {
            return None;
        }
        let scan = HeaderScan::of(request.headers());
        Some(match self.authority(request, &scan) {
            Ok(authority) => Outcome::Found(self.central(Edits {
                strip: None,
                remove_forwarding: scan.has_forwarding() && !authority.by_proxy,
            })),
            Err(refusal) => Outcome::Refused(refusal),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_exempt(method: &str, target: &str) -> bool {
        let request = Request::builder().method(method).uri(target).body(()).unwrap();
        is_acme_challenge(&request)
    }

    #[test]
    fn only_one_token_under_exactly_the_prefix_is_exempt() {
        for exempt in [
            "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0",
            "/.well-known/acme-challenge/a",
            "/.well-known/acme-challenge/-_-",
            "/.well-known/acme-challenge/a?b=/../c",
            "http://shop.example/.well-known/acme-challenge/a",
        ] {
            assert!(is_exempt("GET", exempt) && is_exempt("HEAD", exempt), "{exempt}");
            assert!(
                !is_exempt("POST", exempt) && !is_exempt("OPTIONS", exempt),
                "{exempt}"
            );
        }
        for usual in [
            "/",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/..",
            "/.well-known/acme-challenge/../admin",
            "/.well-known/acme-challenge/a/../../admin",
            "/.well-known/acme-challenge/%2e%2e",
            "/.well-known/acme-challenge/%2e%2e%2fadmin",
            "/.well-known/acme-challenge/..%2fadmin",
            "/.well-known/acme-challenge/a%2fb",
            "/.well-known/acme-challenge/a;b",
            "/.well-known/acme-challenge/a/",
            "/.well-known/acme-challenge//a",
            "//.well-known/acme-challenge/a",
            "/.well-known//acme-challenge/a",
            "/./.well-known/acme-challenge/a",
            "/admin/../.well-known/acme-challenge/a",
            "/.Well-Known/acme-challenge/a",
            "/%2ewell-known/acme-challenge/a",
            "/x/.well-known/acme-challenge/a",
            "/.well-known/acme-challenge.evil/a",
            "/.well-known/acme-challengea",
        ] {
            assert!(!is_exempt("GET", usual), "{usual}");
        }
        let longest = format!("{ACME_PREFIX}{}", "a".repeat(MAX_TOKEN));
        assert!(is_exempt("GET", &longest));
        assert!(!is_exempt("GET", &format!("{longest}a")));
    }
}
