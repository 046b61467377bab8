//! The connection that looks after others: through it abandoned statements are cancelled, and closed connections looked
//! for. One for each server, opened when it is needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
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
    /// Whether the server may count it.
    is_open: AtomicBool,
}

enum Question<'a, DB: TenantEngine> {
    Cancel(&'a DB::Session),
    AreThere(&'a [Arc<DB::Session>]),
}

impl<DB: TenantEngine> Control<DB> {
    pub(super) fn new() -> Self {
        Self {
            kept: Mutex::new(None),
            has_no_home: AtomicBool::new(false),
            is_open: AtomicBool::new(false),
        }
    }

    /// Cancels what the session runs, in whichever database.
    pub(super) async fn cancel(&self, pool: &ServerPool<DB>, session: &DB::Session, target: &Target) {
        self.ask(pool, Question::Cancel(session), Some(target)).await;
    }

    /// Which of the sessions the server still counts. `None` when nobody can tell. Without a target it opens no connection
    /// for it.
    pub(super) async fn are_there(
        &self,
        pool: &ServerPool<DB>,
        sessions: &[Arc<DB::Session>],
        target: Option<&Target>,
    ) -> Option<Vec<bool>> {
        if sessions.is_empty() {
            return Some(Vec::new());
        }
        self.ask(pool, Question::AreThere(sessions), target).await
    }

    /// `None` when nobody could be asked.
    async fn ask(
        &self,
        pool: &ServerPool<DB>,
        question: Question<'_, DB>,
        target: Option<&Target>,
    ) -> Option<Vec<bool>> {
        let mut kept = self.kept.lock().await;
        // Before it is asked whether it may be, so that whoever takes the right away knows of it.
        self.is_open.store(true, Ordering::Relaxed);
        // Asked under the lock, so that one that is no longer allowed is closed after this, not before.
        let answer = if pool.has_control() {
            self.ask_kept(pool, &mut kept, question, target).await
        } else {
            None
        };
        self.is_open.store(kept.is_some(), Ordering::Relaxed);
        answer
    }

    async fn ask_kept(
        &self,
        pool: &ServerPool<DB>,
        kept: &mut Option<(DB::Connection, Instant)>,
        question: Question<'_, DB>,
        target: Option<&Target>,
    ) -> Option<Vec<bool>> {
        // Taken out while it is used: if this future is dropped half way, the connection is in no state to be kept.
        let mut control = match kept.take() {
            Some((control, _)) => control,
            None => self.open(pool, target?).await?,
        };
        let answer = match question {
            Question::Cancel(session) => DB::cancel(Some(&mut control), session).await.map(|()| Vec::new()),
            Question::AreThere(sessions) => DB::are_there(&mut control, sessions).await,
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
                tracing::warn!(server = %pool.name, %error, "the server was asked in vain about a connection");
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

    /// Ends sessions through a connection of its own, which may be opened though none is allowed: theirs are too many.
    pub(super) async fn end(&self, pool: &ServerPool<DB>, sessions: &[Arc<DB::Session>], target: &Target) {
        let kept = self.kept.lock().await;
        self.is_open.store(true, Ordering::Relaxed);
        if let Some(mut control) = self.open(pool, target).await {
            if let Err(error) = DB::end(&mut control, sessions).await {
                tracing::warn!(server = %pool.name, %error, "connections could not be ended");
            }
            good_bye::<DB>(control).await;
        }
        self.is_open.store(kept.is_some(), Ordering::Relaxed);
    }

    /// Whether the server may count a connection of it.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    pub(super) async fn close_if_idle(&self, idle: Duration) {
        let Ok(mut kept) = self.kept.try_lock() else {
            return;
        };
        if kept.as_ref().is_some_and(|(_, used)| used.elapsed() >= idle)
            && let Some((control, _)) = kept.take()
        {
            good_bye::<DB>(control).await;
            self.is_open.store(false, Ordering::Relaxed);
        }
    }

    /// When nobody uses it any more.
    pub(super) async fn close(&self) {
        let mut kept = self.kept.lock().await;
        if let Some((control, _)) = kept.take() {
            good_bye::<DB>(control).await;
            self.is_open.store(false, Ordering::Relaxed);
        }
    }
}

fn in_vain<DB: TenantEngine>(pool: &ServerPool<DB>, fault: &Fault) {
    tracing::warn!(server = %pool.name, kind = ?fault.kind, "no connection to look after others with");
}

async fn good_bye<DB: TenantEngine>(control: DB::Connection) {
    let _ = timeout(Duration::from_secs(1), control.close()).await;
    sleep(open::LINGER).await;
}
