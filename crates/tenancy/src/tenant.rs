//! The tenant handle and the control block behind it.

mod changes;
mod data;
mod parsed;
mod url;

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, fence},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::de::DeserializeOwned;
use tenancy_core::{TenantId, TenantRecord, TenantStatus};

pub(crate) use self::url::PublicUrl;
pub use self::url::UrlError;
use self::{changes::Changes, parsed::ParsedCell};
use crate::{
    cache::Account, gate::CompiledMaintenance, health::Vitals, home::Home, resource::TenantResources,
};

pub use data::DataError;

/// One customer: a cheap handle on what this process knows of it.
///
/// Having a `Tenant` proves that the stack resolved one: it can be had from a request by extraction, from
/// [`Tenancy::enter`](crate::Tenancy::enter), and in no other way. Cloning copies a pointer. All handles of one
/// tenant in one process share one control block, whichever key led to it, and see its newest record.
///
/// Two handles are equal when they are handles on the same tenant: same id, same incarnation, same process.
#[derive(Clone)]
pub struct Tenant {
    block: Arc<ControlBlock>,
}

pub(crate) struct ControlBlock {
    id: TenantId,
    home: Arc<Home>,
    record: ArcSwap<TenantRecord>,
    /// What the gate needs of the record, so that it reads one byte.
    gate: AtomicU8,
    /// Whether the id leads to the tenant as a slug, too. Changed under the registry's writer lock.
    id_is_slug: AtomicBool,
    /// Between the storing of a new record and its announcement.
    is_changing: AtomicBool,
    /// Finds the primary domain among the keys of the directory; 0 if there is none. Four bytes that were padding.
    primary_domain: AtomicU32,
    extras: OnceLock<Box<Extras>>,
}

/// What few tenants have: allocated at first use.
#[derive(Default)]
struct Extras {
    maintenance: ArcSwapOption<CompiledMaintenance>,
    settings: ParsedCell,
    data: ParsedCell,
    changes: OnceLock<Changes>,
    resources: OnceLock<TenantResources>,
    cache: ArcSwapOption<TenantAccount>,
    #[cfg(feature = "memory")]
    memory: OnceLock<Box<crate::memory::TenantMemory>>,
    #[cfg(feature = "metrics")]
    metrics: ArcSwapOption<crate::metrics::Seat>,
    vitals: Vitals,
}

/// Weak: the cache itself keeps the accounts of those that are in use.
struct TenantAccount {
    incarnation: u64,
    account: Weak<Account>,
}

/// What the gate sees of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateState {
    Open,
    Maintenance,
    Pending,
    Suspended,
    Deleted,
}

impl GateState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "active",
            Self::Maintenance => "in maintenance",
            Self::Pending => "pending",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }
}

const GATE_OPEN: u8 = 0;
const GATE_MAINTENANCE: u8 = 1;
const GATE_PENDING: u8 = 2;
const GATE_SUSPENDED: u8 = 3;
const GATE_DELETED: u8 = 4;

fn gate_byte(record: &TenantRecord) -> u8 {
    match record.status {
        TenantStatus::Active if record.maintenance.is_some() => GATE_MAINTENANCE,
        TenantStatus::Active => GATE_OPEN,
        TenantStatus::Pending => GATE_PENDING,
        TenantStatus::Suspended => GATE_SUSPENDED,
        // Deleted, and whatever a later version adds: not served.
        _ => GATE_DELETED,
    }
}

impl ControlBlock {
    pub(crate) fn new(record: TenantRecord, home: Arc<Home>) -> Self {
        let block = Self {
            id: record.id.clone(),
            home,
            gate: AtomicU8::new(gate_byte(&record)),
            id_is_slug: AtomicBool::new(false),
            is_changing: AtomicBool::new(false),
            primary_domain: AtomicU32::new(0),
            record: ArcSwap::from_pointee(record),
            extras: OnceLock::new(),
        };
        block.compile_maintenance();
        block
    }

    /// Takes a record over unless it is older than the present one. Callers hold the registry's writer lock.
    /// Returns whether anything changed.
    pub(crate) fn update(&self, record: TenantRecord) -> bool {
        let present = self.record.load();
        if (record.incarnation, record.epoch) < (present.incarnation, present.epoch) {
            return false;
        }
        drop(present);
        self.replace(record)
    }

    /// Takes a record over whatever its epoch: for a catalogue that was restored to an earlier state.
    pub(crate) fn replace(&self, record: TenantRecord) -> bool {
        let gate = gate_byte(&record);
        if **self.record.load() == record && self.gate.load(Ordering::Acquire) == gate {
            return false;
        }
        let changing = self.begin_change();
        self.record.store(Arc::new(record));
        self.compile_maintenance();
        self.gate.store(gate, Ordering::Release);
        self.announce_change();
        drop(changing);
        true
    }

    /// Ends the block's life: every handle that is still out is refused by gates from now on.
    pub(crate) fn retire(&self) {
        self.gate.store(GATE_DELETED, Ordering::Release);
        self.announce_change();
    }

