//! The connection through which abandoned statements are cancelled. One for each server, opened when it is needed.

use std::time::Duration;

use sqlx::Connection;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{open, server::ServerPool, target::Target};
use crate::engine::TenantEngine;

pub(super) struct Control<DB: TenantEngine>(Mutex<Option<(DB::Connection, Instant)>>);

impl<DB: TenantEngine> Control<DB> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Cancels what the session runs. It leads wherever the first statement ran: a server cancels in all databases.
    pub(super) async fn cancel(&self, pool: &ServerPool<DB>, session: &DB::Session, target: &Target) {
        let mut kept = self.0.lock().await;
        // Asked under the lock, so that one that is no longer allowed is closed after this, not before.
        if !pool.has_control() {
            return;
        }
        // Taken out while it is used: if this future is dropped half way, the connection is in no state to be kept.
        let mut control = match kept.take() {
            Some((control, _)) => control,
            None => {
                let options = DB::at(&pool.options, target.database_name());
                match open::connect::<DB>(&options, pool.settings.connect).await {
                    Ok((control, _)) => control,
                    Err(fault) => {
                        tracing::warn!(server = %pool.name, kind = ?fault.kind, "no connection to cancel statements with");
                        return;
                    }
                }
            }
        };
        match DB::cancel(Some(&mut control), session).await {
            Ok(()) => *kept = Some((control, Instant::now())),
            Err(error) => tracing::warn!(server = %pool.name, %error, "a statement could not be cancelled"),
        }
    }

    pub(super) async fn close_if_idle(&self, idle: Duration) {
        let Ok(mut kept) = self.0.try_lock() else {
            return;
        };
        if kept.as_ref().is_some_and(|(_, used)| used.elapsed() >= idle)
            && let Some((control, _)) = kept.take()
        {
            good_bye::<DB>(control).await;
        }
    }

    /// When nobody uses it any more.
    pub(super) async fn close(&self) {
        if let Some((control, _)) = self.0.lock().await.take() {
            good_bye::<DB>(control).await;
        }
    }
}

async fn good_bye<DB: TenantEngine>(control: DB::Connection) {
    let _ = timeout(Duration::from_secs(1), control.close()).await;
}
