use std::sync::Arc;

use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres, Row,
    error::BoxDynError,
    postgres::{PgArguments, PgQueryResult, PgRow},
    query::Query,
};

use super::{
    ABANDONED_ANSWERS, Access, Cleaned, Engine, Options, code_of, is_answer_of_the_server, queue_rollbacks,
};
use crate::{
    audit::{self, Seen},
    isolation::{Audited, EngineKind, Identifier},
    pool::{breaker::FaultKind, target::Session},
};

/// The process that serves a connection; `None` where a pooler gives each transaction to another one.
#[derive(Debug)]
pub struct Backend(Option<i32>);

impl Engine for Postgres {
    type Session = Backend;

    const KIND: EngineKind = EngineKind::Postgres;
    const CANCELS_BY_CONTROL: bool = true;

    fn at(options: &Options<Self>, database: &str) -> Options<Self> {
        options.clone().database(database)
    }

    fn home(options: &Options<Self>) -> String {
        let named = options.get_database();
        named.unwrap_or_else(|| options.get_username()).to_owned()
    }

    fn pooled(options: Options<Self>) -> Options<Self> {
        options.statement_cache_capacity(0)
    }

    fn begin(session: &Session, access: Access) -> Option<String> {
        let entered = enter(session, "LOCAL");
        if entered.is_none() && !access.is_read_only && !access.is_pooled {
            return None;
        }
        let mut begin = String::from(if access.is_read_only {
            "BEGIN READ ONLY"
        } else {
            "BEGIN"
        });
        if access.is_pooled {
            // sqlx numbers its statements anew on each connection: this session may know another's by the same name.
            begin.push_str("; DEALLOCATE ALL");
        }
        if let Some(entered) = entered {
            begin.push_str("; ");
            begin.push_str(&entered);
        }
        Some(begin)
    }

    fn enter(session: &Session) -> Option<String> {
        enter(session, "SESSION")
    }

    fn is_stale(error: &sqlx::Error) -> bool {
        // "cached plan must not change result type", and a statement that is not there.
        matches!(code_of(error).as_deref(), Some("0A000" | "26000"))
    }

    async fn run(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }

    fn bind_text(arguments: &mut PgArguments, text: &str) -> Result<(), BoxDynError> {
        arguments.add(text.to_owned())
    }

    fn rows_affected(done: &PgQueryResult) -> u64 {
        done.rows_affected()
    }

    fn text_of(row: &PgRow, column: usize) -> Result<String, sqlx::Error> {
        row.try_get(column)
    }

    async fn execute(
        connection: &mut PgConnection,
        query: Query<'_, Self, PgArguments>,
    ) -> Result<PgQueryResult, sqlx::Error> {
        query.execute(connection).await
    }

    async fn fetch_all(
        connection: &mut PgConnection,
        query: Query<'_, Self, PgArguments>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        query.fetch_all(connection).await
    }

    async fn forget_statements(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        connection.clear_cached_statements().await
    }

    async fn open(options: &Options<Self>, is_pooled: bool) -> Result<(PgConnection, Backend), sqlx::Error> {
        let mut connection = options.connect().await?;
        if is_pooled {
            return Ok((connection, Backend(None)));
        }
        let rows = sqlx::raw_sql("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await?;
        let backend = Backend(Some(rows.try_get(0)?));
        Ok((connection, backend))
    }

    async fn clean(
        connection: &mut PgConnection,
        session: &Backend,
        nonce: u64,
    ) -> Result<Cleaned, sqlx::Error> {
        queue_rollbacks::<Self>(connection);
        let mut quiet = true;
        // Each try asks for another answer: that to an earlier one would be taken for its own, and the last left for the
        // next borrower. An abandoned `COPY` answers so.
        for nonce in (0..ABANDONED_ANSWERS).map(|attempt| nonce.wrapping_add(attempt)) {
            let message = match session.0 {
                Some(_) => reset_message(nonce, quiet),
                None => pooled_reset_message(nonce, quiet),
            };
            match sqlx::raw_sql(AssertSqlSafe(message))
                .fetch_all(&mut *connection)
                .await
            {
                Ok(rows) => return judge(&rows, session, nonce),
                // Of an abandoned statement; or the transaction is aborted, and nothing but its end is heard.
                Err(error) if is_answer_of_the_server(&error) => quiet = !quiet,
                Err(error) => return Err(error),
            }
        }
        Ok(Cleaned::Desynchronised)
    }

    async fn cancel(control: Option<&mut PgConnection>, session: &Backend) -> Result<(), sqlx::Error> {
        // Behind a pooler, the process may serve somebody else by now.
        if let (Some(control), Some(process)) = (control, session.0) {
            let cancel = AssertSqlSafe(format!("SELECT pg_cancel_backend({process})"));
            sqlx::raw_sql(cancel).execute(control).await?;
        }
        Ok(())
    }

    async fn are_there(
        control: &mut PgConnection,
        sessions: &[Arc<Backend>],
    ) -> Result<Vec<bool>, sqlx::Error> {
        let wanted = processes(sessions);
        if wanted.is_empty() {
            return Ok(vec![false; sessions.len()]);
        }
        // What the view of the activity is made of, asked for these alone: the view would join who and where they are, for
        // every session of the server.
        let look = format!(
            "SELECT pid FROM unnest('{{{}}}'::int[]) AS pid WHERE EXISTS (SELECT FROM pg_stat_get_activity(pid))",
            wanted.join(", ")
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(look)).fetch_all(control).await?;
        let there: Vec<i32> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let is_there = |session: &Arc<Backend>| session.0.is_some_and(|process| there.contains(&process));
        Ok(sessions.iter().map(is_there).collect())
    }

    async fn end(control: &mut PgConnection, sessions: &[Arc<Backend>]) -> Result<(), sqlx::Error> {
        let ends = processes(sessions)
            .iter()
            .map(|process| format!("pg_terminate_backend({process})"))
            .collect::<Vec<_>>();
        if ends.is_empty() {
            return Ok(());
        }
        let end = AssertSqlSafe(format!("SELECT {}", ends.join(", ")));
        sqlx::raw_sql(end).execute(control).await.map(drop)
    }

    async fn audit<'a>(
        options: &'a Options<Self>,
        audited: &'a [Audited<'a>],
        is_pooled: bool,
    ) -> Result<Seen, sqlx::Error> {
        audit::postgres::audit(options, audited, is_pooled).await
    }

    fn classify(error: &sqlx::Error) -> FaultKind {
        match code_of(error).as_deref() {
            Some("3D000") => FaultKind::Missing,
            Some("53300") => FaultKind::Crowded,
            Some(code)
                if ["08", "53", "57", "58", "XX"]
                    .iter()
                    .any(|class| code.starts_with(class)) =>
            {
                FaultKind::Unreachable
            }
            // The server answers, and not because it is in trouble: it concerns this database or login.
            Some(_) => FaultKind::Refused,
            None => match error {
                sqlx::Error::Configuration(_) => FaultKind::Refused,
                _ => FaultKind::Unreachable,
            },
        }
    }
}

