use tenancy_core::{Host, HostForm};

use super::IdentifierConfigError;

/// The domains under which each tenant has one label, the longest first.
#[derive(Clone, Debug)]
pub(super) struct BaseDomains(Box<[Box<str>]>);

/// Where a host stands, seen from the base domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'h> {
    /// This one label stands before a base domain. It may be no slug.
    Label(&'h str),
    /// It is a base domain, or stands more than one label under it.
    ApexOrDeeper,
    /// Not under any of them.
    Foreign,
}

impl BaseDomains {
    pub(super) fn new<I>(bases: I) -> Result<Self, IdentifierConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Self::checked(bases, |_| false)
    }

    /// Lets public suffixes of the list's private section pass: their owners put them there. No registry's.
    pub(super) fn own_public_suffix(base: &str) -> Result<Self, IdentifierConfigError> {
        Self::checked([base], |section| section == psl::Type::Private)
    }

    fn checked<I>(bases: I, allowed: fn(psl::Type) -> bool) -> Result<Self, IdentifierConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut bases = bases
            .into_iter()
            .map(|base| canonical_base(base.as_ref(), allowed))
            .collect::<Result<Vec<_>, _>>()?;
        if bases.is_empty() {
            return Err(refuse("", "at least one is needed"));
        }
        // With `example.com` and `eu.example.com`, `eu` is no tenant and `acme.eu.example.com` is acme.
        bases.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        bases.dedup();
        Ok(Self(bases.into()))
    }

    /// What stands before the longest base domain that these bytes end in; more than one label, perhaps.
    #[inline]
    pub(super) fn before<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.0
            .iter()
            .find_map(|base| match name.strip_suffix(base.as_bytes())? {
                [before @ .., b'.'] => Some(before),
                _ => None,
            })
    }

    pub(super) fn place<'h>(&self, host: &'h Host<'_>) -> Place<'h> {
        // A name that DNS does not allow can still be written under a base domain: `a_b.example.com`.
        match self.0.iter().find_map(|base| host.before(base)) {
            None => Place::Foreign,
            Some(before) if before.is_empty() || before.contains('.') => Place::ApexOrDeeper,
            Some(label) => Place::Label(label),
        }
    }
}

impl std::fmt::Display for BaseDomains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

fn canonical_base(base: &str, allowed: fn(psl::Type) -> bool) -> Result<Box<str>, IdentifierConfigError> {
    let host = Host::parse(base.as_bytes()).map_err(|error| refuse(base, error.reason()))?;
    if base.contains(':') {
        return Err(refuse(base, "it has a port"));
    }
    if base.contains('*') {
        return Err(refuse(
            base,
            "write it without '*.': every label under it is meant",
        ));
    }
    if host.form() != HostForm::Name {
        return Err(refuse(base, "it is no DNS name"));
    }
    if open_to_strangers(host.name()).is_some_and(|section| !allowed(section)) {
        return Err(refuse(
            base,
            "it is a public suffix: under it anybody can register a name",
        ));
    }
    Ok(host.name().into())
}

fn refuse(base: &str, reason: &'static str) -> IdentifierConfigError {
    IdentifierConfigError::new("base domain", base, reason)
}

/// The section of the public suffix list that has `name`, or every name one label under it (`*.ck`). Names that it
/// does not know, such as `localhost` and `intranet`, are somebody's own.
fn open_to_strangers(name: &str) -> Option<psl::Type> {
    section_of_suffix(name).or_else(|| section_of_suffix(&format!("any-tenant.{name}")))
}

/// Whether the public suffix list has exactly this name: anybody can register a name under it.
pub(crate) fn is_public_suffix(name: &str) -> bool {
    section_of_suffix(name).is_some()
}

fn section_of_suffix(name: &str) -> Option<psl::Type> {
    psl::suffix(name.as_bytes())
        .filter(|suffix| *suffix == name)
        .and_then(|suffix| suffix.typ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(base: &str) -> Option<&'static str> {
        BaseDomains::new([base]).err().map(|error| error.reason())
    }

    #[test]
    fn a_base_domain_is_a_name_that_somebody_owns() {
        for good in [
            "example.com",
            "app.test",
            "EXAMPLE.com.",
            "app.example.co.uk",
            "example.co.uk",
            "acme.github.io",
            "localhost",
            "dev.localhost",
            "intranet",
            "app.internal",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(reason(good), None, "{good}");
        }
    }

    #[test]
    fn a_public_suffix_is_refused_from_either_section_of_the_list() {
        for suffix in [
            "com",
            "COM.",
            "co.uk",
            "github.io",
            "herokuapp.com",
            "ck",
            "anything.ck",
            "xn--p1ai",
        ] {
            assert!(
                reason(suffix).is_some_and(|reason| reason.contains("public suffix")),
                "{suffix}: {:?}",
                reason(suffix)
            );
        }
    }

    #[test]
    fn an_operator_may_name_a_suffix_of_his_own_but_none_of_a_registry() {
        for own in [
            "github.io",
            "GitHub.io.",
            "herokuapp.com",
            "not-listed-yet.example",
        ] {
            assert!(BaseDomains::own_public_suffix(own).is_ok(), "{own}");
        }
        for bad in ["com", "co.uk", "ck", "anything.ck", "*.github.io", "127.0.0.1"] {
            let error = BaseDomains::own_public_suffix(bad).unwrap_err();
            assert_eq!(error.value(), bad);
        }
    }

    #[test]
    fn what_is_no_plain_name_is_refused_and_named() {
        for bad in [
            "",
            ".",
            ".example.com",
            "*.example.com",
            "example.com:443",
            "example.com:",
            "https://example.com",
            "127.0.0.1",
            "[::1]",
            "2130706433",
            "a_b.example",
            "b\u{fc}cher.example",
            "example..com",
            "example.com/app",
            " example.com",
        ] {
            let error = BaseDomains::new([bad]).unwrap_err();
            assert_eq!(error.value(), bad);
            assert!(error.to_string().starts_with("base domain "), "{error}");
        }
        assert!(BaseDomains::new([""; 0]).is_err(), "none at all");
    }

    #[test]
    fn one_bad_base_among_good_ones_is_found() {
        let error = BaseDomains::new(["example.com", "co.uk"]).unwrap_err();
        assert_eq!(error.value(), "co.uk");
    }

    #[test]
    fn the_longest_base_decides_whatever_the_order() {
        for bases in [
            ["example.com", "eu.example.com"],
            ["eu.example.com", "example.com"],
        ] {
            let bases = BaseDomains::new(bases).unwrap();
            for (raw, place) in [
                ("acme.example.com", Place::Label("acme")),
                ("acme.eu.example.com", Place::Label("acme")),
                ("eu.example.com", Place::ApexOrDeeper),
                ("example.com", Place::ApexOrDeeper),
                ("acme.us.example.com", Place::ApexOrDeeper),
                ("a_b.example.com", Place::Label("a_b")),
                ("evilexample.com", Place::Foreign),
                ("acme.example.com.evil.test", Place::Foreign),
                ("127.0.0.1", Place::Foreign),
                ("[::1]", Place::Foreign),
            ] {
                let host = Host::parse(raw.as_bytes()).unwrap();
                assert_eq!(bases.place(&host), place, "{raw}");
            }
        }
    }
}
