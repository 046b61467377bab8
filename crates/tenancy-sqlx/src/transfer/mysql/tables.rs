//! What tables a tenant has on MySQL and MariaDB.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, MySqlConnection, Row as _, mysql::MySqlRow};

use super::super::{TransferError, engine::LEDGERS, manifest::TableEntry};
use crate::isolation::{EngineKind, Identifier};

#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) quoted: String,
    pub(super) columns: Vec<Column>,
    /// The number that it gives to its next row.
    pub(super) next: Option<i64>,
    pub(super) is_transactional: bool,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) quoted: String,
    form: Form,
}

/// How a value becomes text and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Hex,
    /// As text it would be cut to six digits.
    Float,
    Bits,
}

impl Form {
    fn of(kind: &str) -> Self {
        match kind {
            "float" => Self::Float,
            "bit" => Self::Bits,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector"
            | "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Hex,
            _ => Self::Text,
        }
    }
}

impl Column {
    pub(super) fn read(&self) -> String {
        let name = &self.quoted;
        match self.form {
            Form::Text => format!("CAST({name} AS CHAR CHARACTER SET utf8mb4)"),
            Form::Hex => format!("HEX({name})"),
            Form::Float => format!("CAST({name} + 0e0 AS CHAR)"),
            Form::Bits => format!("CAST({name} + 0 AS CHAR)"),
        }
    }

    pub(super) fn write(&self) -> &'static str {
        match self.form {
            Form::Text | Form::Float => "?",
            Form::Hex => "UNHEX(?)",
            Form::Bits => "CAST(? AS UNSIGNED)",
        }
    }

    /// The server would take what is no number for none at all.
    pub(super) fn takes(&self, value: &str) -> bool {
        match self.form {
            Form::Text | Form::Float => true,
            Form::Hex => value.len().is_multiple_of(2) && value.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Form::Bits => value.parse::<u64>().is_ok(),
        }
    }
}

