use std::{fmt, sync::Arc};

/// How far a connection may go from one tenant to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// It belongs to one tenant for ever.
    Never,
    /// It may serve other tenants of the same database. The server keeps memory for each tenant that it served, so that
    /// it is closed after a bounded number of them.
    Schemas,
    /// It may serve any number of tenants of the same database.
    Rows,
}

/// Where the connections of one tenant lead. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Arc<Place>);

#[derive(PartialEq, Eq)]
struct Place {
    database: Box<str>,
    /// What tells the tenants of one database apart: a schema, a role.
    inside: Option<Box<str>>,
    sharing: Sharing,
}

impl Target {
    /// A database, or a file, of the tenant's own.
    pub fn database(name: &str) -> Self {
        Self::new(name, None, Sharing::Never)
    }

    /// A part of a database that others have parts of, too.
    pub fn part(database: &str, inside: &str, sharing: Sharing) -> Self {
        Self::new(database, Some(inside.into()), sharing)
    }

    fn new(database: &str, inside: Option<Box<str>>, sharing: Sharing) -> Self {
        Self(Arc::new(Place {
            database: database.into(),
            inside,
            sharing,
        }))
    }

    pub(crate) fn database_name(&self) -> &str {
        &self.0.database
    }

    pub(super) fn sharing(&self) -> Sharing {
        self.0.sharing
    }

    /// Whether a connection that was opened for the other may serve this.
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        self.0.sharing != Sharing::Never
            && self.0.sharing == other.0.sharing
            && self.0.database == other.0.database
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            database,
            inside,
            sharing,
        } = &*self.0;
        f.debug_struct("Target")
            .field("database", database)
            .field("inside", inside)
            .field("sharing", sharing)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_inside_one_database_and_one_kind_only() {
        let acme = Target::part("app", "acme", Sharing::Schemas);
        for (other, shared) in [
            (Target::part("app", "bolt", Sharing::Schemas), true),
            (Target::part("other", "bolt", Sharing::Schemas), false),
            (Target::part("app", "bolt", Sharing::Rows), false),
            (Target::part("app", "bolt", Sharing::Never), false),
            (Target::database("app"), false),
        ] {
            assert_eq!(acme.shares_with(&other), shared, "{other:?}");
            assert_eq!(other.shares_with(&acme), shared, "{other:?}");
        }
        assert!(!Target::database("app").shares_with(&Target::database("app")));
    }
}