fn processes(sessions: &[Arc<Backend>]) -> Vec<String> {
    let processes = sessions.iter().filter_map(|session| session.0);
    processes.map(|process| process.to_string()).collect()
}

/// Of the row that ends a reset. An abandoned query may answer with a row, too.
const COLUMNS: usize = 4;

/// One message, so that it costs one round trip. What `DISCARD ALL` does, other than dropping prepared statements: sqlx
/// believes that its own are there. What takes a query is done by one: each has to be planned.
///
/// `ROLLBACK` outside of a transaction is a warning, which sqlx logs: it is silenced first, unless the transaction is
/// aborted and only hears `ROLLBACK`.
fn reset_message(nonce: u64, quiet: bool) -> String {
    let silence = if quiet {
        "SET client_min_messages TO error; "
    } else {
        ""
    };
    format!(
        "{silence}ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
         DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES; \
         SELECT '{nonce}', pg_backend_pid(), EXISTS (SELECT FROM pg_prepared_statement() WHERE from_sql), \
         pg_advisory_unlock_all()"
    )
}

/// Only what the transaction left: the session is nobody's. Without the `BEGIN` the server would warn, in a transaction that
/// is aborted it would be refused.
fn pooled_reset_message(nonce: u64, quiet: bool) -> String {
    let begin = if quiet { "BEGIN; " } else { "" };
    format!("{begin}ROLLBACK; SELECT '{nonce}', 0, false, NULL")
}

/// Every name is quoted, and an id has no letter that SQL knows.
fn enter(session: &Session, scope: &str) -> Option<String> {
    let quoted = |name: &Identifier| name.quoted(EngineKind::Postgres);
    match session {
        Session::Own | Session::Guarded(_) => None,
        Session::SearchPath { schema, extra } => {
            let mut path = quoted(schema);
            for schema in &**extra {
                path.push_str(", ");
                path.push_str(&quoted(schema));
            }
            Some(format!("SET {scope} search_path TO {path}"))
        }
        Session::Setting { name, tenant } => {
            let name = name.as_str().replace('.', r#"".""#);
            Some(format!(r#"SET {scope} "{name}" TO '{tenant}'"#))
        }
    }
}

fn judge(rows: &[PgRow], session: &Backend, nonce: u64) -> Result<Cleaned, sqlx::Error> {
    let Some(row) = rows.last().filter(|row| row.len() == COLUMNS) else {
        return Ok(Cleaned::Desynchronised);
    };
    let (answered, backend, prepared): (&str, i32, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(if answered != nonce.to_string() {
        Cleaned::Desynchronised
    } else if session.0.is_some_and(|own| own != backend) {
        Cleaned::OtherSession
    } else if prepared {
        Cleaned::Stained("a statement was prepared by SQL")
    } else {
        Cleaned::Clean
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tenancy_core::TenantId;

    use super::*;
    use crate::isolation::SettingName;

    #[test]
    fn a_transaction_begins_in_the_tenants_part_with_one_message() {
        let path = |schema: &str, extra: &[&str]| Session::SearchPath {
            schema: Identifier::new(schema).unwrap(),
            extra: extra
                .iter()
                .map(|name| Identifier::new(name).unwrap())
                .collect::<Arc<[_]>>(),
        };
        let setting = Session::Setting {
            name: SettingName::new("app.tenant").unwrap(),
            tenant: TenantId::new("acme").unwrap(),
        };
        let access = |is_read_only, is_pooled| Access {
            is_read_only,
            is_pooled,
        };
        for (session, access, message) in [
            (Session::Own, access(false, false), None),
            (Session::Own, access(true, false), Some("BEGIN READ ONLY")),
            (Session::Own, access(false, true), Some("BEGIN; DEALLOCATE ALL")),
            (
                path("acme", &[]),
                access(false, false),
                Some(r#"BEGIN; SET LOCAL search_path TO "acme""#),
            ),
            (
                path(r#"a"; DROP SCHEMA b; --"#, &["Ext"]),
                access(true, true),
                Some(
                    r#"BEGIN READ ONLY; DEALLOCATE ALL; SET LOCAL search_path TO "a""; DROP SCHEMA b; --", "Ext""#,
                ),
            ),
            (
                setting,
                access(false, false),
                Some(r#"BEGIN; SET LOCAL "app"."tenant" TO 'acme'"#),
            ),
        ] {
            assert_eq!(Postgres::begin(&session, access).as_deref(), message);
        }
    }
}
