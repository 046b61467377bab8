use std::borrow::Cow;

use http::header::ORIGIN;
use tenancy_core::{Host, Identification, Identify, Reads, RequestHead};

use super::{
    IdentifierConfigError,
    base::BaseDomains,
    domain::Meaning,
    value::{self, invalid, visible_text},
};

/// Identifies by the host of the `Origin` header: the site whose page sent the request.
///
/// For an API on one host that serves the pages of many. No `Origin` is absent. `null`, which sandboxed pages and
/// redirects send, names no site and is invalid; so are two origins, a scheme other than `http` and `https`, and
/// anything after the port. The host then follows the rules of [`Subdomain`](super::Subdomain) or
/// [`DomainOrSubdomain`](super::DomainOrSubdomain).
///
/// Only browsers hold to it: any other client sends what it likes. An answer that depends on it needs
/// `Vary: Origin`. Borrows from the head unless the host is written in upper case.
///
/// ```
/// # use tenancy::resolve::Origin;
/// use tenancy_core::{Identification, Identify, RequestHead};
///
/// let by_origin = Origin::domain_or_subdomain(["example.com"])?;
/// let (parts, ()) = http::Request::get("/").header("origin", "https://acme.example.com").body(())?.into_parts();
/// let Identification::Key(found) = by_origin.identify(&RequestHead::new(&parts)) else {
///     panic!("acme is a slug");
/// };
/// assert_eq!(found.key().to_string(), "slug:acme");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Origin {
    bases: BaseDomains,
    foreign_is_domain: bool,
}

impl Origin {
    /// Reads hosts under a base domain as subdomains, and all others as domains.
    ///
    /// # Errors
    /// Those of [`Subdomain::of_any`](super::Subdomain::of_any).
    pub fn domain_or_subdomain<I>(bases: I) -> Result<Self, IdentifierConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ok(Self {
            bases: BaseDomains::new(bases)?,
            foreign_is_domain: true,
        })
    }

    /// Reads hosts under a base domain as subdomains; all others are absent.
    ///
    /// # Errors
    /// Those of [`Subdomain::of_any`](super::Subdomain::of_any).
    pub fn subdomain<I>(bases: I) -> Result<Self, IdentifierConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ok(Self {
            bases: BaseDomains::new(bases)?,
            foreign_is_domain: false,
        })
    }

    fn meaning<'h>(&self, host: &'h Host<'_>) -> Meaning<'h> {
        if self.foreign_is_domain {
            Meaning::of_domain_or_subdomain(&self.bases, host)
        } else {
            Meaning::of_subdomain(&self.bases, host)
        }
    }
}

impl Identify for Origin {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        let mut lines = head.headers().get_all(ORIGIN).iter();
        let line = match (lines.next(), lines.next()) {
            (None, _) => return Identification::Absent,
            (Some(line), None) => line,
            (Some(_), Some(_)) => return invalid(value::TWICE),
        };
        match authority_of(line.as_bytes()) {
            Ok(authority) => match Host::parse(authority.as_bytes()) {
                Ok(host) => self
                    .meaning(&host)
                    .into_identification(|text| borrow_again(authority, text)),
                Err(error) => invalid(error.reason()),
            },
            Err(reason) => invalid(reason),
        }
    }

    fn reads(&self) -> Reads {
        Reads::Header(ORIGIN)
    }

    fn name(&self) -> Cow<'_, str> {
        let or_domain = if self.foreign_is_domain { "domain or " } else { "" };
        Cow::Owned(format!("origin as {or_domain}subdomain of {}", self.bases))
    }
}

/// What stands after the scheme. That it is a host and no list, path or pair of them, the host's own check says.
fn authority_of(origin: &[u8]) -> Result<&str, &'static str> {
    let origin = visible_text(origin).ok_or(value::NOT_VISIBLE_ASCII)?;
    if origin == "null" {
        return Err("it is 'null', which names no site");
    }
    match origin.split_once("://") {
        Some((scheme, authority))
            if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") =>
        {
            Ok(authority)
        }
        _ => Err("it does not begin with http:// or https://"),
    }
}

