use std::{error::Error, fmt};

use tenancy_core::{BoxError, InvalidName};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NotFound,
    Conflict,
    Invalid,
    TooMany,
    Expired,
    Unavailable,
}

/// A claim could not be made, verified or taken back.
///
/// Opaque; ask with the `is_*` methods. The `Display` form may be shown to any client: it names no tenant and repeats no
/// input. What an operator needs beside it is in [`operator_detail`](Self::operator_detail).
pub struct DomainError {
    kind: Kind,
    detail: Box<str>,
    source: Option<BoxError>,
}

impl DomainError {
    fn new(kind: Kind, detail: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            source: None,
        }
    }

    /// There is no such tenant, or it has no such claim. `detail` is for operators.
    pub fn not_found(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::NotFound, detail)
    }

    /// The domain is another's or the tenant's own already, or the tenant's status does not allow it.
    pub fn conflict(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    /// The name can not be a custom domain.
    pub fn invalid(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// The tenant has as many open claims as it may have.
    pub fn too_many(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::TooMany, detail)
    }

    /// The claim has expired.
    pub fn expired(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Expired, detail)
    }

    /// The store could not be reached or changed.
    pub fn unavailable(detail: impl Into<Box<str>>) -> Self {
        Self::new(Kind::Unavailable, detail)
    }

    /// Keeps the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn invalid_name(error: InvalidName) -> Self {
        Self::invalid(error.to_string()).caused_by(error)
    }

    /// Whether there is no such tenant or claim.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// Whether the domain is taken, or the tenant's status does not allow the change.
    pub fn is_conflict(&self) -> bool {
        self.kind == Kind::Conflict
    }

    /// Whether the name can not be a custom domain.
    pub fn is_invalid(&self) -> bool {
        self.kind == Kind::Invalid
    }

    /// Whether the tenant has as many open claims as it may have.
    pub fn is_too_many(&self) -> bool {
        self.kind == Kind::TooMany
    }

    /// Whether the claim has expired. It can be made again.
    pub fn is_expired(&self) -> bool {
        self.kind == Kind::Expired
    }

    /// Whether the store could not be reached or changed. Trying again later may help.
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// What an operator should know and a client should not.
    pub fn operator_detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::NotFound => "there is no such claim",
            Kind::Conflict => "the domain is taken, or the tenant's status does not allow this",
            Kind::Invalid => "the name can not be a custom domain",
            Kind::TooMany => "there are as many open claims as may be",
            Kind::Expired => "the claim has expired",
            Kind::Unavailable => "the store of claims could not be reached",
        })
    }
}

impl fmt::Debug for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainError")
            .field("kind", &self.kind)
            .field("detail", &self.detail)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for DomainError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
