//! From section `memory` of settings to what looks after the memory of the process and of requests.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy::MemoryStore;
//! use tenancy_memory::process::RequestCount;
//! use tenancy_server::{
//!     admin::{AdminServer, MemoryAdmin},
//!     memory::purge_on_signal,
//!     serve,
//!     settings::Sources,
//! };
//!
//! let settings = Sources::new().environment().load()?.settings;
//! let tenancy = settings.stack(MemoryStore::of(["acme"])?)?.memory(settings.memory.of_requests()).build()?;
//!
//! let counted = tenancy.clone();
//! let requests = RequestCount::asked(move || counted.memory().map_or(0, |totals| totals.requests));
//! let sampler = settings.memory.sampler(&requests)?;
//! let purger = settings.memory.purger(&sampler)?;
//! let signals = purge_on_signal(&purger)?;
//! let listener = serve::bind("127.0.0.1:2113".parse()?).await?;
//! let admin = MemoryAdmin::new(&sampler).purger(&purger).tenancy(&tenancy);
//! let admin = AdminServer::start(listener, admin.routes())?;
//! # Ok(())
//! # }
//! ```

use std::{io, time::Duration};

use tenancy_memory::process::{MemorySampler, Purger, RequestCount};
use tokio::task::JoinHandle;

use crate::settings::MemorySettings;

impl MemorySettings {
    /// The settings of the stack's memory stage, for [`TenancyBuilder::memory`](tenancy::stack::TenancyBuilder::memory).
    pub fn of_requests(&self) -> tenancy::memory::MemorySettings {
        tenancy::memory::MemorySettings::new()
            .log_memory(self.log_memory)
            .log_cleanup(self.log_cleanup)
            .track_survivors(self.track_survivors)
            .warn_over(self.warn_over_bytes)
    }

    /// Starts to look at the memory of this process. `requests` is what growth is measured by.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn sampler(&self, requests: &RequestCount) -> io::Result<MemorySampler> {
        MemorySampler::builder()
            .every(Duration::from_millis(self.sample_every_ms))
            .warm_up(self.warm_up_requests)
            .requests(requests)
            .start()
    }

    /// Starts what gives free memory back, when these settings say so.
    ///
    /// # Errors
    /// When the system starts no more threads.
    pub fn purger(&self, sampler: &MemorySampler) -> io::Result<Purger> {
        let some = |number: u64| (number > 0).then_some(number);
        Purger::builder()
            .over(some(self.purge_over_bytes))
            .after_requests(some(self.purge_after_requests))
            .min_interval(Duration::from_millis(self.purge_min_interval_ms))
            .look_every(Duration::from_millis(self.sample_every_ms))
            .log_cleanup(self.log_cleanup)
            .start(sampler)
    }
}

/// Gives free memory back whenever SIGUSR1 comes: `kill -USR1 PID`. In a task, until that is aborted or the runtime ends; a process
/// without such a task is ended by this signal, so begin early.
///
/// # Errors
/// When the signal can not be listened to.
///
/// # Panics
/// Outside of a tokio runtime with I/O enabled.
#[cfg(unix)]
pub fn purge_on_signal(purger: &Purger) -> io::Result<JoinHandle<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut signals = signal(SignalKind::user_defined1())?;
    let purger = purger.clone();
    Ok(tokio::spawn(async move {
        while signals.recv().await.is_some() {
            purger.request();
        }
    }))
}
