//! The servers of a Redis Cluster, each with connections of its own: one that does not answer holds up its own slots alone.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex as BlockingMutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bb8_redis::redis::{self, ConnectionAddr, ConnectionInfo, Pipeline, ServerError};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{sync::Mutex, time::sleep};

use super::slots::{Address, SlotTable, masters, redirection};
use crate::{
    failure::Failure,
    server::{Dial, Limits, Server, at},
};

/// Servers that fail are no reason to ask the others all the time who has their slots.
const PAUSE_BETWEEN_REFRESHES: Duration = Duration::from_millis(250);

/// Servers without slots that are remembered: slots move to one or a few at a time.
const MOST_WITHOUT_SLOTS: usize = 16;

const NOT_A_REDIRECTION: Failure = Failure::Unexpected("Redis Cluster redirects to nowhere");

/// See <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Where it may be found, also when nobody of the table answers.
    seeds: Vec<(Address, Arc<Server>)>,
    /// How to log in to any of its servers.
    login: ConnectionInfo,
    limits: Limits,
    table: ArcSwap<SlotTable>,
    /// Those that are getting their first slot, which no table names yet. Apart from the table, so that they outlive each one; the
    /// oldest goes first.
    without_slots: BlockingMutex<VecDeque<(Address, Arc<Server>)>>,
    finding: Mutex<()>,
    is_refreshing: AtomicBool,
}

impl Cluster {
    /// The login is that of the first seed, of which there is at least one.
    pub(crate) fn new(login: ConnectionInfo, seeds: Vec<ConnectionInfo>, limits: Limits) -> Self {
        let seeds = seeds
            .into_iter()
            .map(|seed| (address_of(seed.addr()), Arc::new(server(seed, limits))))
            .collect();
        Self {
            seeds,
            login,
            limits,
            table: ArcSwap::from_pointee(SlotTable::empty()),
            without_slots: BlockingMutex::default(),
            finding: Mutex::default(),
            is_refreshing: AtomicBool::new(false),
        }
    }

    pub(super) async fn server_of(self: &Arc<Self>, slot: u16) -> Result<Arc<Server>, Failure> {
        let mut table = self.table.load_full();
        if table.is_empty() {
            table = self.first_table().await?;
        }
        table.owner(slot).map(Arc::clone).ok_or_else(|| {
            self.refresh_soon();
            Failure::Unserved
        })
    }

    /// A server answered that this slot is another one's.
    pub(super) fn has_moved(self: &Arc<Self>, error: &ServerError) -> Result<(), Failure> {
        let (slot, address) = self.read(error)?;
        let server = self.server_at(&address);
        self.table.rcu(|table| {
            let mut table = SlotTable::clone(table);
            table.give(slot, slot, address.clone(), Arc::clone(&server));
            table
        });
        // One slot seldom moves alone.
        self.refresh_soon();
        Ok(())
    }

    /// A server answered that another one is getting this slot, and has the key already.
    pub(super) fn asked_for(&self, error: &ServerError) -> Result<Arc<Server>, Failure> {
        let (_, address) = self.read(error)?;
        let known = self.known_at(&address);
        Ok(known.unwrap_or_else(|| self.remember_without_slots(address)))
    }

