use std::collections::HashSet;

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};

use super::{FindingKind, Seen};
use crate::isolation::{Audited, Identifier, SettingName};

/// What is somebody's own: not of the server, and not of an extension.
const OWN: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

pub(crate) async fn audit(
    options: &PgConnectOptions,
    audited: &[Audited<'_>],
    is_pooled: bool,
) -> Result<Seen, sqlx::Error> {
    let mut connection = options.connect().await?;
    let mut seen = Seen::default();
    if !is_pooled {
        look_for_pooler(&mut connection, options, &mut seen).await?;
    }
    // Behind a pooler, the statements must all go to one session.
    let mut transaction = connection.begin_with("BEGIN READ ONLY").await?;
    look_at_login(&mut transaction, &mut seen).await?;
    for of in audited {
        match *of {
            Audited::Nothing => {}
            Audited::Rows { setting, common } => {
                look_at_tables(&mut transaction, common, &mut seen).await?;
                look_at_views(&mut transaction, common, &mut seen).await?;
                look_at_functions(&mut transaction, setting, &mut seen).await?;
            }
            Audited::Schemas { extra } => {
                look_at_path(&mut transaction, extra, &mut seen).await?;
                look_for_types(&mut transaction, extra, &mut seen).await?;
            }
        }
    }
    transaction.rollback().await?;
    connection.close().await?;
    Ok(seen)
}

async fn rows(connection: &mut PgConnection, sql: String) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await
}

/// Tells one connection something, keeps another one busy, and asks the first: through a pooler in transaction mode, the
/// second has the session of the first by then.
async fn look_for_pooler(
    first: &mut PgConnection,
    options: &PgConnectOptions,
    seen: &mut Seen,
) -> Result<(), sqlx::Error> {
    let nonce = fastrand::u64(..).to_string();
    let mut second = options.connect().await?;
    let told = rows(
        first,
        format!("SET tenancy.probe TO '{nonce}'; SELECT pg_backend_pid()"),
    )
    .await?;
    let told: i32 = last(&told)?.try_get(0)?;
    let busy = rows(&mut second, "BEGIN; SELECT pg_backend_pid()".to_owned()).await?;
    let busy: i32 = last(&busy)?.try_get(0)?;
    let answer = rows(
        first,
        "SELECT coalesce(current_setting('tenancy.probe', true), ''), pg_backend_pid()".to_owned(),
    )
    .await?;
    let (heard, asked): (String, i32) = (last(&answer)?.try_get(0)?, last(&answer)?.try_get(1)?);
    if heard != nonce || busy == told || asked != told {
        seen.note(FindingKind::PoolerInBetween, options.get_host());
    }
    // The session may be another client's next.
    rows(&mut second, "ROLLBACK; RESET tenancy.probe".to_owned()).await?;
    rows(first, "RESET tenancy.probe".to_owned()).await?;
    second.close().await
}

fn last(rows: &[PgRow]) -> Result<&PgRow, sqlx::Error> {
    rows.last().ok_or(sqlx::Error::RowNotFound)
}

async fn look_at_login(connection: &mut PgConnection, seen: &mut Seen) -> Result<(), sqlx::Error> {
    let sql = "SELECT own.rolname::text, own.rolsuper, own.rolbypassrls, EXISTS ( \
                   SELECT 1 FROM pg_roles other WHERE other.oid <> own.oid \
                   AND (other.rolsuper OR other.rolbypassrls) AND pg_has_role(own.oid, other.oid, 'MEMBER')) \
               FROM pg_roles own WHERE own.rolname = session_user";
    let found = rows(connection, sql.to_owned()).await?;
    let row = last(&found)?;
    let login: String = row.try_get(0)?;
    if row.try_get(1)? {
        seen.note(FindingKind::Superuser, login);
    } else if row.try_get(2)? {
        seen.note(FindingKind::BypassesPolicies, login);
    } else if row.try_get(3)? {
        seen.note(FindingKind::MayBecomeSuperuser, login);
    }
    Ok(())
}

/// Whether the application said that all tenants may see it. A name without schema is one in `public`.
fn is_common(common: &[Box<str>], schema: &str, name: &str) -> bool {
    common.iter().any(|common| match common.split_once('.') {
        Some((in_schema, table)) => in_schema == schema && table == name,
        None => schema == "public" && **common == *name,
    })
}

