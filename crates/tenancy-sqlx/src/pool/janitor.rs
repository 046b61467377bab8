//! What happens to a used connection before anybody else has it.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{figures::Tallies, lease::Checkout, open::Link, server::ServerPool};
use crate::engine::{Cleaned, TenantEngine};

/// Counted as dirty for as long as this lives.
struct Dirty<DB: TenantEngine>(Arc<ServerPool<DB>>);

impl<DB: TenantEngine> Dirty<DB> {
    fn new(pool: &Arc<ServerPool<DB>>) -> Self {
        pool.tallies.dirty.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pool))
    }
}

impl<DB: TenantEngine> Drop for Dirty<DB> {
    fn drop(&mut self) {
        self.0.tallies.dirty.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Resets it in a task of its own, and gives it back, or closes it. Where no task can run any more it is closed.
pub(super) fn clean<DB: TenantEngine>(mut checkout: Checkout<DB>) {
    let pool = Arc::clone(checkout.pool());
    let dirty = Dirty::new(&pool);
    Arc::clone(&pool).spawn(async move {
        let verdict = reset(&pool, checkout.link()).await;
        let tallies = &pool.tallies;
        drop(dirty);
        match verdict {
            Ok(Cleaned::Clean) => {
                Tallies::count(&tallies.resets);
                checkout.give_back();
            }
            Ok(Cleaned::Stained(with)) => {
                Tallies::count(&tallies.stained);
                tracing::debug!(server = %pool.name, with, "a connection is closed after use");
                checkout.close();
            }
            Ok(Cleaned::OtherSession) => {
                if Tallies::count(&tallies.other_sessions) == 0 {
                    tracing::error!(
                        server = %pool.name,
                        "another session answers than was asked: either a pooler in transaction mode stands between this \
                         process and the server, or connections were swapped; such connections are closed after each use"
                    );
                }
                checkout.close();
            }
            Ok(Cleaned::Desynchronised) => checkout.close_hard(),
            Err(Fatal) => {
                pool.suspect_idle();
                checkout.close_hard();
            }
        }
    });
}

/// The connection does not answer any more.
struct Fatal;

/// First with patience for a statement that is about to end; then the statement is cancelled; then it is given up.
async fn reset<DB: TenantEngine>(pool: &ServerPool<DB>, link: &mut Link<DB>) -> Result<Cleaned, Fatal> {
    let Link {
        connection,
        session,
        target,
    } = link;
    let session = &*session;
    let give_up = Instant::now() + give_up_after(pool);
    {
        let mut cleaning = pin!(DB::clean(connection, session, nonce()));
        if let Ok(cleaned) = timeout(pool.settings.reset, &mut cleaning).await {
            return cleaned.map_err(|_| Fatal);
        }
        let cancel = async {
            if !DB::CANCELS_BY_CONTROL {
                Tallies::count(&pool.tallies.cancels);
                drop(DB::cancel(None, session).await);
            } else if pool.has_control() {
                Tallies::count(&pool.tallies.cancels);
                pool.control.cancel(pool, session, target).await;
            }
        };
        // Beside each other: the statement may end by itself, and cancelling may hang.
        let both = async { tokio::join!(cancel, cleaning).1 };
        match timeout_at(give_up, both).await {
            Ok(Ok(Cleaned::Clean)) => {}
            Ok(Ok(other)) => return Ok(other),
            Ok(Err(_)) | Err(_) => return Err(Fatal),
        }
    }
    // The cancel may reach the session after what it was meant for has ended: it hits this, not the next borrower's
    // statement.
    match timeout_at(give_up, DB::clean(connection, session, nonce())).await {
        Ok(Ok(cleaned)) => Ok(cleaned),
        Ok(Err(_)) | Err(_) => Err(Fatal),
    }
}

fn nonce() -> u64 {
    fastrand::u64(..)
}

/// Without a connection for cancelling, a statement that runs holds its permit: closing would leave it running on the
/// server, which counts it.
fn give_up_after<DB: TenantEngine>(pool: &ServerPool<DB>) -> Duration {
    let settings = &pool.settings;
    if DB::CANCELS_BY_CONTROL && !pool.has_control() {
        settings.give_up.max(settings.limits.idle)
    } else {
        settings.give_up.max(settings.reset)
    }
}
