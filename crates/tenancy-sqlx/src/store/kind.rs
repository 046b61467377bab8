/// What a store was opened on, and whether it may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreKind {
    /// A catalogue of its own, that this store changes.
    Managed,
    /// A catalogue of its own, opened by [`read_only`](super::SqlStoreOptions::read_only).
    ReadOnly,
    /// Views over the application's own tables; see [`adopt`](crate::adopt). Read-only: tenants are changed in the
    /// application.
    Adopted,
}

impl StoreKind {
    /// Whether the methods that change tenants work.
    pub fn is_writable(self) -> bool {
        self == Self::Managed
    }

    /// `managed`, `read-only` or `adopted`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::ReadOnly => "read-only",
            Self::Adopted => "adopted",
        }
    }
}
