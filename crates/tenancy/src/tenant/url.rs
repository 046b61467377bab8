//! Addresses of a tenant's pages, for mails and redirects.

use std::fmt;

use tenancy_core::{Host, HostForm, TenantId, is_slug};

use super::Tenant;

/// Scheme, port and base domain of all tenants' addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    is_https: bool,
    base_domain: Box<str>,
    /// Unless it is the scheme's own.
    port: Option<u16>,
}

impl PublicUrl {
    /// Reads `https://example.com` or `http://localhost:8000`.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let (is_https, authority) = if let Some(authority) = url.strip_prefix("https://") {
            (true, authority)
        } else if let Some(authority) = url.strip_prefix("http://") {
            (false, authority)
        } else {
            return Err("it must begin with http:// or https://");
        };
        if authority.contains(['/', '?', '#']) {
            return Err("only scheme, base domain and port belong here");
        }
        let host = Host::parse(authority.as_bytes()).map_err(|invalid| invalid.reason())?;
        if host.form() != HostForm::Name {
            return Err("the base domain is no DNS name");
        }
        let own_port = if is_https { 443 } else { 80 };
        Ok(Self {
            is_https,
            base_domain: host.name().into(),
            port: host.port().filter(|port| *port != own_port),
        })
    }
}

impl Tenant {
    /// The address of one of the tenant's pages: `tenant.url("/reset?token=abc")`.
    ///
    /// Scheme and port are those of [`TenancyBuilder::public_url`]. The host is the tenant's primary domain, else its
    /// slug under the base domain. Nothing of any request plays a part, so that nobody who sends a forged `Host` gets
    /// a link with a token sent to a server of theirs.
    ///
    /// The primary domain is known where the store lists its tenants; it is the first domain that it lists for the
    /// tenant. Allocates; does not wait.
    ///
    /// # Errors
    /// When the stack has no public URL; when `path` is not a path of this site (it begins with one `/` and has no
    /// `\`, no space, no control character and nothing else that a URL must escape); when the tenant has no domain and
    /// its slug can be no host name.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
    ///
    /// let tenancy = Tenancy::builder(Subdomain::of("example.com")?, MemoryStore::of(["acme"])?)
    ///     .public_url("https://example.com")
    ///     .build()?;
    /// let acme = tenancy.enter(&"acme".parse()?).await?;
    /// assert_eq!(acme.url("/reset")?, "https://acme.example.com/reset");
    /// assert!(acme.url("//evil.example").is_err());
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    ///
    /// [`TenancyBuilder::public_url`]: crate::stack::TenancyBuilder::public_url
    pub fn url(&self, path: &str) -> Result<String, UrlError> {
        let refuse = |kind| UrlError {
            tenant: self.id().clone(),
            kind,
        };
        let public = self.home().public_url.as_ref();
        let public = public.ok_or_else(|| refuse(UrlErrorKind::NotConfigured))?;
        if let Some(reason) = fault_of_path(path) {
            return Err(refuse(UrlErrorKind::InvalidPath(reason)));
        }
        let host = match self.primary_domain() {
            Some(domain) => domain,
            None => self
                .host_under(&public.base_domain)
                .ok_or_else(|| refuse(UrlErrorKind::NoHost))?,
        };
        let scheme = if public.is_https { "https" } else { "http" };
        Ok(match public.port {
            Some(port) => format!("{scheme}://{host}:{port}{path}"),
            None => format!("{scheme}://{host}{path}"),
        })
    }

    fn primary_domain(&self) -> Option<String> {
        let lookup = self.home().lookup.get()?.upgrade()?;
        lookup.directory.primary_domain(self)
    }

    fn host_under(&self, base_domain: &str) -> Option<String> {
        let record = self.record();
        let slug = record.slug();
        (is_slug(slug) && slug.len() + 1 + base_domain.len() <= 253).then(|| format!("{slug}.{base_domain}"))
    }
}

