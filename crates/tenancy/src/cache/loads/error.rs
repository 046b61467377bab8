use std::{error::Error, fmt, sync::Arc};

#[derive(Clone, Debug)]
pub(super) enum Fault {
    Failed(Arc<dyn Error + Send + Sync>),
    Panicked(Arc<str>),
    TimedOut,
    Busy,
    Circular,
    Abandoned,
}

/// A value was not in the cache and could not be loaded. All who waited for it get the same; it is for logs.
#[derive(Clone, Debug)]
pub struct LoadError {
    kind: &'static str,
    fault: Fault,
}

impl LoadError {
    pub(super) fn new(kind: &'static str, fault: Fault) -> Self {
        Self { kind, fault }
    }

    /// Nobody loads it any more.
    pub(crate) fn abandoned(kind: &'static str) -> Self {
        Self::new(kind, Fault::Abandoned)
    }

    /// The name of the value's [`Keys`](crate::cache::Keys).
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether the loader returned an error, which is the [`source`](Error::source).
    pub fn is_failed(&self) -> bool {
        matches!(self.fault, Fault::Failed(_))
    }

    /// The loader's own error, if it returned one of this type.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        match &self.fault {
            Fault::Failed(cause) => cause.downcast_ref(),
            Fault::Panicked(_) | Fault::TimedOut | Fault::Busy | Fault::Circular | Fault::Abandoned => None,
        }
    }

    /// Whether the loader panicked.
    pub fn is_panicked(&self) -> bool {
        matches!(self.fault, Fault::Panicked(_))
    }

    /// Whether the loader ran, and did not end in time.
    pub fn is_timed_out(&self) -> bool {
        matches!(self.fault, Fault::TimedOut)
    }

    /// Whether so much else is being loaded in this scope that the loader was not called.
    pub fn is_busy(&self) -> bool {
        matches!(self.fault, Fault::Busy)
    }

    /// Whether the loader, or one that it waits for, asked for the very value that it loads.
    pub fn is_circular(&self) -> bool {
        matches!(self.fault, Fault::Circular)
    }

    /// Whether the runtime that it was loaded on ended before.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.fault, Fault::Abandoned)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, fault } = self;
        match fault {
            Fault::Failed(_) => write!(f, "{kind} could not be loaded"),
            Fault::Panicked(message) => write!(f, "loading {kind} panicked: {message}"),
            Fault::TimedOut => write!(f, "loading {kind} took too long"),
            Fault::Busy => write!(f, "{kind} was not loaded: too much else is being loaded"),
            Fault::Circular => write!(f, "loading {kind} asks for what it loads"),
            Fault::Abandoned => write!(f, "loading {kind} was given up with its runtime"),
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            Fault::Failed(cause) => Some(&**cause),
            Fault::Panicked(_) | Fault::TimedOut | Fault::Busy | Fault::Circular | Fault::Abandoned => None,
        }
    }
}
