use std::time::Duration;

use tenancy_core::TenantId;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOutcome {
    /// Every tenant was tried.
    Done,
    /// A canary failed: no other tenant was begun after that.
    CanaryFailed,
    /// More than the allowed share of tenants failed: no other was begun after that.
    TooManyFailed,
    /// It was taken over by a process with other migrations.
    Abandoned,
}

impl RunOutcome {
    /// `done`, `canary failed`, `too many failed` or `abandoned`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::CanaryFailed => "canary failed",
            Self::TooManyFailed => "too many failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What a run did, by all processes that took part in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MigrationReport {
    /// How it ended.
    pub outcome: RunOutcome,
    /// The version that tenants were brought to.
    pub version: i64,
    /// Tenants that nobody had to connect to.
    pub up_to_date: u64,
    /// Tenants that are at the version now.
    pub migrated: u64,
    /// Those that are not, and why.
    pub failed: Vec<FailedTenant>,
    /// Tenants that were not begun.
    pub not_tried: u64,
    /// How long this process took.
    pub elapsed: Duration,
}

impl MigrationReport {
    /// Whether every tenant is at the version.
    pub fn is_complete(&self) -> bool {
        self.outcome == RunOutcome::Done && self.failed.is_empty() && self.not_tried == 0
    }
}

/// A tenant that was not migrated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedTenant {
    /// Whose database it is.
    pub tenant: TenantId,
    /// For operators: it may repeat what the database answered.
    pub reason: String,
}

/// What happens in this process while a run is under way; for a progress bar or a log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum MigrationEvent<'a> {
    /// A run was begun, or joined.
    Begun {
        /// Tenants that are not at the version.
        tenants: u64,
        /// Tenants that are.
        up_to_date: u64,
    },
    /// A tenant is at the version now.
    Migrated {
        /// Which one.
        tenant: &'a TenantId,
        /// How many migrations were run for it: none where its own ledger had them all.
        migrations: usize,
    },
    /// A tenant could not be brought to the version.
    Failed {
        /// Which one.
        tenant: &'a TenantId,
        /// For operators.
        reason: &'a str,
    },
}
