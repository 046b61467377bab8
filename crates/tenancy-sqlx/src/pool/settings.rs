use std::time::Duration;

use super::core::Limits;

/// How one server's connections are shared among tenants. The defaults are those of [`PoolSettings::new`].
#[derive(Clone, Debug)]
pub struct PoolSettings {
    pub(super) limits: Limits,
    pub(super) connect: Duration,
    pub(super) wait: Duration,
    pub(super) reset: Duration,
    pub(super) give_up: Duration,
    /// Whether a pooler in transaction mode stands in between.
    pub(super) is_pooled: bool,
}

impl PoolSettings {
    /// At most `budget` open connections to the server, from this process. At least 1.
    ///
    /// From a budget of 4 on, one of them is kept for cancelling abandoned statements; it is opened when the first one
    /// has to be. With less, the connection of an abandoned statement is of no use before the statement ends, and is
    /// closed after the [`idle_timeout`](Self::idle_timeout).
    pub fn new(budget: usize) -> Self {
        Self {
            limits: Limits {
                budget: budget.max(1),
                cancels_by_control: false,
                max_tenants: 100,
                max_per_tenant: None,
                max_waiting: 1_000,
                max_connects: None,
                hand_overs: 10,
                idle: Duration::from_secs(60),
                lifetime: Duration::from_secs(30 * 60),
                heartbeat: Duration::from_secs(30),
                settle: Duration::from_millis(50),
                tenants_per_connection: 100,
            },
            connect: Duration::from_secs(10),
            wait: Duration::from_secs(3),
            reset: Duration::from_millis(250),
            give_up: Duration::from_secs(1),
            is_pooled: false,
        }
    }

    pub(crate) fn with_budget(mut self, budget: usize) -> Self {
        self.limits.budget = budget.max(1);
        self
    }

    pub(crate) fn pooled(mut self, is_pooled: bool) -> Self {
        self.is_pooled = is_pooled;
        self
    }

    pub(crate) fn connect_limit(&self) -> Duration {
        self.connect
    }

    /// How many tenants may have open connections at a time. 100 unless set; at least 1. The next one waits for another
    /// tenant's last connection to be idle.
    #[must_use]
    pub fn max_tenants(mut self, tenants: usize) -> Self {
        self.limits.max_tenants = tenants.max(1);
        self
    }

    /// How many connections one tenant may have. A quarter of the budget, from 1 to 20, unless set. While connections are
    /// short, that is, until a second after one was closed for a tenant that had fewer, it gets none beyond a third of
    /// that, at least one; those beyond are closed as they come back and are waited for, unless tenants share them.
    #[must_use]
    pub fn max_per_tenant(mut self, connections: usize) -> Self {
        self.limits.max_per_tenant = Some(connections.max(1));
        self
    }

    /// How many requests of one tenant may wait for a connection. 1000 unless set; the next one is refused at once.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.limits.max_waiting = requests;
        self
    }

    /// How many connections are opened at a time. A quarter of the budget, from 4 to 24, unless set; at least 1.
    ///
    /// Opening is what a server is busy with when more tenants are active than there are connections. A larger number
    /// shortens the wait of those whose tenant has none, at the cost of those whose tenant has one.
    #[must_use]
    pub fn max_connects(mut self, connects: usize) -> Self {
        self.limits.max_connects = Some(connects.max(1));
        self
    }

    /// How many requests a tenant may serve with its connections, once it has one, before they go to others that wait.
    /// 10 unless set; at least 1.
    #[must_use]
    pub fn hand_overs(mut self, requests: usize) -> Self {
        self.limits.hand_overs = requests.max(1);
        self
    }

    /// How long opening a connection may take. 10 s unless set.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// How long a request may wait for a connection, opening not counted. 3 s unless set.
    #[must_use]
    pub fn wait_timeout(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }

    /// After how long without use a connection is closed. 60 s unless set.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.limits.idle = limit;
        self
    }

    /// How old a connection may become, give or take a tenth. 30 min unless set.
    #[must_use]
    pub fn max_lifetime(mut self, limit: Duration) -> Self {
        self.limits.lifetime = limit;
        self
    }

    /// After how long without use a connection is asked whether it lives before it is given out. 30 s unless set.
    #[must_use]
    pub fn heartbeat(mut self, after: Duration) -> Self {
        self.limits.heartbeat = after;
        self
    }

    /// How long a connection stays its tenant's after use, though others wait. 50 ms unless set.
    #[must_use]
    pub fn settle(mut self, time: Duration) -> Self {
        self.limits.settle = time;
        self
    }

    /// After how many tenants a connection that goes from schema to schema is closed, for the server keeps memory for
    /// each. 100 unless set; at least 1.
    #[must_use]
    pub fn tenants_per_connection(mut self, tenants: usize) -> Self {
        self.limits.tenants_per_connection = tenants.max(1);
        self
    }

    /// How long a used connection may take to be reset, before its statement is cancelled. 250 ms unless set.
    #[must_use]
    pub fn reset_timeout(mut self, limit: Duration) -> Self {
        self.reset = limit;
        self
    }

    /// How long after its return a connection that could not be reset is closed hard. 1 s unless set.
    #[must_use]
    pub fn give_up_timeout(mut self, limit: Duration) -> Self {
        self.give_up = limit;
        self
    }
}

impl Default for PoolSettings {
    /// A budget of 100.
    fn default() -> Self {
        Self::new(100)
    }
}