/// Why a path could lead elsewhere, or would be read differently by different readers.
fn fault_of_path(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("it does not begin with '/'")
    } else if path.starts_with("//") {
        Some("it begins with '//', which names another host")
    } else if path.contains('\\') {
        Some("it has a '\\', which browsers read as '/'")
    } else if !path.bytes().all(is_url_byte) {
        Some("it has a character that must be percent-encoded")
    } else if !percent_signs_are_complete(path.as_bytes()) {
        Some("it has a '%' that is not followed by two hexadecimal digits")
    } else {
        None
    }
}

/// RFC 3986 §3.3 to §3.5: what path, query and fragment may have.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?#%".contains(&byte)
}

fn percent_signs_are_complete(path: &[u8]) -> bool {
    path.iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| {
            path.get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

/// A tenant's address could not be made. Names the tenant and is for logs; the path is not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError {
    tenant: TenantId,
    kind: UrlErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum UrlErrorKind {
    NotConfigured,
    InvalidPath(&'static str),
    NoHost,
}

impl UrlError {
    /// Whether the stack was built without a public URL.
    pub fn is_not_configured(&self) -> bool {
        self.kind == UrlErrorKind::NotConfigured
    }

    /// Whether the path is none, or leads to another site.
    pub fn is_invalid_path(&self) -> bool {
        matches!(self.kind, UrlErrorKind::InvalidPath(_))
    }

    /// Whether the tenant has no domain, and no slug that can stand in a host name.
    pub fn is_without_host(&self) -> bool {
        self.kind == UrlErrorKind::NoHost
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenant {} has no such address: ", self.tenant)?;
        match self.kind {
            UrlErrorKind::NotConfigured => f.write_str("the stack was built without a public URL"),
            UrlErrorKind::InvalidPath(reason) => write!(f, "the path is not valid: {reason}"),
            UrlErrorKind::NoHost => {
                f.write_str("it has no domain, and its slug under the base domain is no host name")
            }
        }
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_public_url_is_scheme_base_domain_and_port() {
        let parsed =
            |url| PublicUrl::parse(url).map(|url| (url.is_https, url.base_domain.into_string(), url.port));
        for (url, is_https, base, port) in [
            ("https://example.com", true, "example.com", None),
            ("https://Example.COM:443", true, "example.com", None),
            ("https://example.com:80", true, "example.com", Some(80)),
            ("http://localhost:8000", false, "localhost", Some(8000)),
            ("http://example.com:80", false, "example.com", None),
        ] {
            assert_eq!(parsed(url), Ok((is_https, base.to_owned(), port)), "{url}");
        }
        for url in [
            "",
            "example.com",
            "//example.com",
            "ftp://example.com",
            "https://",
            "https://example.com/",
            "https://example.com/app",
            "https://a@example.com",
            "https://example.com?x",
            "https://example.com#x",
            "https://127.0.0.1:8000",
            "https://[::1]",
            "https://exa mple.com",
            "https://example.com:99999",
        ] {
            assert!(parsed(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_no_path_of_this_site_is_refused() {
        for path in [
            "/",
            "/reset",
            "/a/../b",
            "/a?next=/b&c=%2F%2Fevil#top",
            "/a:b@c",
            "/a//b",
        ] {
            assert_eq!(fault_of_path(path), None, "{path}");
        }
        for path in [
            "",
            "reset",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "@evil.example",
            ".evil.example",
            ":80/",
            "/a b",
            "/a\tb",
            "/\t/evil.example",
            "/a\r\nLocation: https://evil.example",
            "/a\0",
            "/ä",
            "/%",
            "/%2",
            "/%zz",
            "/<script>",
            "/\"",
            " /reset",
        ] {
            assert!(fault_of_path(path).is_some(), "{path:?}");
        }
    }

    proptest! {
        /// Read by the parser that the `http` crate has for URLs, a link never leaves the host.
        #[test]
        fn a_link_never_leads_to_another_host(path in "[ -~\\t\\r\\n]{0,3}[/\\\\@.:?#%a-z0-9 ]{0,12}") {
            if fault_of_path(&path).is_none() {
                let link = format!("https://acme.example.com:8443{path}");
                let parsed: http::Uri = link.parse().unwrap();
                prop_assert_eq!(parsed.authority().unwrap().as_str(), "acme.example.com:8443");
                prop_assert_eq!(parsed.scheme_str(), Some("https"));
            }
        }
    }
}
