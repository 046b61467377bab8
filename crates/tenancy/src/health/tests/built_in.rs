use super::*;

async fn run(check: &Check) -> Result<Finding, String> {
    (check.run)().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_tenancy_check_says_whether_the_canary_is_served() {
    let store = MemoryStore::of(["canary"]).unwrap();
    let tenancy = Tenancy::new(Subdomain::of("app.test").unwrap(), store.clone());
    tenancy.ready().await;
    let check = checks::tenancy(&tenancy, "canary".parse().unwrap());
    assert_eq!(run(&check).await, Ok(Finding::of(1.0, "tenants")));
    assert_eq!(
        run(&checks::catalogue(&tenancy)).await,
        Ok(Finding::of(1.0, "tenants"))
    );
    assert!(run(&checks::shared_cache(&tenancy)).await.is_ok());
    let canary = "canary".parse().unwrap();
    store
        .set_status(&canary, tenancy_core::TenantStatus::Suspended)
        .await
        .unwrap();
    assert!(run(&check).await.is_err());
}

#[tokio::test]
async fn memory_pools_and_disks_are_judged_by_their_limits() {
    let memory = |used| checks::memory(checks::DEFAULT_MEMORY_LIMIT, move || used);
    assert!(run(&memory(Some(200 * 1024 * 1024))).await.is_ok());
    assert!(
        run(&memory(Some(200 * 1024 * 1024 + 1)))
            .await
            .unwrap_err()
            .contains("209715201 bytes")
    );
    assert!(run(&memory(None)).await.is_err());
    assert_eq!(memory(None).criticality, Criticality::Degrades);
    let resident = checks::resident_memory();
    assert!(!cfg!(target_os = "linux") || resident.is_some_and(|bytes| bytes > 1_000_000));

    let load = |in_use, waiting| {
        Some(PoolLoad {
            in_use,
            most: 10,
            waiting,
        })
    };
    let pool = |load| checks::pool("pool", move || load);
    assert!(run(&pool(load(10, 0))).await.is_ok());
    assert!(run(&pool(load(9, 3))).await.is_ok());
    assert!(run(&pool(load(10, 1))).await.is_err());
    assert!(run(&pool(None)).await.is_err());

    let folder = tempfile::tempdir().unwrap();
    assert!(run(&checks::disk(folder.path(), 1)).await.is_ok());
    assert!(
        run(&checks::disk(folder.path(), u64::MAX))
            .await
            .unwrap_err()
            .contains("bytes are free")
    );
    assert!(run(&checks::disk(folder.path().join("none"), 1)).await.is_err());
}

#[tokio::test]
async fn the_control_groups_memory_is_judged_by_a_share_of_its_limit() {
    let check = |used, limit| {
        checks::cgroup_memory_of(0.9, move || Ok(Some(control_group::GroupMemory { used, limit })))
    };
    assert_eq!(
        run(&check(900, Some(1_000))).await,
        Ok(Finding::of(900.0, "bytes"))
    );
    let beyond = run(&check(901, Some(1_000))).await.unwrap_err();
    assert!(beyond.contains("901 bytes of 1000"), "{beyond}");
    assert_eq!(
        run(&check(u64::MAX, None)).await,
        Ok(Finding::of(u64::MAX as f64, "bytes"))
    );
    let nobody_says = checks::cgroup_memory_of(0.9, || Ok(None));
    assert_eq!(run(&nobody_says).await, Ok(Finding::default()));
    let unreadable = checks::cgroup_memory_of(0.9, || Err(io::Error::other("no number")));
    assert!(run(&unreadable).await.is_err());
    assert!(run(&checks::cgroup_memory(f64::INFINITY)).await.is_ok());
}

#[test]
fn an_errors_text_is_shown_without_what_logs_in() {
    use crate::health::report::presentable;
    for (text, expected) in [
        ("no url", "no url"),
        (
            "redis://:pw@h:1/0 and postgres://u:p@w@h2",
            "redis://h:1/0 and postgres://h2",
        ),
        ("mysql://u:p/w@h/x \"a://b:c@d\" e@f", "mysql://h/x \"a://d\" e@f"),
        ("two\nlines\u{1b}[31m", "two lines [31m"),
        ("://", "://"),
        ("", ""),
    ] {
        assert_eq!(&*presentable(text), expected);
    }
    assert_eq!(presentable(&"ä".repeat(1_000)).chars().count(), 300);
}
