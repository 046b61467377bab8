//! What every shared cache level must do: the checks of [`shared_level`], each a function to be run alone.
//!
//! * Write a [`LevelHarness`]: how a check connects, and what else can be done to the level.
//! * [`shared_level`] runs all checks, each against a level of its own, and returns a [`Report`].
//!
//! **Caveats.** What the harness does not offer is not checked, and the report says so. The checks run on a tokio runtime with time
//! enabled. One of them lets a tenth of a second pass; those that wait for an answer or a message give up after a minute.
//! Those that look for races (two flushes at once, a flush within a fetch) can pass by luck on a level that is wrong.
//!
//! ```
//! # async fn example() {
//! use std::sync::Arc;
//! use tenancy::cache::shared::SharedLevel;
//! use tenancy_core::BoxError;
//! use tenancy_test::{cache::MemoryLevel, conformance::{self, LevelHarness}};
//!
//! struct InMemory(MemoryLevel);
//!
//! impl LevelHarness for InMemory {
//!     async fn connect(&self) -> Result<Arc<dyn SharedLevel>, BoxError> {
//!         Ok(Arc::new(self.0.node()))
//!     }
//! }
//!
//! let report = conformance::shared_level(|| async { InMemory(MemoryLevel::new()) }).await;
//! println!("{report}");
//! report.assert_passed();
//! assert_eq!(report.not_offered().count(), 4);
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
//! ```
//!
//! ```
//! # async fn example() {
//! # use std::sync::Arc;
//! # use tenancy::cache::shared::SharedLevel;
//! # use tenancy_core::BoxError;
//! use tenancy_test::{cache::MemoryLevel, conformance::{LevelHarness, level}};
//!
//! /// Each process has a level of its own.
//! struct Apart;
//!
//! impl LevelHarness for Apart {
//!     async fn connect(&self) -> Result<Arc<dyn SharedLevel>, BoxError> {
//!         Ok(Arc::new(MemoryLevel::new().node()))
//!     }
//! }
//!
//! // One check alone, while the level is being written.
//! let failure = level::a_late_teaching_is_heard(&mut Apart).await.unwrap_err();
//! println!("{failure}");
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example());
//! ```

mod asking;
mod entries;
mod harness;
mod hearing;
mod process;
mod raising;
mod sparing;
mod teaching;

use std::future::Future;

use super::report::Report;

pub use self::{
    asking::{
        a_long_absence_loses_nothing, a_lost_scope_is_made_above_all_before,
        a_missing_scope_is_made_with_a_fresh_base, an_unknown_number_is_behind_until_its_asker_teaches,
        answers_come_in_the_order_of_their_asks, nothing_new_is_told_as_such, scopes_do_not_meet,
        what_was_raised_since_is_told_and_nothing_else,
    },
    entries::{
        a_dropped_call_leaves_no_answer_behind, a_fetch_tells_what_a_renewal_would,
        an_entry_lives_as_long_as_was_said, an_entry_replaces_what_was_there, any_bytes_are_names_and_values,
        discarded_entries_are_gone_and_no_others, empty_lists_are_no_mistake,
        entries_come_in_the_order_asked_for, long_names_do_not_meet, numbers_are_no_older_than_entries,
        ten_thousand_entries_at_once,
    },
    harness::LevelHarness,
    hearing::{
        a_flush_of_all_cells_is_heard, a_listener_that_leaves_disturbs_nobody,
        a_lost_connection_is_heard_as_a_gap, a_teaching_is_heard_by_everybody,
        flushes_are_heard_by_everybody, trouble_is_an_error, who_follows_messages_misses_nothing,
    },
    raising::{
        a_dropped_flush_is_done_as_a_whole_or_not_at_all, a_flush_is_above_what_its_caller_knows,
        a_flush_makes_a_missing_scope, a_later_flush_has_a_higher_number,
        a_soft_flush_leaves_the_hard_number, all_cells_are_flushed_at_once, flushes_at_once_make_one_chain,
    },
    sparing::{
        a_claim_ends_by_itself, a_claim_is_one_processes_at_a_time, the_scopes_used_most_are_hottest,
        what_processes_tell_is_found,
    },
    teaching::{
        a_failover_is_healed_by_teaching, a_late_teaching_is_heard, a_teaching_makes_a_missing_scope,
        all_cells_are_taught_at_once, others_are_told_what_was_taught,
        soft_and_hard_flushes_are_taught_apart, teaching_what_is_known_takes_no_number,
        those_who_teach_the_same_take_one_number, what_is_taught_gets_one_new_number,
    },
};

