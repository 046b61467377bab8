//! The fixed shape of an adopted catalogue, and whether a file has it.

use sqlx::{Row as _, SqliteConnection};

use super::StoreKind;
use crate::CatalogueError;

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

/// How many of the adoption's triggers are missing. Rebuilding a table drops them without a word.
const MISSING_TRIGGERS: &str = "SELECT (SELECT triggers FROM tenancy_schema) - (SELECT count(*) FROM sqlite_schema \
    WHERE type = 'trigger' AND substr(name, 1, 11) = 'tenancy_on_')";

/// What kind of catalogue a file holds; `None` when it holds none.
pub(super) async fn kind_of(connection: &mut SqliteConnection) -> Result<Option<StoreKind>, CatalogueError> {
    let found: Option<String> =
        sqlx::query_scalar("SELECT type FROM sqlite_schema WHERE name = 'tenancy_schema'")
            .fetch_optional(connection)
            .await
            .map_err(CatalogueError::from_sqlx)?;
    Ok(match found.as_deref() {
        Some("table") => Some(StoreKind::ReadOnly),
        Some(_) => Some(StoreKind::Adopted),
        None => None,
    })
}

/// Whether everything is there that reading an adopted catalogue needs.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), CatalogueError> {
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
        mistakes.push(triggers_are_missing().to_owned());
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
    connection: &mut SqliteConnection,
    name: &str,
    wanted: &str,
    columns: &[&str],
    mistakes: &mut Vec<String>,
) -> Result<(), CatalogueError> {
    let found: Option<String> = sqlx::query_scalar("SELECT type FROM sqlite_schema WHERE name = ?")
        .bind(name)
        .fetch_optional(&mut *connection)
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

async fn columns_of(connection: &mut SqliteConnection, name: &str) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query("SELECT name FROM pragma_table_info(?)")
        .bind(name)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// For the reader that follows the log: without its triggers, a log that stands still says nothing.
pub(super) async fn missing_triggers(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(MISSING_TRIGGERS).fetch_one(connection).await
}

pub(super) fn triggers_are_missing() -> &'static str {
    "triggers are missing, so that changes are not seen: a table was rebuilt, or they were dropped"
}
