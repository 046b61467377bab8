//! Which key a host's raw bytes would lead to, if they are in normal form already.

use std::any::Any;

use tenancy_core::{Identify, KeyKind};

use super::{Domain, DomainOrSubdomain, Subdomain, base::BaseDomains};

/// The host rules of one identifier, over bytes that nobody has checked.
///
/// Only for looking up what is known: keys and base domains are in normal form, so bytes that lead to a tenant here
/// are in normal form too, and the checked way would lead to the same one. What leads nowhere here is still open.
#[derive(Clone, Debug)]
pub(in crate::resolve) struct HostShortcut {
    bases: Option<BaseDomains>,
    domains: bool,
}

impl HostShortcut {
    /// The shortcut of an identifier, if it looks at the host alone.
    pub(super) fn of(identifier: &dyn Any) -> Option<Self> {
        if let Some(by) = identifier.downcast_ref::<Subdomain>() {
            return Some(Self::new(Some(by.bases()), false));
        }
        if let Some(by) = identifier.downcast_ref::<DomainOrSubdomain>() {
            return Some(Self::new(Some(by.bases()), true));
        }
        identifier.downcast_ref::<Domain>().map(|_| Self::new(None, true))
    }

    fn new(bases: Option<&BaseDomains>, domains: bool) -> Self {
        Self {
            bases: bases.cloned(),
            domains,
        }
    }

    /// The key for the raw bytes of a `Host` line.
    #[inline(always)]
    pub(in crate::resolve) fn key<'a>(&self, name: &'a [u8]) -> Option<(KeyKind, &'a [u8])> {
        match self.bases.as_ref().and_then(|bases| bases.before(name)) {
            Some(label) => Some((KeyKind::Slug, label)),
            None => self.domains.then_some((KeyKind::Domain, name)),
        }
    }
}

/// As [`HostShortcut::of`], for an identifier of any type.
pub(super) fn shortcut_of<I: Identify>(identifier: &I) -> Option<HostShortcut> {
    HostShortcut::of(identifier)
}

/// The name in a `Host` line with a port of at most four digits, or none. Others take the checked way.
#[inline(always)]
pub(in crate::resolve) fn name_without_port(raw: &[u8]) -> Option<&[u8]> {
    let mut at = raw.len();
    while at > 0 && raw[at - 1].is_ascii_digit() {
        at -= 1;
    }
    let name = match (raw.len() - at, raw[..at].split_last()) {
        (1..=4, Some((b':', name))) => name,
        (0, _) => raw,
        _ => return None,
    };
    (name.len() <= 253).then_some(name)
}
