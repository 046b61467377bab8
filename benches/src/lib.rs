//! What the programs that measure have in common: rows with budgets, statistics, and what the kernel says of a process.

use std::error::Error;

pub mod process;
pub mod report;
pub mod statistics;

/// Why something could not be measured.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything that has a budget and does not depend on the machine, with few repetitions.
    Check,
    /// Everything, with as many repetitions as a figure needs that is to be published.
    Full,
}