    fn compile_maintenance(&self) {
        let record = self.record.load();
        match &record.maintenance {
            Some(maintenance) => {
                let (compiled, fault) = CompiledMaintenance::compile_lenient(maintenance, &self.home.bypass);
                if let Some(error) = fault {
                    tracing::error!(tenant = %self.id, %error, "a maintenance setting of this tenant is not used");
                }
                self.extras().maintenance.store(Some(Arc::new(compiled)));
            }
            None => {
                if let Some(extras) = self.extras.get() {
                    extras.maintenance.store(None);
                }
            }
        }
    }

    fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    pub(crate) fn id(&self) -> &TenantId {
        &self.id
    }

    #[inline]
    pub(crate) fn id_is_slug(&self) -> bool {
        self.id_is_slug.load(Ordering::Acquire)
    }

    pub(crate) fn primary_domain(&self) -> u32 {
        self.primary_domain.load(Ordering::Acquire)
    }

    pub(crate) fn set_primary_domain(&self, tag: u32) {
        self.primary_domain.store(tag, Ordering::Release);
    }

    /// Drops objects that were made before the last change. Runs code of users: no lock may be held.
    pub(crate) fn drop_outdated_resources(&self) {
        if let Some(resources) = self.extras.get().and_then(|extras| extras.resources.get()) {
            resources.drop_outdated();
        }
    }

    pub(crate) fn has_resources(&self) -> bool {
        self.extras
            .get()
            .is_some_and(|extras| extras.resources.get().is_some())
    }

    pub(crate) fn set_id_is_slug(&self, is_slug: bool) {
        self.id_is_slug.store(is_slug, Ordering::Release);
    }
}

impl Tenant {
    pub(crate) fn new(block: Arc<ControlBlock>) -> Self {
        Self { block }
    }

    pub(crate) fn block(&self) -> &Arc<ControlBlock> {
        &self.block
    }

    pub(crate) fn gate_state(&self) -> GateState {
        match self.block.gate.load(Ordering::Acquire) {
            GATE_OPEN => GateState::Open,
            GATE_MAINTENANCE => GateState::Maintenance,
            GATE_PENDING => GateState::Pending,
            GATE_SUSPENDED => GateState::Suspended,
            _ => GateState::Deleted,
        }
    }

    pub(crate) fn maintenance(&self) -> Option<Arc<CompiledMaintenance>> {
        self.block
            .extras
            .get()
            .and_then(|extras| extras.maintenance.load_full())
    }

    pub(crate) fn resources(&self) -> &TenantResources {
        let resources = self
            .block
            .extras()
            .resources
            .get_or_init(|| self.home().resources.of_new_tenant());
        // As those who wait for a change: either the change outdates what is made now, or the record seen is newer.
        fence(Ordering::SeqCst);
        resources
    }

    /// What the cache keeps of this incarnation; `make` is called if there is nothing at the moment.
    pub(crate) fn cache_account(&self, make: impl FnOnce(u64) -> Arc<Account>) -> Arc<Account> {
        let incarnation = self.incarnation();
        let known = &self.block.extras().cache;
        if let Some(known) = &*known.load()
            && known.incarnation == incarnation
            && let Some(account) = known.account.upgrade()
        {
            return account;
        }
        // Two that come at once make one: accounts are interned by their names.
        let account = make(incarnation);
        known.store(Some(Arc::new(TenantAccount {
            incarnation,
            account: Arc::downgrade(&account),
        })));
        account
    }

    /// What its entries weigh in the process's own cache.
    #[cfg(feature = "memory")]
    pub(crate) fn cached_bytes(&self) -> u64 {
        let known = self
            .block
            .extras
            .get()
            .and_then(|extras| extras.cache.load_full());
        let account = known.and_then(|known| known.account.upgrade());
        account.map_or(0, |account| account.share.bytes())
    }

    #[cfg(feature = "memory")]
    pub(crate) fn memory_block(&self) -> &crate::memory::TenantMemory {
        let begin = || Box::new(crate::memory::TenantMemory::new());
        self.block.extras().memory.get_or_init(begin)
    }

    /// Under which label requests of this tenant are counted.
    #[cfg(feature = "metrics")]
    pub(crate) fn metrics_seat(&self) -> &ArcSwapOption<crate::metrics::Seat> {
        &self.block.extras().metrics
    }

    pub(crate) fn vitals(&self) -> &Vitals {
        &self.block.extras().vitals
    }

    /// Notes that something of the tenant's failed that no response of its shows, such as a job or its database. Counts as a request
    /// that failed, for [`TenantHealth`](crate::health::TenantHealth). Does not wait.
    pub fn note_failure(&self) {
        let now = self.home().clock.monotonic_coarse();
        self.vitals().count(now, true, false);
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.block.home
    }

    /// Compares with the id by which the application finds the tenant today: counts, and logs a disagreement. Returns
    /// whether they agree. See [`rollout`](crate::rollout).
    pub fn compare(&self, legacy_id: impl AsRef<str>) -> bool {
        let rollout = &self.home().rollout;
        rollout.compare_tenants(Some(self), Some(legacy_id.as_ref()))
    }

    /// The tenant's id.
    pub fn id(&self) -> &TenantId {
        &self.block.id
    }

