//! What applications do today: a pool for each tenant, the hundred that were used last.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::bed::name_of;

const POOLS: usize = 100;
const CONNECTIONS: u32 = 20;
const WAIT: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct LruOfPools {
    options: PgConnectOptions,
    /// The one that was used last comes last.
    pools: Mutex<Vec<(usize, PgPool)>>,
}

impl LruOfPools {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            pools: Mutex::default(),
        }
    }

    /// The tenant's pool. Making it may close another tenant's.
    pub(super) fn pool(&self, tenant: usize) -> PgPool {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match pools.iter().position(|(other, _)| *other == tenant) {
            Some(found) => pools.remove(found),
            None => (tenant, self.open(tenant)),
        };
        let pool = entry.1.clone();
        pools.push(entry);
        if pools.len() > POOLS {
            let (_, evicted) = pools.remove(0);
            tokio::spawn(async move { evicted.close().await });
        }
        pool
    }

    fn open(&self, tenant: usize) -> PgPool {
        PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(WAIT)
            .idle_timeout(IDLE)
            .connect_lazy_with(self.options.clone().database(&name_of(tenant)))
    }

    pub(super) async fn close(&self) {
        let pools = std::mem::take(&mut *self.pools.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, pool) in pools {
            pool.close().await;
        }
    }
}
