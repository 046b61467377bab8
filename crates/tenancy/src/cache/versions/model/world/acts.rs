//! What each event does.

use std::time::Duration;

use super::super::server::Server;
use super::{BOUND, Data, Entry, Event, Flush, KEPT, KEYS, PROCESSES, TAGS, World, own_slot, place_of};
use crate::cache::{
    shared::{Answer, Cell, FlushMode, Level, Raise, Raised, ScopeName},
    versions::{Applied, LastCheck, PendingAsk, ScopeVersions},
};

impl World {
    pub(super) fn renew(&mut self, process: usize) {
        let ask = self.processes[process].versions.ask();
        self.send_ask(process, ask, None);
        let is_seldom = self.weather.renews_seldom && self.is_busy() && !self.is_recovering();
        self.later(
            process,
            if is_seldom { BOUND * 3 / 2 } else { BOUND / 2 },
            Event::Renew,
        );
    }

    fn send_ask(&mut self, process: usize, ask: PendingAsk, taught: Option<Vec<Level>>) {
        let (sent_at, key) = (self.now, self.rng.u16(..KEYS));
        if !self.is_lost() {
            self.travels(
                process,
                Event::AskArrives {
                    ask,
                    sent_at,
                    taught,
                    key,
                },
            );
        }
    }

    pub(super) fn ask_arrives(
        &mut self,
        process: usize,
        ask: PendingAsk,
        sent_at: u64,
        taught: Option<Vec<Level>>,
        key: u16,
    ) {
        let unix_ms = self.server_time();
        // The entry first: its numbers must not be newer than what is answered.
        let entry = self.second_level.get(&key).cloned();
        let was_taught = taught.is_some();
        let answer = match taught {
            None => self.server.answer(unix_ms, ask.seen()),
            Some(known) => {
                let (answer, message) = self.server.teach(unix_ms, &known);
                message.iter().for_each(|message| self.tell(message));
                answer
            }
        };
        if !self.is_lost() {
            self.travels(
                process,
                Event::AnswerArrives {
                    ask,
                    sent_at,
                    answer,
                    was_taught,
                    entry,
                },
            );
        }
    }

    pub(super) fn answer_arrives(
        &mut self,
        process: usize,
        (ask, sent_at): (PendingAsk, u64),
        answer: &Answer,
        was_taught: bool,
        entry: Option<Entry>,
    ) {
        let versions = &self.processes[process].versions;
        let (sent_at, lease) = (Duration::from_millis(sent_at), Duration::from_millis(BOUND));
        let applied = versions.apply(&ask, sent_at, lease, answer);
        if applied == Applied::MustTeach && !was_taught {
            let (ask, known) = versions.teaching();
            self.send_ask(process, ask, Some(known));
        }
        if let Some(entry) = entry {
            self.keep(process, entry);
        }
    }

    pub(super) fn begin_load(&mut self, process: usize) {
        let key = self.rng.u16(..KEYS);
        let slots = [own_slot(key), key % TAGS, (key + 1) % TAGS];
        let cells = slots
            .iter()
            .map(|slot| Cell::Slot(*slot))
            .chain([Cell::Base])
            .collect();
        let stamp = self.processes[process].versions.stamp(&slots);
        self.later(process, BOUND / 2, Event::EndLoad { stamp, key, cells });
        self.later(process, BOUND / 4, Event::BeginLoad);
    }

    pub(super) fn keep(&mut self, process: usize, entry: Entry) {
        let kept = &mut self.processes[process].kept;
        if kept.len() == KEPT {
            kept.remove(self.rng.usize(..KEPT));
        }
        kept.push((entry, LastCheck::never()));
    }

    pub(super) fn flush(&mut self, process: usize) {
        if !self.is_busy() {
            return;
        }
        let cells = match self.rng.u8(..10) {
            0 => vec![Cell::Base],
            1..=3 => vec![Cell::Slot(own_slot(self.rng.u16(..KEYS)))],
            4..=7 => vec![Cell::Slot(self.rng.u16(..TAGS))],
            _ => vec![Cell::Slot(0), Cell::Slot(1)],
        };
        let mode = if self.rng.bool() {
            FlushMode::Hard
        } else {
            FlushMode::Soft
        };
        let mut changes = Data::default();
        for cell in &cells {
            let place = place_of(*cell);
            self.data[place] += 1;
            changes[place] = self.data[place];
        }
        let flush = Flush {
            process,
            cells,
            changes,
            mode,
            is_alone: false,
            acknowledged: None,
            number: 0,
            life: self.processes[process].life,
        };
        self.flushes.push(flush);
        self.send(process, self.flushes.len() - 1);
        self.later(process, BOUND, Event::Flush);
    }

    pub(super) fn send(&mut self, process: usize, flush: usize) {
        let raise = Raise {
            scope: ScopeName::central(),
            cells: self.flushes[flush].cells.clone(),
            mode: self.flushes[flush].mode,
            known: self.processes[process].versions.highest(),
        };
        let (is_lost, is_answered) = (self.is_lost(), !self.is_lost());
        if !is_lost {
            self.travels(
                process,
                Event::RaiseArrives {
                    flush,
                    raise,
                    is_answered,
                },
            );
        }
        if is_lost || !is_answered {
            self.later(process, BOUND / 2, Event::GivenUp { flush });
        }
    }

