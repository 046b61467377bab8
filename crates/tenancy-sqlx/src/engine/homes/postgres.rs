use std::time::Duration;

use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, Row, migrate::Migrate as _};

use super::{
    super::{Access, Engine, code_of},
    MakesHomes, Plot, identifier,
};
use crate::{
    isolation::{EngineKind, Identifier},
    migrate::{LEDGER, STEPS},
};

/// How often something is tried that others stand in the way of, and how long between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

const READ_AND_WRITE: &str = "SELECT, INSERT, UPDATE, DELETE";
const NUMBER: &str = "USAGE, SELECT, UPDATE";

impl MakesHomes for Postgres {
    const HAS_TEMPLATES: bool = true;

    async fn home_is_there(plot: &Plot<'_, Self>) -> Result<bool, sqlx::Error> {
        let (question, name) = match plot.target.schema_name() {
            Some(schema) => ("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema.as_str()),
            None => (
                "SELECT 1 FROM pg_database WHERE datname = $1",
                plot.target.database_name(),
            ),
        };
        let mut connection = outside(plot).await?;
        let found = sqlx::query(question)
            .bind(name)
            .fetch_optional(&mut connection)
            .await;
        connection.close().await?;
        Ok(found?.is_some())
    }

    async fn make_home(plot: &Plot<'_, Self>) -> Result<bool, sqlx::Error> {
        let mut connection = outside(plot).await?;
        let made = match plot.target.schema_name() {
            Some(schema) => Self::run(&mut connection, format!("CREATE SCHEMA {}", quoted(schema))).await,
            None => make_database(&mut connection, plot).await,
        };
        connection.close().await?;
        match made {
            Err(error) if is(&error, &["42P04", "42P06"]) => Ok(false),
            made => made.map(|()| true),
        }
    }

    async fn let_in(plot: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        if plot.app.get_username() == plot.owner.get_username() {
            return Ok(());
        }
        let app = quoted(&identifier(plot.app.get_username())?);
        let database = quoted(&identifier(plot.target.database_name())?);
        let (schema, mut text) = match plot.target.schema_name() {
            Some(schema) => (quoted(schema), String::new()),
            None if plot.is_shared => ("public".to_owned(), String::new()),
            // Everybody may connect to a new database.
            None => (
                "public".to_owned(),
                format!(
                    "REVOKE ALL ON DATABASE {database} FROM PUBLIC; \
                     GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {app}; "
                ),
            ),
        };
        text += &format!(
            "GRANT USAGE ON SCHEMA {schema} TO {app}; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {READ_AND_WRITE} ON TABLES TO {app}; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {NUMBER} ON SEQUENCES TO {app}; "
        );
        if plot.template.is_some() && plot.target.schema_name().is_none() && !plot.is_shared {
            text += &format!(
                "GRANT {READ_AND_WRITE} ON ALL TABLES IN SCHEMA {schema} TO {app}; \
                 GRANT {NUMBER} ON ALL SEQUENCES IN SCHEMA {schema} TO {app}; "
            );
        }
        if plot.is_migrated {
            text += &format!("REVOKE ALL ON {schema}.{LEDGER} FROM {app}");
        }
        let mut inside = Self::at(plot.owner, plot.target.database_name())
            .connect()
            .await?;
        let granted = async {
            if plot.is_migrated {
                make_ledger(&mut inside, plot, &schema).await?;
            }
            Self::run(&mut inside, text).await
        };
        let granted = granted.await;
        inside.close().await?;
        granted
    }

    async fn drop_home(plot: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        let mut connection = outside(plot).await?;
        let dropped = match plot.target.schema_name() {
            Some(schema) => drop_schema(&mut connection, schema).await,
            None => drop_database(&mut connection, plot).await,
        };
        connection.close().await?;
        dropped
    }

    /// As the application: the owner of a table may be one whom its policies do not bind, and who would delete what is
    /// everybody's.
    async fn empty_home(plot: &Plot<'_, Self>) -> Result<(), sqlx::Error> {
        let begin = Self::begin(plot.target.session(), Access::default()).ok_or_else(|| {
            sqlx::Error::Configuration("nothing tells the rows of a tenant from those of others".into())
        })?;
        let mut connection = Self::at(plot.app, plot.target.database_name()).connect().await?;
        let emptied = async {
            Self::run(&mut connection, begin).await?;
            delete_rows(&mut connection).await?;
            Self::run(&mut connection, "COMMIT".into()).await
        };
        let emptied = emptied.await;
        connection.close().await?;
        emptied
    }
}

/// Before the application gets rights to tables that are made from then on: where tables are shared, it may have none to one
/// without a policy.
async fn make_ledger(
    inside: &mut PgConnection,
    plot: &Plot<'_, Postgres>,
    schema: &str,
) -> Result<(), sqlx::Error> {
    let settings = format!("SET client_min_messages TO warning; SET search_path TO {schema}");
    Postgres::run(inside, settings).await?;
    inside.ensure_migrations_table(LEDGER).await?;
    if plot.is_shared {
        Postgres::run(inside, STEPS.to_owned()).await?;
    }
    Ok(())
}

/// Not in the home: in the server's own database, or in the one that has the schema.
async fn outside(plot: &Plot<'_, Postgres>) -> Result<PgConnection, sqlx::Error> {
    match plot.target.schema_name() {
        Some(_) => {
            Postgres::at(plot.owner, plot.target.database_name())
                .connect()
                .await
        }
        None => plot.owner.connect().await,
    }
}

async fn make_database(connection: &mut PgConnection, plot: &Plot<'_, Postgres>) -> Result<(), sqlx::Error> {
    let name = identifier(plot.target.database_name())?;
    let mut text = format!("CREATE DATABASE {}", quoted(&name));
    if let Some(template) = plot.template {
        text += &format!(" TEMPLATE {}", quoted(&identifier(template)?));
    }
    // Somebody is connected to the template.
    patiently(&["55006"], connection, &text).await
}

async fn drop_schema(connection: &mut PgConnection, schema: &Identifier) -> Result<(), sqlx::Error> {
    // A statement that waits for a lock keeps others waiting behind it.
    let settings = "SET client_min_messages TO warning; SET lock_timeout TO 200";
    Postgres::run(connection, settings.into()).await?;
    let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(schema));
    patiently(&["55P03", "40P01"], connection, &drop).await
}

