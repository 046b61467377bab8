//! Everything that a session can keep, compared as a whole: the next borrower's is as if nobody had been there.

use sqlx::{MySql, MySqlConnection, PgConnection, Postgres, Row, Sqlite, SqliteConnection};
use tenancy_sqlx::{TenantEngine, pool::PoolSettings};
use tenancy_test::servers::{self, MariaDb};

use super::{
    fixture::{KINDS, Kind},
    homes::{Homes, Notes},
};
use crate::pool::fixture::{patient, poll_at_most};

/// What a session is, in many short lines.
trait Session: Notes {
    async fn session(&mut self) -> Vec<String>;
    /// Prepares what the database refuses.
    async fn fail(&mut self) -> Result<(), sqlx::Error>;
    /// A number, there and back.
    async fn say(&mut self, number: i64) -> i64;
}

impl Session for PgConnection {
    async fn fail(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT nothing FROM nowhere").execute(self).await?;
        Ok(())
    }

    async fn say(&mut self, number: i64) -> i64 {
        let say = sqlx::AssertSqlSafe(format!("SELECT CAST({number} AS BIGINT)"));
        sqlx::raw_sql(say).fetch_one(self).await.unwrap().get(0)
    }

    async fn session(&mut self) -> Vec<String> {
        let rows = sqlx::raw_sql(
            "SELECT name || '=' || setting FROM pg_settings
             UNION ALL SELECT 'app.kept=' || coalesce(current_setting('app.kept', true), '')
             UNION ALL SELECT 'user=' || current_user || ' ' || session_user
             UNION ALL SELECT 'cursors=' || count(*) FROM pg_cursors
             UNION ALL SELECT 'prepared=' || count(*) FROM pg_prepared_statements WHERE from_sql
             UNION ALL SELECT 'listens=' || count(*) FROM pg_listening_channels()
             UNION ALL SELECT 'locks=' || count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
             UNION ALL SELECT 'tables=' || count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()
             UNION ALL SELECT 'functions=' || count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()
             UNION ALL SELECT 'types=' || count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema()
             UNION ALL SELECT 'outside=' || (now() = statement_timestamp())
             ORDER BY 1",
        );
        let mut session = texts(&rows.fetch_all(&mut *self).await.unwrap());
        let last_number = sqlx::raw_sql("SELECT lastval()").fetch_one(self).await;
        session.push(format!("has taken a number: {}", last_number.is_ok()));
        session
    }
}

impl Session for MySqlConnection {
    async fn fail(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT nothing FROM nowhere").execute(self).await?;
        Ok(())
    }

    async fn say(&mut self, number: i64) -> i64 {
        let say = sqlx::AssertSqlSafe(format!("SELECT CAST({number} AS SIGNED)"));
        sqlx::raw_sql(say).fetch_one(self).await.unwrap().get(0)
    }

    async fn session(&mut self) -> Vec<String> {
        // What each statement sets anew, or each connection has its own of.
        let rows = sqlx::raw_sql(
            "SELECT CONCAT(VARIABLE_NAME, '=', VARIABLE_VALUE) AS line FROM information_schema.SESSION_VARIABLES
             WHERE VARIABLE_NAME NOT IN ('TIMESTAMP', 'PSEUDO_THREAD_ID', 'RAND_SEED1', 'RAND_SEED2', 'WARNING_COUNT',
                 'ERROR_COUNT', 'LAST_INSERT_ID', 'IDENTITY', 'LAST_GTID')
               AND VARIABLE_NAME NOT LIKE 'GTID%'
             UNION ALL SELECT CONCAT('variables=', COUNT(*)) FROM information_schema.USER_VARIABLES
             UNION ALL SELECT CONCAT('database=', DATABASE(), ' role=', IFNULL(CURRENT_ROLE(), ''))
             UNION ALL SELECT CONCAT('outside=', @@in_transaction = 0)
             UNION ALL SELECT CONCAT('lock=', IS_FREE_LOCK('left'))
             ORDER BY 1",
        );
        let rows = rows.fetch_all(self).await.unwrap();
        rows.iter()
            .map(|row| String::from_utf8_lossy(&row.get::<Vec<u8>, _>(0)).into_owned())
            .collect()
    }
}

