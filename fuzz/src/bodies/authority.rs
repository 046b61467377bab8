//! `Host::parse` against rules that are written down a second time, without regard to speed.

use std::net::{Ipv4Addr, Ipv6Addr};

use tenancy::core::{Host, HostForm};

/// What a host is by the rules of `Host`'s documentation.
#[derive(Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) port: Option<u16>,
    pub(super) form: HostForm,
}

/// Parses bytes as a host.
pub fn authority(data: &[u8]) {
    let parsed = Host::parse(data);
    let found = parsed.as_ref().ok().map(|host| Expected {
        name: host.name().to_owned(),
        port: host.port(),
        form: host.form(),
    });
    assert_eq!(found, expected(data));
    let Ok(host) = parsed else { return };

    let again = Host::parse(host.name().as_bytes()).expect("the normal form is a host");
    assert_eq!((again.name(), again.form()), (host.name(), host.form()));
    assert_eq!(again.port(), None);
    assert_eq!(host.clone().into_owned(), host);
    assert!(host.is_same_place(&host, None));
    for base in ["app.test", "test", "localhost", ""] {
        assert_eq!(
            host.under(base).map(str::to_owned),
            under(&host, base),
            "{base:?}"
        );
    }
}

pub(super) fn expected(raw: &[u8]) -> Option<Expected> {
    let text = std::str::from_utf8(raw).ok()?;
    if raw.len() > 260 {
        return None;
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = if rest.is_empty() {
            None
        } else {
            port(rest.strip_prefix(':')?)?
        };
        return Some(Expected {
            name: format!("[{address}]"),
            port,
            form: HostForm::Ipv6,
        });
    }
    let (name, digits) = text.split_once(':').unwrap_or((text, ""));
    let port = port(digits)?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_~!$&'()*+;=".contains(c);
    let labels_are_legal = name
        .split('.')
        .all(|label| (1..=63).contains(&label.len()) && label.chars().all(legal));
    (labels_are_legal && name.len() <= 253).then(|| Expected {
        name: name.to_ascii_lowercase(),
        port,
        form: form(name),
    })
}

/// `None` is a refusal, `Some(None)` no port.
fn port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    let only_digits = digits.len() <= 5 && digits.chars().all(|c| c.is_ascii_digit());
    only_digits.then(|| digits.parse().ok()).flatten().map(Some)
}

fn form(name: &str) -> HostForm {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_dns = name
        .split('.')
        .all(|label| label.chars().all(plain) && !label.starts_with('-') && !label.ends_with('-'));
    let ends_in_a_number = name
        .split('.')
        .next_back()
        .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    if name.parse::<Ipv4Addr>().is_ok() {
        HostForm::Ipv4
    } else if is_dns && !ends_in_a_number {
        HostForm::Name
    } else {
        HostForm::OtherName
    }
}

/// Label by label, from the right.
fn under(host: &Host<'_>, base: &str) -> Option<String> {
    if host.form() != HostForm::Name {
        return None;
    }
    let mut labels: Vec<&str> = host.name().split('.').collect();
    for label in base.split('.').rev() {
        if labels.pop() != Some(label) {
            return None;
        }
    }
    Some(labels.join("."))
}