    /// Looks again who has which slot, without anybody waiting for it.
    pub(super) fn refresh_soon(self: &Arc<Self>) {
        if self.is_refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(failure) = cluster.refresh().await {
                tracing::debug!(?failure, "nobody says who has which slot of the Redis Cluster");
            }
            sleep(PAUSE_BETWEEN_REFRESHES).await;
            cluster.is_refreshing.store(false, Ordering::Release);
        });
    }

    pub(super) fn somewhere(&self) -> Dial {
        let table = self.table.load();
        let known: Vec<&Arc<Server>> = table
            .servers()
            .chain(self.seeds.iter().map(|(_, seed)| seed))
            .collect();
        known[fastrand::usize(..known.len())].dial().clone()
    }

    /// Those who come first wait for the same answer.
    async fn first_table(&self) -> Result<Arc<SlotTable>, Failure> {
        let _finding = self.finding.lock().await;
        if self.table.load().is_empty() {
            self.refresh().await?;
        }
        Ok(self.table.load_full())
    }

    /// Asks everybody, since each may be the one that does not answer.
    async fn refresh(&self) -> Result<(), Failure> {
        let table = self.table.load_full();
        let mut known: Vec<Arc<Server>> = table.servers().cloned().collect();
        for (_, seed) in &self.seeds {
            if !known.iter().any(|server| Arc::ptr_eq(server, seed)) {
                known.push(Arc::clone(seed));
            }
        }
        let mut answers: FuturesUnordered<_> = known.iter().map(|server| self.ask(server)).collect();
        let mut failure = Failure::Unserved;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(table) => {
                    self.table.store(Arc::new(table));
                    return Ok(());
                }
                Err(of_one) => failure = of_one,
            }
        }
        Err(failure)
    }

    async fn ask(&self, server: &Server) -> Result<SlotTable, Failure> {
        let mut question = Pipeline::with_capacity(1);
        question.add_command(redis::cmd("CLUSTER").arg("SLOTS").take());
        let replies = server.run(&question).await?;
        let asked = match server.dial() {
            Dial::Server(server) => address_of(server.addr()).0,
            Dial::Master(_) => String::new(),
        };
        let masters = replies
            .first()
            .and_then(|reply| masters(reply, &asked))
            .filter(|masters| !masters.is_empty())
            .ok_or(Failure::Unserved)?;
        let mut table = SlotTable::empty();
        for (first, last, address) in masters {
            let server = match table.at(&address) {
                Some(server) => Arc::clone(server),
                None => self.server_at(&address),
            };
            table.give(first, last, address, server);
        }
        Ok(table)
    }

    /// The one that is known, with its connections, or a new one.
    fn server_at(&self, address: &Address) -> Arc<Server> {
        let known = self.known_at(address).or_else(|| {
            let without_slots = self.without_slots.lock().unwrap_or_else(PoisonError::into_inner);
            found_at(address, without_slots.iter())
        });
        known.unwrap_or_else(|| self.new_server(address))
    }

    fn known_at(&self, address: &Address) -> Option<Arc<Server>> {
        let of_table = self.table.load().at(address).map(Arc::clone);
        of_table.or_else(|| found_at(address, self.seeds.iter()))
    }

    /// The same for all who ask: each would else connect anew, and for each key.
    fn remember_without_slots(&self, address: Address) -> Arc<Server> {
        let mut without_slots = self.without_slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = found_at(&address, without_slots.iter()) {
            return server;
        }
        let server = self.new_server(&address);
        without_slots.push_back((address, Arc::clone(&server)));
        let forgotten = (without_slots.len() > MOST_WITHOUT_SLOTS).then(|| without_slots.pop_front());
        drop(without_slots);
        // Closes its connections, which is nothing to be done under the lock.
        drop(forgotten);
        server
    }

    /// Connected to when it is first asked.
    fn new_server(&self, address: &Address) -> Arc<Server> {
        let (host, port) = address.clone();
        let place = self.login.clone().set_addr(at(self.login.addr(), host, port));
        Arc::new(server(place, self.limits))
    }

    fn read(&self, error: &ServerError) -> Result<(u16, Address), Failure> {
        let (host, _) = address_of(self.login.addr());
        let details = error.details().ok_or(NOT_A_REDIRECTION)?;
        redirection(details, &host).ok_or(NOT_A_REDIRECTION)
    }
}

fn found_at<'a>(
    address: &Address,
    mut among: impl Iterator<Item = &'a (Address, Arc<Server>)>,
) -> Option<Arc<Server>> {
    let found = among.find(|(known, _)| known == address);
    found.map(|(_, server)| Arc::clone(server))
}

fn server(place: ConnectionInfo, limits: Limits) -> Server {
    Server::new(Dial::Server(Box::new(place)), limits)
}

fn address_of(address: &ConnectionAddr) -> Address {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port),
        other => (other.to_string(), 0),
    }
}
