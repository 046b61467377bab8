use std::collections::BTreeSet;

use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, Row};

use super::{
    super::{Engine, Plot, code_of},
    FENCE, FenceError, Fences, Patience, REFUSAL,
};
use crate::isolation::{EngineKind, Identifier};

/// Longer, and those who come after it wait for too long behind it. Shorter than `deadlock_timeout`: of two who wait for each
/// other, this one gives way.
const WAIT: &str = "SET LOCAL lock_timeout TO 500; SET LOCAL statement_timeout TO 0; \
                    SET LOCAL client_min_messages TO warning";

/// Partitions too: who writes to one by its name passes by the table that they are of. Tables of extensions belong to
/// whoever installed them, and are not exported.
const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND ($1::text IS NULL OR n.nspname = $1)
        AND NOT EXISTS (SELECT FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        AND $2 = EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = $3 AND NOT t.tgisinternal)
    ORDER BY 1, 2";

const FUNCTIONS: &str = "
    SELECT n.nspname::text, p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.proname = $1 AND p.prorettype = 'trigger'::regtype AND ($2::text IS NULL OR n.nspname = $2) ORDER BY 1";

impl Fences for Postgres {
    async fn hindrance(plot: &Plot<'_, Self>) -> Result<Option<&'static str>, sqlx::Error> {
        const VIEWS: &str =
            "SELECT EXISTS (SELECT FROM pg_matviews WHERE $1::text IS NULL OR schemaname = $1)";
        const OBJECTS: &str = "SELECT $1::text IS NULL AND EXISTS (SELECT FROM pg_largeobject_metadata)";
        let mut inside = inside(plot).await?;
        let mut found = None;
        for (question, what) in [
            (VIEWS, "it has materialized views, which are not copied"),
            (OBJECTS, "it has large objects, which are not copied"),
        ] {
            let asked = sqlx::query(question).bind(schema(plot));
            if asked.fetch_one(&mut inside).await?.try_get(0)? {
                found = Some(what);
            }
        }
        inside.close().await?;
        Ok(found)
    }

    async fn fence(plot: &Plot<'_, Self>, patience: Patience) -> Result<(), FenceError> {
        let mut inside = inside(plot).await?;
        let tables = names(&mut inside, TABLES, plot, Some(false)).await?;
        let mut text = String::new();
        let schemas: BTreeSet<&str> = tables.iter().map(|(schema, _)| schema.as_str()).collect();
        for schema in schemas {
            text += &format!(
                "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $fence$ BEGIN \
                     RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'read_only_sql_transaction'; \
                 END $fence$; ",
                function(&name(schema)?)
            );
        }
        for (schema, table) in &tables {
            text += &format!(
                "CREATE TRIGGER {FENCE} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {}.{} \
                 FOR EACH STATEMENT EXECUTE FUNCTION {}(); ",
                quoted(schema),
                quoted(table),
                function(schema)
            );
        }
        let fenced = between_others(&mut inside, &text, patience).await;
        inside.close().await?;
        fenced
    }

    async fn lift_fence(plot: &Plot<'_, Self>, patience: Patience) -> Result<(), FenceError> {
        let mut inside = inside(plot).await?;
        let mut text = String::new();
        for (schema, table) in names(&mut inside, TABLES, plot, Some(true)).await? {
            let (schema, table) = (quoted(&schema), quoted(&table));
            text += &format!("DROP TRIGGER {FENCE} ON {schema}.{table}; ");
        }
        for (schema, _) in names(&mut inside, FUNCTIONS, plot, None).await? {
            text += &format!("DROP FUNCTION {}(); ", function(&schema));
        }
        let lifted = between_others(&mut inside, &text, patience).await;
        inside.close().await?;
        lifted
    }
}

async fn inside(plot: &Plot<'_, Postgres>) -> Result<PgConnection, sqlx::Error> {
    Postgres::at(plot.owner, plot.target.database_name())
        .connect()
        .await
}

fn schema<'a>(plot: &'a Plot<'_, Postgres>) -> Option<&'a str> {
    plot.target.schema_name().map(Identifier::as_str)
}

async fn names(
    inside: &mut PgConnection,
    question: &str,
    plot: &Plot<'_, Postgres>,
    is_fenced: Option<bool>,
) -> Result<Vec<(Identifier, Identifier)>, sqlx::Error> {
    let question = sqlx::query(sqlx::AssertSqlSafe(question));
    let question = match is_fenced {
        Some(is_fenced) => question.bind(schema(plot)).bind(is_fenced).bind(FENCE),
        None => question.bind(FENCE).bind(schema(plot)),
    };
    let rows = question.fetch_all(inside).await?;
    let pair = |row: &sqlx::postgres::PgRow| Ok((name(row.try_get(0)?)?, name(row.try_get(1)?)?));
    rows.iter().map(pair).collect()
}

/// All of it in one transaction. Each try gives way to those who wait for what it has.
async fn between_others(inside: &mut PgConnection, text: &str, patience: Patience) -> Result<(), FenceError> {
    if text.is_empty() {
        return Ok(());
    }
    let text = format!("BEGIN; {WAIT}; {text}");
    loop {
        let Err(error) = Postgres::run(inside, text.clone()).await else {
            // A message of its own: nothing is committed for somebody who is not there any more.
            return Ok(Postgres::run(inside, "COMMIT".to_owned()).await?);
        };
        Postgres::run(inside, "ROLLBACK".to_owned()).await?;
        // A lock was not to be had, deadlock.
        if !code_of(&error).is_some_and(|code| matches!(&*code, "55P03" | "40P01")) {
            return Err(error.into());
        }
        if !patience.again().await {
            return Err(FenceError::InUse(error));
        }
    }
}

fn function(schema: &Identifier) -> String {
    format!("{}.{FENCE}", quoted(schema))
}

fn name(name: &str) -> Result<Identifier, sqlx::Error> {
    Identifier::new(name).map_err(|error| sqlx::Error::Configuration(error.into()))
}

fn quoted(name: &Identifier) -> String {
    name.quoted(EngineKind::Postgres)
}