async fn drop_database(connection: &mut PgConnection, plot: &Plot<'_, Postgres>) -> Result<(), sqlx::Error> {
    let name = quoted(&identifier(plot.target.database_name())?);
    let settings = "SET client_min_messages TO warning";
    Postgres::run(connection, settings.into()).await?;
    let forced = Postgres::run(connection, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    match forced.await {
        // The role may not end the sessions of the other one. Those that are there end, and none comes.
        Err(error) if is(&error, &["42501"]) => {}
        dropped => return dropped,
    }
    let app = quoted(&identifier(plot.app.get_username())?);
    let shut = format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC, {app}");
    Postgres::run(connection, shut).await?;
    patiently(&["55006"], connection, &format!("DROP DATABASE IF EXISTS {name}")).await
}

/// Tries again while the server answers with one of these.
async fn patiently(passing: &[&str], connection: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    for _ in 0..TRIES {
        match Postgres::run(connection, text.to_owned()).await {
            Err(error) if is(&error, passing) => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
    Postgres::run(connection, text.to_owned()).await
}

/// From all tables that have policies. What a row of another table refers to goes after that.
async fn delete_rows(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const TABLES: &str = "SELECT n.nspname::text, c.relname::text FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND NOT c.relispartition ORDER BY 1, 2";
    let rows = sqlx::raw_sql(TABLES).fetch_all(&mut *connection).await?;
    let mut tables = Vec::new();
    for row in rows {
        let [schema, table] = [0, 1].map(|column| row.try_get::<String, _>(column));
        let (schema, table) = (identifier(&schema?)?, identifier(&table?)?);
        tables.push(format!("{}.{}", quoted(&schema), quoted(&table)));
    }
    loop {
        let before = tables.len();
        let mut left = Vec::new();
        let mut refused = None;
        for table in tables {
            Postgres::run(connection, "SAVEPOINT before_table".into()).await?;
            match Postgres::run(connection, format!("DELETE FROM {table}")).await {
                Ok(()) => {}
                Err(error) if is(&error, &["23503"]) => {
                    Postgres::run(connection, "ROLLBACK TO SAVEPOINT before_table".into()).await?;
                    left.push(table);
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            None => return Ok(()),
            Some(error) if left.len() == before => return Err(error),
            Some(_) => tables = left,
        }
    }
}

fn quoted(name: &Identifier) -> String {
    name.quoted(EngineKind::Postgres)
}

fn is(error: &sqlx::Error, codes: &[&str]) -> bool {
    code_of(error).is_some_and(|code| codes.contains(&&*code))
}
