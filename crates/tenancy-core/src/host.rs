use std::{
    borrow::Cow,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// The host of a request, checked and in normal form.
///
/// Accepts what RFC 9110 §7.2 allows in `Host`, minus what has been used to confuse parsers: no user
/// information, no list, no percent-encoding, no zone id, no bytes outside of ASCII, no empty label but the
/// root's, labels of 63 and names of 253 characters at most. The name is lower-cased and loses one dot at its end.
///
/// ```
/// use tenancy_core::Host;
///
/// let host = Host::parse(b"ACME.Example.:8080")?;
/// assert_eq!((host.name(), host.port()), ("acme.example", Some(8080)));
/// assert!(Host::parse(b"user@acme.example").is_err());
/// assert!(Host::parse(b"a.example, b.example").is_err());
/// # Ok::<(), tenancy_core::InvalidHost>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// ASCII, checked byte by byte. Made text only where text is asked for.
    name: Cow<'a, [u8]>,
    port: Option<u16>,
    form: HostForm,
}

/// What form a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostForm {
    /// A DNS name.
    Name,
    /// Legal in a URI, but no DNS name: it has an underscore, say, or ends in a number.
    OtherName,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address; [`Host::name`] keeps the brackets.
    Ipv6,
}

/// Why bytes are not a host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InvalidHost(&'static str);

impl InvalidHost {
    /// The reason, for logs.
    pub fn reason(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host is not valid: {}", self.0)
    }
}

impl fmt::Debug for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for InvalidHost {}

const UPPER: u8 = 1;
const OTHER: u8 = 2;
const HYPHEN: u8 = 4;
const DOT: u8 = 8;
const COLON: u8 = 16;
const BAD: u8 = 32;

/// Class of each byte: 0 for `a-z0-9`.
const CLASS: [u8; 256] = {
    let mut class = [BAD; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' => 0,
            b'A'..=b'Z' => UPPER,
            // Unreserved and sub-delims of RFC 3986 §3.2.2 that no DNS name has. The comma is left out: it is
            // what a hop makes of two Host lines.
            b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=' => OTHER,
            b'-' => HYPHEN,
            b'.' => DOT,
            b':' => COLON,
            _ => BAD,
        };
        byte += 1;
    }
    class
};

const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

impl<'a> Host<'a> {
    /// The most bytes that are looked at: a name of 253, its root dot, a colon and five digits.
    pub const MAX_LEN: usize = 260;

