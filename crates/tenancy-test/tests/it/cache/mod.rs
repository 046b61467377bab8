//! The test kit for caches: the level in memory is right, its faults do what they say, and the checks of shared levels find what
//! is wrong with one.

mod barrier_loader;
mod flawed;
mod flaws;
mod memory_level;
mod server;

use std::{sync::Arc, time::Duration};

use flaws::{FLAWS, Flaw};
use tenancy::cache::shared::{ScopeName, SharedLevel};
use tenancy_core::BoxError;
use tenancy_test::{
    ManualClock,
    cache::{Checkpoint, MemoryLevel, MemoryNode},
    conformance::{self, CheckResult, LevelHarness, Offered, Report, level},
};

/// The level in memory, with all that can happen to it.
struct InMemory {
    clock: Arc<ManualClock>,
    level: MemoryLevel,
    nodes: std::sync::Mutex<Vec<MemoryNode>>,
    checkpoint: Option<Checkpoint>,
}

impl InMemory {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        Self {
            level: MemoryLevel::with_clock(clock.clone()),
            clock,
            nodes: std::sync::Mutex::default(),
            checkpoint: None,
        }
    }
}

impl LevelHarness for InMemory {
    async fn connect(&self) -> Result<Arc<dyn SharedLevel>, BoxError> {
        let node = self.level.node();
        self.nodes.lock().unwrap().push(node.clone());
        Ok(Arc::new(node))
    }

    async fn pass(&self, time: Duration) -> Result<(), BoxError> {
        self.clock.advance(time);
        Ok(())
    }

    async fn forget(&mut self, scope: &ScopeName) -> Result<Offered, BoxError> {
        self.level.forget_scope(scope);
        Ok(Offered::Yes)
    }

    async fn back_up(&mut self) -> Result<Offered, BoxError> {
        self.checkpoint = Some(self.level.checkpoint());
        Ok(Offered::Yes)
    }

    async fn restore(&mut self) -> Result<(), BoxError> {
        self.level.fail_over_to(self.checkpoint.as_ref().unwrap());
        Ok(())
    }

    async fn cut_listeners(&mut self) -> Result<Offered, BoxError> {
        self.nodes
            .lock()
            .unwrap()
            .iter()
            .for_each(MemoryNode::cut_subscriber);
        Ok(Offered::Yes)
    }

    async fn break_down(&mut self) -> Result<Offered, BoxError> {
        self.nodes.lock().unwrap().iter().for_each(MemoryNode::go_away);
        Ok(Offered::Yes)
    }
}

async fn checked(flaw: Flaw) -> Report {
    conformance::shared_level(|| async { flawed::Workshop::new(flaw) }).await
}

fn assert_all_passed(report: &Report) {
    report.assert_passed();
    assert_eq!(report.not_offered().collect::<Vec<_>>(), []);
    assert_eq!(report.passed().count(), 46);
}

#[tokio::test(start_paused = true)]
async fn the_level_in_memory_passes_every_check() {
    assert_all_passed(&conformance::shared_level(|| async { InMemory::new() }).await);
}

#[tokio::test]
async fn a_level_without_a_flaw_passes_every_check() {
    assert_all_passed(&checked(Flaw::None).await);
}

macro_rules! one_check {
    ($($check:ident)*) => {
        async fn one_check(check: &str, flaw: Flaw) -> CheckResult {
            match check {
                $(stringify!($check) => level::$check(&mut flawed::Workshop::new(flaw)).await,)*
                other => panic!("there is no check {other}"),
            }
        }
    };
}

one_check! {
    a_later_flush_has_a_higher_number
    flushes_at_once_make_one_chain
    a_flush_is_above_what_its_caller_knows
    a_soft_flush_leaves_the_hard_number
    a_flush_makes_a_missing_scope
    all_cells_are_flushed_at_once
    a_dropped_flush_is_done_as_a_whole_or_not_at_all
    a_missing_scope_is_made_with_a_fresh_base
    nothing_new_is_told_as_such
    what_was_raised_since_is_told_and_nothing_else
    a_long_absence_loses_nothing
    an_unknown_number_is_behind_until_its_asker_teaches
    a_lost_scope_is_made_above_all_before
    answers_come_in_the_order_of_their_asks
    scopes_do_not_meet
    what_is_taught_gets_one_new_number
    teaching_what_is_known_takes_no_number
    soft_and_hard_flushes_are_taught_apart
    others_are_told_what_was_taught
    a_late_teaching_is_heard
    those_who_teach_the_same_take_one_number
    a_teaching_makes_a_missing_scope
    all_cells_are_taught_at_once
    a_failover_is_healed_by_teaching
    entries_come_in_the_order_asked_for
    any_bytes_are_names_and_values
    long_names_do_not_meet
    an_entry_replaces_what_was_there
    an_entry_lives_as_long_as_was_said
    discarded_entries_are_gone_and_no_others
    ten_thousand_entries_at_once
    empty_lists_are_no_mistake
    a_fetch_tells_what_a_renewal_would
    numbers_are_no_older_than_entries
    a_dropped_call_leaves_no_answer_behind
    flushes_are_heard_by_everybody
    a_flush_of_all_cells_is_heard
    who_follows_messages_misses_nothing
    a_teaching_is_heard_by_everybody
    a_listener_that_leaves_disturbs_nobody
    a_lost_connection_is_heard_as_a_gap
    trouble_is_an_error
    a_claim_is_one_processes_at_a_time
    a_claim_ends_by_itself
    the_scopes_used_most_are_hottest
    what_processes_tell_is_found
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_found_by_the_check_that_is_there_for_it() {
    let mut missed = Vec::new();
    for (flaw, check) in FLAWS {
        let Err(found) = one_check(check, flaw).await else {
            missed.push((flaw, check));
            continue;
        };
        let text = found.to_string();
        for part in [found.expected(), found.seen(), found.why()] {
            assert!(!part.is_empty() && text.contains(part), "{flaw:?}: {text}");
        }
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

#[tokio::test(start_paused = true)]
async fn every_check_has_a_flaw_that_it_finds() {
    for check in checked(Flaw::None).await.passed() {
        let has_one = FLAWS.iter().any(|(_, found_by)| *found_by == check);
        assert!(has_one, "nothing shows that {check} can fail");
    }
}

#[tokio::test(start_paused = true)]
#[should_panic = "the shared level fails its checks"]
async fn a_report_with_failures_fails_its_test() {
    checked(Flaw::KeepsTaughtNumbers).await.assert_passed();
}
