//! Drafts of tenants, for tests that care about more than a name.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tenancy::{MemoryStore, Tenant};
use tenancy_core::{Maintenance, TenantEntry, TenantId, TenantKey, TenantRecord, TenantStatus};

use crate::IntoTenant;

/// Drafts tenants whose ids differ: `tenant-1`, `tenant-2`, and so on.
///
/// Each factory counts by itself, so that a test gets the same ids whatever else runs.
///
/// ```
/// use tenancy_test::TenantFactory;
///
/// let factory = TenantFactory::new();
/// let (a, b) = (factory.next().tenant(), factory.next().plan("pro").tenant());
/// assert_eq!((a.id().as_str(), b.id().as_str()), ("tenant-1", "tenant-2"));
/// assert_ne!(a.incarnation(), b.incarnation());
/// ```
#[derive(Debug)]
pub struct TenantFactory {
    prefix: Box<str>,
    made: AtomicU64,
}

impl TenantFactory {
    /// A factory that begins with `tenant-1`.
    pub fn new() -> Self {
        Self::named("tenant")
    }

    /// A factory whose ids begin with `prefix`, such as `shop-1`.
    pub fn named(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            made: AtomicU64::new(0),
        }
    }

    /// A draft of the next tenant. Its epoch and its incarnation are its number.
    ///
    /// # Panics
    /// When the factory's prefix makes no tenant id.
    #[track_caller]
    pub fn next(&self) -> TenantDraft {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let mut draft = TenantDraft::new(&format!("{}-{number}", self.prefix));
        draft.record.epoch = number;
        draft.record.incarnation = number;
        draft
    }
}

impl Default for TenantFactory {
    fn default() -> Self {
        Self::new()
    }
}

/// A tenant to be: set what matters, then ask for the [`Tenant`], the record, or a store.
///
/// ```
/// use tenancy_core::TenantStatus;
/// use tenancy_test::TenantDraft;
///
/// let draft = TenantDraft::new("acme")
///     .slug("acme-shop")
///     .status(TenantStatus::Pending)
///     .settings(serde_json::json!({"colour": "green"}))
///     .domain("shop.acme.example");
/// assert_eq!(draft.clone().into_record().slug(), "acme-shop");
/// assert_eq!(draft.tenant().status(), TenantStatus::Pending);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a draft is nothing yet"]
pub struct TenantDraft {
    record: TenantRecord,
    keys: Vec<TenantKey<'static>>,
}

impl TenantDraft {
    /// An active tenant of this id, of incarnation 1.
    ///
    /// # Panics
    /// When `id` is no tenant id.
    #[track_caller]
    pub fn new(id: &str) -> Self {
        let id = TenantId::new(id).unwrap_or_else(|invalid| panic!("{invalid}"));
        let mut record = TenantRecord::new(id);
        record.epoch = 1;
        record.incarnation = 1;
        Self {
            record,
            keys: Vec::new(),
        }
    }

    /// Its short name. Default: its id.
    ///
    /// # Panics
    /// When `slug` is none.
    #[track_caller]
    pub fn slug(mut self, slug: &str) -> Self {
        if let Err(invalid) = TenantKey::slug(slug) {
            panic!("{invalid}");
        }
        self.record.slug = Some(slug.into());
        self
    }

    /// Its plan. Default: none.
    pub fn plan(mut self, plan: &str) -> Self {
        self.record.plan = Some(plan.into());
        self
    }

    /// What kind of customer it is. Default: nothing said.
    pub fn tenant_type(mut self, tenant_type: &str) -> Self {
        self.record.tenant_type = Some(tenant_type.into());
        self
    }

    /// Where it stands in its life. Default: active.
    pub fn status(mut self, status: TenantStatus) -> Self {
        self.record.status = status;
        self
    }

    /// The application's settings for it: anything that is JSON. Default: none.
    ///
    /// # Panics
    /// When `settings` cannot be written as JSON.
    #[track_caller]
    pub fn settings(mut self, settings: impl Serialize) -> Self {
        match serde_json::to_string(&settings) {
            Ok(text) => self.record.settings = Some(text.into()),
            Err(error) => panic!("the settings cannot be written as JSON: {error}"),
        }
        self
    }

    /// Puts it into maintenance.
    pub fn maintenance(mut self, maintenance: Maintenance) -> Self {
        self.record.maintenance = Some(Box::new(maintenance));
        self
    }

    /// Lets a domain lead to it, in a store. Several may.
    ///
    /// # Panics
    /// When `domain` is no host name in canonical form.
    #[track_caller]
    pub fn domain(mut self, domain: &str) -> Self {
        match TenantKey::domain(domain.to_owned()) {
            Ok(key) => self.keys.push(key),
            Err(invalid) => panic!("{invalid}"),
        }
        self
    }

    /// The record.
    pub fn into_record(self) -> TenantRecord {
        self.record
    }

    /// The record, and the keys that lead to it.
    pub fn into_entry(self) -> TenantEntry {
        TenantEntry {
            record: self.record,
            keys: self.keys,
        }
    }

    /// The tenant, made as by [`fake`](crate::fake). Domains play no part: nobody looks it up.
    pub fn tenant(&self) -> Tenant {
        self.record.clone().into_tenant()
    }
}

/// A store that holds these tenants. Epochs and incarnations become the store's own.
///
/// ```
/// use tenancy::{Tenancy, resolve::Domain};
/// use tenancy_test::{TenantDraft, memory_store};
///
/// let store = memory_store([TenantDraft::new("acme").domain("shop.acme.example"), TenantDraft::new("globex")]);
/// let tenancy = Tenancy::new(Domain::new(), store);
/// ```
///
/// # Panics
/// When an id or a key comes twice.
#[track_caller]
pub fn memory_store(drafts: impl IntoIterator<Item = TenantDraft>) -> MemoryStore {
    let entries = drafts.into_iter().map(TenantDraft::into_entry);
    MemoryStore::from_entries(entries).unwrap_or_else(|error| panic!("{error}"))
}
