use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use tenancy_core::{InvalidName, TenantKey, is_domain, is_slug};

use crate::CatalogueError;

/// Names that no tenant may have as id or slug: they mean something else in a host, a path or a database.
pub const RESERVED_NAMES: &[&str] = &["central", "default", "public", "system", "tenancy", "www"];

const MAX_SETTINGS_BYTES: usize = 64 * 1024;
const MAX_WORD_CHARS: usize = 64;

/// The form in which a domain is stored and compared: lower-case ASCII labels, Unicode ones as `xn--…`.
///
/// One dot at the end is dropped. Allocates.
///
/// ```
/// assert_eq!(tenancy_sqlx::canonical_domain("Bücher.Example").unwrap(), "xn--bcher-kva.example");
/// assert!(tenancy_sqlx::canonical_domain("127.0.0.1").is_err());
/// assert!(tenancy_sqlx::canonical_domain("acme.example:443").is_err());
/// ```
///
/// # Errors
/// When it is not a domain by UTS #46 with the STD3 rules, or is an address literal, or has a port.
pub fn canonical_domain(domain: &str) -> Result<String, InvalidName> {
    let refused = |reason| InvalidName::new("domain", domain, reason);
    let name = domain.strip_suffix('.').unwrap_or(domain);
    let canonical = Uts46::new()
        .to_ascii(
            name.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .map_err(|_| refused("it is not a host name by UTS #46 (no port, path, space or underscore)"))?;
    if !is_domain(&canonical) {
        return Err(refused("it is an IP address or ends in a number"));
    }
    Ok(canonical.into_owned())
}

pub(crate) fn check_domain(domain: &str) -> Result<String, CatalogueError> {
    canonical_domain(domain).map_err(|error| CatalogueError::invalid_name("the domain is not valid", error))
}

pub(crate) fn check_slug(slug: &str, also_reserved: &[Box<str>]) -> Result<(), CatalogueError> {
    if !is_slug(slug) {
        // The check above has just failed, so this is the error that says why.
        return match TenantKey::slug(slug) {
            Err(error) => Err(CatalogueError::invalid_name("the slug is not valid", error)),
            Ok(_) => Ok(()),
        };
    }
    check_not_reserved(slug, also_reserved)
}

pub(crate) fn check_not_reserved(name: &str, also_reserved: &[Box<str>]) -> Result<(), CatalogueError> {
    let reserved = RESERVED_NAMES.contains(&name) || also_reserved.iter().any(|other| &**other == name);
    if reserved {
        return Err(CatalogueError::invalid(
            "the name is reserved",
            format!("the name {name:?} is reserved; choose another one"),
        ));
    }
    Ok(())
}

/// Plan and type: short and printable, so that they can stand in logs.
pub(crate) fn check_word(what: &'static str, word: Option<&str>) -> Result<(), CatalogueError> {
    let Some(word) = word else { return Ok(()) };
    let reason = if word.is_empty() || word.chars().count() > MAX_WORD_CHARS {
        "it must have 1 to 64 characters"
    } else if word.chars().any(char::is_control) {
        "it has a control character"
    } else {
        return Ok(());
    };
    Err(CatalogueError::invalid_name(
        "a text is not valid",
        InvalidName::new(what, word, reason),
    ))
}

pub(crate) fn check_settings(settings: Option<&str>) -> Result<(), CatalogueError> {
    let Some(settings) = settings else { return Ok(()) };
    if settings.len() > MAX_SETTINGS_BYTES {
        return Err(CatalogueError::invalid(
            "the settings are too long",
            format!(
                "settings may have {MAX_SETTINGS_BYTES} bytes; these have {}",
                settings.len()
            ),
        ));
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(settings) {
        Ok(_) => Ok(()),
        Err(error) => Err(CatalogueError::invalid(
            "the settings are not valid JSON",
            error.to_string(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn domains_become_lower_case_ascii() {
        for (given, stored) in [
            ("acme.example", "acme.example"),
            ("ACME.Example.", "acme.example"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("ａｃｍｅ．example", "acme.example"),
            ("r3---sn-x.example", "r3---sn-x.example"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(canonical_domain(given).as_deref(), Ok(stored), "{given}");
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        for bad in [
            "",
            ".",
            "acme..example",
            "acme.example..",
            "127.0.0.1",
            "１２７.0.0.1",
            "[::1]",
            "1.2",
            "a.example:80",
            "a b.example",
            "a_b.example",
            "*.example",
            "user@a.example",
            "a.example/path",
            "xn--acme-.example",
            "xn--\u{fc}.example",
            "-a.example",
            "a\0.example",
            "a\u{200d}b.example",
            &format!("{}.example", "a".repeat(64)),
            &format!("{}.example", "ü".repeat(63)),
            &"a.".repeat(200),
        ] {
            assert!(canonical_domain(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reserved_names_are_refused_with_the_configured_ones() {
        let own = [Box::from("billing")];
        for name in RESERVED_NAMES.iter().copied().chain(["billing"]) {
            assert!(check_slug(name, &own).unwrap_err().is_invalid(), "{name}");
        }
        assert!(check_slug("billing", &[]).is_ok());
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_a_fixed_point_and_a_key(domain in "\\PC{0,30}") {
            if let Ok(first) = canonical_domain(&domain) {
                prop_assert!(TenantKey::domain(first.clone()).is_ok());
                prop_assert_eq!(canonical_domain(&first), Ok(first));
            }
        }
    }
}
