//! What tables a tenant has on PostgreSQL.

use std::collections::HashMap;

use sqlx::{PgConnection, Row as _};

use super::super::{
    TransferError,
    engine::LEDGERS,
    manifest::{TableEntry, label},
};
use crate::isolation::{EngineKind, Identifier};

/// A table as the catalogue of the database has it.
#[derive(Debug)]
pub(super) struct Table {
    /// `None`: in the home's first schema.
    pub(super) schema: Option<String>,
    pub(super) name: String,
    pub(super) oid: i64,
    /// With its schema, for SQL.
    pub(super) quoted: String,
    is_partitioned: bool,
    has_policies: bool,
    is_bound_by_policies: bool,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) quoted: String,
    /// As a cast takes it, without a length: a cast would cut what is too long.
    pub(super) kind: String,
}

const TABLES: &str = "
    SELECT nullif(n.nspname, current_schema())::text, n.nspname::text, c.relname::text, c.oid::bigint, c.relkind = 'p',
        c.relrowsecurity, row_security_active(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND NOT ($1 AND n.nspname IS DISTINCT FROM current_schema()) AND c.relname <> ALL ($2)
        AND NOT EXISTS (SELECT FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 2, 3";

const COLUMNS: &str = "
    SELECT a.attname::text, format_type(a.atttypid, -1) FROM pg_attribute a
    WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum";

/// Whose tables are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of the database.
    Database,
    /// Those of the first schema of the search path.
    Schema,
    /// Those with policies.
    Policies,
}

/// All tables of a home. The session must be the tenant's.
pub(super) async fn tables(connection: &mut PgConnection, scope: Scope) -> Result<Vec<Table>, TransferError> {
    let failed = |error| TransferError::server("list the home's tables", error);
    let rows = sqlx::query(TABLES)
        .bind(scope == Scope::Schema)
        .bind(LEDGERS.as_slice())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let mut tables = Vec::new();
    for row in &rows {
        let mut table = table(row).map_err(failed)??;
        if scope == Scope::Policies && !table.has_policies {
            continue;
        }
        if scope == Scope::Policies && !table.is_bound_by_policies {
            return Err(TransferError::unsupported(format!(
                "policies of the table {:?} do not bind the application's role, which would see the rows of all tenants",
                table.name
            )));
        }
        let columns = sqlx::query(COLUMNS)
            .bind(table.oid)
            .fetch_all(&mut *connection)
            .await;
        for row in columns.map_err(failed)? {
            table.columns.push(column(&row).map_err(failed)??);
        }
        tables.push(table);
    }
    Ok(tables)
}

fn table(row: &sqlx::postgres::PgRow) -> Result<Result<Table, TransferError>, sqlx::Error> {
    let (schema, name): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let table = Table {
        schema: row.try_get(0)?,
        oid: row.try_get(3)?,
        quoted: String::new(),
        is_partitioned: row.try_get(4)?,
        has_policies: row.try_get(5)?,
        is_bound_by_policies: row.try_get(6)?,
        columns: Vec::new(),
        name,
    };
    Ok(quoted(&schema).and_then(|schema| {
        let quoted = format!("{schema}.{}", quoted(&table.name)?);
        Ok(Table { quoted, ..table })
    }))
}

fn column(row: &sqlx::postgres::PgRow) -> Result<Result<Column, TransferError>, sqlx::Error> {
    let (name, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(quoted(&name).map(|quoted| Column { name, quoted, kind }))
}

pub(super) fn quoted(name: &str) -> Result<String, TransferError> {
    let name = Identifier::new(name).map_err(|error| TransferError::unsupported(error.to_string()))?;
    Ok(name.quoted(EngineKind::Postgres))
}

impl Table {
    pub(super) fn label(&self) -> String {
        label(self.schema.as_deref(), &self.name)
    }

    /// Of tables that inherit from it, rows are read with themselves; of partitions, with it.
    pub(super) fn copy_out(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| &*column.quoted).collect();
        let only = if self.is_partitioned { "" } else { "ONLY " };
        format!(
            "COPY (SELECT {} FROM {only}{}) TO STDOUT",
            columns.join(", "),
            self.quoted
        )
    }
}

/// A table of an export, and where it goes.
pub(super) struct Pair<'a> {
    pub(super) entry: &'a TableEntry,
    pub(super) table: &'a Table,
    /// Those of the table in the order of the file.
    pub(super) columns: Vec<&'a Column>,
}

/// What the export has must be what the home has.
pub(super) fn pair<'a>(
    entries: &'a [TableEntry],
    tables: &'a [Table],
) -> Result<Vec<Pair<'a>>, TransferError> {
    let key = |schema: &'a Option<String>, name: &'a str| (schema.as_deref(), name);
    let mut by_name: HashMap<_, _> = tables
        .iter()
        .map(|table| (key(&table.schema, &table.name), table))
        .collect();
    let mut pairs = Vec::new();
    for entry in entries {
        let table = by_name.remove(&key(&entry.schema, &entry.name)).ok_or_else(|| {
            TransferError::mismatch(format!(
                "the home has no table {:?}, which the export has",
                entry.label()
            ))
        })?;
        let columns: Vec<_> = entry
            .columns
            .iter()
            .filter_map(|name| table.columns.iter().find(|column| column.name == *name))
            .collect();
        if columns.len() != entry.columns.len() || columns.len() != table.columns.len() {
            return Err(TransferError::mismatch(format!(
                "the table {:?} has other columns in the home than in the export",
                entry.label()
            )));
        }
        pairs.push(Pair {
            entry,
            table,
            columns,
        });
    }
    match by_name.values().next() {
        None => Ok(pairs),
        Some(more) => Err(TransferError::mismatch(format!(
            "the home has a table {:?}, which the export has not",
            more.label()
        ))),
    }
}
