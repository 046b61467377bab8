//! The schedule: what happens, in which order, by the dice of a seed.

use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use tenancy::cache::{CacheSettings, OnOutage};
use tenancy_test::cache::{Checkpoint, MessageFaults};

use super::{
    super::{World, settle},
    Dangers, Served,
    book::{BOUND, Book, Fate, KEYS, TAGS, TENANTS},
    peer::{Peer, Task},
};

const PROCESSES: usize = 3;
const STEPS: usize = 160;
const MOST_TASKS: usize = 60;

pub(super) struct Schedule {
    rng: Rng,
    /// Of so many steps that could end a load, one does.
    loads_take: u8,
    dangers: Dangers,
    world: World,
    book: Book,
    peers: Vec<Peer>,
    born: u32,
    tasks: Vec<Task>,
    copies: Vec<(Duration, Checkpoint)>,
    /// Until when nothing else happens to the level, so that a failover can be made good.
    quiet_until: Duration,
}

impl Schedule {
    /// Panics with all that had happened, if a read gave what it must not.
    pub(super) fn run(seed: u64, dangers: Dangers) -> Served {
        // The cache's own dice.
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let (served, mistake) = runtime.block_on(async {
            let mut schedule = Self::new(seed, dangers).await;
            schedule.happen().await;
            (schedule.book.served(), schedule.book.mistake())
        });
        if let Some(mistake) = mistake {
            panic!("schedule {seed} of {dangers:?} (TENANCY_SCHEDULE={seed} runs it alone):\n{mistake}");
        }
        served
    }

    async fn new(seed: u64, dangers: Dangers) -> Self {
        let world = World::new();
        let limit = match dangers.on_outage {
            OnOutage::ServeWithin(limit) => limit,
            _ => Duration::ZERO,
        };
        let mut schedule = Self {
            loads_take: if seed.is_multiple_of(2) { 1 } else { 6 },
            rng: Rng::with_seed(seed),
            dangers,
            book: Book::new(std::sync::Arc::clone(&world.clock), limit),
            world,
            peers: Vec::new(),
            born: 0,
            tasks: Vec::new(),
            copies: Vec::new(),
            quiet_until: Duration::ZERO,
        };
        for _ in 0..PROCESSES {
            let peer = schedule.new_peer().await;
            schedule.peers.push(peer);
        }
        schedule
    }

    async fn new_peer(&mut self) -> Peer {
        self.born += 1;
        let settings = CacheSettings::new().on_outage(self.dangers.on_outage);
        let process = self.world.process_with(settings);
        let peer = Peer::new(self.born, process, &self.book).await;
        let lost = [0, 30, 90, 100][self.rng.usize(..4)];
        let faults = MessageFaults::seeded(self.rng.u64(..))
            .lost(lost)
            .delayed(20)
            .reordered(20)
            .duplicated(20);
        peer.node().harm_messages(faults);
        self.book.note(format_args!(
            "process {} begins; {lost} % of its messages are lost",
            self.born
        ));
        peer
    }

    async fn happen(&mut self) {
        for _ in 0..STEPS {
            self.step().await;
            for _ in 0..self.rng.u8(..12) {
                tokio::task::yield_now().await;
            }
            if self.book.mistake().is_some() {
                return;
            }
        }
        self.come_to_rest().await;
    }

    async fn step(&mut self) {
        self.tasks.retain(|task| !task.is_finished());
        match self.rng.u8(..100) {
            0..=33 => self.read(),
            34..=47 => self.write(),
            48..=59 => self.end_a_load(),
            60..=81 => self.pass_time().await,
            82..=84 => self.hang_up(),
            85..=88 => self.hurt_messages().await,
            89..=95 => self.hurt_a_node(),
            96 => self.restart_one().await,
            _ => self.hurt_the_level(),
        }
    }

    fn read(&mut self) {
        if self.tasks.len() > MOST_TASKS {
            return;
        }
        let (peer, tenant, key) = self.somewhere();
        let (rng, peer) = (&mut self.rng, &self.peers[peer]);
        let task = match rng.u8(..10) {
            0..=2 => peer.get(tenant, key),
            3 => peer.get_many(tenant),
            4..=7 => peer.remember(tenant, key, rng),
            _ => peer.remember_many(tenant, some_keys(rng), rng),
        };
        self.tasks.push(task);
    }

    fn write(&mut self) {
        let (peer, tenant, key) = self.somewhere();
        let (rng, peer) = (&mut self.rng, &self.peers[peer]);
        let is_hard = rng.u8(..5) > 0;
        let task = match rng.u8(..10) {
            0..=1 => Some(peer.flush_all(tenant, is_hard, rng)),
            2..=4 => Some(peer.flush_tag(tenant, rng.usize(..TAGS.len()), is_hard)),
            5..=7 => Some(peer.remove(tenant, key)),
            8 => peer.put(tenant, vec![key], rng),
            _ => peer.put(tenant, some_keys(rng), rng),
        };
        self.tasks.extend(task);
    }

    fn somewhere(&mut self) -> (usize, usize, usize) {
        let rng = &mut self.rng;
        (
            rng.usize(..PROCESSES),
            rng.usize(..TENANTS.len()),
            rng.usize(..KEYS.len()),
        )
    }

