//! Runners in processes of their own, which are killed.

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::fixture::{self, Fixture, settings};
use crate::support::{Place, on_every_database};

const CATALOGUE: &str = "TENANCY_TEST_CATALOGUE";
const TENANTS: &str = "TENANCY_TEST_TENANTS";
const FOLDER: &str = "TENANCY_TEST_FOLDER";

/// Not a test: what the others start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is the process that other tests start"]
async fn a_runner() {
    let [catalogue, tenants, folder] =
        [CATALOGUE, TENANTS, FOLDER].map(|name| env::var(name).expect("the test that starts it says so"));
    let store = fixture::open(&catalogue).await;
    let settings = settings()
        .lease(Duration::from_millis(800))
        .workers(2)
        .stop_at(0.0);
    let fleet = fixture::fleet(&store, Path::new(&folder), &tenants, settings, || {}).await;
    let report = fleet.migrate().await.unwrap();
    assert!(report.is_complete(), "{report:?}");
}

struct Runner(Child);

impl Runner {
    fn start(fixture: &Fixture) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "migrate::crash::a_runner",
                "--ignored",
                "--test-threads=1",
            ])
            .env(CATALOGUE, fixture.catalogue.url())
            .env(TENANTS, fixture.tenants.owner_url())
            .env(FOLDER, fixture.folder())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    async fn ended_well(mut self) -> bool {
        loop {
            match self.0.try_wait().unwrap() {
                Some(status) => return status.success(),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn runners_that_are_killed_lose_nothing_and_do_nothing_twice(catalogue: Place) {
    const TENANTS: usize = 40;
    let fixture = Fixture::new(catalogue, TENANTS).await;
    fixture.logged_migration(2, "CREATE INDEX ON notes (text); SELECT pg_sleep(0.05)");
    fixture.logged_migration(
        3,
        "ALTER TABLE notes ADD COLUMN done BOOLEAN; SELECT pg_sleep(0.05)",
    );
    let mut killed_at = Vec::new();
    for round in 0..4 {
        let runners = [Runner::start(&fixture), Runner::start(&fixture)];
        let begun = fixture.ask("SELECT count(*) FROM public.run_log").await;
        // In the middle of the work, at another place each time.
        while fixture.ask("SELECT count(*) FROM public.run_log").await < begun + 5 + round {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for runner in runners {
            runner.kill();
        }
        killed_at.push(fixture.ask("SELECT count(*) FROM public.run_log").await);
    }
    let all = i64::try_from(TENANTS * 3).unwrap();
    assert!(
        killed_at.iter().all(|done| *done < all),
        "killed too late: {killed_at:?}"
    );

    let last = [(); 4].map(|()| Runner::start(&fixture));
    for runner in last {
        assert!(runner.ended_well().await);
    }
    fixture.check_all_ran_once(TENANTS, 3).await;
    let report = fixture.fleet(settings()).await.migrate().await.unwrap();
    assert_eq!(report.up_to_date, TENANTS as u64, "{report:?}");
}

on_every_database!(runners_that_are_killed_lose_nothing_and_do_nothing_twice);
