use sha2::{Digest, Sha256};

use crate::hex::encode_hex;

/// What a DNS record has in front of the domain.
const DNS_LABEL: &str = "_tenancy-challenge.";

/// Where proofs by HTTP are asked for.
pub(super) const HTTP_PREFIX: &str = "/.well-known/tenancy-challenge/";

/// The most characters of a domain that can be claimed: its record's name has 253 too.
pub(super) const MAX_DOMAIN: usize = 253 - DNS_LABEL.len();

/// What has to be found where, for a domain to be proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    domain: Box<str>,
    token: Box<str>,
}

impl Challenge {
    /// Of a domain in lower-case ASCII and a token of 32 hexadecimal digits.
    pub fn new(domain: &str, token: &str) -> Self {
        Self {
            domain: domain.into(),
            token: token.into(),
        }
    }

    /// The domain to be proven.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The absolute name of the TXT record that holds the token: `_tenancy-challenge.shop.example.`
    pub fn dns_name(&self) -> String {
        format!("{DNS_LABEL}{}.", self.domain)
    }

    /// The path that the domain is asked for: `/.well-known/tenancy-challenge/` and the token.
    pub fn http_path(&self) -> String {
        format!("{HTTP_PREFIX}{}", self.token)
    }

    /// What is answered there. Not the token itself: a server that repeats paths proves nothing.
    pub fn http_body(&self) -> String {
        let hash = Sha256::new()
            .chain_update(b"tenancy domain challenge v1\0")
            .chain_update(self.domain.as_bytes())
            .chain_update(b"\0")
            .chain_update(self.token.as_bytes())
            .finalize();
        encode_hex(&hash)
    }
}

/// Whether this has the form of a token, the only one that is ever looked up.
pub(super) fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_what_goes_where() {
        let token = "0123456789abcdef0123456789abcdef";
        let challenge = Challenge::new("shop.example", token);
        assert_eq!(challenge.dns_name(), "_tenancy-challenge.shop.example.");
        assert_eq!(
            challenge.http_path(),
            format!("/.well-known/tenancy-challenge/{token}")
        );
        assert_ne!(
            challenge.http_body(),
            Challenge::new("shop2.example", token).http_body(),
            "it answers for one domain"
        );
        assert!(!challenge.http_body().contains(token));
    }

    #[test]
    fn only_tokens_are_looked_up() {
        assert!(is_token("0123456789abcdef0123456789abcdef"));
        for bad in [
            "",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "0123456789ABCDEF0123456789abcdef",
            "0123456789abcdef/../456789abcdef",
            "%30123456789abcdef0123456789abcd",
        ] {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
