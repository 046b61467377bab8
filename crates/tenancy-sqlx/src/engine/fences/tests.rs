//! Fences over homes that somebody keeps in use.
#![allow(
    clippy::unwrap_used,
    reason = "helpers beside the test functions are not covered by clippy.toml"
)]

use sqlx::{Connection as _, MySql, Postgres, Sqlite};
use tenancy_test::servers;

use super::*;
use crate::{
    engine::{Options, TenantEngine},
    pool::target::Target,
};

#[tokio::test]
async fn patience_is_one_for_all_tries_and_counts_the_pause() {
    let patience = Patience::usual();
    let begun = patience.until - PATIENCE;
    for (after, lasts) in [
        (Duration::ZERO, true),
        (PATIENCE - Duration::from_nanos(1), true),
        (PATIENCE, false),
        (PATIENCE * 2, false),
    ] {
        assert_eq!(patience.lasts_at(begun + after), lasts, "{after:?}");
    }
    assert!(Patience::of(PATIENCE).again().await);
    assert!(
        !Patience::of(PAUSE / 2).again().await,
        "it would be over after the pause"
    );
}

async fn connect<DB: TenantEngine>(url: &str) -> DB::Connection {
    DB::Connection::connect(url).await.unwrap()
}

async fn run<DB: TenantEngine>(connection: &mut DB::Connection, text: &str) -> Result<(), sqlx::Error> {
    DB::run(connection, text.to_owned()).await
}

/// Whoever writes keeps it from being put, and whoever reads from being taken away.
async fn gives_up_over_a_home_that_is_in_use<DB: TenantEngine>(url: &str, database: &str) {
    let options: Options<DB> = url.parse().unwrap();
    let plot = Plot::<DB> {
        owner: &options,
        app: &options,
        target: &Target::database(database),
        is_shared: false,
        is_migrated: false,
        template: None,
    };
    let mut user = connect::<DB>(url).await;
    run::<DB>(
        &mut user,
        "CREATE TABLE notes (id INT); CREATE TABLE likes (id INT)",
    )
    .await
    .unwrap();
    let impatient = || Patience::of(Duration::ZERO);

    let write = "INSERT INTO notes VALUES (1)";
    run::<DB>(&mut user, "BEGIN").await.unwrap();
    run::<DB>(&mut user, write).await.unwrap();
    let fenced = DB::fence(&plot, impatient()).await;
    assert!(matches!(fenced, Err(FenceError::InUse(_))), "{fenced:?}");
    run::<DB>(&mut user, "COMMIT").await.unwrap();
    DB::fence(&plot, Patience::usual()).await.unwrap();
    let refused = run::<DB>(&mut user, write).await.unwrap_err();
    assert!(refused.to_string().contains("the tenant moves"), "{refused}");

    run::<DB>(&mut user, "BEGIN").await.unwrap();
    run::<DB>(&mut user, "SELECT * FROM notes").await.unwrap();
    let lifted = DB::lift_fence(&plot, impatient()).await;
    assert!(matches!(lifted, Err(FenceError::InUse(_))), "{lifted:?}");
    run::<DB>(&mut user, "COMMIT").await.unwrap();
    DB::lift_fence(&plot, Patience::usual()).await.unwrap();
    run::<DB>(&mut user, write).await.unwrap();
    user.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_it_gives_up_over_a_home_that_is_in_use() {
    let database = servers::Postgres::shared().await.database("fences").await;
    gives_up_over_a_home_that_is_in_use::<Postgres>(&database.owner_url(), database.name()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_it_gives_up_over_a_home_that_is_in_use() {
    let database = servers::MariaDb::shared().await.database("fences").await;
    gives_up_over_a_home_that_is_in_use::<MySql>(&database.owner_url(), database.name()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file_it_gives_up_over_a_home_that_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("home.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    gives_up_over_a_home_that_is_in_use::<Sqlite>(&url, &file.display().to_string()).await;
}