    /// Checks an authority without scheme: a host and perhaps a port. Allocates only for a name that is not
    /// in normal form yet, at most 253 bytes.
    ///
    /// # Errors
    /// When it is not a host.
    pub fn parse(raw: &'a [u8]) -> Result<Self, InvalidHost> {
        if raw.len() > Self::MAX_LEN {
            return Err(InvalidHost("it is too long"));
        }
        let mut seen = 0;
        let mut label_start = 0;
        let mut end = raw.len();
        for (at, byte) in raw.iter().enumerate() {
            let class = CLASS[*byte as usize];
            seen |= class;
            // The classes that need a look are the highest.
            if class < DOT {
                continue;
            }
            if class == DOT {
                if at == label_start || at - label_start > MAX_LABEL {
                    return Err(InvalidHost("a label is empty or longer than 63 bytes"));
                }
                label_start = at + 1;
            } else if class == COLON {
                end = at;
                break;
            } else if at == 0 && *byte == b'[' {
                return Self::parse_ipv6(raw);
            } else {
                return Err(InvalidHost("it has a character that no host may have"));
            }
        }
        if end - label_start > MAX_LABEL {
            return Err(InvalidHost("a label is longer than 63 bytes"));
        }
        // A dot at the end stands for the root.
        let name = &raw[..if label_start == end {
            end.saturating_sub(1)
        } else {
            end
        }];
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(InvalidHost("the name is empty or longer than 253 bytes"));
        }
        let port = match &raw[end..] {
            [] => None,
            [_, digits @ ..] => parse_port(digits)?,
        };
        let simple = seen & (UPPER | OTHER | HYPHEN) == 0 && !name[name.len() - 1].is_ascii_digit();
        Ok(Self {
            form: if simple {
                HostForm::Name
            } else {
                form_of_name(name, seen)
            },
            name: if seen & UPPER == 0 {
                Cow::Borrowed(name)
            } else {
                Cow::Owned(name.to_ascii_lowercase())
            },
            port,
        })
    }

    fn parse_ipv6(raw: &'a [u8]) -> Result<Self, InvalidHost> {
        let text = std::str::from_utf8(raw).map_err(|_| InvalidHost("it is not ASCII"))?;
        let (inside, rest) = text
            .strip_prefix('[')
            .and_then(|text| text.split_once(']'))
            .ok_or(InvalidHost("the IPv6 bracket is not closed"))?;
        let address: Ipv6Addr = inside
            .parse()
            .map_err(|_| InvalidHost("the IPv6 address is not valid"))?;
        let port = match rest.as_bytes() {
            [] => None,
            [b':', digits @ ..] => parse_port(digits)?,
            _ => return Err(InvalidHost("something stands between address and port")),
        };
        Ok(Self {
            name: Cow::Owned(format!("[{address}]").into_bytes()),
            port,
            form: HostForm::Ipv6,
        })
    }

    /// The name in normal form, without port.
    pub fn name(&self) -> &str {
        text(&self.name)
    }

    /// Whether this is the name, given in normal form. Cheaper than comparing with [`name`](Self::name).
    #[inline]
    pub fn is_named(&self, name: &str) -> bool {
        *self.name == *name.as_bytes()
    }

    /// All that stands before `base`, label by label: `""` for the base itself, `a.b` for `a.b.example.com`.
    /// `None` for names that are not under it, and for addresses. The form is not looked at otherwise.
    #[inline]
    pub fn before(&self, base: &str) -> Option<&str> {
        if !matches!(self.form, HostForm::Name | HostForm::OtherName) {
            return None;
        }
        match self.name.strip_suffix(base.as_bytes())? {
            [] => Some(""),
            [before @ .., b'.'] => Some(text(before)),
            _ => None,
        }
    }

    /// The port, if one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The form.
    pub fn form(&self) -> HostForm {
        self.form
    }

    /// The one label that stands before `base`, if that is all that stands there: `acme` for
    /// `acme.example.com` and the base `example.com`. Compares label by label.
    pub fn label_under(&self, base: &str) -> Option<&str> {
        let before = self.under(base)?;
        (!before.is_empty() && !before.contains('.')).then_some(before)
    }

    /// All that stands before `base`: `""` for the base itself, `a.b` for `a.b.example.com`.
    /// `None` for names that are not under it, and for addresses.
    pub fn under(&self, base: &str) -> Option<&str> {
        if self.form != HostForm::Name {
            return None;
        }
        self.before(base)
    }

    /// The same host, owning its name.
    pub fn into_owned(self) -> Host<'static> {
        Host {
            name: Cow::Owned(self.name.into_owned()),
            port: self.port,
            form: self.form,
        }
    }

    /// Whether both name one place, where `default_port` stands for a port that was not written.
    pub fn is_same_place(&self, other: &Host<'_>, default_port: Option<u16>) -> bool {
        self.name == other.name && self.port.or(default_port) == other.port.or(default_port)
    }
}

/// What was checked to be ASCII, as text. The empty text stands for what cannot happen.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

fn form_of_name(name: &[u8], seen: u8) -> HostForm {
    if seen & OTHER != 0 {
        return HostForm::OtherName;
    }
    let ends_in_hyphen = |label: &[u8]| label.starts_with(b"-") || label.ends_with(b"-");
    if seen & HYPHEN != 0 && name.split(|byte| *byte == b'.').any(ends_in_hyphen) {
        return HostForm::OtherName;
    }
    if !name.last().is_some_and(u8::is_ascii_digit) {
        return HostForm::Name;
    }
    if text(name).parse::<Ipv4Addr>().is_ok() {
        return HostForm::Ipv4;
    }
    // `2130706433` and `1.2` are addresses to some parsers: never names to us.
    match name.rsplit(|byte| *byte == b'.').next() {
        Some(last) if last.iter().all(u8::is_ascii_digit) => HostForm::OtherName,
        _ => HostForm::Name,
    }
}