impl Session for SqliteConnection {
    async fn fail(&mut self) -> Result<(), sqlx::Error> {
        self.leave("SELECT nothing FROM nowhere").await
    }

    async fn say(&mut self, number: i64) -> i64 {
        sqlx::query("SELECT ?")
            .bind(number)
            .fetch_one(self)
            .await
            .unwrap()
            .get(0)
    }

    async fn session(&mut self) -> Vec<String> {
        let mut session = Vec::new();
        for pragma in PRAGMAS {
            let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA {pragma}")));
            let rows = rows.fetch_all(&mut *self).await.unwrap();
            let values: Vec<_> = rows.iter().map(|row| row.get_unchecked::<String, _>(0)).collect();
            session.push(format!("{pragma}={values:?}"));
        }
        let rows = sqlx::raw_sql(
            "SELECT name || '=' || file FROM pragma_database_list WHERE name <> 'temp'
             UNION ALL SELECT 'temporary=' || count(*) FROM sqlite_temp_master
             UNION ALL SELECT 'like=' || ('a' LIKE 'A')",
        );
        let rows = rows.fetch_all(&mut *self).await.unwrap();
        session.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        session.push(format!("outside={}", self.is_outside().await));
        session
    }
}

/// Those that a connection has, and tells.
const PRAGMAS: [&str; 22] = [
    "automatic_index",
    "busy_timeout",
    "cache_size",
    "cell_size_check",
    "count_changes",
    "defer_foreign_keys",
    "empty_result_callbacks",
    "foreign_keys",
    "full_column_names",
    "ignore_check_constraints",
    "journal_mode",
    "journal_size_limit",
    "legacy_alter_table",
    "locking_mode",
    "max_page_count",
    "query_only",
    "recursive_triggers",
    "secure_delete",
    "short_column_names",
    "synchronous",
    "trusted_schema",
    "writable_schema",
];

fn texts(rows: &[sqlx::postgres::PgRow]) -> Vec<String> {
    rows.iter().map(|row| row.get(0)).collect()
}

/// One connection for each tenant; where connections go from tenant to tenant, one in all.
fn single(tenants: usize) -> PoolSettings {
    patient(4)
        .max_per_tenant(1)
        .max_tenants(tenants)
        .settle(std::time::Duration::ZERO)
}

async fn nothing_is_left<DB>(homes: &Homes<DB>, next: usize, leaves: &[&str])
where
    DB: TenantEngine<Connection: Session>,
{
    let fresh = homes.db(next).acquire().await.unwrap().session().await;
    for leave in leaves {
        let mut connection = homes.db(0).acquire().await.unwrap();
        connection
            .leave(leave)
            .await
            .unwrap_or_else(|error| panic!("{leave}: {error}"));
        drop(connection);
        let mut connection = homes.db(next).acquire().await.unwrap();
        let session = connection.session().await;
        let left: Vec<_> = session.iter().filter(|line| !fresh.contains(line)).collect();
        assert!(
            left.is_empty() && session.len() == fresh.len(),
            "{leave} left {left:?}"
        );
        let notes = connection.notes().await.unwrap();
        assert_eq!(notes, [homes.canary(next)], "after {leave}");
    }
}

