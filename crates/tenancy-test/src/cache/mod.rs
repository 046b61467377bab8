//! What tests of caches need: a second level in memory that can be hurt, and a loader that stops where it matters.
//!
//! * [`MemoryLevel`] is a shared level for caches of one test that stand for several processes. Each has a
//!   [`node`](MemoryLevel::node) with faults of its own: it goes away, freezes, answers late, loses messages. The level as a whole can be
//!   emptied, and fail over to what it was before.
//! * [`BarrierLoader`] waits inside of each load until the test lets it go on: what happens during a load is then one line.
//! * [`conformance::shared_level`](crate::conformance::shared_level) is what every
//!   [`SharedLevel`](tenancy::cache::shared::SharedLevel) must do, to be run against yours.
//!
//! **Caveats.** Nothing here sleeps or has time-outs. Entries expire by the level's clock: give it a
//! [`ManualClock`](crate::ManualClock) with [`MemoryLevel::with_clock`] to move it by hand. Messages that nobody reads are kept.
//!
//! A flush whose message is lost is found by asking:
//!
//! ```
//! # async fn example() {
//! use tenancy::cache::shared::{Answer, Ask, Cell, FlushMode, Raise, ScopeName, SharedLevel};
//! use tenancy_test::cache::{MemoryLevel, MessageFaults};
//!
//! let level = MemoryLevel::new();
//! let (flusher, other) = (level.node(), level.node());
//! other.harm_messages(MessageFaults::seeded(1).lost(100));
//!
//! let scope = ScopeName::for_tests("acme:1");
//! let ask = async |seen| {
//!     let asks = [Ask { scope: scope.clone(), seen }];
//!     other.renew(&asks).await.unwrap().remove(0)
//! };
//! let Answer::Whole { number: seen, .. } = ask(0).await else { panic!("the first answer is all there is") };
//!
//! let cells = vec![Cell::Slot(7)];
//! let flush = Raise { scope: scope.clone(), cells, mode: FlushMode::Hard, known: seen };
//! let raised = flusher.raise(&flush).await.unwrap();
//!
//! let Answer::Changed { number, levels } = ask(seen).await else { panic!("the flush is told") };
//! assert_eq!((number, levels[0].cell), (raised.number, Cell::Slot(7)));
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example());
//! ```
//!
//! A level that fails over loses what came last, and whoever knew of it teaches it again:
//!
//! ```
//! # async fn example() {
//! use tenancy::cache::shared::{Answer, Ask, Cell, FlushMode, Level, Raise, ScopeName, SharedLevel};
//! use tenancy_test::cache::MemoryLevel;
//!
//! let level = MemoryLevel::new();
//! let node = level.node();
//! let scope = ScopeName::for_tests("acme:1");
//! let flush = |slot| Raise { scope: scope.clone(), cells: vec![Cell::Slot(slot)], mode: FlushMode::Hard, known: 0 };
//! node.raise(&flush(1)).await.unwrap();
//!
//! let replica = level.checkpoint();
//! let lost = node.raise(&flush(2)).await.unwrap().number;
//! level.fail_over_to(&replica);
//!
//! let asks = [Ask { scope: scope.clone(), seen: lost }];
//! assert_eq!(node.renew(&asks).await.unwrap(), [Answer::Behind]);
//! let known = [Level { cell: Cell::Slot(2), any: lost, hard: lost }];
//! let Answer::Whole { number, .. } = node.teach(&scope, &known).await.unwrap() else {
//!     panic!("whoever has taught knows all")
//! };
//! assert!(number > lost);
//! # }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example());
//! ```

mod barrier_loader;
mod calls;
mod gate;
mod memory_level;
mod memory_node;
mod messages;
mod numbers;
mod spared;

pub use self::{
    barrier_loader::{BarrierLoader, LoaderFailure, WaitingLoad},
    calls::{LevelCall, LevelCalls},
    gate::HeldAnswer,
    memory_level::{Checkpoint, MemoryLevel},
    memory_node::MemoryNode,
    messages::MessageFaults,
};
