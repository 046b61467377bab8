use std::borrow::Cow;

use tenancy_core::{Host, Identification, Identify, Reads, RequestHead};

use super::{
    IdentifierConfigError,
    base::{BaseDomains, Place},
    domain::Meaning,
};

/// Identifies by the one label that stands under a base domain: `slug:acme` for `acme.example.com`.
///
/// The base domain itself, names more than one label under it, foreign names and addresses are absent, so that
/// another identifier may try. A label under the base that is no slug (it is longer than 48 characters, or has
/// an underscore) leads nowhere. Where base domains lie under each other, the longest one decides.
///
/// Borrows the label from the head.
///
/// ```
/// # use tenancy::resolve::Subdomain;
/// use tenancy_core::{Host, Identification, Identify, RequestHead};
///
/// let by_subdomain = Subdomain::of("example.com")?;
/// let (parts, ()) = http::Request::new(()).into_parts();
/// let host = Host::parse(b"acme.example.com")?;
/// let Identification::Key(found) = by_subdomain.identify(&RequestHead::new(&parts).with_host(&host)) else {
///     panic!("acme is a slug");
/// };
/// assert_eq!(found.key().to_string(), "slug:acme");
///
/// assert!(Subdomain::of("co.uk").is_err(), "a public suffix");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subdomain {
    bases: BaseDomains,
    name: Box<str>,
}

impl Subdomain {
    /// Identifies by the labels under one base domain.
    ///
    /// Case and one dot at the end do not matter. `localhost` and names under it are allowed.
    ///
    /// # Errors
    /// When `base` is no DNS name, has a port or a wildcard, or is a public suffix (`co.uk`, `github.io`); for one of
    /// your own see [`of_own_public_suffix`](Self::of_own_public_suffix).
    pub fn of(base: &str) -> Result<Self, IdentifierConfigError> {
        Self::of_any([base])
    }

    /// Identifies by the labels under any of several base domains.
    ///
    /// # Errors
    /// When there are none, or one of them is refused by [`of`](Self::of).
    pub fn of_any<I>(bases: I) -> Result<Self, IdentifierConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ok(Self::under(BaseDomains::new(bases)?))
    }

    /// Identifies by the labels under a base domain that you have put on the public suffix list yourself, so that
    /// browsers keep your tenants' cookies apart. [`of`](Self::of) refuses such names.
    ///
    /// # Errors
    /// When `base` is no DNS name, has a port or a wildcard, or is the suffix of a registry (`com`, `co.uk`).
    pub fn of_own_public_suffix(base: &str) -> Result<Self, IdentifierConfigError> {
        Ok(Self::under(BaseDomains::own_public_suffix(base)?))
    }

    fn under(bases: BaseDomains) -> Self {
        let name = format!("subdomain of {bases}").into();
        Self { bases, name }
    }

    pub(super) fn bases(&self) -> &BaseDomains {
        &self.bases
    }
}

impl Identify for Subdomain {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        head.host().map_or(Identification::Absent, |host| {
            Meaning::of_subdomain(&self.bases, host).into()
        })
    }

    fn reads(&self) -> Reads {
        Reads::Target
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }
}

/// Identifies hosts under a base domain by [`Subdomain`], and all others by [`Domain`](super::Domain).
///
/// A host under a base domain is never looked up as a domain: a tenant that registered another's subdomain as its
/// own domain would gain nothing by it.
#[derive(Clone, Debug)]
pub struct DomainOrSubdomain {
    bases: BaseDomains,
    name: Box<str>,
}

impl DomainOrSubdomain {
    /// Treats hosts under one base domain as subdomains.
    ///
    /// # Errors
    /// Those of [`Subdomain::of`].
    pub fn of(base: &str) -> Result<Self, IdentifierConfigError> {
        Self::of_any([base])
    }

    /// Treats hosts under any of several base domains as subdomains.
    ///
    /// # Errors
    /// Those of [`Subdomain::of_any`].
    pub fn of_any<I>(bases: I) -> Result<Self, IdentifierConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ok(Self::under(BaseDomains::new(bases)?))
    }

    /// Treats hosts under a base domain that you have put on the public suffix list yourself as subdomains.
    ///
    /// # Errors
    /// Those of [`Subdomain::of_own_public_suffix`].
    pub fn of_own_public_suffix(base: &str) -> Result<Self, IdentifierConfigError> {
        Ok(Self::under(BaseDomains::own_public_suffix(base)?))
    }

    fn under(bases: BaseDomains) -> Self {
        let name = format!("domain or subdomain of {bases}").into();
        Self { bases, name }
    }

    pub(super) fn bases(&self) -> &BaseDomains {
        &self.bases
    }
}

