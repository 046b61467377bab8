//! What this process knows of tenants: which keys lead where, one live control block for each tenant.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tenancy_core::{KeyKind, TenantChange, TenantEntry, TenantId, TenantKey, TenantRecord};

use super::table::{KeyEntry, Keyed, ShardedTable};
use crate::{Tenant, event::Event, home::Home, tenant::ControlBlock};

pub(crate) struct Directory {
    home: Arc<Home>,
    /// Blocks of the complete snapshot.
    ids: ShardedTable<Tenant>,
    keys: ShardedTable<KeyEntry>,
    /// Counts invalidations. A record that was read before one is not remembered after it.
    generation: AtomicU64,
    writer: Mutex<Strays>,
}

/// Blocks that are alive outside of the snapshot, because a cache or a request holds them.
#[derive(Default)]
struct Strays {
    blocks: HashMap<TenantId, Weak<ControlBlock>>,
    prune_at: usize,
    /// Those whose next record is taken whatever its epoch.
    forgotten: HashSet<TenantId>,
    /// While the list is read anew: tenants that a look-up has read in the meantime.
    read_meanwhile: Option<HashSet<TenantId>>,
}

impl Strays {
    fn get(&self, id: &TenantId) -> Option<Arc<ControlBlock>> {
        self.blocks.get(id).and_then(Weak::upgrade)
    }

    fn insert(&mut self, block: &Arc<ControlBlock>) {
        if self.blocks.len() >= self.prune_at.max(64) {
            self.prune();
            self.prune_at = 2 * self.blocks.len();
        }
        self.blocks.insert(block.id().clone(), Arc::downgrade(block));
    }

    fn prune(&mut self) {
        self.blocks.retain(|_, block| block.strong_count() > 0);
        let blocks = &self.blocks;
        self.forgotten.retain(|id| blocks.contains_key(id));
    }

    fn was_read_meanwhile(&self, id: &TenantId) -> bool {
        self.read_meanwhile.as_ref().is_some_and(|read| read.contains(id))
    }
}

/// A moment between invalidations, taken before a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Generation(u64);

impl Directory {
    pub(crate) fn new(home: Arc<Home>) -> Self {
        Self {
            home,
            ids: ShardedTable::new(),
            keys: ShardedTable::new(),
            generation: AtomicU64::new(0),
            writer: Mutex::default(),
        }
    }

    /// The hot path: finds the tenant of a key in the snapshot.
    pub(crate) fn find(&self, kind: KeyKind, value: &str) -> Option<Tenant> {
        if kind == KeyKind::Id {
            return self.ids.with(kind, value, Tenant::clone);
        }
        self.find_raw(kind, value.as_bytes())
    }

