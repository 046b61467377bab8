use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Postgres, Row, postgres::PgRow};

use super::{ABANDONED_ANSWERS, Cleaned, Engine, Options, code_of, is_answer_of_the_server, queue_rollbacks};
use crate::pool::breaker::FaultKind;

/// The process that serves a connection.
#[derive(Debug)]
pub struct Backend(i32);

impl Engine for Postgres {
    type Session = Backend;

    const CANCELS_BY_CONTROL: bool = true;

    fn at(options: &Options<Self>, database: &str) -> Options<Self> {
        options.clone().database(database)
    }

    async fn open(options: &Options<Self>) -> Result<(PgConnection, Backend), sqlx::Error> {
        let mut connection = options.connect().await?;
        let rows = sqlx::raw_sql("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await?;
        let backend = Backend(rows.try_get(0)?);
        Ok((connection, backend))
    }

    async fn clean(
        connection: &mut PgConnection,
        session: &Backend,
        nonce: u64,
    ) -> Result<Cleaned, sqlx::Error> {
        queue_rollbacks::<Self>(connection);
        let mut quiet = true;
        for _ in 0..ABANDONED_ANSWERS {
            match sqlx::raw_sql(AssertSqlSafe(reset_message(nonce, quiet)))
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
        if let Some(control) = control {
            let cancel = AssertSqlSafe(format!("SELECT pg_cancel_backend({})", session.0));
            sqlx::raw_sql(cancel).execute(control).await?;
        }
        Ok(())
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

/// One message, so that it costs one round trip. What `DISCARD ALL` does, other than dropping prepared statements: sqlx
/// believes that its own are there.
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
         SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES; \
         SELECT '{nonce}', pg_backend_pid(), EXISTS (SELECT 1 FROM pg_prepared_statements WHERE from_sql)"
    )
}

fn judge(rows: &[PgRow], session: &Backend, nonce: u64) -> Result<Cleaned, sqlx::Error> {
    let Some(row) = rows.last().filter(|row| row.len() == 3) else {
        return Ok(Cleaned::Desynchronised);
    };
    let (answered, backend, prepared): (&str, i32, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(if answered != nonce.to_string() {
        Cleaned::Desynchronised
    } else if backend != session.0 {
        Cleaned::OtherSession
    } else if prepared {
        Cleaned::Stained("a statement was prepared by SQL")
    } else {
        Cleaned::Clean
    })
}
