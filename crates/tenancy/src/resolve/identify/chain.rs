use std::{fmt, sync::Arc};

use http::HeaderValue;
use tenancy_core::{Identify, Reads};

use super::{
    IdentifierConfigError,
    claim::ClaimWithoutAuth,
    shortcut::{HostShortcut, shortcut_of},
};

/// What to do when a request names a tenant in more than one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConflictPolicy {
    /// Every identifier is asked. Those that are present must lead to the same tenant, else the request is refused.
    #[default]
    AgreeOrRefuse,
    /// The first identifier that is present decides, and the rest is not looked at. For the case that an outer
    /// identifier is set by something that is trusted more, such as a token's claim before a subdomain.
    FirstPresent,
}

/// Identifiers in the order in which they are asked, and what to do when they disagree.
///
/// A chain is itself no identifier. A host gives `domain:shop.acme.com`, a header `slug:acme`: whether both mean one
/// tenant shows only after each was looked up, so the resolver walks the chain.
///
/// Under either policy, an identifier that is invalid ends the request with 400, and one that leads nowhere with
/// 404: the ones after it are not asked.
///
/// ```
/// # use tenancy::resolve::{Chain, ConflictPolicy, Header, Subdomain};
/// let chain = Chain::new(ConflictPolicy::AgreeOrRefuse)
///     .with(Subdomain::of("example.com")?)?
///     .with(Header::named("x-tenant-id")?)?;
/// let names: Vec<&str> = chain.identifiers().map(|(_, name, _)| &**name).collect();
/// assert_eq!(names, ["subdomain of example.com", "header x-tenant-id"]);
///
/// // One identifier is a chain, too.
/// let alone = Chain::from(Subdomain::of("example.com")?);
/// assert!(alone.single().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Chain {
    policy: ConflictPolicy,
    identifiers: Vec<(Arc<str>, Box<dyn Identify>)>,
    /// Of the first identifier.
    shortcut: Option<HostShortcut>,
}

impl Chain {
    /// The most identifiers that a chain may have.
    pub const MAX_LEN: usize = 16;

    /// A chain without identifiers. To it, every request is without tenant.
    pub fn new(policy: ConflictPolicy) -> Self {
        Self {
            policy,
            identifiers: Vec::new(),
            shortcut: None,
        }
    }

    /// Adds an identifier, to be asked after those that are there.
    ///
    /// # Errors
    /// When the chain is full, or has an identifier of the same name.
    pub fn with(mut self, identifier: impl Identify) -> Result<Self, IdentifierConfigError> {
        let name = identifier.name();
        let refuse = |reason| IdentifierConfigError::new("identifier", &name, reason);
        if self.identifiers.len() >= Self::MAX_LEN {
            return Err(refuse("a chain has 16 identifiers at most"));
        }
        if self.identifiers.iter().any(|(taken, _)| **taken == *name) {
            return Err(refuse("the chain has one of this name; use `named` for closures"));
        }
        self.push(identifier);
        Ok(self)
    }

    fn push(&mut self, identifier: impl Identify) {
        let name = Arc::from(&*identifier.name());
        if self.identifiers.is_empty() {
            self.shortcut = shortcut_of(&identifier);
        }
        self.identifiers.push((name, Box::new(identifier)));
    }

    /// What to do when identifiers disagree.
    pub fn policy(&self) -> ConflictPolicy {
        self.policy
    }

    /// The identifiers in order, each with its position and its name.
    pub fn identifiers(&self) -> impl Iterator<Item = (u8, &Arc<str>, &dyn Identify)> {
        self.identifiers
            .iter()
            .zip(0..)
            .map(|((name, identifier), position)| (position, name, &**identifier))
    }

    /// The names of identifiers that read what layers further out have left.
    pub(crate) fn readers_of_extensions(&self) -> impl Iterator<Item = &str> {
        self.identifiers()
            .filter(|(_, _, identifier)| identifier.reads() == Reads::Extensions)
            .map(|(_, name, _)| &**name)
    }