    /// As [`find`](Self::find), for the raw bytes of a slug or a domain.
    ///
    /// Most slugs are the id of their tenant: these stand in the table of ids alone, which saves an entry for each.
    #[inline(always)]
    pub(crate) fn find_raw(&self, kind: KeyKind, value: &[u8]) -> Option<Tenant> {
        if kind == KeyKind::Slug {
            let by_id = |tenant: &Tenant| tenant.block().id_is_slug().then(|| tenant.clone());
            if let Some(Some(tenant)) = self.ids.with_bytes(KeyKind::Id, value, by_id) {
                return Some(tenant);
            }
        }
        self.keys.with_bytes(kind, value, |entry| entry.tenant().clone())
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Makes every look-up that is under way now forget what it read, and takes the next record of this tenant
    /// whatever its epoch: the store may have been restored.
    pub(crate) fn forget(&self, id: &TenantId) {
        let mut writer = self.write();
        self.advance_generation();
        if writer.strays.get(id).is_some() {
            writer.strays.forgotten.insert(id.clone());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Every tenant of the snapshot, in no order.
    pub(crate) fn tenants(&self) -> Vec<Tenant> {
        let mut tenants = Vec::with_capacity(self.ids.len());
        self.ids.for_each(|tenant| tenants.push(tenant.clone()));
        tenants
    }

    /// The first domain that the store listed for this tenant, if it leads there still.
    pub(crate) fn primary_domain(&self, tenant: &Tenant) -> Option<String> {
        let tag = NonZeroU32::new(tenant.block().primary_domain())?;
        let is_it = |entry: &KeyEntry| entry.tenant() == tenant && entry.key().0 == KeyKind::Domain;
        self.keys
            .with_tagged(tag, is_it, |entry| entry.key().1.to_owned())
    }

    fn tag_of_primary_domain(&self, keys: &[TenantKey<'static>]) -> u32 {
        let first = keys.iter().find(|key| key.kind() == KeyKind::Domain);
        first.map_or(0, |domain| self.keys.tag(domain.kind(), domain.value()).get())
    }

    /// The one live block of the tenant that this record is of, brought up to date. `None` when something was
    /// invalidated since `read_at`: the record may be from before.
    ///
    /// `remember` runs under the same lock, so that what it keeps is never older than an invalidation.
    pub(crate) fn adopt(
        &self,
        record: TenantRecord,
        read_at: Generation,
        remember: impl FnOnce(&Tenant),
    ) -> Option<Tenant> {
        let mut writer = self.write();
        if self.generation() != read_at {
            return None;
        }
        let (incarnation, epoch) = (record.incarnation, record.epoch);
        let accept = if writer.strays.forgotten.remove(&record.id) {
            Accept::Any
        } else {
            Accept::NotOlder
        };
        let tenant = writer.intern(record, accept);
        writer.keep_findable(&tenant);
        // A record that was refused says nothing against the list's.
        if (tenant.incarnation(), tenant.epoch()) == (incarnation, epoch)
            && let Some(read) = &mut writer.strays.read_meanwhile
        {
            read.insert(tenant.id().clone());
        }
        remember(&tenant);
        Some(tenant)
    }

    /// Runs `remember` unless something was invalidated since `read_at`.
    pub(crate) fn remember_absence(&self, read_at: Generation, remember: impl FnOnce()) {
        let _writer = self.write();
        if self.generation() == read_at {
            remember();
        }
    }

    /// Begins to read the whole list anew. What is known stays in force until [`Rebuild::finish`].
    pub(crate) fn rebuild(&self) -> Rebuild<'_> {
        let mut writer = self.write();
        self.advance_generation();
        writer.strays.read_meanwhile = Some(HashSet::new());
        Rebuild {
            directory: self,
            tenants: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Brings the snapshot to what these tenants are now.
    pub(crate) fn apply(&self, changes: Vec<TenantChange>) {
        let mut writer = self.write();
        self.advance_generation();
        for change in changes {
            writer.apply(change);
        }
    }

    /// Every tenant of the snapshot with its keys, for the snapshot file.
    pub(crate) fn entries(&self) -> Vec<TenantEntry> {
        let mut keys: HashMap<TenantId, Vec<TenantKey<'static>>> = HashMap::new();
        self.keys.for_each(|entry| {
            let (kind, value) = entry.key();
            let Ok(key) = TenantKey::new(kind, value.to_owned().into()) else {
                return;
            };
            let is_primary = kind == KeyKind::Domain
                && entry.tenant().block().primary_domain() == self.keys.tag(kind, value).get();
            let keys = keys.entry(entry.tenant().id().clone()).or_default();
            // The first domain is the primary one.
            let place = if is_primary { 0 } else { keys.len() };
            keys.insert(place, key);
        });
        let mut entries = Vec::with_capacity(self.ids.len());
        self.ids.for_each(|tenant| {
            let mut keys = keys.remove(tenant.id()).unwrap_or_default();
            if tenant.block().id_is_slug() {
                keys.extend(TenantKey::slug(tenant.id().as_str().to_owned()));
            }
            entries.push(TenantEntry {
                record: TenantRecord::clone(&tenant.record()),
                keys,
            });
        });
        entries
    }

    fn advance_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn write(&self) -> Writer<'_> {
        Writer {
            directory: self,
            // What panicked under the lock left whole tables behind: each step is one pointer store.
            strays: self.writer.lock().unwrap_or_else(PoisonError::into_inner),
            told: Told {
                home: &self.home,
                events: Vec::new(),
                outdated: Vec::new(),
            },
        }
    }
}

/// The list of all tenants while it is read, page by page.
pub(crate) struct Rebuild<'a> {
    directory: &'a Directory,
    tenants: Vec<Tenant>,
    keys: Vec<KeyEntry>,
}

impl Rebuild<'_> {
    /// Takes a page. Blocks that are alive get its records at once, older or not: the list has the last word, but
    /// for what a look-up has read since it was begun. A page may be older than that.
    pub(crate) fn add(&mut self, entries: Vec<TenantEntry>) {
        let mut writer = self.directory.write();
        for entry in entries {
            let accept = if writer.strays.was_read_meanwhile(&entry.record.id) {
                Accept::NotOlder
            } else {
                Accept::Any
            };
            let tenant = writer.intern(entry.record, accept);
            // Findable from now on, so that a look-up in between does not make a second block.
            writer.keep_findable(&tenant);
            let (id_is_slug, others) = keys_apart(&tenant, &entry.keys);
            tenant.block().set_id_is_slug(id_is_slug);
            tenant
                .block()
                .set_primary_domain(self.directory.tag_of_primary_domain(&entry.keys));
            self.keys
                .extend(others.map(|key| KeyEntry::new(key.kind(), key.value(), tenant.clone())));
            self.tenants.push(tenant);
        }
    }

    /// Makes the snapshot exactly what was added.
    pub(crate) fn finish(mut self) {
        let mut writer = self.directory.write();
        self.directory.advance_generation();
        for tenant in writer.alive_but_not_in(&self.tenants) {
            if writer.strays.was_read_meanwhile(tenant.id()) {
                // Created after its page was read. The changes since then bring it.
                writer.strays.insert(tenant.block());
            } else {
                writer.retire(tenant);
            }
        }
        self.directory.keys.replace_all(std::mem::take(&mut self.keys));
        self.directory.ids.replace_all(std::mem::take(&mut self.tenants));
        let ids = &self.directory.ids;
        writer
            .strays
            .blocks
            .retain(|id, _| ids.with(KeyKind::Id, id.as_str(), |_| ()).is_none());
        writer.strays.prune();
        writer.strays.blocks.shrink_to_fit();
    }
}

impl Drop for Rebuild<'_> {
    fn drop(&mut self) {
        self.directory.write().strays.read_meanwhile = None;
    }
}

/// Whether the tenant's id is its slug, and all other keys.
fn keys_apart<'a>(
    tenant: &Tenant,
    keys: &'a [TenantKey<'static>],
) -> (bool, impl Iterator<Item = &'a TenantKey<'static>> + use<'a>) {
    let id = tenant.id().clone();
    let is_id = move |key: &TenantKey<'_>| key.kind() == KeyKind::Slug && id == *key.value();
    (
        keys.iter().any(&is_id),
        keys.iter().filter(move |key| !is_id(key)),
    )
}

