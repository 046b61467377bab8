//! Who may have how many of a server's connections: tables beside the catalogue's, in its database.
//!
//! A row of `tenancy_shares` is what one process may have open on one server, until a time of the database's clock. Rows
//! are written while the server's row of `tenancy_budgets` is locked, by a transaction that has read all of them, so that
//! their sum is never over the budget. A process that is over writes a smaller number only after it has closed what it has
//! too much.

mod divide;
#[cfg(all(test, feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use super::{Dialect, SqlStore, StoreKind, journal::stood_in_the_way, open};
use crate::{
    CatalogueError,
    central::{Connection, Pool, Statement, sql},
};

pub(crate) use divide::divide;

/// How often a transaction is tried again that another one stood in the way of.
const TRIES: u32 = 8;

fn tables(dialect: Dialect) -> &'static str {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS tenancy_budgets (
                 server TEXT PRIMARY KEY NOT NULL, turn INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS tenancy_shares (
                 server TEXT NOT NULL, holder TEXT NOT NULL, share INTEGER NOT NULL, wants INTEGER NOT NULL,
                 expires_at_ms INTEGER NOT NULL, PRIMARY KEY (server, holder)) WITHOUT ROWID"
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            "CREATE TABLE IF NOT EXISTS tenancy_budgets (
                 server text COLLATE \"C\" PRIMARY KEY, turn bigint NOT NULL);
             CREATE TABLE IF NOT EXISTS tenancy_shares (
                 server text COLLATE \"C\" NOT NULL, holder text COLLATE \"C\" NOT NULL, share bigint NOT NULL,
                 wants bigint NOT NULL, expires_at_ms bigint NOT NULL, PRIMARY KEY (server, holder))"
        }
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            "CREATE TABLE IF NOT EXISTS tenancy_budgets (
                 server VARBINARY(300) PRIMARY KEY NOT NULL, turn BIGINT NOT NULL) ENGINE = InnoDB;
             CREATE TABLE IF NOT EXISTS tenancy_shares (
                 server VARBINARY(300) NOT NULL, holder VARBINARY(32) NOT NULL, share BIGINT NOT NULL,
                 wants BIGINT NOT NULL, expires_at_ms BIGINT NOT NULL, PRIMARY KEY (server, holder)) ENGINE = InnoDB"
        }
    }
}

/// Where the shares are written. Clones share one connection.
#[derive(Clone)]
pub(crate) struct ShareLedger {
    store: SqlStore,
    pool: Pool,
}

/// What one process asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShareRequest<'a> {
    pub(crate) server: &'a str,
    /// Tells the process, and its opening of the pool, from others.
    pub(crate) holder: &'a str,
    /// Of all processes.
    pub(crate) budget: u64,
    /// What it can not give back yet: it has it open, or may open it at any moment.
    pub(crate) keeps: u64,
    pub(crate) wants: u64,
    pub(crate) lease: Duration,
}

/// What it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// What it may have open, until its lease is over.
    pub(crate) granted: u64,
    /// What is its part. If less than granted, others want the difference; if more, they have it still.
    pub(crate) due: u64,
}

impl SqlStore {
    pub(crate) async fn share_ledger(&self) -> Result<ShareLedger, CatalogueError> {
        if self.kind() == StoreKind::ReadOnly {
            return Err(CatalogueError::read_only(
                "shares of a budget are kept beside the catalogue: open it without `read_only`",
            ));
        }
        Ok(ShareLedger {
            store: self.clone(),
            pool: open::open_beside(&self.inner.options, tables).await?,
        })
    }
}

