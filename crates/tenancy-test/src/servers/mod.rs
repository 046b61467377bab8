//! Real database servers for tests, from the programs that are installed, each on a free port of its own.
//!
//! * [`Postgres::shared`] is the one server of a test program; [`Postgres::database`] gives each test a database.
//! * [`Postgres::start`] is a server of one's own: to be stopped, killed, restarted, frozen and thawed.
//! * [`MariaDb`] is the same with MariaDB.
//! * [`Redis`], [`RedisCluster`] and [`RedisSentinel`] keep what applications share.
//! * [`PgBouncer`] stands in front of one, in session or transaction mode.
//! * [`FaultProxy`] stands in front of any: it delays, trickles, freezes, resets and closes, and counts round trips.
//!
//! **What they do to your machine.** They listen on `127.0.0.1` alone, keep their files in a fresh folder in memory
//! (`/dev/shm`, where 8 GiB are free) or below the system's folder for temporary files, and lower their rights to those of `nobody` where tests run as root. When the test
//! program ends, by itself or by SIGKILL, they end too and the folder goes. What takes long to prepare is kept in
//! `tenancy-test` in cargo's build directory.
//!
//! **Caveats.** Linux only: `setpriv` of util-linux lowers rights and ties servers to the process that started them. Data
//! does not survive a power cut. Nothing is downloaded: what is not installed gives an error that names the package.
//!
//! ```no_run
//! # async fn example() {
//! use tenancy_test::servers::Postgres;
//!
//! // #[tokio::test]
//! async fn a_note_is_kept() {
//!     let database = Postgres::shared().await.database("a_note_is_kept").await;
//!     let application = connect(&database.app_url()).await;
//!     # drop(application);
//! }
//! # async fn connect(_: &str) {}
//! # }
//! ```

mod console;
mod daemon;
mod error;
mod folder;
mod mariadb;
mod pgbouncer;
mod postgres;
mod process;
mod program;
mod proxy;
mod redis;
mod role;

use std::panic::resume_unwind;

pub use self::{
    error::ServerError,
    mariadb::{MariaDb, MariaDbDatabase, MariaDbOptions},
    pgbouncer::{PgBouncer, PoolMode},
    postgres::{Postgres, PostgresOptions, TestDatabase},
    proxy::{Burst, Fault, FaultProxy, Traffic},
    redis::{Redis, RedisCluster, RedisDatabase, RedisSentinel},
    role::Role,
};

/// Starting, stopping and waiting for processes blocks, and a test's runtime has one thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// A name that needs no quotes on any server: `t7_a_note_is_kept`, of 60 bytes at most.
fn name_of_database(number: u64, test: &str) -> String {
    let plain = test.chars().map(|letter| match letter {
        'a'..='z' | '0'..='9' => letter,
        'A'..='Z' => letter.to_ascii_lowercase(),
        _ => '_',
    });
    format!("t{number}_").chars().chain(plain).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::name_of_database;

    #[test]
    fn names_of_databases_need_no_quotes_and_fit() {
        let long = "x".repeat(100);
        for (test, name) in [
            ("", "t7_"),
            ("a_note_is_kept", "t7_a_note_is_kept"),
            ("Module::Test-1", "t7_module__test_1"),
            ("drop\"; -- 'ü`", "t7_drop_________"),
            (&long, &format!("t7_{}", "x".repeat(57))),
        ] {
            assert_eq!(name_of_database(7, test), name);
        }
    }
}