impl Table {
    pub(super) fn column_list(&self) -> String {
        self.columns
            .iter()
            .map(|column| &*column.quoted)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

const TABLES: &str = "
    SELECT CAST(t.TABLE_NAME AS CHAR), CAST(t.AUTO_INCREMENT AS CHAR), CAST(coalesce(e.TRANSACTIONS, 'NO') AS CHAR)
    FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
    WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1";

/// MariaDB says NULL of a column that is not generated, MySQL an empty text.
const COLUMNS: &str = "
    SELECT CAST(TABLE_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR), CAST(lower(DATA_TYPE) AS CHAR)
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND coalesce(GENERATION_EXPRESSION, '') = '' ORDER BY TABLE_NAME, ORDINAL_POSITION";

/// All tables of the home.
pub(super) async fn tables(connection: &mut MySqlConnection) -> Result<Vec<Table>, TransferError> {
    let failed = |error| TransferError::server("list the home's tables", error);
    let mut tables = Vec::new();
    let mut numbers = HashMap::new();
    for row in ask(connection, "list the home's tables", TABLES.to_owned()).await? {
        let name = text(&row, 0).map_err(failed)?;
        if LEDGERS.contains(&&*name) {
            continue;
        }
        let next: Option<String> = row.try_get_unchecked(1).map_err(failed)?;
        numbers.insert(name.clone(), tables.len());
        tables.push(Table {
            quoted: quoted(&name)?,
            name,
            columns: Vec::new(),
            next: next.and_then(|next| next.parse().ok()),
            is_transactional: text(&row, 2).map_err(failed)? == "YES",
        });
    }
    for row in ask(connection, "list the home's columns", COLUMNS.to_owned()).await? {
        let Some(number) = numbers.get(&text(&row, 0).map_err(failed)?) else {
            continue;
        };
        let name = text(&row, 1).map_err(failed)?;
        tables[*number].columns.push(Column {
            quoted: quoted(&name)?,
            form: Form::of(&text(&row, 2).map_err(failed)?),
            name,
        });
    }
    Ok(tables)
}

/// What the export has must be what the home has. Its tables, with the columns in the order of their files.
pub(super) fn pair(
    entries: &[TableEntry],
    tables: Vec<Table>,
) -> Result<Vec<(&TableEntry, Table)>, TransferError> {
    let mut by_name: HashMap<_, _> = tables
        .into_iter()
        .map(|table| (table.name.clone(), table))
        .collect();
    let mut pairs = Vec::new();
    for entry in entries {
        let found = by_name.remove(&entry.name).filter(|_| entry.schema.is_none());
        let mut table = found.ok_or_else(|| {
            TransferError::mismatch(format!(
                "the home has no table {:?}, which the export has",
                entry.label()
            ))
        })?;
        let place = |column: &Column| entry.columns.iter().position(|name| *name == column.name);
        if table.columns.len() != entry.columns.len()
            || table.columns.iter().any(|column| place(column).is_none())
        {
            return Err(TransferError::mismatch(format!(
                "the table {:?} has other columns in the home than in the export",
                entry.label()
            )));
        }
        table.columns.sort_by_key(place);
        if !table.is_transactional {
            return Err(TransferError::unsupported(format!(
                "the table {:?} has an engine without transactions: what is taken in could not be taken back",
                entry.label()
            )));
        }
        pairs.push((entry, table));
    }
    match by_name.keys().next() {
        None => Ok(pairs),
        Some(more) => Err(TransferError::mismatch(format!(
            "the home has a table {more:?}, which the export has not"
        ))),
    }
}

const REFERENCES: &str = "
    SELECT CAST(CONSTRAINT_NAME AS CHAR), CAST(TABLE_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR),
        CAST(REFERENCED_TABLE_NAME AS CHAR), CAST(REFERENCED_COLUMN_NAME AS CHAR)
    FROM information_schema.KEY_COLUMN_USAGE
    WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_SCHEMA = DATABASE() ORDER BY 2, 1, ORDINAL_POSITION";

struct Reference {
    name: String,
    from: String,
    to: String,
    columns: Vec<(String, String)>,
}

/// Fails if a row refers to one that is not there. The server does not look at rows that came while it was told not to.
pub(super) async fn check_references(connection: &mut MySqlConnection) -> Result<(), TransferError> {
    const DOING: &str = "check references";
    let failed = |error| TransferError::server(DOING, error);
    let mut references: Vec<Reference> = Vec::new();
    for row in ask(connection, DOING, REFERENCES.to_owned()).await? {
        let part = |number| text(&row, number).map_err(failed);
        let (name, from, to) = (part(0)?, part(1)?, part(3)?);
        let columns = (quoted(&part(2)?)?, quoted(&part(4)?)?);
        match references.last_mut() {
            Some(last) if last.name == name && last.from == from => last.columns.push(columns),
            _ => references.push(Reference {
                name,
                from,
                to,
                columns: vec![columns],
            }),
        }
    }
    for reference in &references {
        let look = reference.look_for_broken()?;
        if !ask(connection, DOING, look).await?.is_empty() {
            let Reference { name, from, .. } = reference;
            return Err(TransferError::damaged(format!(
                "a row of the table {from:?} refers to one that is not there ({name})"
            )));
        }
    }
    Ok(())
}

impl Reference {
    /// Rows with a value in each column that together are no key of the other table.
    fn look_for_broken(&self) -> Result<String, TransferError> {
        let is_set: Vec<_> = self
            .columns
            .iter()
            .map(|(from, _)| format!("c.{from} IS NOT NULL"))
            .collect();
        let is_same: Vec<_> = self
            .columns
            .iter()
            .map(|(from, to)| format!("p.{to} = c.{from}"))
            .collect();
        let (child, parent) = (quoted(&self.from)?, quoted(&self.to)?);
        let (is_set, is_same) = (is_set.join(" AND "), is_same.join(" AND "));
        Ok(format!(
            "SELECT 1 FROM {child} c WHERE {is_set} AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {is_same}) LIMIT 1"
        ))
    }
}

pub(super) async fn ask(
    connection: &mut MySqlConnection,
    doing: &str,
    question: String,
) -> Result<Vec<MySqlRow>, TransferError> {
    let rows = sqlx::raw_sql(AssertSqlSafe(question)).fetch_all(connection).await;
    rows.map_err(|error| TransferError::server(doing, error))
}

pub(super) fn text(row: &MySqlRow, number: usize) -> Result<String, sqlx::Error> {
    row.try_get_unchecked(number)
}

fn quoted(name: &str) -> Result<String, TransferError> {
    let name = Identifier::new(name).map_err(|error| TransferError::unsupported(error.to_string()))?;
    Ok(name.quoted(EngineKind::MySql))
}