const ON_POSTGRES: &[&str] = &[
    "SET search_path TO pg_catalog",
    "SET app.kept TO 'x'",
    "SELECT set_config('app.kept', 'x', false)",
    "SET ROLE left_role",
    "SET SESSION AUTHORIZATION app; SET ROLE left_role",
    "SET TIME ZONE 'Asia/Tokyo'; SET DateStyle TO 'German'; SET bytea_output TO 'escape'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
    "SET default_transaction_deferrable TO on; SET row_security TO off",
    "SET client_encoding TO 'LATIN1'",
    "SET statement_timeout TO 60000; SET lock_timeout TO 1; SET plan_cache_mode TO force_generic_plan",
    "SET client_min_messages TO error",
    "BEGIN; SET LOCAL app.kept TO 'x'; SET TRANSACTION READ ONLY",
    "BEGIN; SAVEPOINT a; SAVEPOINT b; SET app.kept TO 'x'",
    "CREATE TEMP TABLE notes AS SELECT 'foreign' AS text",
    "CREATE TEMP VIEW notes AS SELECT 'foreign'::text AS text",
    "CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
    "CREATE TYPE pg_temp.mood AS ENUM ('fine')",
    "CREATE TEMP SEQUENCE numbers; SELECT nextval('numbers')",
    "BEGIN; CREATE TEMP TABLE notes (text text) ON COMMIT DROP",
    "LISTEN gossip",
    "BEGIN; LISTEN gossip; NOTIFY gossip",
    "SELECT pg_advisory_lock(7), pg_advisory_lock_shared(8), pg_advisory_lock(7)",
    "BEGIN; SELECT pg_advisory_xact_lock(9)",
    "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c",
    "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT 1; COMMIT",
    "PREPARE stolen AS SELECT 1",
    "BEGIN; INSERT INTO notes (text) VALUES ('x'); LOCK TABLE notes IN SHARE ROW EXCLUSIVE MODE",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_next_tenants_session_is_as_if_nobody_had_been_there() {
    let server = servers::Postgres::shared().await;
    server
        .sql("CREATE ROLE left_role NOLOGIN; GRANT left_role TO app")
        .await;
    for kind in KINDS {
        let goes_on = kind != Kind::Databases;
        let homes = Homes::postgres(kind, "left", 2, single(1), None).await;
        nothing_is_left(&homes, usize::from(goes_on), ON_POSTGRES).await;
        let figures = homes.figures();
        assert_eq!(figures.re_points > 0, goes_on, "{kind:?} {figures:?}");
    }
    server.sql("DROP ROLE left_role").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_the_session_or_its_statements_is_not_the_next_borrowers() {
    let homes: Homes<Postgres> = Homes::postgres(Kind::Schemas, "ends", 2, single(1), None).await;
    for leave in [
        "SET idle_session_timeout TO 1",
        "BEGIN; SET LOCAL idle_in_transaction_session_timeout TO 1",
        "SET statement_timeout TO 1",
    ] {
        let mut connection = homes.db(0).acquire().await.unwrap();
        connection.leave(leave).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        drop(connection);
        let mut connection = homes.db(1).acquire().await.unwrap();
        assert_eq!(
            connection.notes().await.unwrap(),
            [homes.canary(1)],
            "after {leave}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_dropped_half_way_leaves_no_row() {
    for kind in [Kind::Databases, Kind::Schemas] {
        let homes = Homes::postgres(kind, "half_copied", 1, single(1), None).await;
        for rounds in 0..3 {
            let mut connection = homes.db(0).acquire().await.unwrap();
            let mut copy = connection
                .copy_in_raw("COPY notes (text) FROM STDIN")
                .await
                .unwrap();
            for _ in 0..rounds {
                copy.send("half\n".as_bytes()).await.unwrap();
            }
            drop(copy);
            drop(connection);
            let mut connection = homes.db(0).acquire().await.unwrap();
            assert_eq!(connection.notes().await.unwrap(), [homes.canary(0)], "{kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_the_error_of_a_statement_that_was_dropped_is_nobodys_answer() {
    for kind in KINDS {
        let homes = Homes::postgres(kind, "misread", 2, single(1), None).await;
        errors_are_nobodys(&homes, usize::from(kind != Kind::Databases)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_the_error_of_a_statement_that_was_dropped_is_nobodys_answer() {
    errors_are_nobodys(&Homes::mariadb("misread", 1, single(1), None).await, 0).await;
}

/// A statement that fails, dropped at each await; then two that must each have their own answer.
async fn errors_are_nobodys<DB: TenantEngine<Connection: Session>>(homes: &Homes<DB>, next: usize) {
    for polls in 1..6 {
        for _ in 0..4 {
            let failing = async {
                let mut connection = homes.db(0).acquire().await.unwrap();
                connection.fail().await.unwrap_err();
            };
            poll_at_most(polls, failing).await;
            let mut connection = homes.db(next).acquire().await.unwrap();
            for number in 1..4 {
                assert_eq!(connection.say(number).await, number, "after {polls} polls");
            }
            assert_eq!(connection.notes().await.unwrap(), [homes.canary(next)]);
        }
    }
}

const ON_MARIADB: &[&str] = &[
    "SET NAMES latin1",
    "SET SESSION sql_mode = ''",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION TRANSACTION READ ONLY",
    "SET autocommit = 0",
    "SET SESSION sql_select_limit = 0",
    "SET time_zone = '+09:00', lc_time_names = 'ja_JP'",
    "SET insert_id = 77",
    "SET @left = 'x'",
    "SELECT @left := 'x'",
    "SELECT 'x' INTO @left",
    "EXECUTE IMMEDIATE 'SET @left = 1'",
    "BEGIN NOT ATOMIC SET SESSION sql_mode = ''; END",
    "CALL leaving()",
    "SELECT left_behind()",
    "SET ROLE left_role",
    "CREATE TEMPORARY TABLE notes AS SELECT 'foreign' AS text",
    "PREPARE stolen FROM 'SELECT 1'",
    "USE information_schema",
    "DO GET_LOCK('left', 0)",
    "HANDLER notes OPEN AS h",
    "BEGIN; INSERT INTO notes VALUES ('x'); SAVEPOINT a",
    "START TRANSACTION READ ONLY",
    "XA START 'x'",
    "XA START 'x'; INSERT INTO notes VALUES ('x'); XA END 'x'",
    "SELECT text FROM notes FOR UPDATE",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_the_next_session_is_as_if_nobody_had_been_there() {
    let homes: Homes<MySql> = Homes::mariadb("left", 1, single(1), None).await;
    let server = MariaDb::shared().await;
    let database = format!("`tenant_{}`", homes.tenants[0].id());
    for statement in [
        "CREATE ROLE left_role".to_owned(),
        "GRANT left_role TO app".to_owned(),
        format!("CREATE PROCEDURE {database}.leaving() SET SESSION sql_mode = ''"),
        format!(
            "CREATE FUNCTION {database}.left_behind() RETURNS INT DETERMINISTIC \
             BEGIN SET SESSION sql_select_limit = 1; RETURN 1; END"
        ),
        format!(
            "GRANT EXECUTE ON {} TO app",
            format!("{database}.*").replace('_', "\\_")
        ),
    ] {
        server.sql(statement).await;
    }
    nothing_is_left(&homes, 0, ON_MARIADB).await;
    server.sql("DROP ROLE left_role").await;
}

const IN_FILES: &[&str] = &[
    "ATTACH ':memory:' AS other",
    "ATTACH ':memory:' AS other; CREATE TABLE other.notes AS SELECT 'foreign' AS text",
    "CREATE TEMP TABLE notes AS SELECT 'foreign' AS text",
    "CREATE TEMP VIEW notes AS SELECT 'foreign' AS text",
    "CREATE TEMP TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM notes; END",
    "BEGIN; INSERT INTO notes VALUES ('x')",
    "BEGIN EXCLUSIVE",
    "SAVEPOINT a; INSERT INTO notes VALUES ('x')",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA query_only = ON",
    "PRAGMA cache_size = 7",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE; INSERT INTO notes VALUES ('x'); DELETE FROM notes WHERE text = 'x'",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA defer_foreign_keys = ON",
    "PRAGMA busy_timeout = 7",
    "PRAGMA legacy_alter_table = ON",
    "PRAGMA writable_schema = ON",
    "PRAGMA automatic_index = OFF",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file_the_next_session_is_as_if_nobody_had_been_there() {
    let homes: Homes<Sqlite> = Homes::files(1, single(1)).await;
    nothing_is_left(&homes, 0, IN_FILES).await;
}

/// Each changes what the same statements do.
const ALSO_IN_FILES: &[&str] = &[
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA full_column_names = ON; PRAGMA short_column_names = OFF",
    "PRAGMA max_page_count = 1",
    "PRAGMA count_changes = ON",
    "PRAGMA empty_result_callbacks = ON",
    "PRAGMA journal_size_limit = 7",
    "PRAGMA cell_size_check = ON",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file_pragmas_that_change_answers_are_taken_back_too() {
    let homes: Homes<Sqlite> = Homes::files(1, single(1)).await;
    for leave in ALSO_IN_FILES {
        nothing_is_left(&homes, 0, &[leave]).await;
    }
}
