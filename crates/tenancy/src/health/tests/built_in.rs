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
async fn the_control_groups_memory_is_judged_without_pages_that_can_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let check = checks::cgroup_memory_in(folder.path().to_owned(), 0.9);
    assert!(run(&check).await.is_err(), "there is nothing to read");
    write("memory.current", "1000\n");
    write("memory.max", "1000\n");
    write("memory.stat", "anon 5\ninactive_file 100\n");
    assert_eq!(run(&check).await, Ok(Finding::of(900.0, "bytes")));
    write("memory.stat", "anon 5\ninactive_file 99\n");
    assert!(run(&check).await.is_err());
    write("memory.max", "max\n");
    assert!(run(&check).await.is_ok());
    write("memory.current", "lots");
    assert!(run(&check).await.is_err());
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
