use std::sync::Arc;

use sqlx::{
    Arguments, AssertSqlSafe, ConnectOptions, Connection, MySql, MySqlConnection, Row,
    error::BoxDynError,
    mysql::{MySqlArguments, MySqlDatabaseError, MySqlQueryResult, MySqlRow},
    query::Query,
};

use super::{ABANDONED_ANSWERS, Access, Cleaned, Engine, Options, is_answer_of_the_server, queue_rollbacks};
use crate::{
    audit::{self, Seen},
    isolation::{Audited, EngineKind},
    pool::{breaker::FaultKind, target::Session},
};

/// The thread that serves a connection, and how often it was told to keep something.
#[derive(Debug)]
pub struct Thread {
    id: u64,
    is_mariadb: bool,
    kept: u64,
}

/// Statements that leave something behind in the session. sqlx has no `COM_RESET_CONNECTION`, so that they are counted.
const KEPT: &str = "SHOW SESSION STATUS WHERE Variable_name IN ('Com_set_option', 'Com_set_role', 'Com_change_db', \
                    'Com_create_temporary_table', 'Com_create_table', 'Com_prepare_sql', 'Com_lock_tables', 'Com_ha_open', \
                    'Com_call_procedure')";

impl Engine for MySql {
    type Session = Thread;

    const KIND: EngineKind = EngineKind::MySql;
    const CANCELS_BY_CONTROL: bool = true;

    fn at(options: &Options<Self>, database: &str) -> Options<Self> {
        options.clone().database(database)
    }

    fn home(options: &Options<Self>) -> String {
        options.get_database().unwrap_or_default().to_owned()
    }

    fn pooled(options: Options<Self>) -> Options<Self> {
        options.statement_cache_capacity(0)
    }

    fn begin(_: &Session, access: Access) -> Option<String> {
        access
            .is_read_only
            .then(|| "START TRANSACTION READ ONLY".to_owned())
    }

    fn enter(_: &Session) -> Option<String> {
        None
    }

    fn is_stale(error: &sqlx::Error) -> bool {
        // Unknown statement handler; the prepared statement needs to be prepared again.
        matches!(number_of(error), Some(1243 | 1615))
    }

    async fn run(connection: &mut MySqlConnection, sql: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }

    fn bind_text(arguments: &mut MySqlArguments, text: &str) -> Result<(), BoxDynError> {
        arguments.add(text.to_owned())
    }

    fn rows_affected(done: &MySqlQueryResult) -> u64 {
        done.rows_affected()
    }

    fn text_of(row: &MySqlRow, column: usize) -> Result<String, sqlx::Error> {
        row.try_get(column)
    }

    async fn execute(
        connection: &mut MySqlConnection,
        query: Query<'_, Self, MySqlArguments>,
    ) -> Result<MySqlQueryResult, sqlx::Error> {
        query.execute(connection).await
    }

    async fn fetch_all(
        connection: &mut MySqlConnection,
        query: Query<'_, Self, MySqlArguments>,
    ) -> Result<Vec<MySqlRow>, sqlx::Error> {
        query.fetch_all(connection).await
    }

    async fn forget_statements(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        connection.clear_cached_statements().await
    }

    async fn open(
        options: &Options<Self>,
        _is_pooled: bool,
    ) -> Result<(MySqlConnection, Thread), sqlx::Error> {
        let mut connection = options.connect().await?;
        let row = sqlx::raw_sql("SELECT CAST(CONNECTION_ID() AS CHAR), VERSION()")
            .fetch_one(&mut connection)
            .await?;
        let (id, version): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let id = id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let kept = kept(&sqlx::raw_sql(KEPT).fetch_all(&mut connection).await?)?;
        let is_mariadb = version.contains("MariaDB");
        Ok((connection, Thread { id, is_mariadb, kept }))
    }

