use std::borrow::Cow;

use tenancy_core::{Host, HostForm, Identification, Identify, Reads, RequestHead, TenantKey};

/// Identifies by the whole host name: `domain:shop.acme.com`.
///
/// A host that is an address, or a name that DNS does not allow, leads nowhere. Central hosts are absent, and so is a
/// head whose host was not looked at. Borrows the name from the head.
///
/// ```
/// # use tenancy::resolve::Domain;
/// use tenancy_core::{Host, Identification, Identify, RequestHead};
///
/// let (parts, ()) = http::Request::new(()).into_parts();
/// let host = Host::parse(b"Shop.Acme.com:8080")?;
/// let Identification::Key(found) = Domain::new().identify(&RequestHead::new(&parts).with_host(&host)) else {
///     panic!("a name is a key");
/// };
/// assert_eq!(found.key().to_string(), "domain:shop.acme.com");
/// # Ok::<(), tenancy_core::InvalidHost>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Domain {
    _private: (),
}

impl Domain {
    /// Identifies by the whole host name.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Identify for Domain {
    fn identify<'a>(&self, head: &RequestHead<'a>) -> Identification<'a> {
        head.host()
            .map_or(Identification::Absent, |host| Meaning::of_domain(host).into())
    }

    fn reads(&self) -> Reads {
        Reads::Target
    }

    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed("domain")
    }
}

/// What a host means to the host rules. Text borrows from the host's name, and begins where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'h> {
    Absent,
    Nowhere,
    Slug(&'h str),
    Domain(&'h str),
}

impl<'h> Meaning<'h> {
    pub(super) fn of_domain(host: &'h Host<'_>) -> Self {
        match host.form() {
            HostForm::Name => Self::Domain(host.name()),
            _ => Self::Nowhere,
        }
    }

    /// The key, with its text taken from elsewhere by `text`.
    pub(super) fn into_identification<'a>(
        self,
        text: impl FnOnce(&'h str) -> Cow<'a, str>,
    ) -> Identification<'a> {
        let key = match self {
            Self::Absent => return Identification::Absent,
            Self::Nowhere => return Identification::Nowhere,
            Self::Slug(label) => TenantKey::slug(text(label)),
            Self::Domain(name) => TenantKey::domain(text(name)),
        };
        // A valid host that is no valid key: a label of 60 characters, say.
        key.map_or(Identification::Nowhere, Identification::from)
    }
}

impl<'h> From<Meaning<'h>> for Identification<'h> {
    fn from(meaning: Meaning<'h>) -> Self {
        meaning.into_identification(Cow::Borrowed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{host_outcome, outcome};
    use super::*;

    #[test]
    fn names_are_keys_and_everything_else_leads_nowhere() {
        for (host, expected) in [
            ("shop.acme.com", "domain:shop.acme.com"),
            ("SHOP.Acme.com.", "domain:shop.acme.com"),
            ("shop.acme.com:8443", "domain:shop.acme.com"),
            ("shop.acme.com:", "domain:shop.acme.com"),
            ("localhost:3000", "domain:localhost"),
            ("xn--bcher-kva.example", "domain:xn--bcher-kva.example"),
            ("127.0.0.1", "nowhere"),
            ("[::1]:3000", "nowhere"),
            ("2130706433", "nowhere"),
            ("a_b.app.test", "nowhere"),
            ("-a.app.test", "nowhere"),
        ] {
            assert_eq!(host_outcome(&Domain::new(), host), expected, "{host}");
        }
    }

    #[test]
    fn a_head_without_a_host_has_no_domain() {
        let request = http::Request::get("http://acme.example/").header("host", "acme.example");
        assert_eq!(outcome(&Domain::new(), request), "absent");
    }

    #[test]
    fn a_label_of_63_characters_is_a_domain_still() {
        let host = format!("{}.example", "a".repeat(63));
        assert_eq!(host_outcome(&Domain::new(), &host), format!("domain:{host}"));
    }
}