/// Runs every check of a [`SharedLevel`](tenancy::cache::shared::SharedLevel), each against an empty level that `new_harness`
/// makes for it.
///
/// Runs all of them, whatever fails: see [`Report::assert_passed`].
pub async fn shared_level<F, H>(new_harness: impl Fn() -> F) -> Report
where
    F: Future<Output = H>,
    H: LevelHarness,
{
    let mut report = Report::of("shared level");
    let new = async || new_harness().await;

    let result = a_later_flush_has_a_higher_number(&mut new().await).await;
    report.add("a_later_flush_has_a_higher_number", result);
    let result = flushes_at_once_make_one_chain(&mut new().await).await;
    report.add("flushes_at_once_make_one_chain", result);
    let result = a_flush_is_above_what_its_caller_knows(&mut new().await).await;
    report.add("a_flush_is_above_what_its_caller_knows", result);
    let result = a_soft_flush_leaves_the_hard_number(&mut new().await).await;
    report.add("a_soft_flush_leaves_the_hard_number", result);
    let result = a_flush_makes_a_missing_scope(&mut new().await).await;
    report.add("a_flush_makes_a_missing_scope", result);
    let result = all_cells_are_flushed_at_once(&mut new().await).await;
    report.add("all_cells_are_flushed_at_once", result);
    let result = a_dropped_flush_is_done_as_a_whole_or_not_at_all(&mut new().await).await;
    report.add("a_dropped_flush_is_done_as_a_whole_or_not_at_all", result);

    let result = a_missing_scope_is_made_with_a_fresh_base(&mut new().await).await;
    report.add("a_missing_scope_is_made_with_a_fresh_base", result);
    let result = nothing_new_is_told_as_such(&mut new().await).await;
    report.add("nothing_new_is_told_as_such", result);
    let result = what_was_raised_since_is_told_and_nothing_else(&mut new().await).await;
    report.add("what_was_raised_since_is_told_and_nothing_else", result);
    let result = a_long_absence_loses_nothing(&mut new().await).await;
    report.add("a_long_absence_loses_nothing", result);
    let result = an_unknown_number_is_behind_until_its_asker_teaches(&mut new().await).await;
    report.add("an_unknown_number_is_behind_until_its_asker_teaches", result);
    let result = a_lost_scope_is_made_above_all_before(&mut new().await).await;
    report.add("a_lost_scope_is_made_above_all_before", result);
    let result = answers_come_in_the_order_of_their_asks(&mut new().await).await;
    report.add("answers_come_in_the_order_of_their_asks", result);
    let result = scopes_do_not_meet(&mut new().await).await;
    report.add("scopes_do_not_meet", result);

    let result = what_is_taught_gets_one_new_number(&mut new().await).await;
    report.add("what_is_taught_gets_one_new_number", result);
    let result = teaching_what_is_known_takes_no_number(&mut new().await).await;
    report.add("teaching_what_is_known_takes_no_number", result);
    let result = soft_and_hard_flushes_are_taught_apart(&mut new().await).await;
    report.add("soft_and_hard_flushes_are_taught_apart", result);
    let result = others_are_told_what_was_taught(&mut new().await).await;
    report.add("others_are_told_what_was_taught", result);
    let result = a_late_teaching_is_heard(&mut new().await).await;
    report.add("a_late_teaching_is_heard", result);
    let result = those_who_teach_the_same_take_one_number(&mut new().await).await;
    report.add("those_who_teach_the_same_take_one_number", result);
    let result = a_teaching_makes_a_missing_scope(&mut new().await).await;
    report.add("a_teaching_makes_a_missing_scope", result);
    let result = all_cells_are_taught_at_once(&mut new().await).await;
    report.add("all_cells_are_taught_at_once", result);
    let result = a_failover_is_healed_by_teaching(&mut new().await).await;
    report.add("a_failover_is_healed_by_teaching", result);

    let result = entries_come_in_the_order_asked_for(&mut new().await).await;
    report.add("entries_come_in_the_order_asked_for", result);
    let result = any_bytes_are_names_and_values(&mut new().await).await;
    report.add("any_bytes_are_names_and_values", result);
    let result = long_names_do_not_meet(&mut new().await).await;
    report.add("long_names_do_not_meet", result);
    let result = an_entry_replaces_what_was_there(&mut new().await).await;
    report.add("an_entry_replaces_what_was_there", result);
    let result = an_entry_lives_as_long_as_was_said(&mut new().await).await;
    report.add("an_entry_lives_as_long_as_was_said", result);
    let result = discarded_entries_are_gone_and_no_others(&mut new().await).await;
    report.add("discarded_entries_are_gone_and_no_others", result);
    let result = ten_thousand_entries_at_once(&mut new().await).await;
    report.add("ten_thousand_entries_at_once", result);
    let result = empty_lists_are_no_mistake(&mut new().await).await;
    report.add("empty_lists_are_no_mistake", result);
    let result = a_fetch_tells_what_a_renewal_would(&mut new().await).await;
    report.add("a_fetch_tells_what_a_renewal_would", result);
    let result = numbers_are_no_older_than_entries(&mut new().await).await;
    report.add("numbers_are_no_older_than_entries", result);
    let result = a_dropped_call_leaves_no_answer_behind(&mut new().await).await;
    report.add("a_dropped_call_leaves_no_answer_behind", result);

    let result = flushes_are_heard_by_everybody(&mut new().await).await;
    report.add("flushes_are_heard_by_everybody", result);
    let result = a_flush_of_all_cells_is_heard(&mut new().await).await;
    report.add("a_flush_of_all_cells_is_heard", result);
    let result = who_follows_messages_misses_nothing(&mut new().await).await;
    report.add("who_follows_messages_misses_nothing", result);
    let result = a_teaching_is_heard_by_everybody(&mut new().await).await;
    report.add("a_teaching_is_heard_by_everybody", result);
    let result = a_listener_that_leaves_disturbs_nobody(&mut new().await).await;
    report.add("a_listener_that_leaves_disturbs_nobody", result);
    let result = a_lost_connection_is_heard_as_a_gap(&mut new().await).await;
    report.add("a_lost_connection_is_heard_as_a_gap", result);
    let result = trouble_is_an_error(&mut new().await).await;
    report.add("trouble_is_an_error", result);

    let result = a_claim_is_one_processes_at_a_time(&mut new().await).await;
    report.add("a_claim_is_one_processes_at_a_time", result);
    let result = a_claim_ends_by_itself(&mut new().await).await;
    report.add("a_claim_ends_by_itself", result);
    let result = the_scopes_used_most_are_hottest(&mut new().await).await;
    report.add("the_scopes_used_most_are_hottest", result);
    let result = what_processes_tell_is_found(&mut new().await).await;
    report.add("what_processes_tell_is_found", result);
    report
}
