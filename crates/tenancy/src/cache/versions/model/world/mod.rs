//! The schedule: events in the order of their times, each of which may bring about more.

mod acts;

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;

use super::{
    super::{Judgement, LastCheck, PendingAsk, ScopeVersions, Stamp},
    server::{Message, Server},
};
use crate::cache::shared::{Answer, Cell, FlushMode, Level, Raise, Raised};

/// The staleness bound, in milliseconds.
const BOUND: u64 = 1000;
const BUSY_UNTIL: u64 = 14 * BOUND;
const PROCESSES: usize = 3;
const KEYS: u16 = 5;
const TAGS: u16 = 3;
const KEPT: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dangers {
    pub(super) restarts: bool,
    pub(super) failovers: bool,
    pub(super) clocks_step: bool,
    pub(super) all_is_lost: bool,
}

/// Of the data that depends on each cell, by [`place_of`], how often it has been changed.
type Data = [u32; 1 + TAGS as usize + KEYS as usize];

fn place_of(cell: Cell) -> usize {
    match cell {
        Cell::Base => 0,
        Cell::Slot(tag) if tag < TAGS => 1 + usize::from(tag),
        Cell::Slot(own) => usize::from(TAGS + own / 100),
    }
}

/// Far apart, for several chunks of cells.
fn own_slot(key: u16) -> u16 {
    100 + 100 * key
}

#[derive(Clone)]
struct Entry {
    stamp: Stamp,
    cells: Vec<Cell>,
    loaded: Data,
}

struct Process {
    versions: ScopeVersions,
    /// Events for a former life are dropped.
    life: u32,
    /// Each with what is remembered of its last judgement, as in level 1.
    kept: Vec<(Entry, LastCheck)>,
    /// What is promised here by now, after flushes of either kind and after hard ones.
    promised: Data,
    promised_hard: Data,
}

struct Flush {
    process: usize,
    cells: Vec<Cell>,
    changes: Data,
    mode: FlushMode,
    is_alone: bool,
    acknowledged: Option<u64>,
    /// The number that it was given then.
    number: u64,
    life: u32,
}

enum Event {
    Renew,
    AskArrives {
        ask: PendingAsk,
        sent_at: u64,
        taught: Option<Vec<Level>>,
        key: u16,
    },
    AnswerArrives {
        ask: PendingAsk,
        sent_at: u64,
        answer: Answer,
        was_taught: bool,
        entry: Option<Entry>,
    },
    BeginLoad,
    EndLoad {
        stamp: Stamp,
        key: u16,
        cells: Vec<Cell>,
    },
    Keep {
        key: u16,
        entry: Entry,
    },
    Flush,
    Send {
        flush: usize,
    },
    RaiseArrives {
        flush: usize,
        raise: Raise,
        is_answered: bool,
    },
    Acknowledged {
        flush: usize,
        raise: Raise,
        raised: Raised,
    },
    GivenUp {
        flush: usize,
    },
    Heard(Message),
    Gap,
    Restart,
    Copy,
    Failover,
    Due {
        flush: usize,
    },
}

/// How bad it is, in one schedule.
struct Weather {
    /// In percent.
    lost_messages: u8,
    lost_answers: u8,
    renews_seldom: bool,
}

pub(super) struct World {
    seed: u64,
    weather: Weather,
    rng: Rng,
    now: u64,
    dangers: Dangers,
    /// By time and a running number; of a process in one of its lives.
    events: BTreeMap<(u64, u64), (usize, u32, Event)>,
    running: u64,
    server: Server,
    server_clock_ahead: i64,
    copy: Server,
    failed_over: Option<u64>,
    processes: Vec<Process>,
    data: Data,
    flushes: Vec<Flush>,
    second_level: BTreeMap<u16, Entry>,
    served: u64,
}

impl World {
    pub(super) fn new(seed: u64, dangers: Dangers) -> Self {
        let mut rng = Rng::with_seed(seed);
        let process = |_| Process {
            versions: ScopeVersions::shared(),
            life: 0,
            kept: Vec::new(),
            promised: Data::default(),
            promised_hard: Data::default(),
        };
        let processes = (0..PROCESSES).map(process).collect();
        let weather = Weather {
            lost_messages: [0, 10, 50, 100][rng.usize(..4)],
            lost_answers: [0, 20, 50][rng.usize(..3)],
            renews_seldom: rng.bool(),
        };
        let mut world = Self {
            seed,
            weather,
            rng,
            now: 0,
            dangers,
            events: BTreeMap::new(),
            running: 0,
            server: Server::default(),
            server_clock_ahead: 0,
            copy: Server::default(),
            failed_over: None,
            processes,
            data: Data::default(),
            flushes: Vec::new(),
            second_level: BTreeMap::new(),
            served: 0,
        };
        for process in 0..PROCESSES {
            for event in [Event::Renew, Event::BeginLoad, Event::Flush, Event::Gap] {
                world.later(process, 300, event);
            }
            if dangers.restarts {
                world.later(process, 20 * BOUND, Event::Restart);
            }
        }
        if dangers.failovers {
            world.later(0, 2 * BOUND, Event::Copy);
            world.later(0, 8 * BOUND, Event::Failover);
        }
        world
    }

    pub(super) fn run(&mut self) {
        while self.now < BUSY_UNTIL {
            self.step();
        }
    }