async fn look_at_tables(
    connection: &mut PgConnection,
    common: &[Box<str>],
    seen: &mut Seen,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, \
             c.relrowsecurity AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid), \
             c.relforcerowsecurity, \
             pg_has_role(session_user, c.relowner, 'MEMBER'), \
             has_table_privilege(session_user, c.oid, 'TRUNCATE'), \
             EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive \
                 AND 'true' IN (pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'f') AND {OWN} AND {} AND ( \
             has_table_privilege(session_user, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') \
             OR has_any_column_privilege(session_user, c.oid, 'SELECT, INSERT, UPDATE')) \
         ORDER BY 1, 2",
        is_reachable("pg_class")
    );
    for row in rows(connection, sql).await? {
        let (schema, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if is_common(common, &schema, &table) {
            continue;
        }
        let (has_policies, is_forced, is_owned): (bool, bool, bool) =
            (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let (may_truncate, is_open): (bool, bool) = (row.try_get(5)?, row.try_get(6)?);
        for (is_found, kind) in [
            (is_owned, FindingKind::OwnsTable),
            (!has_policies, FindingKind::NoPolicies),
            (has_policies && !is_forced, FindingKind::NotForced),
            (is_open, FindingKind::OpenPolicy),
            (may_truncate && !is_owned, FindingKind::MayTruncate),
        ] {
            if is_found {
                seen.note(kind, format!("{schema}.{table}"));
            }
        }
    }
    Ok(())
}

/// The login may look into the schema `n`, and `c` or `p` came with no extension.
fn is_reachable(catalogue: &str) -> String {
    let object = if catalogue == "pg_proc" { "p" } else { "c" };
    format!(
        "has_schema_privilege(session_user, n.oid, 'USAGE') AND NOT EXISTS ( \
             SELECT 1 FROM pg_depend d WHERE d.classid = '{catalogue}'::regclass AND d.objid = {object}.oid AND d.deptype = 'e')"
    )
}

async fn look_at_views(
    connection: &mut PgConnection,
    common: &[Box<str>],
    seen: &mut Seen,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, c.relkind = 'm', coalesce(array_to_string(c.reloptions, ','), '') \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('v', 'm') AND {OWN} AND {} \
             AND has_table_privilege(session_user, c.oid, 'SELECT, INSERT, UPDATE, DELETE') \
         ORDER BY 1, 2",
        is_reachable("pg_class")
    );
    for row in rows(connection, sql).await? {
        let (schema, view): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (keeps, options): (bool, String) = (row.try_get(2)?, row.try_get(3)?);
        if (keeps || !sees_as_invoker(&options)) && !is_common(common, &schema, &view) {
            seen.note(FindingKind::DefinerView, format!("{schema}.{view}"));
        }
    }
    Ok(())
}

/// The option stands as it was written.
fn sees_as_invoker(options: &str) -> bool {
    options.split(',').any(|option| {
        option
            .strip_prefix("security_invoker=")
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "on" | "1" | "yes"))
    })
}

async fn look_at_functions(
    connection: &mut PgConnection,
    setting: &SettingName,
    seen: &mut Seen,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT n.nspname || '.' || p.proname, pg_get_functiondef(p.oid) \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang \
         WHERE p.provolatile = 'i' AND p.prokind = 'f' AND l.lanname NOT IN ('c', 'internal') AND {OWN} AND {} \
         ORDER BY 1",
        is_reachable("pg_proc")
    );
    for row in rows(connection, sql).await? {
        let (function, text): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if text.to_ascii_lowercase().contains("current_setting") || text.contains(setting.as_str()) {
            seen.note(FindingKind::ImmutableHelper, function);
        }
    }
    Ok(())
}

fn texts(names: &[Identifier]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

async fn look_at_path(
    connection: &mut PgConnection,
    extra: &[Identifier],
    seen: &mut Seen,
) -> Result<(), sqlx::Error> {
    let schemas = "SELECT n.nspname::text, has_schema_privilege(session_user, n.oid, 'CREATE') \
                   FROM pg_namespace n WHERE n.nspname = ANY ($1)";
    let found = sqlx::query(schemas)
        .persistent(false)
        .bind(texts(extra))
        .fetch_all(&mut *connection)
        .await?;
    let mut present = HashSet::new();
    for row in &found {
        let schema: String = row.try_get(0)?;
        if row.try_get(1)? {
            seen.note(FindingKind::MayCreateInPath, schema.as_str());
        }
        present.insert(schema);
    }
    for missing in extra.iter().filter(|schema| !present.contains(schema.as_str())) {
        seen.note(FindingKind::MissingInPath, missing.as_str());
    }
    let shadowed = "SELECT DISTINCT n.nspname || '.' || c.relname \
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                    JOIN pg_class o ON o.relname = c.relname AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
                    JOIN pg_namespace m ON m.oid = o.relnamespace \
                    WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
                    AND NOT m.nspname = ANY ($1) AND m.nspname !~ '^pg_' AND m.nspname <> 'information_schema' \
                    ORDER BY 1";
    let found = sqlx::query(shadowed)
        .persistent(false)
        .bind(texts(extra))
        .fetch_all(&mut *connection)
        .await?;
    for row in found {
        seen.note(FindingKind::Shadowed, row.try_get::<String, _>(0)?);
    }
    Ok(())
}

async fn look_for_types(
    connection: &mut PgConnection,
    extra: &[Identifier],
    seen: &mut Seen,
) -> Result<(), sqlx::Error> {
    let types = "SELECT DISTINCT n.nspname::text \
                 FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid \
                 WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) \
                 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> 'public' \
                 AND NOT n.nspname = ANY ($1) ORDER BY 1";
    let found = sqlx::query(types)
        .persistent(false)
        .bind(texts(extra))
        .fetch_all(&mut *connection)
        .await?;
    for row in found {
        let schema: String = row.try_get(0)?;
        seen.note(FindingKind::TypesOfItsOwn, schema.as_str());
        seen.pinned.insert(schema.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_sees_as_its_user_only_if_it_says_so() {
        for (options, invoker) in [
            ("", false),
            ("security_barrier=true", false),
            ("security_invoker=true", true),
            ("security_barrier=true,security_invoker=ON", true),
            ("security_invoker=false", false),
        ] {
            assert_eq!(sees_as_invoker(options), invoker, "{options}");
        }
    }

    #[test]
    fn a_common_table_is_one_of_its_schema_alone() {
        let common = ["countries".into(), "ref.rates".into()];
        for (schema, table, expected) in [
            ("public", "countries", true),
            ("other", "countries", false),
            ("ref", "rates", true),
            ("public", "rates", false),
        ] {
            assert_eq!(is_common(&common, schema, table), expected, "{schema}.{table}");
        }
    }
}
