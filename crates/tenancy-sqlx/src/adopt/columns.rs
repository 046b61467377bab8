//! Which columns an adoption reads, checked; and the quotes of standard SQL.

use super::{
    AdoptedData, Adoption,
    source::{Source, check_name, check_table, check_text},
};
use crate::CatalogueError;

/// An adoption whose names are checked.
pub(super) struct Columns<'a> {
    pub(super) table: &'a str,
    pub(super) id: &'a str,
    pub(super) slug: Option<Source<'a>>,
    pub(super) status: Option<Source<'a>>,
    pub(super) plan: Option<Source<'a>>,
    pub(super) tenant_type: Option<Source<'a>>,
    pub(super) settings: Option<Source<'a>>,
    pub(super) maintenance: Option<Source<'a>>,
    pub(super) placement_server: Option<Source<'a>>,
    pub(super) placement_database: Option<Source<'a>>,
    pub(super) created_at: Option<Source<'a>>,
    pub(super) adoption: &'a Adoption,
}

impl<'a> Columns<'a> {
    pub(super) fn check(adoption: &'a Adoption) -> Result<Self, CatalogueError> {
        check_table(&adoption.table)?;
        check_name("column", &adoption.id)?;
        for (word, _) in &adoption.status_map {
            check_text("status", word)?;
        }
        match &adoption.data {
            AdoptedData::None => {}
            AdoptedData::Columns(columns) => {
                columns
                    .iter()
                    .try_for_each(|column| check_name("column", column))?;
            }
            AdoptedData::Json(column) => check_name("column", column)?,
        }
        if let Some(domains) = &adoption.domains {
            check_table(&domains.table)?;
            check_name("column", &domains.domain)?;
            check_name("column", &domains.tenant)?;
        }
        Ok(Self {
            table: &adoption.table,
            id: &adoption.id,
            slug: Source::parse_optional(adoption.slug.as_ref())?,
            status: Source::parse_optional(adoption.status.as_ref())?,
            plan: Source::parse_optional(adoption.plan.as_ref())?,
            tenant_type: Source::parse_optional(adoption.tenant_type.as_ref())?,
            settings: Source::parse_optional(adoption.settings.as_ref())?,
            maintenance: Source::parse_optional(adoption.maintenance.as_ref())?,
            placement_server: Source::parse_optional(adoption.placement_server.as_ref())?,
            placement_database: Source::parse_optional(adoption.placement_database.as_ref())?,
            created_at: Source::parse_optional(adoption.created_at.as_ref())?,
            adoption,
        })
    }

    /// The columns that the views read: changes of any other are nobody's business.
    pub(super) fn read_columns(&self) -> Vec<&'a str> {
        let sources = [
            self.slug,
            self.status,
            self.plan,
            self.tenant_type,
            self.settings,
            self.maintenance,
            self.placement_server,
            self.placement_database,
            self.created_at,
        ];
        let mut columns = vec![self.id];
        columns.extend(sources.into_iter().flatten().map(|source| source.column));
        match &self.adoption.data {
            AdoptedData::None => {}
            AdoptedData::Columns(names) => columns.extend(names.iter().map(String::as_str)),
            AdoptedData::Json(column) => columns.push(column),
        }
        if self.adoption.stancl {
            columns.push("data");
        }
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Always with its table: SQLite takes a bare name in quotes that is no column for a text.
pub(super) fn of(table: &str, column: &str) -> String {
    format!("{table}.{}", name(column))
}