    /// Nothing fails any more: then all come to know the same, and it is what the server has.
    pub(super) fn come_to_rest(&mut self) {
        while self.now < BUSY_UNTIL + 10 * BOUND {
            self.step();
        }
        assert!(self.served > 0, "seed {}: nothing was ever served", self.seed);
        for process in &self.processes {
            let known = process.versions.known();
            let known: Vec<_> = known.iter().map(|level| (level.cell, level.any)).collect();
            assert_eq!(known, self.server.any_levels(), "seed {}", self.seed);
            assert!(process.versions.progress().is_settled(), "seed {}", self.seed);
            assert!(
                process.versions.holds_lease(Duration::from_millis(self.now)),
                "seed {}",
                self.seed
            );
        }
    }

    fn step(&mut self) {
        let Some(((now, _), (process, life, event))) = self.events.pop_first() else {
            panic!("seed {}: the world stands still", self.seed);
        };
        self.now = now;
        if self.processes[process].life == life || matches!(event, Event::Due { .. }) {
            self.happens(process, event);
            self.check(process);
        }
    }

    /// What a process would serve now. It can only get worse by what happens to it: time takes leases away.
    fn check(&mut self, number: usize) {
        let now = Duration::from_millis(self.now);
        let process = &self.processes[number];
        if process.versions.holds_lease(now) {
            for (entry, last_check) in &process.kept {
                let judgement = process.versions.judge(&entry.stamp);
                let is_fresh = process.versions.is_fresh(&entry.stamp, last_check);
                assert_eq!(is_fresh, judgement == Judgement::Fresh, "seed {}", self.seed);
                let promised = match judgement {
                    Judgement::Fresh => &process.promised,
                    Judgement::Stale => &process.promised_hard,
                    Judgement::Dead => continue,
                };
                self.served += 1;
                for &cell in &entry.cells {
                    let (loaded, promised) = (entry.loaded[place_of(cell)], promised[place_of(cell)]);
                    assert!(
                        loaded >= promised,
                        "seed {}, {:?}: process {number} at {now:?} serves {loaded} of {cell:?}, promised {promised}",
                        self.seed,
                        self.dangers,
                    );
                }
            }
        }
    }

    fn happens(&mut self, process: usize, event: Event) {
        match event {
            Event::Renew => self.renew(process),
            Event::AskArrives {
                ask,
                sent_at,
                taught,
                key,
            } => self.ask_arrives(process, ask, sent_at, taught, key),
            Event::AnswerArrives {
                ask,
                sent_at,
                answer,
                was_taught,
                entry,
            } => {
                self.answer_arrives(process, (ask, sent_at), &answer, was_taught, entry);
            }
            Event::BeginLoad => self.begin_load(process),
            Event::EndLoad { stamp, key, cells } => {
                let entry = Entry {
                    stamp,
                    cells,
                    loaded: self.data,
                };
                self.later(process, BOUND / 2, Event::Keep { key, entry });
            }
            Event::Keep { key, entry } => {
                if self.processes[process].versions.may_share(&entry.stamp) {
                    self.second_level.insert(key, entry.clone());
                }
                self.keep(process, entry);
            }
            Event::Flush => self.flush(process),
            Event::Send { flush } => self.send(process, flush),
            Event::RaiseArrives {
                flush,
                raise,
                is_answered,
            } => self.raise_arrives(process, flush, raise, is_answered),
            Event::Acknowledged { flush, raise, raised } => {
                self.acknowledged(process, flush, &raise, &raised);
            }
            Event::GivenUp { flush } => self.given_up(process, flush),
            Event::Heard(heard) => {
                let versions = &self.processes[process].versions;
                versions.hear(heard.previous, heard.number, &heard.cells, heard.mode);
            }
            Event::Gap => {
                self.processes[process].versions.revoke();
                if self.is_busy() {
                    self.later(process, 6 * BOUND, Event::Gap);
                }
            }
            Event::Restart => self.restart(process),
            Event::Copy => {
                self.copy = self.server.clone();
                self.later(process, 2 * BOUND, Event::Copy);
            }
            Event::Failover => self.failover(process),
            Event::Due { flush } => self.due(process, flush),
        }
    }

    fn tell(&mut self, message: &Message) {
        for process in 0..PROCESSES {
            let is_lost = self.rng.u8(..100) < self.weather.lost_messages;
            let copies = if is_lost { 0 } else { self.rng.u8(1..=2) };
            for _ in 0..copies {
                let delay = if self.rng.u8(..4) == 0 { 3 * BOUND } else { 30 };
                self.later(process, delay, Event::Heard(message.clone()));
            }
        }
    }

    /// On the way to the server or back: seldom for longer than a lease lasts. After a failover it is quick, since
    /// the promise for it counts from then on.
    fn travels(&mut self, process: usize, event: Event) {
        let is_slow = self.is_busy() && !self.is_recovering() && self.rng.u8(..6) == 0;
        self.later(process, if is_slow { BOUND * 3 / 2 } else { BOUND / 10 }, event);
    }

    fn is_lost(&mut self) -> bool {
        self.is_busy() && !self.is_recovering() && self.rng.u8(..100) < self.weather.lost_answers
    }

    fn is_busy(&self) -> bool {
        self.now < BUSY_UNTIL
    }

    fn is_recovering(&self) -> bool {
        self.failed_over.is_some_and(|at| self.now < at + 4 * BOUND)
    }

    fn later(&mut self, process: usize, at_most: u64, event: Event) {
        let at = self.now + self.rng.u64(1..=at_most);
        self.at(at, process, event);
    }

    fn at(&mut self, at: u64, process: usize, event: Event) {
        self.running += 1;
        let life = self.processes[process].life;
        self.events.insert((at, self.running), (process, life, event));
    }

    fn time(&self) -> u64 {
        1_000_000 + self.now
    }

    fn server_time(&self) -> u64 {
        self.time().saturating_add_signed(self.server_clock_ahead)
    }
}