    /// Makes every identifier refuse that reads what authentication leaves: none can have left anything.
    pub(crate) fn refuse_claims(&mut self) {
        for (name, identifier) in &mut self.identifiers {
            if identifier.reads() == Reads::Extensions {
                tracing::error!(identifier = %name, "no authentication stands before the resolve stage: every request is refused");
                *identifier = Box::new(ClaimWithoutAuth);
            }
        }
    }

    /// What `Vary` has to say of answers, so that no cache hands one tenant's answer to another. `None` where the
    /// target alone decides.
    pub(crate) fn vary(&self) -> Option<HeaderValue> {
        let mut names = Vec::new();
        for (_, _, identifier) in self.identifiers() {
            match identifier.reads() {
                Reads::Target => {}
                Reads::Header(name) => names.push(name.to_string()),
                _ => return Some(HeaderValue::from_static("*")),
            }
        }
        names.dedup();
        (!names.is_empty()).then(|| HeaderValue::from_str(&names.join(", ")).ok())?
    }

    /// The shortcut of the only identifier, if it looks at the host alone.
    #[inline]
    pub(in crate::resolve) fn shortcut(&self) -> Option<&HostShortcut> {
        if self.identifiers.len() == 1 {
            self.shortcut.as_ref()
        } else {
            None
        }
    }

    /// The identifier, if it is the only one: then nothing can disagree.
    pub fn single(&self) -> Option<(&Arc<str>, &dyn Identify)> {
        match &*self.identifiers {
            [(name, identifier)] => Some((name, &**identifier)),
            _ => None,
        }
    }
}

impl<I: Identify> From<I> for Chain {
    fn from(identifier: I) -> Self {
        let mut chain = Self::new(ConflictPolicy::default());
        chain.push(identifier);
        chain
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.identifiers().map(|(_, name, _)| &**name).collect();
        f.debug_struct("Chain")
            .field("policy", &self.policy)
            .field("identifiers", &names)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Domain, Header, named, testing::host_outcome};
    use super::*;
    use tenancy_core::{Identification, RequestHead};

    fn nothing(name: &str) -> impl Identify {
        named(name, |_: &RequestHead<'_>| Identification::Absent)
    }

    #[test]
    fn identifiers_keep_their_order_and_names() {
        let chain = Chain::new(ConflictPolicy::FirstPresent)
            .with(Domain::new())
            .unwrap()
            .with(Header::named("x-tenant").unwrap())
            .unwrap();
        let seen: Vec<(u8, &str)> = chain.identifiers().map(|(at, name, _)| (at, &**name)).collect();
        assert_eq!(seen, [(0, "domain"), (1, "header x-tenant")]);
        assert_eq!(chain.policy(), ConflictPolicy::FirstPresent);
        assert!(chain.single().is_none());
    }

    #[test]
    fn one_identifier_is_a_chain_that_refuses_conflicts() {
        let chain = Chain::from(Domain::new());
        assert_eq!(chain.policy(), ConflictPolicy::AgreeOrRefuse);
        let (name, identifier) = chain.single().unwrap();
        assert_eq!(&**name, "domain");
        assert_eq!(host_outcome(identifier, "acme.test"), "domain:acme.test");

        let closure = Chain::from(|_: &RequestHead<'_>| Identification::Nowhere);
        assert_eq!(&**closure.single().unwrap().0, "closure");
    }

    #[test]
    fn a_chain_has_no_more_than_16_identifiers() {
        let mut chain = Chain::new(ConflictPolicy::default());
        for number in 0..Chain::MAX_LEN {
            chain = chain.with(nothing(&format!("n{number}"))).unwrap();
        }
        let error = chain.with(nothing("one too many")).unwrap_err();
        assert_eq!(error.value(), "one too many");
    }

    #[test]
    fn two_identifiers_of_one_name_are_refused() {
        let chain = Chain::from(Header::named("x-tenant").unwrap());
        let error = chain.with(Header::named("X-Tenant").unwrap()).unwrap_err();
        assert_eq!(error.value(), "header x-tenant");
    }
}
