//! A record that was read before a change never wins against it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;
use tenancy::{
    MemoryStore, Tenancy,
    core::{StoreError, TenantId, TenantKey, TenantRecord, TenantStatus, TenantStore},
    resolve::DomainOrSubdomain,
};
use tokio::task::JoinHandle;

use super::{
    Hand, Seen, Service, settle,
    stores::{Mood, Moody, SlowList, entry},
    without_budget,
};
use crate::support::faulty::FaultyStore;

const BY_SLUG: &str = "acme.example.com";
const BY_DOMAIN: &str = "shop.acme.test";

#[derive(Clone, Copy, Debug)]
enum Change {
    Suspend,
    Delete,
    Purge,
    RemoveDomain,
}

const CHANGES: [Change; 4] = [
    Change::Suspend,
    Change::Delete,
    Change::Purge,
    Change::RemoveDomain,
];

impl Change {
    async fn apply(self, store: &MemoryStore) {
        let acme = acme();
        let done = match self {
            Self::Suspend => store.set_status(&acme, TenantStatus::Suspended).await,
            Self::Delete => store.set_status(&acme, TenantStatus::Deleted).await,
            Self::Purge => store.remove(&acme).await,
            Self::RemoveDomain => store.remove_key(&acme, &super::domain(BY_DOMAIN)).await,
        };
        done.unwrap();
    }

    /// What the domain gets after the change.
    fn expected(self) -> u16 {
        match self {
            Self::Suspend => 403,
            Self::Delete | Self::Purge | Self::RemoveDomain => 404,
        }
    }
}

fn acme() -> TenantId {
    super::id("acme")
}

fn tenants() -> MemoryStore {
    MemoryStore::from_entries([entry("acme", &[super::domain(BY_DOMAIN)])]).unwrap()
}

