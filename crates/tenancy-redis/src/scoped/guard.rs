use std::time::Duration;

use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::{RedisCallError, lock::Claim};

/// A lock that is held, and renewed in the background every third of its time until this is dropped or lost. Dropping it lets
/// the lock go in the background.
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
        let renewal = tokio::spawn(keep(claim.for_renewal(), ttl, tell)).abort_handle();
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
async fn keep(claim: Claim, ttl: Duration, tell: watch::Sender<Holding>) {
    loop {
        let until = tell.borrow().until;
        sleep_until(until.min(Instant::now() + ttl / 3)).await;
        let asked_at = Instant::now();
        if asked_at >= until {
            break;
        }
        match timeout_at(until, claim.extend(ttl)).await {
            Ok(Ok(true)) => tell.send_modify(|holding| holding.until = asked_at + sure(ttl)),
            Ok(Ok(false)) => break,
            // There may be time for another try.
            Ok(Err(error)) => tracing::debug!(%error, "a lock was not renewed"),
            Err(_) => break,
        }
    }
    tell.send_modify(|holding| holding.is_lost = true);
}

/// Clocks do not run at quite the same pace.
fn sure(ttl: Duration) -> Duration {
    ttl - ttl / 100
}
