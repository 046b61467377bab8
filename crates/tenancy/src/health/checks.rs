//! Checks of what most applications have: a database, Redis, memory, disk, pools, the list of tenants.
//!
//! Each is a [`Check`] like one of your own: its interval, criticality and groups can be changed.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tenancy_core::{BoxError, TenantId};

use super::{
    board::Lag,
    check::{Check, Finding},
    control_group::{self, GroupMemory},
};
use crate::{Tenancy, stack::CatalogueState};

/// 200 MB, in bytes.
pub const DEFAULT_MEMORY_LIMIT: u64 = 200 * 1024 * 1024;

/// Something is beyond its limit.
#[derive(Debug)]
struct Beyond(String);

impl std::fmt::Display for Beyond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Beyond {}

/// `database`, critical: asks a database that the whole process needs, such as the catalogue.
///
/// With tenancy-sqlx: `checks::database(move || { let store = store.clone(); async move { store.ping().await } })`.
pub fn database<F, Fut, T, E>(ping: F) -> Check
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<Finding>,
    E: Into<BoxError>,
{
    Check::new("database", ping)
}

/// `redis`, degrades: asks Redis, without which each process caches for itself.
///
/// With tenancy-redis: `checks::redis(move || { let redis = redis.clone(); async move { redis.ping().await } })`.
pub fn redis<F, Fut, T, E>(ping: F) -> Check
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<Finding>,
    E: Into<BoxError>,
{
    Check::new("redis", ping).degrades()
}

/// `shared_cache`, degrades: whether the shared level of the cache answers those who use it. Asks nobody.
pub fn shared_cache(tenancy: &Tenancy) -> Check {
    let tenancy = tenancy.clone();
    let check = move || {
        let is_away = tenancy.shared_cache_is_away();
        async move {
            match is_away {
                false => Ok(()),
                true => Err(Beyond(
                    "it did not answer lately, and is left alone for some seconds".to_owned(),
                )),
            }
        }
    };
    Check::new("shared_cache", check).degrades()
}

/// `tenancy`, critical: whether this tenant is found and served; degraded while the list of tenants can not be compared with
/// the store. Choose one that stays, such as one of your own.
pub fn tenancy(tenancy: &Tenancy, canary: TenantId) -> Check {
    let tenancy = tenancy.clone();
    let check = move || {
        let (tenancy, canary) = (tenancy.clone(), canary.clone());
        async move {
            let state = followed(&tenancy);
            tenancy.enter(&canary).await.map(|_| state)
        }
    };
    Check::new("tenancy", check)
}

/// `catalogue`, critical: whether the list of tenants is there; degraded while it can not be compared with the store. For a stack
/// that has no tenant which stays.
pub fn catalogue(tenancy: &Tenancy) -> Check {
    let tenancy = tenancy.clone();
    let check = move || {
        let state = tenancy.status().catalogue;
        let finding = followed(&tenancy);
        async move {
            match state {
                CatalogueState::Loading => Err(Beyond("the list of tenants is not read yet".to_owned())),
                _ => Ok(finding),
            }
        }
    };
    Check::new("catalogue", check)
}

fn followed(tenancy: &Tenancy) -> Finding {
    let status = tenancy.status();
    let finding = Finding::of(status.tenants as f64, "tenants");
    if status.catalogue == CatalogueState::Stale {
        let text = format!(
            "the list of tenants is unverified for {:?}",
            status.unverified_for
        );
        return finding.warn(text);
    }
    finding
}