    async fn clean(
        connection: &mut MySqlConnection,
        session: &Thread,
        nonce: u64,
    ) -> Result<Cleaned, sqlx::Error> {
        queue_rollbacks::<Self>(connection);
        // Each try asks for another answer: that to an earlier one would be taken for its own.
        for nonce in (0..ABANDONED_ANSWERS).map(|attempt| nonce.wrapping_add(attempt)) {
            match sqlx::raw_sql(AssertSqlSafe(reset_message(session, nonce)))
                .fetch_all(&mut *connection)
                .await
            {
                Ok(rows) => return judge(&rows, session, nonce),
                Err(error) if is_answer_of_the_server(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Cleaned::Desynchronised)
    }

    async fn cancel(control: Option<&mut MySqlConnection>, session: &Thread) -> Result<(), sqlx::Error> {
        if let Some(control) = control {
            let kill = AssertSqlSafe(format!("KILL QUERY {}", session.id));
            sqlx::raw_sql(kill).execute(control).await?;
        }
        Ok(())
    }

    async fn are_there(
        control: &mut MySqlConnection,
        sessions: &[Arc<Thread>],
    ) -> Result<Vec<bool>, sqlx::Error> {
        let wanted: Vec<String> = sessions.iter().map(|session| session.id.to_string()).collect();
        let look = format!(
            "SELECT CAST(ID AS CHAR) FROM information_schema.PROCESSLIST WHERE ID IN ({})",
            wanted.join(", ")
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(look)).fetch_all(control).await?;
        let there: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(wanted.iter().map(|id| there.contains(id)).collect())
    }

    async fn end(control: &mut MySqlConnection, sessions: &[Arc<Thread>]) -> Result<(), sqlx::Error> {
        for session in sessions {
            let kill = AssertSqlSafe(format!("KILL CONNECTION {}", session.id));
            if let Err(error) = sqlx::raw_sql(kill).execute(&mut *control).await
                // Unless it ended by itself.
                && number_of(&error) != Some(1094)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn audit<'a>(
        options: &'a Options<Self>,
        _: &'a [Audited<'a>],
        _: bool,
    ) -> Result<Seen, sqlx::Error> {
        audit::mysql::audit(options).await
    }

    fn classify(error: &sqlx::Error) -> FaultKind {
        match (number_of(error), error) {
            (Some(1049), _) => FaultKind::Missing,
            (Some(1040 | 1203 | 1226), _) => FaultKind::Crowded,
            // It shuts down, has no threads or memory left, or blocks this host.
            (Some(1053 | 1037 | 1038 | 1041 | 1129 | 1130 | 1135 | 1158..=1161), _) => FaultKind::Unreachable,
            (Some(_), _) | (None, sqlx::Error::Configuration(_)) => FaultKind::Refused,
            (None, _) => FaultKind::Unreachable,
        }
    }
}

pub(super) fn number_of(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error
        .try_downcast_ref::<MySqlDatabaseError>()
        .map(MySqlDatabaseError::number)
}

fn reset_message(session: &Thread, nonce: u64) -> String {
    // A variable can be set inside of a SELECT, which is counted nowhere. MySQL shows them to few.
    let variables = if session.is_mariadb {
        "(SELECT COUNT(*) FROM information_schema.USER_VARIABLES)"
    } else {
        "0"
    };
    format!(
        "ROLLBACK; UNLOCK TABLES; DO RELEASE_ALL_LOCKS(); \
         SELECT '{nonce}', CAST(CONNECTION_ID() AS CHAR), CAST({variables} AS CHAR); {KEPT}"
    )
}

fn judge(rows: &[MySqlRow], session: &Thread, nonce: u64) -> Result<Cleaned, sqlx::Error> {
    let Some((own, status)) = rows.split_first().filter(|(row, _)| row.len() == 3) else {
        return Ok(Cleaned::Desynchronised);
    };
    let (answered, id, variables): (String, String, String) =
        (own.try_get(0)?, own.try_get(1)?, own.try_get(2)?);
    Ok(if answered != nonce.to_string() {
        Cleaned::Desynchronised
    } else if id != session.id.to_string() {
        Cleaned::OtherSession
    } else if variables != "0" {
        Cleaned::Stained("a user variable was set")
    } else if kept(status)? != session.kept {
        Cleaned::Stained("a statement ran that leaves something in the session")
    } else {
        Cleaned::Clean
    })
}

fn kept(rows: &[MySqlRow]) -> Result<u64, sqlx::Error> {
    let mut sum = 0;
    for row in rows {
        let count: String = row.try_get(1)?;
        sum += count
            .parse::<u64>()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    }
    Ok(sum)
}
