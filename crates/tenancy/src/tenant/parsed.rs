//! Text of a record, parsed once.

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::de::DeserializeOwned;
use tenancy_core::TenantRecord;

/// The value of the last type asked for.
///
/// A user's code parses and drops the values: never under the lock.
#[derive(Default)]
pub(super) struct ParsedCell(Mutex<Option<Parsed>>);

struct Parsed {
    /// What it was parsed from. Its epoch would not do: stores need not count, and a restored one counts anew.
    record: Arc<TenantRecord>,
    value: Arc<dyn Any + Send + Sync>,
}

impl ParsedCell {
    /// The value of `text`, which is a part of this record and always the same one.
    pub(super) fn get<T>(&self, record: &Arc<TenantRecord>, text: &str) -> Result<Arc<T>, serde_json::Error>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(kept) = self.kept_of(record)
            && let Ok(value) = kept.downcast::<T>()
        {
            return Ok(value);
        }
        let value = Arc::new(serde_json::from_str::<T>(text)?);
        let parsed = Parsed {
            record: Arc::clone(record),
            value: Arc::clone(&value) as Arc<dyn Any + Send + Sync>,
        };
        let former = self.lock().replace(parsed);
        drop(former);
        Ok(value)
    }

    fn kept_of(&self, record: &Arc<TenantRecord>) -> Option<Arc<dyn Any + Send + Sync>> {
        let kept = self.lock();
        let kept = kept.as_ref().filter(|kept| Arc::ptr_eq(&kept.record, record))?;
        Some(Arc::clone(&kept.value))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Parsed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
