//! The rows of the report: what is measured, against which budget.

pub(crate) mod cache;
pub(crate) mod databases;
pub(crate) mod growth;
pub(crate) mod memory;
pub(crate) mod requests;
pub(crate) mod scale;
pub(crate) mod served;