fn parse_port(digits: &[u8]) -> Result<Option<u16>, InvalidHost> {
    // An empty port is legal (RFC 3986 §3.2.3) and stands for the default one.
    if digits.is_empty() {
        return Ok(None);
    }
    if digits.len() > 5 {
        return Err(InvalidHost("the port is longer than five digits"));
    }
    let mut port = 0_u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(InvalidHost("the port is not a number"));
        }
        port = port * 10 + u32::from(digit - b'0');
    }
    u16::try_from(port)
        .map(Some)
        .map_err(|_| InvalidHost("the port is above 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(raw: &str) -> Option<String> {
        Host::parse(raw.as_bytes())
            .ok()
            .map(|host| host.name().to_owned())
    }

    #[test]
    fn normal_form() {
        for (raw, expected) in [
            ("acme.app.test", "acme.app.test"),
            ("ACME.App.Test", "acme.app.test"),
            ("acme.app.test.", "acme.app.test"),
            ("acme.app.test:443", "acme.app.test"),
            ("acme.app.test:", "acme.app.test"),
            ("acme.app.test.:80", "acme.app.test"),
            ("127.0.0.1:3000", "127.0.0.1"),
            ("[::1]:3000", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("a_b.app.test", "a_b.app.test"),
        ] {
            assert_eq!(name(raw).as_deref(), Some(expected), "{raw}");
        }
    }

    #[test]
    fn refused() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for raw in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            ":80",
            "a:80:80",
            "a:x",
            "a:65536",
            "a:000080",
            "a:-1",
            "a: 80",
            "u@a.test",
            "a.test@b.test",
            "a,b",
            "a, b",
            "a b",
            "a\tb",
            " a",
            "a/../b",
            "a?x",
            "a#x",
            "a\\b",
            "<script>",
            "\"a\"",
            "b\u{fc}cher.test",
            "%61cme.test",
            "a%00",
            "[::1",
            "::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "[]",
            "[127.0.0.1]",
            "a\0",
            "a\u{7f}",
            "http://a.test",
            "a|b",
            "a^b",
            "`a`",
            "{a}",
            &long_label,
            &long_name,
        ] {
            assert_eq!(name(raw), None, "{raw:?}");
        }
        assert!(Host::parse(&[0xff, 0xfe]).is_err());
        assert!(Host::parse(&vec![b'a'; 70_000]).is_err());
    }

    #[test]
    fn forms() {
        for (raw, form) in [
            ("acme.test", HostForm::Name),
            ("xn--bcher-kva.test", HostForm::Name),
            ("a1", HostForm::Name),
            ("127.0.0.1", HostForm::Ipv4),
            ("[::1]", HostForm::Ipv6),
            ("2130706433", HostForm::OtherName),
            ("127.1", HostForm::OtherName),
            ("a_b.test", HostForm::OtherName),
            ("-a.test", HostForm::OtherName),
            ("a-.test", HostForm::OtherName),
        ] {
            assert_eq!(Host::parse(raw.as_bytes()).unwrap().form(), form, "{raw}");
        }
    }

    #[test]
    fn labels_are_compared_whole() {
        let label = |raw: &str| {
            Host::parse(raw.as_bytes())
                .unwrap()
                .label_under("app.test")
                .map(str::to_owned)
        };
        assert_eq!(label("acme.app.test").as_deref(), Some("acme"));
        for other in [
            "app.test",
            "evilapp.test",
            "acme.app.test.evil.test",
            "a.b.app.test",
            "acmeapp.test",
            "127.0.0.1",
        ] {
            assert_eq!(label(other), None, "{other}");
        }
    }

    /// The same rules, written the slow way.
    fn reference(raw: &str) -> Option<String> {
        if raw.starts_with('[') || raw.len() > 260 {
            return None;
        }
        let (host, port) = raw.split_once(':').map_or((raw, ""), |(host, port)| (host, port));
        if !port.is_empty()
            && (port.len() > 5
                || !port.bytes().all(|b| b.is_ascii_digit())
                || port.parse::<u32>().ok()? > 65535)
        {
            return None;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_~!$&'()*+;=".contains(c);
        let labels = host
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && label.chars().all(legal));
        (labels && host.len() <= 253).then(|| host.to_ascii_lowercase())
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(raw in "[a-cA-C0-2._:,@% \\-]{0,16}") {
            prop_assert_eq!(name(&raw), reference(&raw));
        }

        #[test]
        fn never_panics(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Host::parse(&raw);
        }

        #[test]
        fn normal_form_is_a_fixed_point(raw in "[a-zA-Z0-9._\\-]{1,40}(:[0-9]{0,5})?") {
            if let Some(first) = name(&raw) {
                prop_assert_eq!(name(&first), Some(first.clone()));
            }
        }
    }
}