/// `text` as part of what outlives the parsed host. It is the beginning of `authority`, unless that is in upper case.
fn borrow_again<'a>(authority: &'a str, text: &str) -> Cow<'a, str> {
    match authority.get(..text.len()) {
        Some(same) if same == text => Cow::Borrowed(same),
        _ => Cow::Owned(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::header_outcome;
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    #[test]
    fn the_host_of_one_origin_decides() {
        let either = Origin::domain_or_subdomain(["app.test"]).unwrap();
        let by_subdomain = Origin::subdomain(["app.test"]).unwrap();
        let table: &[(&[&str], &str, &str)] = &[
            (&["https://acme.app.test"], "slug:acme", "slug:acme"),
            (&["http://acme.app.test:8080"], "slug:acme", "slug:acme"),
            (&["HTTPS://ACME.App.Test"], "slug:acme", "slug:acme"),
            (&["https://shop.acme.com"], "domain:shop.acme.com", "absent"),
            (&["https://Shop.Acme.com:444"], "domain:shop.acme.com", "absent"),
            (&["https://app.test"], "absent", "absent"),
            (&["https://a.b.app.test"], "absent", "absent"),
            (&["https://evilapp.test"], "domain:evilapp.test", "absent"),
            (&["https://a_b.app.test"], "nowhere", "nowhere"),
            (&["https://127.0.0.1"], "nowhere", "absent"),
            (&["http://[::1]:3000"], "nowhere", "absent"),
            (&[], "absent", "absent"),
            (&["null"], "invalid", "invalid"),
            (&[""], "invalid", "invalid"),
            (&["https://"], "invalid", "invalid"),
            (&["acme.app.test"], "invalid", "invalid"),
            (&["//acme.app.test"], "invalid", "invalid"),
            (&["ftp://acme.app.test"], "invalid", "invalid"),
            (&["chrome-extension://abc"], "invalid", "invalid"),
            (&["https://acme.app.test/"], "invalid", "invalid"),
            (&["https://acme.app.test/x"], "invalid", "invalid"),
            (&["https://u@acme.app.test"], "invalid", "invalid"),
            (
                &["https://acme.app.test https://beta.app.test"],
                "invalid",
                "invalid",
            ),
            (
                &["https://acme.app.test,https://beta.app.test"],
                "invalid",
                "invalid",
            ),
            (&["https://https://acme.app.test"], "invalid", "invalid"),
            (
                &["https://acme.app.test", "https://acme.app.test"],
                "invalid",
                "invalid",
            ),
            (&["https://acme.app.test", "null"], "invalid", "invalid"),
        ];
        for (lines, as_either, as_subdomain) in table {
            assert_eq!(header_outcome(&either, "origin", lines), *as_either, "{lines:?}");
            assert_eq!(
                header_outcome(&by_subdomain, "origin", lines),
                *as_subdomain,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn null_is_told_from_garbage_in_the_log() {
        let request = Request::get("/").header("origin", "null").body(()).unwrap();
        let by_origin = Origin::subdomain(["app.test"]).unwrap();
        let Identification::Invalid(error) = by_origin.identify(&RequestHead::of(&request)) else {
            panic!("null names no site");
        };
        assert!(error.to_string().contains("null"), "{error}");
    }

    #[test]
    fn names_say_the_rule() {
        let name = |origin: Result<Origin, _>| origin.unwrap().name().into_owned();
        assert_eq!(
            name(Origin::subdomain(["app.test"])),
            "origin as subdomain of app.test"
        );
        assert_eq!(
            name(Origin::domain_or_subdomain(["app.test"])),
            "origin as domain or subdomain of app.test"
        );
        assert!(Origin::subdomain(["com"]).is_err());
    }

    proptest! {
        #[test]
        fn a_key_is_the_host_that_was_written(raw in "https?://[a-cA-C_.:0-9@/]{0,12}(app\\.test|APP\\.test)?") {
            let either = Origin::domain_or_subdomain(["app.test"]).unwrap();
            let request = Request::get("/").header("origin", &raw).body(()).unwrap();
            let (_, authority) = raw.split_once("://").unwrap();
            match either.identify(&RequestHead::of(&request)) {
                Identification::Key(found) => {
                    let host = Host::parse(authority.as_bytes()).unwrap();
                    prop_assert!(host.name().starts_with(found.key().value()));
                }
                Identification::Invalid(_) => prop_assert!(Host::parse(authority.as_bytes()).is_err()),
                _ => prop_assert!(Host::parse(authority.as_bytes()).is_ok()),
            }
        }

        #[test]
        fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let either = Origin::domain_or_subdomain(["app.test"]).unwrap();
            for prefix in ["", "https://"] {
                let line = [prefix.as_bytes(), &line].concat();
                if http::HeaderValue::from_bytes(&line).is_ok() {
                    prop_assert_ne!(header_outcome(&either, "origin", &[line]), "");
                }
            }
        }
    }
}