    pub(super) fn raise_arrives(&mut self, process: usize, flush: usize, raise: Raise, is_answered: bool) {
        let unix_ms = self.server_time();
        let (raised, message) = self.server.raise(unix_ms, raise.known, &raise.cells, raise.mode);
        self.tell(&message);
        if is_answered {
            self.travels(process, Event::Acknowledged { flush, raise, raised });
        }
    }

    pub(super) fn acknowledged(&mut self, process: usize, flush: usize, raise: &Raise, raised: &Raised) {
        self.processes[process].versions.raised(raise, raised);
        self.flushes[flush].acknowledged = Some(self.now);
        self.flushes[flush].number = raised.number;
        self.promise_here(process, flush);
        let due = self.now + BOUND;
        (0..PROCESSES).for_each(|other| self.at(due, other, Event::Due { flush }));
    }

    pub(super) fn given_up(&mut self, process: usize, flush: usize) {
        if !self.flushes[flush].is_alone {
            self.flushes[flush].is_alone = true;
            let Flush { cells, mode, .. } = &self.flushes[flush];
            self.processes[process].versions.raise_alone(cells, *mode);
            self.promise_here(process, flush);
        }
        self.later(process, BOUND / 2, Event::Send { flush });
    }

    pub(super) fn due(&mut self, process: usize, flush: usize) {
        let end_of_failover = self.failed_over.map_or(0, |at| at + 4 * BOUND);
        if self.now < end_of_failover {
            self.at(end_of_failover, process, Event::Due { flush });
        } else {
            self.promise(process, flush);
        }
    }

    /// The flusher itself keeps the promise at once. Only if a failover has set the clock back, what it hears late of the
    /// history that was lost may have a higher number than its flush, until that is taught.
    fn promise_here(&mut self, process: usize, flush: usize) {
        if self.dangers.clocks_step {
            self.due(process, flush);
        } else {
            self.promise(process, flush);
        }
    }

    /// From now on, this process must not serve what was loaded before the flush.
    fn promise(&mut self, process: usize, flush: usize) {
        let Flush { changes, mode, .. } = &self.flushes[flush];
        let process = &mut self.processes[process];
        for (place, times) in changes.iter().enumerate() {
            process.promised[place] = process.promised[place].max(*times);
            if *mode == FlushMode::Hard {
                process.promised_hard[place] = process.promised_hard[place].max(*times);
            }
        }
    }

    pub(super) fn restart(&mut self, process: usize) {
        if !self.is_busy() {
            return;
        }
        let this = &mut self.processes[process];
        (this.versions, this.life) = (ScopeVersions::shared(), this.life + 1);
        this.kept.clear();
        // A flush of its own that nobody has acknowledged is forgotten with it, and breaks no promise.
        self.promise_anew(process, |_, _| true);
        for event in [
            Event::Renew,
            Event::BeginLoad,
            Event::Flush,
            Event::Gap,
            Event::Restart,
        ] {
            self.later(process, 300, event);
        }
    }

    pub(super) fn failover(&mut self, process: usize) {
        if !self.is_busy() {
            return;
        }
        let is_emptied = self.dangers.all_is_lost && self.rng.bool();
        let earlier = if is_emptied {
            Server::default()
        } else {
            self.copy.clone()
        };
        self.server.becomes(earlier);
        self.copy = self.server.clone();
        if self.dangers.clocks_step {
            self.server_clock_ahead = self.rng.i64(-2000..2000);
        }
        self.failed_over = Some(self.now);
        // Who knows of what was lost still knows; others come to know it within the time that is promised for that.
        for process in 0..PROCESSES {
            self.promise_anew(process, Self::is_held);
        }
        self.later(process, 8 * BOUND, Event::Failover);
    }

    fn is_held(&self, flush: &Flush) -> bool {
        let (number, mode) = (flush.number, flush.mode);
        flush
            .cells
            .iter()
            .all(|cell| self.server.holds(*cell, number, mode))
    }

    /// Promises what is due of the flushes that `is_held` says the server has; the others, when a failover is over.
    fn promise_anew(&mut self, process: usize, is_held: impl Fn(&Self, &Flush) -> bool) {
        self.processes[process].promised = Data::default();
        self.processes[process].promised_hard = Data::default();
        for number in 0..self.flushes.len() {
            let flush = &self.flushes[number];
            let is_own = flush.process == process && flush.life == self.processes[process].life;
            let is_due = flush.acknowledged.is_some_and(|at| at + BOUND <= self.now);
            if is_own && (flush.is_alone || flush.acknowledged.is_some()) || is_due && is_held(self, flush) {
                self.promise(process, number);
            } else if is_due {
                self.at(self.now, process, Event::Due { flush: number });
            }
        }
    }
}
