//! Connections that were closed here and that the server may still count. It is asked for all of them at once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::sleep};

use super::{server::ServerPool, target::Target};
use crate::engine::TenantEngine;

/// A process of PostgreSQL is gone in about a millisecond, on a machine that has time for it.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Between two questions while sessions come and go. Asking more often takes time from those that are to go.
const PAUSE: Duration = Duration::from_millis(8);
/// Between two questions when none of them goes.
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

pub(super) struct Departures<DB: TenantEngine>(Mutex<Sessions<DB>>);

struct Sessions<DB: TenantEngine> {
    leaving: Vec<Leaving<DB>>,
    is_watched: bool,
}

struct Leaving<DB: TenantEngine> {
    session: Arc<DB::Session>,
    /// Where one may be asked about it. `None`: no connection is opened to ask.
    target: Option<Target>,
    /// Dropped if nobody can tell.
    is_gone: oneshot::Sender<()>,
}

impl<DB: TenantEngine> Departures<DB> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Sessions {
            leaving: Vec::new(),
            is_watched: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Sessions<DB>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Leaving<DB>> {
        std::mem::take(&mut self.lock().leaving)
    }
}

/// Waits until the server counts the session no more. `false` when nobody can tell. Without a target no connection is
/// opened to ask.
pub(super) async fn until_gone<DB: TenantEngine>(
    pool: &Arc<ServerPool<DB>>,
    session: Arc<DB::Session>,
    target: Option<Target>,
) -> bool {
    let (is_gone, gone) = oneshot::channel();
    let is_watched = {
        let mut sessions = pool.departures.lock();
        sessions.leaving.push(Leaving {
            session,
            target,
            is_gone,
        });
        std::mem::replace(&mut sessions.is_watched, true)
    };
    if !is_watched {
        pool.spawn(watch(Watch(Arc::clone(pool))));
    }
    gone.await.is_ok()
}

/// Whoever waits is let go when this ends, however.
struct Watch<DB: TenantEngine>(Arc<ServerPool<DB>>);

impl<DB: TenantEngine> Drop for Watch<DB> {
    fn drop(&mut self) {
        let mut sessions = self.0.departures.lock();
        sessions.is_watched = false;
        let left = std::mem::take(&mut sessions.leaving);
        drop(sessions);
        drop(left);
    }
}

impl<DB: TenantEngine> Watch<DB> {
    /// Ends the watch if nobody leaves, under the lock under which the next one begins another.
    fn is_over(&self) -> bool {
        let mut sessions = self.0.departures.lock();
        sessions.is_watched = !sessions.leaving.is_empty();
        !sessions.is_watched
    }
}

async fn watch<DB: TenantEngine>(watch: Watch<DB>) {
    let pool = &watch.0;
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause).await;
        let mut leaving = pool.departures.take();
        // Some waited for long enough.
        leaving.retain(|leaving| !leaving.is_gone.is_closed());
        let asked = leaving.len();
        let (sessions, others): (Vec<_>, Vec<_>) = leaving
            .into_iter()
            .map(|leaving| (leaving.session, (leaving.target, leaving.is_gone)))
            .unzip();
        let target = others.iter().find_map(|(target, _)| target.as_ref());
        let Some(are_there) = pool.control.are_there(pool, &sessions, target).await else {
            drop(others);
            if watch.is_over() {
                return;
            }
            continue;
        };
        let mut stay = Vec::new();
        for ((session, (target, is_gone)), is_there) in sessions.into_iter().zip(others).zip(are_there) {
            if is_there {
                stay.push(Leaving {
                    session,
                    target,
                    is_gone,
                });
            } else {
                // Nobody may wait for it any more.
                let _ = is_gone.send(());
            }
        }
        pause = if stay.len() < asked {
            PAUSE
        } else {
            (pause * 2).min(LONGEST_PAUSE)
        };
        pool.departures.lock().leaving.extend(stay);
        if watch.is_over() {
            return;
        }
    }
}