fn service(store: impl TenantStore, clock: &Hand) -> Service {
    let who = DomainOrSubdomain::of("example.com").unwrap();
    Service::with(who, store, without_budget(), clock)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_on_its_way_during_a_change_is_not_served_after_forget() {
    for change in CHANGES {
        for known_before in [false, true] {
            for asks_while_held in [false, true] {
                let (store, clock) = (FaultyStore::new(tenants()).finding_only(), Hand::default());
                let service = service(store.clone(), &clock);
                if known_before {
                    assert_eq!(service.line(BY_DOMAIN).await, "200 acme store");
                    clock.advance(super::seconds(301));
                }
                store.hold_finds();
                let before = service.asking(BY_DOMAIN);
                store.until_held(1).await;
                change.apply(store.inner()).await;
                service.tenancy.forget(&acme());
                let between = asks_while_held.then(|| service.asking(BY_DOMAIN));
                settle().await;
                store.release_finds();

                let expected = change.expected();
                let case = (change, known_before, asks_while_held);
                assert_eq!(before.await.unwrap().status.as_u16(), expected, "{case:?}");
                if let Some(between) = between {
                    assert_eq!(between.await.unwrap().status.as_u16(), expected, "{case:?}");
                }
                for _ in 0..3 {
                    assert_eq!(service.ask(BY_DOMAIN).await.status.as_u16(), expected, "{case:?}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_on_its_way_while_the_list_was_read_is_not_served_after_a_change() {
    for change in CHANGES {
        let store = FaultyStore::new(tenants());
        let slow = SlowList::new(store.clone());
        let service = service(slow.clone(), &Hand::default());
        store.hold_finds();
        let before = service.asking(BY_DOMAIN);
        store.until_held(1).await;
        slow.until_read(1).await;
        let changing = tokio::spawn({
            let inner = store.inner().clone();
            async move { change.apply(&inner).await }
        });
        settle().await;
        slow.let_go(1);
        changing.await.unwrap();
        service.tenancy.ready().await;
        assert_eq!(service.ask(BY_DOMAIN).await.status.as_u16(), change.expected());
        store.release_finds();
        let late = before.await.unwrap();
        assert_eq!(late.status.as_u16(), change.expected(), "{change:?}");
        assert_eq!(service.ask(BY_DOMAIN).await.status.as_u16(), change.expected());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_on_its_way_while_the_changes_came_is_not_served_after_them() {
    let store = FaultyStore::new(tenants());
    let moody = Moody::new(store.clone(), Mood::Calm);
    let who = DomainOrSubdomain::of("example.com").unwrap();
    // Longer than the follower pauses after failures.
    let mut settings = without_budget();
    settings.resolve_timeout = super::seconds(60);
    settings.load_timeout = super::seconds(60);
    let service = Service::with(who, moody.clone(), settings, &Hand::default());
    service.tenancy.ready().await;
    moody.set(Mood::CannotFollow);
    tokio::time::sleep(super::seconds(1)).await;
    // Created while nobody could follow: found by asking only.
    store.inner().insert(entry("new", &[])).await.unwrap();
    store.hold_finds();
    let before = service.asking("new.example.com");
    store.until_held(1).await;
    moody.set(Mood::Calm);
    service.tenancy.ready().await;
    store.inner().remove(&super::id("new")).await.unwrap();
    assert_eq!(service.line("new.example.com").await, "404");
    store.release_finds();
    assert_eq!(
        before.await.unwrap().to_string(),
        "404",
        "purged before it was answered"
    );
}

#[tokio::test(start_paused = true)]
async fn an_absence_that_was_overtaken_is_not_remembered_neither_when_the_second_question_fails() {
    let store = FaultyStore::new(tenants()).finding_only();
    let service = service(store.clone(), &Hand::default());
    store.hold_finds();
    let before = service.asking("new.example.com");
    store.until_held(1).await;
    store.inner().insert(entry("new", &[])).await.unwrap();
    service.tenancy.forget(&super::id("new"));
    store.fail(true);
    store.release_finds();
    assert_eq!(before.await.unwrap().to_string(), "503 retry 1");
    store.fail(false);
    assert_eq!(service.line("new.example.com").await, "200 new store");
}

#[tokio::test(start_paused = true)]
async fn a_change_through_a_followed_store_is_seen_by_the_very_next_request() {
    let store = tenants();
    let service = service(store.clone(), &Hand::default());
    service.tenancy.ready().await;
    for change in [
        Change::Suspend,
        Change::Delete,
        Change::RemoveDomain,
        Change::Purge,
    ] {
        change.apply(&store).await;
        assert_eq!(
            service.ask(BY_DOMAIN).await.status.as_u16(),
            change.expected(),
            "{change:?}"
        );
    }
}

/// Changes what it is asked for while it is asked, the first few times.
struct Restless {
    inner: MemoryStore,
    tenancy: Arc<OnceLock<Tenancy>>,
    times: AtomicUsize,
}

impl TenantStore for Restless {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        let answer = self.inner.find(key).await;
        let left = self.times.load(Ordering::SeqCst);
        if let Some(fewer) = left.checked_sub(1) {
            self.times.store(fewer, Ordering::SeqCst);
            self.tenancy.get().unwrap().forget(&acme());
        }
        answer
    }
}

#[tokio::test]
async fn a_tenant_that_keeps_changing_while_it_is_read_is_could_not_tell() {
    for (times, host, expected) in [
        (2, BY_SLUG, "200 acme store"),
        (3, BY_SLUG, "503 retry 1"),
        (2, "nobody.example.com", "404"),
        (3, "nobody.example.com", "503 retry 1"),
    ] {
        let tenancy = Arc::new(OnceLock::new());
        let store = Restless {
            inner: tenants(),
            tenancy: Arc::clone(&tenancy),
            times: AtomicUsize::new(times),
        };
        let service = service(store, &Hand::default());
        tenancy.get_or_init(|| service.tenancy.clone());
        assert_eq!(service.line(host).await, expected, "{times} times");
        assert_eq!(service.line(BY_SLUG).await[..8], *"200 acme", "and then it rests");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Hold,
    Release,
    Ask { by_domain: bool },
    SetActive(bool),
    SetDomain(bool),
    Expire,
    Purge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Hold),
        3 => Just(Step::Release),
        6 => any::<bool>().prop_map(|by_domain| Step::Ask { by_domain }),
        3 => any::<bool>().prop_map(Step::SetActive),
        3 => any::<bool>().prop_map(Step::SetDomain),
        1 => Just(Step::Expire),
    ];
    (proptest::collection::vec(step, 0..30), any::<bool>()).prop_map(|(mut steps, purge)| {
        if purge {
            steps.insert(steps.len() * 3 / 4, Step::Purge);
        }
        steps
    })
}

/// What is true of the one tenant.
#[derive(Clone, Copy, Debug)]
struct Truth {
    active: bool,
    domain: bool,
    purged: bool,
}

impl Truth {
    fn status(self, by_domain: bool) -> u16 {
        match self {
            _ if self.purged || (by_domain && !self.domain) => 404,
            _ if self.active => 200,
            _ => 403,
        }
    }
}

struct Race {
    store: FaultyStore<MemoryStore>,
    service: Service,
    clock: Hand,
    truth: Truth,
    asking: Vec<(bool, JoinHandle<Seen>)>,
}

impl Race {
    fn new() -> Self {
        let (store, clock) = (FaultyStore::new(tenants()).finding_only(), Hand::default());
        Self {
            service: service(store.clone(), &clock),
            store,
            clock,
            truth: Truth {
                active: true,
                domain: true,
                purged: false,
            },
            asking: Vec::new(),
        }
    }

    async fn take(&mut self, step: Step) {
        let tenants = self.store.inner();
        match step {
            Step::Hold => self.store.hold_finds(),
            Step::Release => self.store.release_finds(),
            Step::Expire => self.clock.advance(super::seconds(301)),
            Step::Ask { by_domain } => {
                let host = if by_domain { BY_DOMAIN } else { BY_SLUG };
                self.asking.push((by_domain, self.service.asking(host)));
            }
            _ if self.truth.purged => {}
            Step::SetActive(active) => {
                let status = if active {
                    TenantStatus::Active
                } else {
                    TenantStatus::Suspended
                };
                tenants.set_status(&acme(), status).await.unwrap();
                self.truth.active = active;
                self.service.tenancy.forget(&acme());
            }
            Step::SetDomain(there) => {
                let key = super::domain(BY_DOMAIN);
                if there {
                    tenants.add_key(&acme(), key).await.unwrap();
                } else if self.truth.domain {
                    tenants.remove_key(&acme(), &key).await.unwrap();
                }
                self.truth.domain = there;
                self.service.tenancy.forget(&acme());
            }
            Step::Purge => {
                tenants.remove(&acme()).await.unwrap();
                self.truth.purged = true;
                self.service.tenancy.forget(&acme());
            }
        }
    }

    /// Whoever has been answered since the last step has been told what is true now.
    async fn check(&mut self) -> Result<(), TestCaseError> {
        settle().await;
        for (by_domain, request) in std::mem::take(&mut self.asking) {
            if request.is_finished() {
                let status = request.await.unwrap().status.as_u16();
                // A flight that was overtaken three times gives up.
                prop_assert!(
                    status == self.truth.status(by_domain) || status == 503,
                    "{}",
                    status
                );
            } else {
                self.asking.push((by_domain, request));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(super::CASES))]

    #[test]
    fn in_whatever_order_things_happen_nobody_is_told_what_was_true_before_the_last_change(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut race = Race::new();
            for step in steps {
                race.take(step).await;
                race.check().await?;
            }
            race.store.release_finds();
            race.check().await?;
            prop_assert!(race.asking.is_empty(), "nobody is left waiting");
            for by_domain in [true, false] {
                race.take(Step::Ask { by_domain }).await;
            }
            race.check().await
        })?;
    }
}
