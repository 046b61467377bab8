//! Opening and closing connections, in tasks of their own: whoever asked may go away.

use std::{sync::Arc, time::Duration};

use sqlx::Connection;
use tokio::time::{sleep, timeout};

use super::{
    breaker::{Fault, FaultKind},
    core::{Closing, Ticket},
    departures,
    error::ConnectTimeout,
    server::ServerPool,
    target::Target,
};
use crate::engine::{Options, TenantEngine};

/// How long the server may still count a connection after it was closed, where it can not be asked.
pub(super) const LINGER: Duration = Duration::from_millis(20);

/// A connection and who the server says it is.
pub(crate) struct Link<DB: TenantEngine> {
    pub(super) connection: DB::Connection,
    pub(super) session: Arc<DB::Session>,
    /// Where it leads; also where a connection for cancelling it may lead.
    pub(super) target: Target,
}

impl<DB: TenantEngine> Link<DB> {
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.connection.ping().await
    }
}

impl<DB: TenantEngine> std::fmt::Debug for Link<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Says that nothing came of a ticket if nobody says otherwise: the task may panic, or its runtime end.
struct Attempt<DB: TenantEngine> {
    pool: Arc<ServerPool<DB>>,
    ticket: Option<Ticket>,
}

impl<DB: TenantEngine> Attempt<DB> {
    fn succeeded(mut self, link: Link<DB>) {
        if let Some(ticket) = self.ticket.take() {
            self.pool
                .with_core(|core, now, effects| core.connected(ticket, link, now, effects));
        }
    }

    fn failed(&mut self, fault: &Fault) {
        if let Some(ticket) = self.ticket.take() {
            self.pool
                .with_core(|core, now, effects| core.connect_failed(ticket, fault, now, effects));
            self.pool.note_if_all_closed();
        }
    }
}

impl<DB: TenantEngine> Drop for Attempt<DB> {
    fn drop(&mut self) {
        self.failed(&Fault::new(FaultKind::Abandoned));
    }
}

pub(super) async fn open<DB: TenantEngine>(pool: Arc<ServerPool<DB>>, ticket: Ticket) {
    let target = ticket.target().clone();
    let options = DB::at(&pool.options, target.database_name());
    let limit = pool.settings.connect;
    let is_pooled = pool.settings.is_pooled;
    let mut attempt = Attempt {
        pool,
        ticket: Some(ticket),
    };
    match connect::<DB>(&options, is_pooled, limit).await {
        Ok((connection, session)) => {
            let session = Arc::new(session);
            attempt.pool.remember(&session, &target);
            attempt.succeeded(Link {
                connection,
                session,
                target,
            });
        }
        Err(fault) => {
            tracing::warn!(
                server = %attempt.pool.name,
                database = target.database_name(),
                kind = ?fault.kind,
                cause = fault.cause.as_ref().map(tracing::field::display),
                "a connection to a tenant's database could not be opened"
            );
            attempt.failed(&fault);
        }
    }
}

pub(super) async fn connect<DB: TenantEngine>(
    options: &Options<DB>,
    is_pooled: bool,
    limit: Duration,
) -> Result<(DB::Connection, DB::Session), Fault> {
    match timeout(limit, DB::open(options, is_pooled)).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(Fault::new(DB::classify(&error)).caused_by(error)),
        Err(_) => Err(Fault::new(FaultKind::Unreachable).caused_by(ConnectTimeout)),
    }
}

/// The permit of a connection that is being closed comes back when this is dropped.
pub(super) struct Farewell<DB: TenantEngine> {
    pool: Arc<ServerPool<DB>>,
    closing: Option<Closing>,
}

impl<DB: TenantEngine> Farewell<DB> {
    pub(super) fn new(pool: Arc<ServerPool<DB>>, closing: Closing) -> Self {
        Self {
            pool,
            closing: Some(closing),
        }
    }
}

impl<DB: TenantEngine> Drop for Farewell<DB> {
    fn drop(&mut self) {
        if let Some(closing) = self.closing.take() {
            self.pool
                .with_core(|core, now, effects| core.closed(closing, now, effects));
            self.pool.note_if_all_closed();
        }
    }
}

/// With a good-bye, of which the server may make what it likes.
pub(super) async fn close<DB: TenantEngine>(pool: Arc<ServerPool<DB>>, link: Link<DB>, closing: Closing) {
    let farewell = Farewell::new(pool, closing);
    let pool = &farewell.pool;
    let Link {
        connection,
        session,
        target,
    } = link;
    let _ = timeout(pool.settings.give_up, connection.close()).await;
    until_gone(pool, session, Some(target)).await;
}

/// Without one: the connection is in no state to send it.
pub(super) async fn close_hard<DB: TenantEngine>(
    pool: Arc<ServerPool<DB>>,
    link: Link<DB>,
    closing: Closing,
) {
    let farewell = Farewell::new(pool, closing);
    let pool = &farewell.pool;
    let Link {
        connection, session, ..
    } = link;
    let _ = timeout(pool.settings.give_up, connection.close_hard()).await;
    // The server may be in trouble: nothing is opened to ask it.
    until_gone(pool, session, None).await;
}

/// Until the server counts it no more, so that one opened in its place is not one too many.
async fn until_gone<DB: TenantEngine>(
    pool: &Arc<ServerPool<DB>>,
    session: Arc<DB::Session>,
    target: Option<Target>,
) {
    // Without a server there is nobody who counts.
    if !DB::CANCELS_BY_CONTROL {
        return;
    }
    // What a pooler keeps open is not this pool's to count.
    if !pool.settings.is_pooled {
        let gone = departures::until_gone(pool, session, target);
        if matches!(timeout(pool.settings.give_up, gone).await, Ok(true)) {
            return;
        }
    }
    sleep(LINGER).await;
}
