//! The memory of the server: what looks at it, what gives free memory back, and the address where operators see both, and its health.

use std::net::SocketAddr;

use tenancy::{Tenancy, health::Health};
use tenancy_memory::process::{MemorySampler, Purger, RequestCount};
use tenancy_server::{
    admin::{AdminServer, MemoryAdmin},
    memory::purge_on_signal,
    serve,
    settings::Settings,
};
use tokio::task::JoinHandle;

use crate::start::StartError;

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watch {
    _sampler: MemorySampler,
    _purger: Purger,
    admin: Option<AdminServer>,
    signals: JoinHandle<()>,
}

impl Watch {
    /// Starts the threads, and listens on `admin.listen` where that is set.
    ///
    /// # Errors
    /// When the address is taken, or the system starts no more threads.
    pub async fn start(settings: &Settings, tenancy: &Tenancy, health: &Health) -> Result<Self, StartError> {
        let failed = |error: std::io::Error| StartError::new("memory can not be watched", &error);
        let counted = tenancy.clone();
        let requests = RequestCount::asked(move || counted.memory().map_or(0, |totals| totals.requests));
        let sampler = settings.memory.sampler(&requests).map_err(failed)?;
        let purger = settings.memory.purger(&sampler).map_err(failed)?;
        let signals = purge_on_signal(&purger).map_err(failed)?;
        let admin = MemoryAdmin::new(&sampler).purger(&purger).tenancy(tenancy);
        let admin = match settings.admin.listen {
            Some(listen) => Some(listen_for_operators(listen, admin, health).await?),
            None => None,
        };
        Ok(Self {
            _sampler: sampler,
            _purger: purger,
            admin,
            signals,
        })
    }

    /// Where operators see it.
    pub fn address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminServer::address)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.signals.abort();
    }
}

async fn listen_for_operators(
    listen: SocketAddr,
    admin: MemoryAdmin,
    health: &Health,
) -> Result<AdminServer, StartError> {
    let unusable =
        |error: &dyn std::error::Error| StartError::new("the admin address can not be used", error);
    let listener = serve::bind(listen).await.map_err(|error| unusable(&error))?;
    AdminServer::start(listener, admin.routes().merge(health.admin_routes()))
        .map_err(|error| unusable(&error))
}
