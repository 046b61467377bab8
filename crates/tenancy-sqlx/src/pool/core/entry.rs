use std::{collections::VecDeque, time::Duration};

use tenancy_core::TenantId;

use super::{Held, Version};
use crate::pool::{breaker::Breaker, target::Target};

/// What the pool knows of one tenant.
#[derive(Debug)]
pub(super) struct Entry<C> {
    pub(super) tenant: TenantId,
    /// Never used again, other than its place in the slab.
    pub(super) serial: u64,
    pub(super) version: Version,
    pub(super) target: Target,
    /// Connections and tickets of an earlier generation lead to an earlier target.
    pub(super) generation: u32,
    /// When the generation was last raised: until it is forgotten, older records are refused.
    pub(super) raised_at: Option<Duration>,
    /// The one that was used last is at the back.
    pub(super) idle: VecDeque<Idle<C>>,
    /// Numbers of waiters, the oldest at the front.
    pub(super) queue: VecDeque<usize>,
    pub(super) leased: usize,
    pub(super) opening: usize,
    /// How many returned connections it may keep to itself while others wait.
    pub(super) credit: usize,
    /// Its number in the line of tenants that wait.
    pub(super) turn: Option<u64>,
    /// Its place among those that have open connections.
    pub(super) seat: Option<usize>,
    /// How many more connections its waiters could use.
    pub(super) wish: usize,
    /// How many of these are worth another tenant's idle connection.
    pub(super) demand: usize,
    /// How long its requests keep a connection. `None`: as long as others' do.
    pub(super) in_use: Option<Duration>,
    pub(super) breaker: Breaker,
    pub(super) used_at: Duration,
}

#[derive(Debug)]
pub(super) struct Idle<C> {
    pub(super) held: Held<C>,
    pub(super) since: Duration,
}

impl<C> Entry<C> {
    pub(super) fn new(tenant: TenantId, serial: u64, version: Version, target: Target) -> Self {
        Self {
            tenant,
            serial,
            version,
            target,
            generation: 0,
            raised_at: None,
            idle: VecDeque::new(),
            queue: VecDeque::new(),
            leased: 0,
            opening: 0,
            credit: 0,
            turn: None,
            seat: None,
            wish: 0,
            demand: 0,
            in_use: None,
            breaker: Breaker::new(),
            used_at: Duration::ZERO,
        }
    }

    /// Connections that are this tenant's, those under way among them. One that is being closed is nobody's.
    pub(super) fn open(&self) -> usize {
        self.idle.len() + self.leased + self.opening
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_forgettable(&self, now: Duration, keep: Duration, keep_raised: Duration) -> bool {
        self.open() == 0
            && self.queue.is_empty()
            && self.breaker.is_quiet(now)
            && now >= self.used_at + keep
            && self.raised_at.is_none_or(|raised| now >= raised + keep_raised)
    }
}