/// Which records take the place of the present one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accept {
    NotOlder,
    Any,
}

/// The right to change the directory.
struct Writer<'a> {
    directory: &'a Directory,
    strays: MutexGuard<'a, Strays>,
    /// Declared after the lock and therefore dropped after it: a listener may call back.
    told: Told<'a>,
}

/// What runs code of users, and therefore waits until the lock is free.
struct Told<'a> {
    home: &'a Home,
    events: Vec<Event>,
    /// Tenants that changed and have objects which were made before.
    outdated: Vec<Tenant>,
}

impl Told<'_> {
    fn changed(&mut self, tenant: &Tenant) {
        if tenant.block().has_resources() {
            self.outdated.push(tenant.clone());
        }
    }

    fn later(&mut self, event: impl FnOnce() -> Event) {
        if self.home.listener.is_some() {
            self.events.push(event());
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        for tenant in self.outdated.drain(..) {
            tenant.block().drop_outdated_resources();
        }
        for event in self.events.drain(..) {
            self.home.emit(|| event);
        }
    }
}

impl Writer<'_> {
    /// The live block of the record's tenant, with the record if that is accepted. A block of another incarnation
    /// is another tenant's, and ends.
    fn intern(&mut self, record: TenantRecord, accept: Accept) -> Tenant {
        let known = self
            .strays
            .get(&record.id)
            .map(Tenant::new)
            .or_else(|| self.directory.find(KeyKind::Id, record.id.as_str()));
        match known {
            Some(tenant) if tenant.incarnation() == record.incarnation => {
                let changed = match accept {
                    Accept::NotOlder => tenant.block().update(record),
                    Accept::Any => tenant.block().replace(record),
                };
                if changed {
                    self.told.changed(&tenant);
                    self.told.later(|| Event::TenantChanged {
                        tenant: tenant.clone(),
                    });
                }
                return tenant;
            }
            Some(newer) if accept == Accept::NotOlder && record.incarnation < newer.incarnation() => {
                return newer;
            }
            Some(former) => self.retire(former),
            None => {}
        }
        Tenant::new(Arc::new(ControlBlock::new(
            record,
            Arc::clone(&self.directory.home),
        )))
    }

    /// Sees to it that the next look-up of this tenant finds this block.
    fn keep_findable(&mut self, tenant: &Tenant) {
        if self.directory.find(KeyKind::Id, tenant.id().as_str()).as_ref() != Some(tenant) {
            self.strays.insert(tenant.block());
        }
    }

    fn alive_but_not_in(&self, listed: &[Tenant]) -> Vec<Tenant> {
        let listed: HashSet<&TenantId> = listed.iter().map(Tenant::id).collect();
        let ids = &self.directory.ids;
        let is_stray = |tenant: &Tenant| {
            ids.with(KeyKind::Id, tenant.id().as_str(), |known| known == tenant) != Some(true)
        };
        let strays = self.strays.blocks.values().filter_map(Weak::upgrade);
        let mut alive: Vec<Tenant> = strays.map(Tenant::new).filter(is_stray).collect();
        alive.retain(|tenant| !listed.contains(tenant.id()));
        ids.for_each(|tenant| {
            if !listed.contains(tenant.id()) {
                alive.push(tenant.clone());
            }
        });
        alive
    }

    fn apply(&mut self, change: TenantChange) {
        let directory = self.directory;
        let present: HashSet<&TenantKey<'static>> = change
            .current
            .iter()
            .flat_map(|entry| entry.keys.iter())
            .collect();
        // Names that are given up go first, so that a name never leads to two tenants.
        for key in change.keys_touched.iter().filter(|key| !present.contains(*key)) {
            directory
                .keys
                .remove_if(key.kind(), key.value(), |entry| *entry.tenant().id() == change.id);
        }
        match change.current {
            Some(entry) => {
                let tenant = self.intern(entry.record, Accept::NotOlder);
                let (id_is_slug, others) = keys_apart(&tenant, &entry.keys);
                tenant.block().set_id_is_slug(id_is_slug);
                tenant
                    .block()
                    .set_primary_domain(directory.tag_of_primary_domain(&entry.keys));
                for key in others {
                    let known = directory
                        .keys
                        .with(key.kind(), key.value(), |known| *known.tenant() == tenant);
                    if known != Some(true) {
                        directory
                            .keys
                            .insert(KeyEntry::new(key.kind(), key.value(), tenant.clone()));
                    }
                }
                if directory.find(KeyKind::Id, tenant.id().as_str()).as_ref() != Some(&tenant) {
                    directory.ids.insert(tenant);
                }
            }
            None => {
                let gone = directory.ids.remove_if(KeyKind::Id, change.id.as_str(), |_| true);
                let stray = self.strays.get(&change.id).map(Tenant::new);
                for tenant in gone.into_iter().chain(stray) {
                    self.retire(tenant);
                }
            }
        }
    }

    fn retire(&mut self, tenant: Tenant) {
        tenant.block().retire();
        self.strays.blocks.remove(tenant.id());
        self.told.changed(&tenant);
        self.told.later(|| Event::TenantRetired { tenant });
    }
}

#[cfg(test)]
mod tests;
