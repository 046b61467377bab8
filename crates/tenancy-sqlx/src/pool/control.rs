//! The connection that looks after others: through it abandoned statements are cancelled, and closed connections looked
//! for. One for each server, opened when it is needed.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sqlx::Connection;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::{
    breaker::{Fault, FaultKind},
    open,
    server::ServerPool,
    target::Target,
};
use crate::engine::TenantEngine;

pub(super) struct Control<DB: TenantEngine> {
    kept: Mutex<Option<(DB::Connection, Instant)>>,
    /// Where the options lead by themselves, nobody may log in: it leads to a tenant's database, and is not kept.
    has_no_home: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Cancel,
    IsThere,
}

impl<DB: TenantEngine> Control<DB> {
    pub(super) fn new() -> Self {
        Self {
            kept: Mutex::new(None),
            has_no_home: AtomicBool::new(false),
        }
    }

    /// Cancels what the session runs, in whichever database.
    pub(super) async fn cancel(&self, pool: &ServerPool<DB>, session: &DB::Session, target: &Target) {
        self.ask(pool, Question::Cancel, session, Some(target)).await;
    }

    /// Waits until the server counts a closed connection no more. `false` when nobody can tell. Without a target it opens
    /// no connection for it.
    pub(super) async fn until_gone(
        &self,
        pool: &ServerPool<DB>,
        session: &DB::Session,
        target: Option<&Target>,
    ) -> bool {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.ask(pool, Question::IsThere, session, target).await {
                Some(true) => sleep(pause).await,
                Some(false) => return true,
                None => return false,
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// `None` when nobody could be asked.
    async fn ask(
        &self,
        pool: &ServerPool<DB>,
        question: Question,
        session: &DB::Session,
        target: Option<&Target>,
    ) -> Option<bool> {
        let mut kept = self.kept.lock().await;
        // Asked under the lock, so that one that is no longer allowed is closed after this, not before.
        if !pool.has_control() {
            return None;
        }
        // Taken out while it is used: if this future is dropped half way, the connection is in no state to be kept.
        let mut control = match kept.take() {
            Some((control, _)) => control,
            None => self.open(pool, target?).await?,
        };
        let answer = match question {
            Question::Cancel => DB::cancel(Some(&mut control), session).await.map(|()| true),
            Question::IsThere => DB::is_there(&mut control, session).await,
        };
        match answer {
            Ok(answer) => {
                if self.has_no_home.load(Ordering::Relaxed) {
                    // It would keep a tenant's database from being dropped.
                    good_bye::<DB>(control).await;
                } else {
                    *kept = Some((control, Instant::now()));
                }
                Some(answer)
            }
            Err(error) => {
                tracing::warn!(server = %pool.name, %error, ?question, "the server was asked in vain about a connection");
                None
            }
        }
    }

    async fn open(&self, pool: &ServerPool<DB>, target: &Target) -> Option<DB::Connection> {
        let (is_pooled, limit) = (pool.settings.is_pooled, pool.settings.connect);
        if !self.has_no_home.load(Ordering::Relaxed) {
            match open::connect::<DB>(&pool.options, is_pooled, limit).await {
                Ok((control, _)) => return Some(control),
                Err(fault) if matches!(fault.kind, FaultKind::Missing | FaultKind::Refused) => {
                    self.has_no_home.store(true, Ordering::Relaxed);
                }
                Err(fault) => {
                    in_vain(pool, &fault);
                    return None;
                }
            }
        }
        let options = DB::at(&pool.options, target.database_name());
        let opened = open::connect::<DB>(&options, is_pooled, limit).await;
        opened
            .inspect_err(|fault| in_vain(pool, fault))
            .ok()
            .map(|(control, _)| control)
    }

    pub(super) async fn close_if_idle(&self, idle: Duration) {
        let Ok(mut kept) = self.kept.try_lock() else {
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
        if let Some((control, _)) = self.kept.lock().await.take() {
            good_bye::<DB>(control).await;
        }
    }
}

fn in_vain<DB: TenantEngine>(pool: &ServerPool<DB>, fault: &Fault) {
    tracing::warn!(server = %pool.name, kind = ?fault.kind, "no connection to look after others with");
}

async fn good_bye<DB: TenantEngine>(control: DB::Connection) {
    let _ = timeout(Duration::from_secs(1), control.close()).await;
}