/// `memory`, degrades; make it [critical](Check::critical) if a process beyond it is to be replaced. Fails when `used` says more
/// than `limit`, in bytes, or can not say.
///
/// Best is what the heap holds, by an allocator that counts: [`resident_memory`] also has what the allocator keeps for later.
pub fn memory(limit: u64, used: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Check {
    let check = move || {
        let used = used();
        async move {
            match used {
                Some(used) if used <= limit => Ok(Finding::of(used as f64, "bytes")),
                Some(used) => Err(Beyond(format!("{used} bytes are used, more than {limit}"))),
                None => Err(Beyond("can not tell how much is used".to_owned())),
            }
        }
    };
    Check::new("memory", check).degrades()
}

/// `memory`, degrades: as [`memory`], of the control group that the process runs in, against this share of its limit, such as 0.9. The limit is the
/// lowest of the group and of those above it. Passes without a limit, and where the system does not say. Reads files of the kernel's.
pub fn cgroup_memory(share: f64) -> Check {
    cgroup_memory_of(share, control_group::own_memory)
}

pub(super) fn cgroup_memory_of(
    share: f64,
    measure: impl Fn() -> io::Result<Option<GroupMemory>> + Send + Sync + 'static,
) -> Check {
    let check = move || {
        let measured = measure();
        async move {
            let Some(GroupMemory { used, limit }) = measured? else {
                return Ok(Finding::default());
            };
            match limit {
                Some(limit) if used as f64 > limit as f64 * share => {
                    let text = format!("{used} bytes of {limit} are used, a share of more than {share}");
                    Err(BoxError::from(Beyond(text)))
                }
                _ => Ok(Finding::of(used as f64, "bytes")),
            }
        }
    };
    Check::new("memory", check).degrades()
}

/// What the process has in physical memory, in bytes. `None` where the system does not say it in `/proc`. Reads a file of the
/// kernel's.
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolLoad {
    /// In use.
    pub in_use: usize,
    /// The most that there may be.
    pub most: usize,
    /// How many wait for one.
    pub waiting: usize,
}

/// Degrades: fails while all of a pool is in use and somebody waits. The name is the check's, such as `pool`.
pub fn pool(name: impl Into<Arc<str>>, load: impl Fn() -> Option<PoolLoad> + Send + Sync + 'static) -> Check {
    let check = move || {
        let load = load();
        async move {
            match load {
                Some(load) if load.waiting > 0 && load.in_use >= load.most => Err(Beyond(format!(
                    "all {} are in use, and {} wait",
                    load.most, load.waiting
                ))),
                Some(load) => Ok(Finding::of(load.in_use as f64, "in use")),
                None => Err(Beyond("there is no such pool".to_owned())),
            }
        }
    };
    Check::new(name, check).degrades()
}

/// `disk`, degrades: fails when fewer bytes than this are free, for whom the process runs as, where `path` is. Asks on a thread that may
/// block.
#[cfg(unix)]
pub fn disk(path: impl Into<PathBuf>, least_free: u64) -> Check {
    let path: Arc<Path> = path.into().into();
    let asked = Arc::new(tokio::sync::Mutex::new(()));
    let check = move || {
        let path = Arc::clone(&path);
        let asked = Arc::clone(&asked).try_lock_owned();
        async move {
            // A disk over a network may hang for ever: it takes one thread then, not one for each run.
            let asked =
                asked.map_err(|_| Beyond("it has not answered since it was asked before".to_owned()))?;
            let free = tokio::task::spawn_blocking(move || {
                let free = free_bytes(&path);
                drop(asked);
                free
            });
            let free = free.await??;
            if free < least_free {
                let text = format!("{free} bytes are free, fewer than {least_free}");
                return Err(BoxError::from(Beyond(text)));
            }
            Ok(Finding::of(free as f64, "bytes"))
        }
    };
    Check::new("disk", check).degrades()
}

#[cfg(unix)]
fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// `event_loop`, degrades; by one run, since the next one sees another worst time.
pub(super) fn event_loop(lag: &Lag, limit: Duration) -> Check {
    let lag = Arc::clone(lag);
    let check = move || {
        let worst = Duration::from_millis(lag.swap(0, Ordering::Relaxed));
        async move {
            if worst <= limit {
                return Ok(Finding::of(worst.as_millis() as f64, "ms"));
            }
            Err(Beyond(format!(
                "a task waited for {worst:?} for its turn, longer than {limit:?}"
            )))
        }
    };
    Check::new("event_loop", check).degrades().failures_to_down(1)
}