impl ShareLedger {
    /// Writes what the process has from now on. Renews its lease.
    pub(crate) async fn renew(&self, request: ShareRequest<'_>) -> Result<Share, CatalogueError> {
        let mut tries = 0;
        loop {
            match self.try_to_renew(request).await {
                Err(error) if tries < TRIES && stood_in_the_way(&error) => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(2 << tries.min(6))).await;
                }
                outcome => return outcome.map_err(CatalogueError::from_sqlx),
            }
        }
    }

    async fn try_to_renew(&self, request: ShareRequest<'_>) -> Result<Share, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        // Who gave up waiting is not to stand in line on the server.
        let wait = (request.lease / 16).min(self.store.inner.options.wait);
        connection.begin_write(wait).await?;
        lock(&mut connection, request.server).await?;
        let rows = self.read(&mut connection, request.server).await?;
        let (living, expired): (Rows, Rows) = rows.into_iter().partition(|(_, row)| row.is_living);
        let share = decide(request, &living);
        let has_row = living.contains_key(request.holder) || expired.contains_key(request.holder);
        self.write(&mut connection, request, share, has_row).await?;
        for holder in expired.keys().filter(|holder| *holder != request.holder) {
            connection.execute(gone(request.server, holder)).await?;
        }
        connection.commit().await?;
        Ok(share)
    }

    /// What each process has, and wants, by its name: all of them see the same order.
    async fn read(&self, connection: &mut Connection, server: &str) -> Result<Rows, sqlx::Error> {
        let mut shares = sql("SELECT holder, share, wants, CASE WHEN expires_at_ms > ");
        self.push_now(&mut shares, connection.dialect());
        shares.push(" THEN 1 ELSE 0 END AS is_living FROM tenancy_shares WHERE server = ");
        shares.push_bind(server);
        // What was committed last, whatever this transaction sees otherwise.
        shares.push(match connection.dialect() {
            #[cfg(feature = "mysql")]
            Dialect::MySql => " FOR UPDATE",
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            _ => "",
        });
        let rows = connection.fetch_all(shares).await?;
        let read = rows.iter().map(|row| {
            let written = Written {
                share: unsigned(row.int("share")?),
                wants: unsigned(row.int("wants")?),
                is_living: row.int("is_living")? == 1,
            };
            Ok((row.text("holder")?.to_owned(), written))
        });
        read.collect()
    }

    async fn write(
        &self,
        connection: &mut Connection,
        request: ShareRequest<'_>,
        share: Share,
        has_row: bool,
    ) -> Result<(), sqlx::Error> {
        let lease_ms = i64::try_from(request.lease.as_millis()).unwrap_or(i64::MAX);
        let mut row = sql(if has_row {
            "UPDATE tenancy_shares SET share = "
        } else {
            "INSERT INTO tenancy_shares (share, wants, expires_at_ms, server, holder) VALUES ("
        });
        let between = |update: &'static str| if has_row { update } else { ", " };
        row.push_bind(signed(share.granted));
        row.push(between(", wants = ")).push_bind(signed(request.wants));
        row.push(between(", expires_at_ms = "));
        self.push_now(&mut row, connection.dialect());
        row.push(" + ").push_bind(lease_ms);
        row.push(between(" WHERE server = ")).push_bind(request.server);
        row.push(between(" AND holder = ")).push_bind(request.holder);
        row.push(if has_row { "" } else { ")" });
        connection.execute(row).await.map(drop)
    }

    /// The database's clock, so that all processes have the same. A file is on this machine.
    fn push_now(&self, statement: &mut Statement, dialect: Dialect) {
        match dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => statement.push_bind(super::unix_ms(&*self.store.inner.options.clock)),
            #[cfg(feature = "postgres")]
            Dialect::Postgres => statement.push("(extract(epoch FROM clock_timestamp()) * 1000)::bigint"),
            #[cfg(feature = "mysql")]
            Dialect::MySql => statement.push("CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"),
        };
    }

    /// Forgets the process: it has nothing open any more.
    pub(crate) async fn give_back(&self, server: &str, holder: &str) -> Result<(), CatalogueError> {
        let limit = self.store.inner.options.wait * 2;
        let deleted = self.pool.execute_within(limit, gone(server, holder)).await;
        deleted.map(drop)
    }
}

/// What stands of a process.
struct Written {
    share: u64,
    wants: u64,
    is_living: bool,
}

type Rows = BTreeMap<String, Written>;

fn gone(server: &str, holder: &str) -> Statement {
    sql("DELETE FROM tenancy_shares WHERE server = ? AND holder = ?")
        .bind(server)
        .bind(holder)
}

/// Until the transaction ends. The row is made by whoever is first.
async fn lock(connection: &mut Connection, server: &str) -> Result<(), sqlx::Error> {
    let turn = match connection.dialect() {
        #[cfg(feature = "mysql")]
        Dialect::MySql => sql("INSERT INTO tenancy_budgets (server, turn) VALUES (?, 1)
             ON DUPLICATE KEY UPDATE turn = turn + 1"),
        #[cfg(any(feature = "sqlite", feature = "postgres"))]
        _ => sql("INSERT INTO tenancy_budgets (server, turn) VALUES (?, 1)
             ON CONFLICT (server) DO UPDATE SET turn = tenancy_budgets.turn + 1"),
    };
    connection.execute(turn.bind(server)).await.map(drop)
}

/// Never more than the others leave of the budget; less than before only if the process keeps less.
fn decide(request: ShareRequest<'_>, living: &Rows) -> Share {
    let others = living.iter().filter(|(holder, _)| *holder != request.holder);
    let taken = others.fold(0_u64, |sum, (_, row)| sum.saturating_add(row.share));
    let left = request.budget.saturating_sub(taken);
    let mut wants: BTreeMap<&str, u64> = living
        .iter()
        .map(|(holder, row)| (holder.as_str(), row.wants))
        .collect();
    wants.insert(request.holder, request.wants);
    let place = wants.range(..request.holder).count();
    let wants: Vec<u64> = wants.into_values().map(|wants| wants.max(1)).collect();
    let due = divide(request.budget, &wants)[place];
    let had = living.get(request.holder).map_or(0, |row| row.share);
    Share {
        granted: due.max(request.keeps.min(had)).min(left),
        due,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Of a row that somebody wrote by hand, nothing below zero is believed.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
