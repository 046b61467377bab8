use std::time::Duration;

use tenancy_core::TenantId;

use super::LifecycleError;
use crate::store::SqlStore;

/// How a home stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HomeState {
    /// It is being made, emptied or dropped, or that was broken off.
    UnderWay,
    /// It is somebody's.
    Made,
    /// It is ready for whoever comes first.
    Pending,
    /// Its tenant moved, and nobody writes to it any more. It is dropped later.
    Left,
}

/// A home that was made by a [`Lifecycle`](super::Lifecycle), as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownHome {
    /// The server that it is on.
    pub server: Box<str>,
    /// What keeps it apart from others.
    pub isolation: Box<str>,
    /// The database, schema or file.
    pub name: Box<str>,
    /// The slug that it was made for; empty where it was made for nobody yet.
    pub slug: Box<str>,
    /// Whose it is, or was.
    pub tenant: Option<TenantId>,
    /// How it stands.
    pub state: HomeState,
    /// For how long it has stood so.
    pub age: Duration,
}

impl KnownHome {
    /// All that the journal knows, beside a catalogue of any kind, one that was opened read-only, too. Makes no table: where
    /// there is no journal, there are none.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn all(store: &SqlStore) -> Result<Vec<Self>, LifecycleError> {
        Ok(store.known_homes().await?)
    }
}
