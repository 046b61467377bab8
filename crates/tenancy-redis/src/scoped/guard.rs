use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{RedisCallError, lock::Claim};

/// A lock that is held, and renewed in the background every third of its time until this is dropped or lost; after a renewal that failed
/// every twelfth. Dropping it lets the lock go in the background.
#[derive(Debug)]
pub struct RedisGuard {
    claim: Claim,
    fence: u64,
    holding: watch::Receiver<Holding>,
    renewal: AbortHandle,
}

#[derive(Clone, Copy, Debug)]
struct Holding {
    /// Redis keeps it for that long at least.
    until: Instant,
    is_lost: bool,
}

impl RedisGuard {
    pub(super) fn new(claim: Claim, fence: u64, ttl: Duration, asked_at: Instant) -> Self {
        let (tell, holding) = watch::channel(Holding {
            until: asked_at + sure(ttl),
            is_lost: false,
        });
        let renewing = Arc::new(claim.for_renewal());
        let extend = move || {
            let renewing = Arc::clone(&renewing);
            async move { renewing.extend(ttl).await }
        };
        let renewal = tokio::spawn(keep(ttl, tell, extend)).abort_handle();
        Self {
            claim,
            fence,
            holding,
            renewal,
        }
    }

    /// A number above all that were given before for locks of this scope; also where Redis has lost its data since, unless its
    /// clock went back.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether another one may have the lock. Reads the clock; does not ask Redis.
    pub fn is_lost(&self) -> bool {
        let holding = self.holding.borrow();
        holding.is_lost || Instant::now() >= holding.until
    }

    /// Returns once another one may have the lock: Redis says so, or could not be asked for too long.
    pub async fn lost(&self) {
        let mut holding = self.holding.clone();
        // Nobody renews it where nobody tells.
        let _ = holding.wait_for(|holding| holding.is_lost).await;
    }

    /// Lets the lock go, and says whether it was held until now: nobody else had it meanwhile. One round trip.
    ///
    /// A future that is dropped lets go in the background.
    ///
    /// # Errors
    /// Redis refused, or can not be reached: the lock ends by itself, if it is not let go.
    pub async fn release(mut self) -> Result<bool, RedisCallError> {
        self.renewal.abort();
        self.claim.let_go().await
    }
}

impl Drop for RedisGuard {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Ends when it is lost.
async fn keep<Extending>(ttl: Duration, tell: watch::Sender<Holding>, mut extend: impl FnMut() -> Extending)
where
    Extending: Future<Output = Result<bool, RedisCallError>>,
{
    let mut pause = ttl / 3;
    loop {
        let until = tell.borrow().until;
        sleep_until(until.min(Instant::now() + pause)).await;
        let asked_at = Instant::now();
        if asked_at >= until {
            break;
        }
        match timeout_at(until, extend()).await {
            Ok(Ok(true)) => {
                tell.send_modify(|holding| holding.until = asked_at + sure(ttl));
                pause = ttl / 3;
            }
            Ok(Ok(false)) => break,
            // There is time for more tries.
            Ok(Err(error)) => {
                tracing::debug!(%error, "a lock was not renewed");
                pause = ttl / 12;
            }
            Err(_) => break,
        }
    }
    tell.send_modify(|holding| holding.is_lost = true);
}

/// Clocks do not run at quite the same pace.
fn sure(ttl: Duration) -> Duration {
    ttl - ttl / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails until then, counted from now. Whether the lock was lost after a while.
    async fn is_lost_where_redis_is_back_after(away: Duration) -> bool {
        let ttl = Duration::from_secs(12);
        let begun = Instant::now();
        let (tell, holding) = watch::channel(Holding {
            until: begun + sure(ttl),
            is_lost: false,
        });
        let renewing = tokio::spawn(keep(ttl, tell, move || async move {
            match begun.elapsed() < away {
                true => Err(RedisCallError::unreadable("Redis is away")),
                false => Ok(true),
            }
        }));
        tokio::time::sleep(Duration::from_secs(60)).await;
        renewing.abort();
        let holding = *holding.borrow();
        holding.is_lost || Instant::now() >= holding.until
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_kept_though_redis_was_away_for_most_of_its_time() {
        assert!(!is_lost_where_redis_is_back_after(Duration::ZERO).await);
        assert!(!is_lost_where_redis_is_back_after(Duration::from_secs(10)).await);
        assert!(is_lost_where_redis_is_back_after(Duration::from_secs(12)).await);
    }
}
