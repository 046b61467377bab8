//! Ten thousand tenants on one budget, some of whom can not be served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{Postgres, Row, postgres::PgConnectOptions};
use tenancy::{MemoryStore, Tenancy, Tenant, resolve::Subdomain};
use tenancy_core::TenantRecord;
use tenancy_sqlx::pool::{Sharing, Target, TenantPools};
use tenancy_test::servers::{self, Role};

use super::{
    fixture::{patient, poll_at_most},
    server::{PgServer, run},
};

const KEYS: usize = 10_000;
const BUDGET: usize = 8;
const OWN: usize = 6;

/// Where a tenant is: most share a database, some have one, some have one that is not there, or lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Shared,
    Own(usize),
    Missing,
    Refused,
}

impl Home {
    fn of(key: usize) -> Self {
        match key % 20 {
            0 => Self::Missing,
            1 => Self::Refused,
            2 | 3 => Self::Own(key / 20 % OWN),
            _ => Self::Shared,
        }
    }

    fn database(self) -> String {
        match self {
            Self::Shared => "keys_shared".into(),
            Self::Own(number) => format!("keys_own{number}"),
            Self::Missing => "keys_missing".into(),
            Self::Refused => "keys_refused".into(),
        }
    }
}

fn place(record: &TenantRecord) -> Target {
    let home = Home::of(record.id.as_str()[1..].parse().unwrap());
    match home {
        Home::Shared => Target::part(&home.database(), record.id.as_str(), Sharing::Schemas),
        _ => Target::database(&home.database()),
    }
}

/// Small numbers that look random, from a seed.
fn random(seed: usize) -> impl FnMut(usize) -> usize {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    }
}

async fn enter_all() -> (Tenancy, Vec<Tenant>) {
    let ids: Vec<String> = (0..KEYS).map(|key| format!("t{key}")).collect();
    let store = MemoryStore::of(ids.iter().map(String::as_str)).unwrap();
    let tenancy = Tenancy::new(Subdomain::of("example.com").unwrap(), store);
    tenancy.ready().await;
    let mut tenants = Vec::new();
    for id in &ids {
        tenants.push(tenancy.enter(&id.parse().unwrap()).await.unwrap());
    }
    (tenancy, tenants)
}

async fn prepare(server: &PgServer) -> PgConnectOptions {
    let mut admin = server.connect("postgres").await;
    run(&mut admin, "CREATE ROLE keys LOGIN".into()).await;
    let own = (0..OWN).map(|number| Home::Own(number).database());
    for database in own.chain(["keys_shared".into(), "keys_refused".into()]) {
        run(
            &mut admin,
            format!("CREATE DATABASE {database} STRATEGY file_copy"),
        )
        .await;
    }
    run(
        &mut admin,
        "REVOKE CONNECT ON DATABASE keys_refused FROM public".into(),
    )
    .await;
    // Through the socket, where no password is asked for: what is measured is the pool.
    let url = servers::Postgres::shared()
        .await
        .socket_url(Role::Admin, "postgres");
    let options: PgConnectOptions = url.parse().unwrap();
    options.username("keys").application_name("keys")
}

async fn visit(pools: &TenantPools<Postgres>, tenant: &Tenant, home: Home) {
    let mut lease = match pools.acquire(tenant).await {
        Ok(lease) => lease,
        Err(error) => {
            let is_expected = match home {
                Home::Missing => error.is_missing_database(),
                Home::Refused => error.is_refused(),
                Home::Shared | Home::Own(_) => false,
            };
            return assert!(is_expected, "{home:?}: {error:?}");
        }
    };
    let row = sqlx::raw_sql("SELECT current_database()::text")
        .fetch_one(&mut *lease)
        .await
        .unwrap();
    assert_eq!(row.get::<String, _>(0), home.database());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tenants_never_pass_the_budget_though_some_connects_fail() {
    let server = PgServer::shared().await;
    let options = prepare(&server).await;
    let (_tenancy, tenants) = enter_all().await;
    let tenants = Arc::new(tenants);
    let settings = patient(BUDGET).settle(Duration::from_millis(2));
    let pools = TenantPools::<Postgres>::builder(place)
        .server("main", options, settings)
        .build();
    let ended = Arc::new(AtomicBool::new(false));
    let sampler = {
        let ended = Arc::clone(&ended);
        tokio::spawn(async move {
            let mut observer = server.connect("postgres").await;
            let (mut most, mut samples) = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                most = server.count(&mut observer, "keys").await.max(most);
                samples += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (most, samples)
        })
    };
    let tasks = (0..32).map(|task| {
        let (pools, tenants) = (pools.clone(), Arc::clone(&tenants));
        tokio::spawn(async move {
            let mut random = random(task);
            for _ in 0..80 {
                // Few are asked for often, and all are at times.
                let range = if random(2) == 0 { 60 } else { KEYS };
                let key = random(range);
                let visit = visit(&pools, &tenants[key], Home::of(key));
                if random(6) == 0 {
                    let polls = 1 + random(5);
                    let _ = poll_at_most(polls, visit).await;
                } else {
                    visit.await;
                }
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.unwrap();
    }
    ended.store(true, Ordering::Relaxed);
    let (most, samples) = sampler.await.unwrap();
    let mut figures = pools.figures("main").unwrap();
    while figures.open != figures.idle {
        tokio::time::sleep(Duration::from_millis(5)).await;
        figures = pools.figures("main").unwrap();
    }
    assert!(
        most <= BUDGET,
        "{most} at once, in {samples} samples; {figures:?}"
    );
    assert!(
        most >= BUDGET - 2 && samples > 20,
        "{most} at most, in {samples} samples"
    );
    assert!(
        figures.failed_opens > 0 && figures.evictions > 0 && figures.re_points > 100 && figures.waiting == 0,
        "{figures:?}"
    );
    pools.close().await;
    assert_eq!(pools.figures("main").unwrap().open, 0);
}
