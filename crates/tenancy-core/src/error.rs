use std::{error::Error, fmt};

/// A boxed error that can cross threads.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A name that does not follow the grammar of its kind: which one, where and why.
///
/// The `Display` form is made for operators: it quotes the name, escaped and cut to 64 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct InvalidName {
    what: &'static str,
    name: Box<str>,
    reason: &'static str,
}

impl InvalidName {
    /// Describes a refused name. `what` is the kind ("tenant id"), `reason` completes "… is not valid: ".
    pub fn new(what: &'static str, name: &str, reason: &'static str) -> Self {
        let name = name.chars().take(64).collect::<String>();
        Self {
            what,
            name: name.into(),
            reason,
        }
    }

    /// The refused name, cut to 64 characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it was refused.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is not valid: {}", self.what, self.name, self.reason)
    }
}

impl fmt::Debug for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for InvalidName {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreErrorKind {
    Unavailable,
    Corrupt,
    Unsupported,
}

/// A store could not tell. It never means "no such tenant": that is `Ok(None)`.
///
/// Opaque; ask with [`is_unavailable`](Self::is_unavailable), [`is_corrupt`](Self::is_corrupt),
/// [`is_unsupported`](Self::is_unsupported). The cause is kept as [`source`](Error::source).
pub struct StoreError {
    kind: StoreErrorKind,
    source: BoxError,
}

impl StoreError {
    /// The store could not be reached or did not answer in time. Asking again may help.
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self {
            kind: StoreErrorKind::Unavailable,
            source: source.into(),
        }
    }

    /// The store answered with something that is not a tenant record.
    pub fn corrupt(source: impl Into<BoxError>) -> Self {
        Self {
            kind: StoreErrorKind::Corrupt,
            source: source.into(),
        }
    }

    /// The store does not offer this operation, named by `operation`.
    pub fn unsupported(operation: &'static str) -> Self {
        Self {
            kind: StoreErrorKind::Unsupported,
            source: format!("this store does not support `{operation}`").into(),
        }
    }

    /// Whether asking again later may help.
    pub fn is_unavailable(&self) -> bool {
        self.kind == StoreErrorKind::Unavailable
    }

    /// Whether the stored data does not describe a tenant.
    pub fn is_corrupt(&self) -> bool {
        self.kind == StoreErrorKind::Corrupt
    }

    /// Whether the store does not offer the operation at all.
    pub fn is_unsupported(&self) -> bool {
        self.kind == StoreErrorKind::Unsupported
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the tenant store could not be reached",
            StoreErrorKind::Corrupt => "the tenant store holds a record that cannot be read",
            StoreErrorKind::Unsupported => "the tenant store does not offer this operation",
        })
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.kind)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
