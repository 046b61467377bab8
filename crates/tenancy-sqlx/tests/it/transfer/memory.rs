//! A table that is larger than what may be held.

use tenancy_sqlx::transfer::{Export, Import};

use super::fixture::{Homes, Kind};

const MOST: u64 = 8 * 1024 * 1024;

#[test]
fn fifty_megabytes_pass_through_eight() {
    // All of it on this thread, which is the one that counts.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tables = "CREATE TABLE big (id int, text text)";
    let (homes, acme, copy) = runtime.block_on(async {
        let homes = Homes::new(Kind::Schemas, "memory").await;
        let rows = "INSERT INTO big SELECT n, repeat(md5(n::text), 32) FROM generate_series(1, 51200) n";
        let acme = homes.make("acme", &format!("{tables}; {rows}")).await;
        let copy = homes.make("copy", tables).await;
        (homes, acme, copy)
    });
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let mut told = 0;
    let mut bytes = 0;
    let exporting = allocation_counter::measure(|| {
        let export = Export::of(&homes.homes, &acme).observe(|_| told += 1).to(&out);
        bytes = runtime.block_on(export).unwrap().bytes;
    });
    assert!(bytes > 50_000_000, "{bytes}");
    assert!(told > 40, "it is told how far it is: {told}");
    assert!(exporting.bytes_max < MOST, "{exporting:?}");
    let importing = allocation_counter::measure(|| {
        let import = Import::into(&homes.homes, &copy).from(&out);
        assert_eq!(runtime.block_on(import).unwrap().rows, 51_200);
    });
    assert!(importing.bytes_max < MOST, "{importing:?}");
}
