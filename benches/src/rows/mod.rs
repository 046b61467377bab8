//! The rows of the report: what is measured, against which budget.

pub(crate) mod requests;
pub(crate) mod scale;
pub(crate) mod served;

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything that has a budget, with few repetitions.
    Check,
    /// Everything, with as many repetitions as a figure needs that is to be published.
    Full,
}