impl Identify for DomainOrSubdomain {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        head.host().map_or(Identification::Absent, |host| {
            Meaning::of_domain_or_subdomain(&self.bases, host).into()
        })
    }

    fn reads(&self) -> Reads {
        Reads::Target
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }
}

impl<'h> Meaning<'h> {
    pub(super) fn of_subdomain(bases: &BaseDomains, host: &'h Host<'_>) -> Self {
        match bases.place(host) {
            Place::Label(label) => Self::Slug(label),
            Place::ApexOrDeeper | Place::Foreign => Self::Absent,
        }
    }

    pub(super) fn of_domain_or_subdomain(bases: &BaseDomains, host: &'h Host<'_>) -> Self {
        match bases.place(host) {
            Place::Label(label) => Self::Slug(label),
            Place::ApexOrDeeper => Self::Absent,
            Place::Foreign => Self::of_domain(host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::host_outcome;
    use super::*;

    #[test]
    fn one_label_under_the_base_is_the_slug_and_nothing_else_is() {
        let by_subdomain = Subdomain::of("app.test").unwrap();
        let either = DomainOrSubdomain::of("App.Test.").unwrap();
        let too_long = format!("{}.app.test", "a".repeat(49));
        for (host, as_subdomain, as_either) in [
            ("acme.app.test", "slug:acme", "slug:acme"),
            ("ACME.App.Test", "slug:acme", "slug:acme"),
            ("acme.app.test.", "slug:acme", "slug:acme"),
            ("acme.app.test:443", "slug:acme", "slug:acme"),
            ("acme.app.test:", "slug:acme", "slug:acme"),
            ("xn--cme-7cd.app.test", "slug:xn--cme-7cd", "slug:xn--cme-7cd"),
            ("app.test", "absent", "absent"),
            ("www.acme.app.test", "absent", "absent"),
            ("x.a_b.app.test", "absent", "absent"),
            ("a_b.app.test", "nowhere", "nowhere"),
            ("-a.app.test", "nowhere", "nowhere"),
            ("*.app.test", "nowhere", "nowhere"),
            (&too_long, "nowhere", "nowhere"),
            ("evilapp.test", "absent", "domain:evilapp.test"),
            ("acmeapp.test", "absent", "domain:acmeapp.test"),
            (
                "acme.app.test.evil.test",
                "absent",
                "domain:acme.app.test.evil.test",
            ),
            ("shop.acme.com", "absent", "domain:shop.acme.com"),
            ("test", "absent", "domain:test"),
            ("127.0.0.1", "absent", "nowhere"),
            ("2130706433", "absent", "nowhere"),
            ("[::1]:3000", "absent", "nowhere"),
            ("a_b.acme.com", "absent", "nowhere"),
        ] {
            assert_eq!(host_outcome(&by_subdomain, host), as_subdomain, "{host}");
            assert_eq!(host_outcome(&either, host), as_either, "{host}");
        }
    }

    #[test]
    fn the_longest_slug_is_48_characters() {
        let label = "a".repeat(48);
        let found = host_outcome(&Subdomain::of("app.test").unwrap(), &format!("{label}.app.test"));
        assert_eq!(found, format!("slug:{label}"));
    }

    #[test]
    fn a_base_under_another_base_is_no_tenant_of_it() {
        let bases = ["example.com", "eu.example.com"];
        let by_subdomain = Subdomain::of_any(bases).unwrap();
        let either = DomainOrSubdomain::of_any(bases).unwrap();
        for (host, expected) in [
            ("acme.example.com", "slug:acme"),
            ("acme.eu.example.com", "slug:acme"),
            ("eu.example.com", "absent"),
        ] {
            assert_eq!(host_outcome(&by_subdomain, host), expected, "{host}");
            assert_eq!(host_outcome(&either, host), expected, "{host}");
        }
    }

    #[test]
    fn a_suffix_of_ones_own_is_a_base_like_any_other() {
        assert!(Subdomain::of("github.io").is_err());
        let by_subdomain = Subdomain::of_own_public_suffix("github.io").unwrap();
        let either = DomainOrSubdomain::of_own_public_suffix("github.io").unwrap();
        assert_eq!(host_outcome(&by_subdomain, "acme.github.io"), "slug:acme");
        assert_eq!(host_outcome(&either, "acme.github.io"), "slug:acme");
        assert_eq!(host_outcome(&either, "acme.example"), "domain:acme.example");
    }

    #[test]
    fn names_say_which_bases() {
        let bases = ["example.com", "eu.example.com"];
        assert_eq!(
            Subdomain::of("Example.com").unwrap().name(),
            "subdomain of example.com"
        );
        assert_eq!(
            DomainOrSubdomain::of_any(bases).unwrap().name(),
            "domain or subdomain of eu.example.com, example.com"
        );
    }
}