    /// The newest record that this process knows. It may be replaced at any time; what you hold stays as it is.
    pub fn record(&self) -> Arc<TenantRecord> {
        self.block.record.load_full()
    }

    /// Where the tenant stands in its life. A purged tenant is [`TenantStatus::Deleted`].
    pub fn status(&self) -> TenantStatus {
        match self.gate_state() {
            GateState::Open | GateState::Maintenance => TenantStatus::Active,
            GateState::Pending => TenantStatus::Pending,
            GateState::Suspended => TenantStatus::Suspended,
            GateState::Deleted => TenantStatus::Deleted,
        }
    }

    /// Whether the tenant is active. One in maintenance is: it comes back by itself.
    pub fn is_served(&self) -> bool {
        matches!(self.gate_state(), GateState::Open | GateState::Maintenance)
    }

    /// Change number of the tenant's last change.
    pub fn epoch(&self) -> u64 {
        self.block.record.load().epoch
    }

    /// Change number of the tenant's creation: tells it from an earlier tenant of the same name.
    pub fn incarnation(&self) -> u64 {
        self.block.record.load().incarnation
    }

    /// The application's settings for this tenant, parsed.
    ///
    /// Parses at the first use after a change and keeps the last type asked for; further calls copy a pointer.
    /// A tenant without settings is parsed from `{}`.
    ///
    /// # Errors
    /// When the stored text is not JSON of that shape. The error names the tenant and is for logs.
    pub fn settings<T>(&self) -> Result<Arc<T>, SettingsError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let record = self.record();
        let text = record.settings.as_deref().unwrap_or("{}");
        let parsed = self.block.extras().settings.get(&record, text);
        parsed.map_err(|source| SettingsError {
            tenant: self.id().clone(),
            source,
        })
    }
}

impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
    }
}

impl Eq for Tenant {}

impl Hash for Tenant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.block).hash(state);
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant")
            .field("id", self.id())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id().fmt(f)
    }
}

/// A tenant's settings do not have the shape that was asked for.
#[derive(Debug)]
pub struct SettingsError {
    tenant: TenantId,
    source: serde_json::Error,
}

impl SettingsError {
    /// Whose settings they are.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the settings of tenant {} do not have the expected shape",
            self.tenant
        )
    }
}

impl std::error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tenancy_core::Maintenance;

    use super::*;

    pub(crate) fn home() -> Arc<Home> {
        Arc::new(Home::of_no_stack(100))
    }

    pub(crate) fn tenant(id: &str) -> Tenant {
        let record = TenantRecord::new(TenantId::new(id).unwrap());
        Tenant::new(Arc::new(ControlBlock::new(record, home())))
    }

    fn record(epoch: u64) -> TenantRecord {
        let mut record = TenantRecord::new(TenantId::new("acme").unwrap());
        record.epoch = epoch;
        record
    }

    #[test]
    fn an_older_record_never_replaces_a_newer_one() {
        let block = ControlBlock::new(record(5), home());
        let mut older = record(4);
        older.status = TenantStatus::Suspended;
        assert!(!block.update(older.clone()));
        older.epoch = 6;
        assert!(block.update(older));
        assert_eq!(Tenant::new(Arc::new(block)).status(), TenantStatus::Suspended);
    }

    #[test]
    fn the_gate_follows_the_record() {
        let tenant = tenant("acme");
        assert_eq!(tenant.gate_state(), GateState::Open);
        let mut next = record(1);
        next.maintenance = Some(Box::new(Maintenance::default()));
        tenant.block().update(next.clone());
        assert_eq!(tenant.gate_state(), GateState::Maintenance);
        assert!(tenant.maintenance().is_some());
        next.epoch = 2;
        next.maintenance = None;
        tenant.block().update(next);
        assert_eq!(tenant.gate_state(), GateState::Open);
        assert!(tenant.maintenance().is_none());
        tenant.block().retire();
        assert_eq!(tenant.gate_state(), GateState::Deleted);
    }

    #[test]
    fn settings_are_parsed_once_for_each_change_and_type() {
        #[derive(serde::Deserialize, Debug, PartialEq)]
        struct Colours {
            colour: String,
        }
        let tenant = tenant("acme");
        assert!(tenant.settings::<Colours>().is_err(), "nothing is set");
        let mut next = record(1);
        next.settings = Some(r#"{"colour":"green"}"#.into());
        tenant.block().update(next.clone());
        let first = tenant.settings::<Colours>().unwrap();
        assert!(Arc::ptr_eq(&first, &tenant.settings().unwrap()));
        assert_eq!(tenant.settings::<serde_json::Value>().unwrap()["colour"], "green");
        next.epoch = 2;
        next.settings = Some(r#"{"colour":"blue"}"#.into());
        tenant.block().update(next.clone());
        assert_eq!(tenant.settings::<Colours>().unwrap().colour, "blue");
        // A store that does not count its changes.
        next.settings = Some(r#"{"colour":"red"}"#.into());
        tenant.block().update(next);
        assert_eq!(tenant.settings::<Colours>().unwrap().colour, "red");
    }
}
