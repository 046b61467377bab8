use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use tenancy_core::{ChangeSubscription, TenantChange};

use super::*;

fn id(text: &str) -> TenantId {
    TenantId::new(text).unwrap()
}

fn slug(text: &str) -> TenantKey<'static> {
    TenantKey::slug(text.to_owned()).unwrap()
}

fn domain(text: &str) -> TenantKey<'static> {
    TenantKey::domain(text.to_owned()).unwrap()
}

fn entry(text: &str, keys: &[TenantKey<'static>]) -> TenantEntry {
    TenantEntry {
        record: TenantRecord::new(id(text)),
        keys: keys.to_vec(),
    }
}

async fn owner(store: &MemoryStore, key: &TenantKey<'_>) -> Option<String> {
    let record = store.find(key).await.unwrap();
    record.map(|record| record.id.to_string())
}

#[tokio::test]
async fn id_slug_and_keys_lead_to_the_tenant_and_nothing_else_does() {
    let store = MemoryStore::of(["acme", "a_b"]).unwrap();
    store.add_key(&id("acme"), domain("acme.test")).await.unwrap();
    for (key, expected) in [
        (TenantKey::id(&id("acme")), Some("acme")),
        (slug("acme"), Some("acme")),
        (domain("acme.test"), Some("acme")),
        (TenantKey::id(&id("a_b")), Some("a_b")),
        (domain("acme"), None),
        (slug("beta"), None),
        (TenantKey::id(&id("beta")), None),
        (TenantKey::custom("other", "acme.test").unwrap(), None),
    ] {
        assert_eq!(owner(&store, &key).await.as_deref(), expected, "{key}");
    }
}

#[tokio::test]
async fn a_key_leads_to_one_tenant_only() {
    let store = MemoryStore::of(["acme", "beta"]).unwrap();
    store.add_key(&id("acme"), domain("acme.test")).await.unwrap();
    let refused = [
        store.add_key(&id("beta"), domain("acme.test")).await,
        store.add_key(&id("beta"), slug("acme")).await,
        store
            .update(&id("beta"), |record| record.slug = Some("acme".into()))
            .await,
        store
            .insert(entry("gamma", &[domain("new.test"), domain("acme.test")]))
            .await,
        store.upsert(entry("beta", &[domain("acme.test")])).await,
        store.insert(entry("acme", &[])).await,
    ];
    for result in refused {
        assert!(result.unwrap_err().is_conflict());
    }
    assert_eq!(owner(&store, &domain("acme.test")).await.as_deref(), Some("acme"));
    assert_eq!(
        owner(&store, &domain("new.test")).await,
        None,
        "a refused change leaves nothing"
    );
    assert_eq!(owner(&store, &TenantKey::id(&id("gamma"))).await, None);

    assert!(MemoryStore::of(["acme", "acme"]).unwrap_err().is_conflict());
    assert!(MemoryStore::of(["acme", "../acme"]).unwrap_err().is_invalid());
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be_is_said_so() {
    let store = MemoryStore::of(["acme", "beta"]).unwrap();
    let (acme, nobody) = (id("acme"), id("nobody"));
    for missing in [
        store.update(&nobody, |_| ()).await,
        store.remove(&nobody).await,
        store.add_key(&nobody, slug("x")).await,
        store.remove_key(&acme, &slug("beta")).await,
        store.remove_key(&acme, &domain("acme.test")).await,
    ] {
        assert!(missing.unwrap_err().is_not_found());
    }
    for impossible in [
        store.remove_key(&acme, &slug("acme")).await,
        store.remove_key(&acme, &TenantKey::id(&acme)).await,
        store
            .add_key(&acme, TenantKey::id(&id("beta")).into_owned())
            .await,
        store
            .update(&acme, |record| record.slug = Some("Acme".into()))
            .await,
    ] {
        assert!(impossible.unwrap_err().is_invalid());
    }
}

#[tokio::test]
async fn a_new_slug_takes_the_place_of_the_old_one() {
    let store = MemoryStore::of(["acme"]).unwrap();
    let change = |record: &mut TenantRecord| record.slug = Some("acme-shop".into());
    store.update(&id("acme"), change).await.unwrap();
    assert_eq!(owner(&store, &slug("acme-shop")).await.as_deref(), Some("acme"));
    assert_eq!(owner(&store, &slug("acme")).await, None);
}

#[tokio::test]
async fn the_store_numbers_changes_and_an_edit_cannot() {
    let store = MemoryStore::new();
    let first = store.insert(entry("acme", &[])).await.unwrap();
    assert_eq!((first.epoch, first.incarnation), (1, 1));

    let forged = |record: &mut TenantRecord| {
        record.id = id("beta");
        record.epoch = 99;
        record.incarnation = 99;
        record.plan = Some("pro".into());
    };
    let second = store.update(&id("acme"), forged).await.unwrap();
    assert_eq!(
        (second.id.as_str(), second.epoch, second.incarnation),
        ("acme", 2, 1)
    );
    assert_eq!(second.plan.as_deref(), Some("pro"));

    let same = store.set_status(&id("acme"), TenantStatus::Active).await.unwrap();
    assert_eq!(same.epoch, 2, "nothing changed");

    store.remove(&id("acme")).await.unwrap();
    let next = store.insert(entry("beta", &[])).await.unwrap();
    assert_eq!((next.epoch, next.incarnation), (4, 4));
}

#[tokio::test]
async fn the_id_of_a_purged_tenant_is_never_given_again_and_its_slug_is() {
    let store = MemoryStore::of(["acme"]).unwrap();
    store.remove(&id("acme")).await.unwrap();
    for refused in [
        store.insert(entry("acme", &[])).await,
        store.upsert(entry("acme", &[])).await,
    ] {
        assert!(refused.unwrap_err().is_conflict());
    }
    store.insert(entry("beta", &[slug("acme")])).await.unwrap();
    assert_eq!(owner(&store, &slug("acme")).await.as_deref(), Some("beta"));
}

#[tokio::test]
async fn an_edit_that_panics_changes_nothing() {
    let store = MemoryStore::of(["acme"]).unwrap();
    let panicking = tokio::spawn({
        let store = store.clone();
        async move {
            let edit = |record: &mut TenantRecord| {
                record.plan = Some("pro".into());
                panic!("the edit fails half way");
            };
            store.update(&id("acme"), edit).await
        }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    let record = store.find(&slug("acme")).await.unwrap().unwrap();
    assert_eq!((record.plan, record.epoch), (None, 1));
}

fn reader_of(store: &MemoryStore) -> ChangeSubscription {
    store.signal().unwrap().subscribe()
}

#[tokio::test(start_paused = true)]
async fn a_change_waits_until_readers_have_seen_it() {
    let store = MemoryStore::new();
    let mut reader = reader_of(&store);
    let change = tokio::spawn({
        let store = store.clone();
        async move { store.insert(entry("acme", &[])).await }
    });
    let number = reader.changed().await;
    assert_eq!(
        owner(&store, &slug("acme")).await.as_deref(),
        Some("acme"),
        "applied already"
    );
    assert!(!change.is_finished());
    reader.applied(number);
    assert_eq!(change.await.unwrap().unwrap().epoch, number);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_follows_does_not_hold_a_change_up_for_good() {
    let store = MemoryStore::new();
    let _stuck = reader_of(&store);
    store.insert(entry("acme", &[])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_dropped_while_it_waits_stands() {
    let store = MemoryStore::new();
    let mut reader = reader_of(&store);
    let mut change = Box::pin(store.insert(entry("acme", &[])));
    let waiting =
        std::future::poll_fn(|context| std::task::Poll::Ready(change.as_mut().poll(context).is_pending()));
    assert!(waiting.await);
    drop(change);
    assert_eq!(owner(&store, &slug("acme")).await.as_deref(), Some("acme"));
    assert_eq!(reader.changed().await, 1, "readers were told");
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let ids = ["a", "b", "c", "d", "e"];
    let store = MemoryStore::of(["d", "a", "c", "e", "b"]).unwrap();
    for limit in 0..7 {
        let (listed, pages) = list_all(&store, limit).await;
        let listed: Vec<&str> = listed.iter().map(|entry| entry.record.id.as_str()).collect();
        assert_eq!(listed, ids, "{limit}");
        assert_eq!(pages, ids.len().div_ceil(limit.max(1)), "{limit}");
    }
    assert_eq!(list_all(&MemoryStore::new(), 3).await, (vec![], 1));
}

async fn list_all(store: &MemoryStore, limit: usize) -> (Vec<TenantEntry>, usize) {
    let (mut entries, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = store.list(after.as_ref(), limit).await.unwrap();
        assert!(page.entries.len() <= limit.max(1));
        entries.extend(page.entries);
        pages += 1;
        after = page.next;
        if after.is_none() {
            return (entries, pages);
        }
    }
}

async fn reload_mark(store: &MemoryStore, since: ChangeMark) -> Option<ChangeMark> {
    match store.changes(since, 100).await.unwrap() {
        ChangeBatch::Reload { mark } => Some(mark),
        _ => None,
    }
}

#[tokio::test]
async fn a_place_that_is_not_in_the_log_is_answered_with_a_reload() {
    let store = MemoryStore::with_log_limit(2);
    let empty = reload_mark(&store, ChangeMark::NONE)
        .await
        .expect("before everything");
    assert_eq!(
        reload_mark(&store, empty).await,
        None,
        "an empty store is a place, too"
    );

    let mut marks = vec![empty];
    for name in ["a", "b", "c"] {
        store.insert(entry(name, &[])).await.unwrap();
        marks.push(reload_mark(&store, ChangeMark::NONE).await.unwrap());
    }
    let newest = marks[3];
    let restored = ChangeMark {
        stamp: newest.stamp ^ 1,
        ..newest
    };
    let ahead = ChangeMark {
        number: newest.number + 1,
        ..newest
    };
    for (since, known) in [
        (marks[0], false),
        (marks[1], true),
        (marks[2], true),
        (newest, true),
        (restored, false),
        (ahead, false),
        (ChangeMark::NONE, false),
    ] {
        let expected = if known { None } else { Some(newest) };
        assert_eq!(reload_mark(&store, since).await, expected, "{since:?}");
    }
    let other = MemoryStore::of(["a", "b", "c"]).unwrap();
    assert!(
        reload_mark(&other, newest).await.is_some(),
        "another store's place"
    );
}

#[tokio::test]
async fn a_tenant_comes_once_with_all_keys_that_any_change_touched() {
    let store = MemoryStore::of(["acme"]).unwrap();
    let start = reload_mark(&store, ChangeMark::NONE).await.unwrap();
    store.add_key(&id("acme"), domain("one.test")).await.unwrap();
    store.add_key(&id("acme"), domain("two.test")).await.unwrap();
    store.remove_key(&id("acme"), &domain("one.test")).await.unwrap();
    let ChangeBatch::Changes { changes, more, .. } = store.changes(start, 10).await.unwrap() else {
        panic!("the log goes on from there");
    };
    assert!(!more);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].keys_touched, [domain("one.test"), domain("two.test")]);
    let current = changes[0].current.clone().unwrap();
    assert_eq!(current.keys, [slug("acme"), domain("two.test")]);
}

#[tokio::test]
async fn coming_and_going_touches_the_id_too() {
    let store = MemoryStore::new();
    let id_and_slug = [TenantKey::id(&id("acme")).into_owned(), slug("acme")];
    for present in [true, false] {
        let before = reload_mark(&store, ChangeMark::NONE).await.unwrap();
        if present {
            store.insert(entry("acme", &[])).await.unwrap();
        } else {
            store.remove(&id("acme")).await.unwrap();
        }
        let ChangeBatch::Changes { changes, .. } = store.changes(before, 10).await.unwrap() else {
            panic!("the log goes on from there");
        };
        assert_eq!(changes[0].keys_touched, id_and_slug);
        assert_eq!(changes[0].current.is_some(), present);
    }
}

/// A reader that follows the store the way a resolver does.
#[derive(Default)]
struct Follower {
    mark: ChangeMark,
    tenants: BTreeMap<TenantId, TenantEntry>,
    owners: HashMap<TenantKey<'static>, TenantId>,
    reloads: usize,
}

impl Follower {
    async fn catch_up(&mut self, store: &MemoryStore, limit: usize) {
        loop {
            match store.changes(self.mark, limit).await.unwrap() {
                ChangeBatch::Changes { mark, changes, more } => {
                    assert!(changes.len() <= limit);
                    changes.into_iter().for_each(|change| self.apply(change));
                    self.mark = mark;
                    if !more {
                        return;
                    }
                }
                ChangeBatch::Reload { mark } => {
                    let (entries, _) = list_all(store, limit).await;
                    *self = Self {
                        mark,
                        reloads: self.reloads + 1,
                        ..Self::default()
                    };
                    entries.into_iter().for_each(|entry| self.put(entry));
                }
                other => panic!("an answer that no test expects: {other:?}"),
            }
        }
    }

    fn apply(&mut self, change: TenantChange) {
        self.tenants.remove(&change.id);
        for key in &change.keys_touched {
            // It may lead to another tenant by now, whose change came first.
            if self.owners.get(key) == Some(&change.id) {
                self.owners.remove(key);
            }
        }
        if let Some(current) = change.current {
            self.put(current);
        }
    }

    fn put(&mut self, entry: TenantEntry) {
        for key in &entry.keys {
            self.owners.insert(key.clone(), entry.record.id.clone());
        }
        self.tenants.insert(entry.record.id.clone(), entry);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, Vec<usize>),
    Upsert(usize, Vec<usize>),
    SetSlug(usize, Option<usize>),
    SetStatus(usize, bool),
    AddKey(usize, usize),
    RemoveKey(usize, usize),
    Remove(usize),
    Follow(usize),
}

const IDS: [&str; 4] = ["acme", "beta", "c_d", "gamma"];
const SLUGS: [&str; 4] = ["acme", "beta", "gamma", "shop"];

fn key(number: usize) -> TenantKey<'static> {
    match number {
        0..4 => slug(SLUGS[number]),
        _ => domain(&format!("d{number}.test")),
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..IDS.len();
    let keys = || proptest::collection::vec(0_usize..8, 0..3);
    let step = prop_oneof![
        3 => (who(), keys()).prop_map(|(id, keys)| Step::Insert(id, keys)),
        2 => (who(), keys()).prop_map(|(id, keys)| Step::Upsert(id, keys)),
        1 => (who(), proptest::option::of(0_usize..4)).prop_map(|(id, slug)| Step::SetSlug(id, slug)),
        1 => (who(), any::<bool>()).prop_map(|(id, active)| Step::SetStatus(id, active)),
        2 => (who(), 0_usize..8).prop_map(|(id, key)| Step::AddKey(id, key)),
        2 => (who(), 0_usize..8).prop_map(|(id, key)| Step::RemoveKey(id, key)),
        1 => who().prop_map(Step::Remove),
        2 => (1_usize..4).prop_map(Step::Follow),
    ];
    proptest::collection::vec(step, 0..40)
}

/// The rules without any index: every question is answered by looking at everything.
#[derive(Default)]
struct Model {
    tenants: Vec<ModelTenant>,
    purged: Vec<usize>,
    number: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct ModelTenant {
    id: usize,
    slug: Option<usize>,
    active: bool,
    added: BTreeSet<TenantKey<'static>>,
    epoch: u64,
    incarnation: u64,
}

impl ModelTenant {
    fn new(id: usize, keys: &[usize]) -> Self {
        let mut tenant = Self {
            id,
            slug: None,
            active: true,
            added: keys.iter().map(|number| key(*number)).collect(),
            epoch: 0,
            incarnation: 0,
        };
        tenant.forget_slug();
        tenant
    }

    fn slug_key(&self) -> Option<TenantKey<'static>> {
        let text = self.slug.map_or(IDS[self.id], |number| SLUGS[number]);
        TenantKey::slug(text).ok()
    }

    fn forget_slug(&mut self) {
        if let Some(slug) = self.slug_key() {
            self.added.remove(&slug);
        }
    }

    fn keys(&self) -> BTreeSet<TenantKey<'static>> {
        self.added.iter().cloned().chain(self.slug_key()).collect()
    }
}

impl Model {
    fn get(&self, id: usize) -> Option<ModelTenant> {
        self.tenants.iter().find(|tenant| tenant.id == id).cloned()
    }

    fn put(&mut self, mut tenant: ModelTenant) -> bool {
        let others = self.tenants.iter().filter(|other| other.id != tenant.id);
        if self.purged.contains(&tenant.id)
            || others
                .flat_map(ModelTenant::keys)
                .any(|key| tenant.keys().contains(&key))
        {
            return false;
        }
        let old = self.get(tenant.id);
        tenant.incarnation = old.as_ref().map_or(self.number + 1, |old| old.incarnation);
        tenant.epoch = old.as_ref().map_or(0, |old| old.epoch);
        if old.as_ref() != Some(&tenant) {
            self.number += 1;
            tenant.epoch = self.number;
            self.tenants.retain(|other| other.id != tenant.id);
            self.tenants.push(tenant);
        }
        true
    }

    /// Whether the step is allowed; if so, takes it.
    fn take(&mut self, step: &Step) -> bool {
        match step {
            Step::Insert(id, keys) => self.get(*id).is_none() && self.put(ModelTenant::new(*id, keys)),
            Step::Upsert(id, keys) => self.put(ModelTenant::new(*id, keys)),
            Step::SetSlug(id, slug) => self.edit(*id, |tenant| {
                tenant.slug = *slug;
                tenant.forget_slug();
                true
            }),
            Step::SetStatus(id, active) => self.edit(*id, |tenant| {
                tenant.active = *active;
                true
            }),
            Step::AddKey(id, number) => self.edit(*id, |tenant| {
                tenant.added.insert(key(*number));
                tenant.forget_slug();
                true
            }),
            Step::RemoveKey(id, number) => self.edit(*id, |tenant| tenant.added.remove(&key(*number))),
            Step::Remove(id) => {
                let known = self.get(*id).is_some();
                self.tenants.retain(|tenant| tenant.id != *id);
                self.number += u64::from(known);
                self.purged.extend(known.then_some(*id));
                known
            }
            Step::Follow(_) => true,
        }
    }

    fn edit(&mut self, id: usize, edit: impl FnOnce(&mut ModelTenant) -> bool) -> bool {
        self.get(id)
            .is_some_and(|mut tenant| edit(&mut tenant) && self.put(tenant))
    }

    fn entries(&self) -> BTreeMap<TenantId, TenantEntry> {
        let entry = |tenant: &ModelTenant| {
            let mut record = TenantRecord::new(id(IDS[tenant.id]));
            record.slug = tenant.slug.map(|number| SLUGS[number].into());
            record.epoch = tenant.epoch;
            record.incarnation = tenant.incarnation;
            if !tenant.active {
                record.status = TenantStatus::Suspended;
            }
            let keys = tenant.keys().into_iter().collect();
            (record.id.clone(), TenantEntry { record, keys })
        };
        self.tenants.iter().map(entry).collect()
    }
}

async fn take(store: &MemoryStore, follower: &mut Follower, step: &Step) -> bool {
    let with = |number: usize, keys: &[usize]| {
        let keys: Vec<_> = keys.iter().map(|number| key(*number)).collect();
        entry(IDS[number], &keys)
    };
    let status = |active| {
        if active {
            TenantStatus::Active
        } else {
            TenantStatus::Suspended
        }
    };
    let result = match step {
        Step::Insert(who, keys) => store.insert(with(*who, keys)).await,
        Step::Upsert(who, keys) => store.upsert(with(*who, keys)).await,
        Step::SetSlug(who, slug) => {
            let slug = slug.map(|number| SLUGS[number].into());
            store.update(&id(IDS[*who]), |record| record.slug = slug).await
        }
        Step::SetStatus(who, active) => store.set_status(&id(IDS[*who]), status(*active)).await,
        Step::AddKey(who, number) => store.add_key(&id(IDS[*who]), key(*number)).await,
        Step::RemoveKey(who, number) => store.remove_key(&id(IDS[*who]), &key(*number)).await,
        Step::Remove(who) => store.remove(&id(IDS[*who])).await,
        Step::Follow(limit) => {
            follower.catch_up(store, *limit).await;
            return true;
        }
    };
    result.is_ok()
}

async fn check(steps: Vec<Step>, log_limit: usize) -> Result<(), TestCaseError> {
    let store = MemoryStore::with_log_limit(log_limit);
    let (mut model, mut follower) = (Model::default(), Follower::default());
    for step in &steps {
        let allowed = model.take(step);
        prop_assert_eq!(take(&store, &mut follower, step).await, allowed, "{:?}", step);
    }
    let expected = model.entries();
    let (listed, _) = list_all(&store, 3).await;
    prop_assert_eq!(&listed, &expected.values().cloned().collect::<Vec<_>>());
    for number in 0..8 {
        let led_to = expected.values().find(|entry| entry.keys.contains(&key(number)));
        let found = store.find(&key(number)).await.unwrap();
        prop_assert_eq!(found.as_ref(), led_to.map(|entry| &entry.record));
    }
    follower.catch_up(&store, 2).await;
    prop_assert_eq!(&follower.tenants, &expected);
    let owners: HashMap<_, _> = expected
        .values()
        .flat_map(|entry| {
            entry
                .keys
                .iter()
                .map(|key| (key.clone(), entry.record.id.clone()))
        })
        .collect();
    prop_assert_eq!(&follower.owners, &owners);
    if log_limit > steps.len() {
        prop_assert_eq!(follower.reloads, 1, "the log never was too short");
    }
    Ok(())
}

proptest! {
    #[test]
    fn agrees_with_the_model_and_changes_lead_to_the_same_state(
        steps in steps(),
        log_limit in prop_oneof![Just(0_usize), Just(3), Just(100)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(steps, log_limit))?;
    }
}
