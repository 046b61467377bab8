//! Against a real directory and the store in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that finds nothing where something must be has failed"
)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use futures_util::TryStreamExt;
use object_store::{local::LocalFileSystem, memory::InMemory};
use proptest::prelude::*;
use tempfile::TempDir;
use tenancy::{MemoryStore, Tenancy, Tenant, core::TenantId, resolve::Subdomain};
use tenancy_files::{Files, TenantFiles};

async fn tenants(ids: &[&str]) -> Vec<Tenant> {
    let store = MemoryStore::of(ids.iter().copied()).unwrap();
    let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store);
    tenancy.ready().await;
    let mut tenants = Vec::new();
    for id in ids {
        tenants.push(tenancy.enter(&TenantId::new(id).unwrap()).await.unwrap());
    }
    tenants
}

/// A directory in a directory: what leaves the store is seen beside it.
struct Disk {
    outer: TempDir,
}

impl Disk {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("store")).unwrap();
        fs::write(outer.path().join("secret"), "of the machine").unwrap();
        Self { outer }
    }

    fn files(&self) -> Files {
        Files::new(LocalFileSystem::new_with_prefix(self.outer.path().join("store")).unwrap())
    }

    fn all_files(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut directories = vec![self.outer.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    found.insert(path.strip_prefix(self.outer.path()).unwrap().to_owned());
                }
            }
        }
        found
    }
}

async fn listed(files: &TenantFiles, directory: &str) -> Vec<String> {
    let listed = files.list(directory).unwrap();
    let mut paths: Vec<_> = listed.map_ok(|entry| entry.path).try_collect().await.unwrap();
    paths.sort();
    paths
}

#[tokio::test]
async fn siblings_whose_names_begin_alike_share_nothing() {
    let disk = Disk::new();
    for files in [disk.files(), Files::new(InMemory::new())] {
        let tenants = tenants(&["acme", "acme2", "acm", "acme-", "acme_1"]).await;
        for tenant in &tenants {
            files.of(tenant).put("a/x", format!("of {tenant}")).await.unwrap();
            files.of(tenant).put("ab/y", "").await.unwrap();
        }
        for tenant in &tenants {
            let own = files.of(tenant);
            let content = own.get("a/x").await.unwrap().unwrap();
            assert_eq!(content, format!("of {tenant}"));
            assert_eq!(listed(&own, "").await, ["a/x", "ab/y"]);
            assert_eq!(listed(&own, "a").await, ["a/x"], "by segment");
        }
        assert_eq!(files.of(&tenants[0]).delete_all("a").await.unwrap(), 1);
        assert_eq!(files.of(&tenants[0]).delete_all("").await.unwrap(), 1);
        assert!(listed(&files.of(&tenants[0]), "").await.is_empty());
        for tenant in &tenants[1..] {
            assert_eq!(listed(&files.of(tenant), "").await, ["a/x", "ab/y"]);
        }
    }
}

#[tokio::test]
async fn a_tenant_that_gets_the_id_of_another_finds_nothing_of_it() {
    let files = Files::new(InMemory::new());
    let former = tenants(&["acme"]).await.remove(0);
    let newcomer = tenants(&["globex", "acme"]).await.remove(1);
    assert_ne!(former.incarnation(), newcomer.incarnation());
    files.of(&former).put("x", "secret").await.unwrap();
    assert_eq!(files.of(&newcomer).get("x").await.unwrap(), None);
    assert!(listed(&files.of(&newcomer), "").await.is_empty());
    assert_eq!(files.of(&newcomer).delete_all("").await.unwrap(), 0);
    assert!(files.of(&former).get("x").await.unwrap().is_some());
}

#[tokio::test]
async fn hostile_paths_reach_no_operation() {
    let disk = Disk::new();
    let tenants = tenants(&["acme", "b"]).await;
    let (acme, b) = (disk.files().of(&tenants[0]), disk.files().of(&tenants[1]));
    b.put("x", "of b").await.unwrap();
    let before = disk.all_files();
    let sibling = format!("../b.{}/x", tenants[1].incarnation());
    for path in [
        sibling.as_str(),
        "../../../secret",
        "a/../../b",
        "%2e%2e/b/x",
        "/secret",
        "a\0b",
        "a//b",
        "..\\b\\x",
        "..",
        "a/..",
    ] {
        assert!(
            acme.put(path, "evil").await.unwrap_err().is_invalid_path(),
            "{path:?}"
        );
        assert!(acme.get(path).await.unwrap_err().is_invalid_path(), "{path:?}");
        assert!(
            acme.stream(path)
                .await
                .is_err_and(|error| error.is_invalid_path()),
            "{path:?}"
        );
        assert!(acme.delete(path).await.unwrap_err().is_invalid_path(), "{path:?}");
        assert!(
            acme.list(path).is_err_and(|error| error.is_invalid_path()),
            "{path:?}"
        );
        assert!(
            acme.delete_all(path).await.unwrap_err().is_invalid_path(),
            "{path:?}"
        );
    }
    assert_eq!(disk.all_files(), before);
}

#[tokio::test]
async fn files_are_read_whole_or_in_pieces_and_what_is_not_there_is_said_so() {
    let disk = Disk::new();
    let files = disk.files().of(&tenants(&["acme"]).await[0]);
    let content = "0123456789".repeat(10_000);
    files.put("big", content.clone()).await.unwrap();
    let pieces: Vec<_> = files.stream("big").await.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), content.as_bytes());
    assert_eq!(files.get("none").await.unwrap(), None);
    assert!(
        files
            .stream("none")
            .await
            .is_err_and(|error| error.is_not_found())
    );
    files.delete("none").await.unwrap();
    files.delete("big").await.unwrap();
    assert_eq!(files.get("big").await.unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written for one tenant, in a real directory: nothing appears outside of its prefix, and the other
    /// tenant sees none of it.
    #[test]
    fn nothing_that_is_written_appears_elsewhere(paths in prop::collection::vec("([a-c]|[./\\\\%:~# ]|\\.\\./|acme2){1,8}", 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = Disk::new();
            let tenants = tenants(&["acme", "acme2"]).await;
            let (acme, other) = (disk.files().of(&tenants[0]), disk.files().of(&tenants[1]));
            let mut written = BTreeSet::new();
            for path in paths {
                // A file where a directory stands is an error of the file system, and no more.
                if acme.put(&path, path.clone()).await.is_ok() {
                    written.insert(path);
                }
            }
            let prefix = format!("store/t/acme.{}", tenants[0].incarnation());
            for path in disk.all_files() {
                assert!(path.starts_with(&prefix) || path.as_os_str() == "secret", "{path:?}");
            }
            assert_eq!(listed(&acme, "").await, Vec::from_iter(written));
            assert!(listed(&other, "").await.is_empty());
        });
    }
}
