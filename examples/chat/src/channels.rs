//! Who is in which channel, and what was said there.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tenancy::{Tenant, core::TenantStatus};
use tokio::sync::broadcast;

const CHANNELS_PER_TENANT: usize = 100;
const NAME_LENGTH: usize = 40;
/// Messages that who joins is told, and that a slow client may be behind.
const HISTORY: usize = 50;

/// The channels of all tenants. Clones share them.
///
/// The outer key is the `Tenant` itself: two handles are equal if they are of one tenant and one incarnation. No text
/// is put together from a tenant and a name, so that no two pairs can give the same.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    tenants: Arc<Mutex<HashMap<Tenant, TenantChannels>>>,
}

/// What one tenant has.
type TenantChannels = HashMap<Box<str>, Channel>;

#[derive(Debug)]
struct Channel {
    history: VecDeque<Arc<str>>,
    live: broadcast::Sender<Arc<str>>,
}

/// One client's place in one channel.
pub(crate) struct Seat {
    pub(crate) history: Vec<Arc<str>>,
    pub(crate) live: broadcast::Receiver<Arc<str>>,
    tenant: Tenant,
    channel: Box<str>,
    channels: Channels,
}

impl Channels {
    /// `None` if the name is none, or the tenant has its fill of channels.
    pub(crate) fn join(&self, tenant: &Tenant, name: &str) -> Option<Seat> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > NAME_LENGTH || !name.bytes().all(is_name) {
            return None;
        }
        let mut tenants = self.lock();
        // What was purged is not kept for as long as the process lives.
        tenants.retain(|tenant, _| tenant.status() != TenantStatus::Deleted);
        let channels = tenants.entry(tenant.clone()).or_default();
        if !channels.contains_key(name) && channels.len() == CHANNELS_PER_TENANT {
            return None;
        }
        let channel = channels.entry(name.into()).or_insert_with(|| Channel {
            history: VecDeque::new(),
            live: broadcast::Sender::new(HISTORY),
        });
        // Under one lock: nothing is said between the two.
        Some(Seat {
            history: channel.history.iter().cloned().collect(),
            live: channel.live.subscribe(),
            tenant: tenant.clone(),
            channel: name.into(),
            channels: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, TenantChannels>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Tells all in the channel, the speaker too.
    pub(crate) fn say(&self, said: &str) {
        let mut tenants = self.channels.lock();
        let channel = tenants
            .get_mut(&self.tenant)
            .and_then(|channels| channels.get_mut(&self.channel));
        let Some(channel) = channel else { return };
        let said: Arc<str> = said.into();
        if channel.history.len() == HISTORY {
            channel.history.pop_front();
        }
        channel.history.push_back(Arc::clone(&said));
        // An error says that nobody listens.
        let _ = channel.live.send(said);
    }
}
