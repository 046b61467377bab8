use std::{fmt, sync::Arc};

use tenancy_core::{InvalidName, TenantRecord};

use super::{
    DatabasePerTenant, FilePerTenant, GuardedTables, IsolationStrategy, SchemaPerTenant, SharedRows,
};

type Choose = dyn Fn(&TenantRecord) -> Option<&'static str> + Send + Sync;

/// Which strategy a tenant's data is kept apart by.
///
/// What the tenant's [placement](tenancy_core::Placement::isolation) names goes first, then what the closure of
/// [`choose`](Self::choose) says, then the default. Cloning copies pointers.
#[derive(Clone)]
pub struct Isolation {
    default: Arc<dyn IsolationStrategy>,
    others: Vec<Arc<dyn IsolationStrategy>>,
    choose: Option<Arc<Choose>>,
}

impl Isolation {
    /// A strategy for all tenants that name no other.
    pub fn of(strategy: impl IsolationStrategy) -> Self {
        Self {
            default: Arc::new(strategy),
            others: Vec::new(),
            choose: None,
        }
    }

    /// [`DatabasePerTenant`].
    pub fn database() -> Self {
        Self::of(DatabasePerTenant::new())
    }

    /// [`SchemaPerTenant`].
    pub fn schema() -> Self {
        Self::of(SchemaPerTenant::new())
    }

    /// [`SharedRows`].
    pub fn rows() -> Self {
        Self::of(SharedRows::new())
    }

    /// [`FilePerTenant`].
    pub fn file() -> Self {
        Self::of(FilePerTenant::new())
    }

    /// [`GuardedTables`].
    pub fn guarded() -> Self {
        Self::of(GuardedTables::new())
    }

    /// Another strategy, for tenants that name it. Of two with one name, the earlier counts.
    #[must_use]
    pub fn or(mut self, strategy: impl IsolationStrategy) -> Self {
        self.others.push(Arc::new(strategy));
        self
    }

    /// Names the strategy of a tenant whose placement names none; `None` for the default. A name that no strategy has is
    /// refused, for that tenant. Called for each connection that is asked for; must not block.
    #[must_use]
    pub fn choose(
        mut self,
        by: impl Fn(&TenantRecord) -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        self.choose = Some(Arc::new(by));
        self
    }

    pub(crate) fn strategies(&self) -> impl Iterator<Item = &dyn IsolationStrategy> {
        std::iter::once(&self.default)
            .chain(&self.others)
            .map(|strategy| &**strategy)
    }

    /// The strategy of a tenant.
    ///
    /// # Errors
    /// When it names one that is not there.
    pub(crate) fn strategy_of(&self, record: &TenantRecord) -> Result<&dyn IsolationStrategy, InvalidName> {
        let placed = record.placement.as_ref().map(|placement| &*placement.isolation);
        let chosen = || self.choose.as_ref().and_then(|choose| choose(record));
        let Some(name) = placed.filter(|name| !name.is_empty()).or_else(chosen) else {
            return Ok(&*self.default);
        };
        self.strategies()
            .find(|strategy| strategy.name() == name)
            .ok_or_else(|| InvalidName::new("isolation", name, "there is no strategy of this name"))
    }
}

impl fmt::Debug for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isolation")
            .field("default", &self.default)
            .field("others", &self.others)
            .field("chooses", &self.choose.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use tenancy_core::{Placement, TenantId};

    use super::*;

    #[test]
    fn the_placement_goes_before_the_closure_and_that_before_the_default() {
        let isolation = Isolation::schema()
            .or(DatabasePerTenant::new())
            .or(SharedRows::new())
            .choose(|record| (record.id == "big").then_some("database"));
        let name_of = |id: &str, placed: &str| {
            let mut record = TenantRecord::new(TenantId::new(id).unwrap());
            let mut placement = Placement::default();
            placement.isolation = placed.into();
            record.placement = Some(Box::new(placement));
            isolation
                .strategy_of(&record)
                .ok()
                .map(|strategy| strategy.name())
        };
        for (id, placed, strategy) in [
            ("acme", "", Some("schema")),
            ("big", "", Some("database")),
            ("big", "rows", Some("rows")),
            ("acme", "rows", Some("rows")),
            ("acme", "Rows", None),
            ("acme", "file", None),
        ] {
            assert_eq!(name_of(id, placed), strategy, "{id} {placed}");
        }
    }
}
