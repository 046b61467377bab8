//! The fixed shape of an adopted catalogue, and whether a database has it.

use super::{StoreKind, statements::Statements};
use crate::{
    CatalogueError,
    central::{Connection, Dialect, Statement, sql},
};

/// What stands at the end of every complaint about a shape.
const WHAT_TO_DO: &str = "`tenancy catalogue adopt` prints the SQL that makes them";

const TENANTS: &[&str] = &[
    "id",
    "slug",
    "status",
    "plan",
    "tenant_type",
    "settings",
    "data",
    "placement_server",
    "placement_database",
    "maintenance",
    "epoch",
    "incarnation",
    "created_at_ms",
    "updated_at_ms",
];

/// Name, what it is, and the columns that it has at least.
const OBJECTS: &[(&str, &str, &[&str])] = &[
    ("tenancy_tenants", "view", TENANTS),
    ("tenancy_domains", "view", &["tenant_id", "domain"]),
    (
        "tenancy_changes",
        "table",
        &["number", "stamp", "tenant_id", "kind", "keys", "actor", "at_ms"],
    ),
    ("tenancy_change_head", "table", &["number", "floor"]),
];

pub(super) const TRIGGERS_ARE_MISSING: &str = "triggers are missing, so that changes are not seen: a table was rebuilt, or they were dropped or disabled";

/// How two databases answer what is there.
struct Looks {
    /// `table` or `view`, in a column called `answer`; the name follows.
    kind: (&'static str, &'static str),
    /// Names of the columns, in a column called `answer`; the name follows.
    columns: (&'static str, &'static str),
}

impl Looks {
    fn of(dialect: Dialect) -> Self {
        match dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => Self {
                kind: ("SELECT type AS answer FROM sqlite_schema WHERE name = ", ""),
                columns: ("SELECT name AS answer FROM pragma_table_info(", ")"),
            },
            #[cfg(feature = "postgres")]
            Dialect::Postgres => Self {
                kind: (
                    "SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' ELSE 'relation of another kind' END \
                     AS answer FROM pg_class WHERE oid = to_regclass(",
                    ")",
                ),
                columns: (
                    "SELECT attname AS answer FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped \
                     AND attrelid = to_regclass(",
                    ")",
                ),
            },
            #[cfg(feature = "mysql")]
            Dialect::MySql => Self {
                kind: (
                    "SELECT CASE table_type WHEN 'BASE TABLE' THEN 'table' WHEN 'VIEW' THEN 'view' \
                     ELSE 'table of another kind' END AS answer FROM information_schema.tables \
                     WHERE table_schema = database() AND table_name = ",
                    "",
                ),
                columns: (
                    "SELECT column_name AS answer FROM information_schema.columns \
                     WHERE table_schema = database() AND table_name = ",
                    "",
                ),
            },
        }
    }
}

fn about((before, after): (&'static str, &'static str), name: &str) -> Statement {
    let mut statement = sql(before);
    statement.push_bind(name).push(after);
    statement
}

async fn kind_of_object(connection: &mut Connection, name: &str) -> Result<Option<String>, sqlx::Error> {
    let question = about(Looks::of(connection.dialect()).kind, name);
    let found = connection.fetch_optional(question).await?;
    found.map(|row| row.text("answer").map(str::to_owned)).transpose()
}

/// Whether there is a table of that name.
#[cfg(feature = "domains")]
pub(super) async fn is_there(connection: &mut Connection, table: &str) -> Result<bool, sqlx::Error> {
    Ok(kind_of_object(connection, table).await?.as_deref() == Some("table"))
}

/// What kind of catalogue there is; `None` when there is none.
pub(super) async fn kind_of(connection: &mut Connection) -> Result<Option<StoreKind>, CatalogueError> {
    let found = kind_of_object(connection, "tenancy_schema")
        .await
        .map_err(CatalogueError::from_sqlx)?;
    Ok(match found.as_deref() {
        Some("table") => Some(StoreKind::ReadOnly),
        Some(_) => Some(StoreKind::Adopted),
        None => None,
    })
}

/// Whether everything is there that reading an adopted catalogue needs.
pub(super) async fn check(connection: &mut Connection) -> Result<(), CatalogueError> {
    let mut mistakes = Vec::new();
    for (name, wanted, columns) in OBJECTS {
        check_object(connection, name, wanted, columns, &mut mistakes).await?;
    }
    if mistakes.is_empty()
        && missing_triggers(connection)
            .await
            .map_err(CatalogueError::from_sqlx)?
            > 0
    {
        mistakes.push(TRIGGERS_ARE_MISSING.to_owned());
    }
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(CatalogueError::wrong_shape(format!(
        "{}; {WHAT_TO_DO}",
        mistakes.join("; ")
    )))
}

async fn check_object(
    connection: &mut Connection,
    name: &str,
    wanted: &str,
    columns: &[&str],
    mistakes: &mut Vec<String>,
) -> Result<(), CatalogueError> {
    let found = kind_of_object(connection, name)
        .await
        .map_err(CatalogueError::from_sqlx)?;
    match found {
        None => mistakes.push(format!("there is no {wanted} {name}")),
        Some(found) if found != wanted => mistakes.push(format!("{name} is a {found}, not a {wanted}")),
        Some(_) => match columns_of(connection, name).await {
            Ok(there) => {
                let missing = columns
                    .iter()
                    .filter(|column| !there.iter().any(|there| there == *column));
                mistakes.extend(missing.map(|column| format!("the {wanted} {name} has no column {column}")));
            }
            // SQLite looks into a view only now, and says which table or column it lacks.
            Err(error) => mistakes.push(format!("the {wanted} {name} does not work: {error}")),
        },
    }
    Ok(())
}

async fn columns_of(connection: &mut Connection, name: &str) -> Result<Vec<String>, sqlx::Error> {
    let question = about(Looks::of(connection.dialect()).columns, name);
    let rows = connection.fetch_all(question).await?;
    rows.iter()
        .map(|row| row.text("answer").map(str::to_owned))
        .collect()
}

/// Rebuilding a table drops its triggers without a word.
async fn missing_triggers(connection: &mut Connection) -> Result<i64, sqlx::Error> {
    match connection.dialect() {
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            connection
                .ask_int(
                    "SELECT (SELECT triggers FROM tenancy_schema) - (SELECT count(*) FROM information_schema.triggers
                         WHERE trigger_schema = database() AND substr(trigger_name, 1, 11) = 'tenancy_on_') AS answer",
                )
                .await
        }
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        dialect => {
            let head = sql(Statements::of(dialect, StoreKind::Adopted).head);
            connection.fetch_one(head).await?.int("missing_triggers")
        }
    }
}