    fn end_a_load(&mut self) {
        let waiting = self.book.loads_waiting();
        if waiting > 0 && self.rng.u8(..self.loads_take) == 0 {
            let fate = if self.rng.u8(..5) == 0 {
                Fate::Fails
            } else {
                Fate::Answers
            };
            self.book.end_load(self.rng.usize(..waiting), fate);
        }
    }

    /// Both clocks, the one or the other first. Everybody goes on asking for something.
    async fn pass_time(&mut self) {
        let step = match self.rng.u8(..10) {
            0 => self.rng.u64(2000..4000),
            1..=3 => self.rng.u64(1..50),
            _ => self.rng.u64(50..900),
        };
        let (step, is_first) = (Duration::from_millis(step), self.rng.bool());
        if is_first {
            self.world.clock.advance(step);
        }
        tokio::time::sleep(step).await;
        if !is_first {
            self.world.clock.advance(step);
        }
        for peer in &self.peers {
            for tenant in 0..TENANTS.len() {
                self.tasks.push(peer.get(tenant, self.rng.usize(..KEYS.len())));
            }
        }
    }

    /// Whoever waits for something does not any more.
    fn hang_up(&mut self) {
        if !self.tasks.is_empty() {
            let task = self.tasks.swap_remove(self.rng.usize(..self.tasks.len()));
            task.abort();
        }
    }

    async fn hurt_messages(&mut self) {
        let peer = &self.peers[self.rng.usize(..PROCESSES)];
        match self.rng.u8(..3) {
            0 => peer.node().deliver_delayed(),
            1 => peer.node().lose_subscriber(),
            _ => {
                // It hears of the gap now.
                peer.node().cut_subscriber();
                settle().await;
                self.book
                    .note(format_args!("process {} has heard of a gap", peer.number));
                self.book.has_heard_a_gap(peer.number);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.book.now() < self.quiet_until
    }

    fn hurt_a_node(&mut self) {
        if !self.dangers.outages || self.is_quiet() {
            return;
        }
        let peer = &self.peers[self.rng.usize(..PROCESSES)];
        let (node, number) = (peer.node(), peer.number);
        let harm = self.rng.u8(..8);
        self.book
            .note(format_args!("process {number}: harm {harm} of its node"));
        match harm {
            0 => node.go_away(),
            1 => node.freeze(),
            2 => node.hold_answers(),
            3 | 4 => {
                if let Some(held) = node.held_answer().now_or_never() {
                    if self.rng.bool() {
                        held.lose();
                    } else {
                        held.release();
                    }
                }
            }
            _ => return heal(peer, &self.book),
        }
        self.book.is_cut_off(number);
    }

    async fn restart_one(&mut self) {
        if !self.dangers.restarts || self.is_quiet() {
            return;
        }
        let new = self.new_peer().await;
        let at = self.rng.usize(..PROCESSES);
        let old = std::mem::replace(&mut self.peers[at], new);
        self.book.note(format_args!("process {} ends", old.number));
        old.end();
    }

    fn hurt_the_level(&mut self) {
        if !self.dangers.failovers || self.is_quiet() {
            return;
        }
        match self.rng.u8(..4) {
            0 => {
                self.book.note(format_args!("the level is emptied"));
                self.world.level.flush_db();
            }
            1 | 2 => self.copies.push((self.book.now(), self.world.level.checkpoint())),
            _ => self.fail_over(),
        }
    }

    fn fail_over(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let (of, copy) = self.copies.swap_remove(self.rng.usize(..self.copies.len()));
        self.copies.clear();
        for peer in &self.peers {
            heal(peer, &self.book);
        }
        self.world.level.fail_over_to(&copy);
        self.quiet_until = self.book.has_failed_over(of);
        self.book.note(format_args!(
            "the level fails over to what it was at {of:?}; that is made good at {:?}",
            self.quiet_until
        ));
    }

    /// Nothing fails any more: then every flush is told, and all see the same.
    async fn come_to_rest(&mut self) {
        self.book.note(format_args!("all comes to rest"));
        for peer in &self.peers {
            heal(peer, &self.book);
        }
        while self.book.loads_waiting() > 0 {
            self.book.end_load(0, Fate::Answers);
            settle().await;
        }
        let rest_at = (self.book.now() + BOUND * 10).max(self.quiet_until + BOUND);
        while self.book.now() < rest_at {
            self.pass_time().await;
            settle().await;
        }
        assert_eq!(self.book.pending(), 0, "flushes that are never told");
        for tenant in 0..TENANTS.len() {
            for key in 0..KEYS.len() {
                for peer in &self.peers {
                    self.tasks.push(peer.get(tenant, key));
                    self.tasks.push(peer.remember(tenant, key, &mut self.rng));
                }
                settle().await;
                while self.book.loads_waiting() > 0 {
                    self.book.end_load(0, Fate::Answers);
                }
                settle().await;
            }
        }
    }
}

fn heal(peer: &Peer, book: &Book) {
    peer.node().thaw();
    peer.node().stop_holding();
    peer.node().come_back();
    book.is_connected(peer.number);
}

/// At least one, each once.
fn some_keys(rng: &mut Rng) -> Vec<usize> {
    let mut keys: Vec<_> = (0..KEYS.len()).collect();
    rng.shuffle(&mut keys);
    keys.truncate(rng.usize(1..=KEYS.len()));
    keys
}
