//! The checks for stores: a right one passes them all, and each of those broken on purpose is caught by the check that is there for it.

mod broken;

use broken::{Broken, Fault, Workshop};
use tenancy::MemoryStore;
use tenancy_core::{BoxError, StoreError, TenantEntry, TenantId, TenantKey, TenantRecord, TenantStore};
use tenancy_test::conformance::{self, Report, StoreHarness};

async fn checked(fault: Fault) -> Report {
    conformance::tenant_store(|| async { Workshop::new(fault) }).await
}

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_passes_every_check() {
    let report = checked(Fault::None).await;
    report.assert_passed();
    assert_eq!(report.not_offered().collect::<Vec<_>>(), []);
    assert_eq!(report.passed().count(), 16);
}

#[tokio::test(start_paused = true)]
async fn every_broken_store_is_caught_by_the_check_that_is_there_for_it() {
    for (fault, expected) in broken::FAULTS {
        let report = checked(fault).await;
        let caught = report.failures().find(|failure| failure.check() == expected);
        let Some(caught) = caught else {
            panic!("{fault:?} was not caught by {expected}:\n{report}");
        };
        let text = caught.to_string();
        for part in [caught.expected(), caught.seen(), caught.why()] {
            assert!(!part.is_empty() && text.contains(part), "{fault:?}: {text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_check_has_a_store_that_fails_it() {
    let report = checked(Fault::None).await;
    for check in report.passed() {
        let has_one = broken::FAULTS.iter().any(|(_, caught_by)| *caught_by == check);
        assert!(has_one, "nothing shows that {check} can fail");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_can_be_run_alone() {
    let failure = conformance::unknown_keys_find_nothing(&mut Workshop::new(Fault::FindsByPrefix))
        .await
        .unwrap_err();
    let text = failure.to_string();
    assert!(
        text.starts_with("unknown_keys_find_nothing\n  expected  Ok(None) for "),
        "{text}"
    );
    assert!(text.contains("\n  seen      Some(TenantRecord"), "{text}");
    assert!(
        text.contains("\n  why       an error is answered with 503"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
#[should_panic = "the store fails its checks"]
async fn a_report_with_failures_fails_its_test() {
    checked(Fault::ForgetsIds).await.assert_passed();
}

/// A store of the smallest kind, and a harness that offers nothing more.
struct FindsOnly(MemoryStore);

impl TenantStore for FindsOnly {
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        self.0.find(key).await
    }
}

impl StoreHarness for FindsOnly {
    type Store = Self;

    fn store(&self) -> &Self {
        self
    }

    async fn put(&self, entry: TenantEntry) -> Result<(), BoxError> {
        Ok(self.0.upsert(entry).await.map(drop)?)
    }

    async fn purge(&self, id: &TenantId) -> Result<(), BoxError> {
        Ok(self.0.remove(id).await.map(drop)?)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_does_not_offer_is_left_out_and_said() {
    let report = conformance::tenant_store(|| async { FindsOnly(MemoryStore::new()) }).await;
    report.assert_passed();
    assert_eq!(report.passed().count(), 6);
    let left_out: Vec<_> = report.not_offered().collect();
    assert_eq!(left_out.len(), 10);
    assert!(left_out.contains(&("trouble_is_never_absence", "break_down")));
    assert!(
        report
            .to_string()
            .contains("not offered  the_list_is_complete_and_in_order: a store that can be watched")
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_harness_cannot_do_is_a_failure_with_its_causes() {
    let workshop = Workshop::new(Fault::None);
    workshop
        .put(
            tenancy_test::TenantDraft::new("globex")
                .slug("acme-shop")
                .into_entry(),
        )
        .await
        .unwrap();
    let mut taken = workshop;
    let failure = conformance::every_key_finds_its_tenant(&mut taken)
        .await
        .unwrap_err();
    assert_eq!(failure.expected(), "putting acme to succeed");
    assert!(std::error::Error::source(&failure).is_some());
    let _: &Broken = taken.store();
}
