use std::{fmt, sync::Arc, time::Duration};

use subtle::ConstantTimeEq;

use super::{
    Grant, HandoffAudit, HandoffError, HandoffRefusal, HandoffRequest, HandoffStep, HandoffStore,
    HandoffToken, Purpose, TokenHash, store::ErasedHandoffStore,
};
use crate::{Tenancy, Tenant, home::Home};

/// Gives out single-use tokens and redeems them. Clones share the store. See the [module](super).
#[derive(Clone)]
pub struct Handoffs {
    store: Arc<dyn ErasedHandoffStore>,
    home: Arc<Home>,
}

/// What a token is presented with.
pub(super) struct Presented<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) purpose: &'a Purpose,
    pub(super) token: &'a str,
    pub(super) browser: Browser,
}

/// Which browser presents a token.
pub(super) enum Browser {
    /// Nobody asked: only a token that is for any browser is good.
    NotAsked,
    /// The one with a cookie of this hash, or one without: only a token that is for it is good.
    With(Option<[u8; 32]>),
}

impl Handoffs {
    /// Tokens in `store`. Time and listener are those of the stack.
    pub fn new(tenancy: &Tenancy, store: impl HandoffStore) -> Self {
        Self {
            store: Arc::new(store),
            home: Arc::clone(&tenancy.shared().home),
        }
    }

    /// Gives out a token for a user of this tenant. Waits for the store.
    ///
    /// On a central host, the tenant is had from [`Tenancy::enter`](crate::Tenancy::enter). Check before that
    /// whoever asks may act for this tenant's users: nothing here can know.
    ///
    /// # Errors
    /// When the lifetime or a name is out of bounds, or the store can not be reached.
    pub async fn issue(
        &self,
        tenant: &Tenant,
        request: HandoffRequest,
    ) -> Result<HandoffToken, HandoffError> {
        if let Some(reason) = request.fault() {
            return Err(HandoffError::invalid(&self.home, reason));
        }
        let now = self.home.clock.unix_time();
        let grant = Grant {
            tenant: tenant.reference(),
            purpose: request.purpose,
            user: request.user,
            issued_by: request.issued_by,
            expires_at_ms: millis(now.saturating_add(request.lifetime)),
            return_to: request.return_to,
            browser: request.browser,
        };
        let (token, hash) =
            HandoffToken::random().map_err(|error| HandoffError::unavailable(&self.home, error))?;
        let kept = self.store.put_boxed(hash, &grant, millis(now)).await;
        let step = if kept.is_ok() {
            HandoffStep::Issued
        } else {
            HandoffStep::Failed
        };
        let mut audit = HandoffAudit::new(step);
        audit.reference = Some(hash.reference().into());
        audit.grant = Some(grant);
        audit.write(&self.home);
        kept.map_err(|error| HandoffError::unavailable(&self.home, error))?;
        Ok(token)
    }

    /// Redeems what a client presents as a token, on a host of this tenant and for this purpose. Waits for the store.
    ///
    /// The token is taken out of the store first and judged then: whatever comes of it, it is used. Of two who
    /// present one token at once, one gets the grant. If the future is dropped, the token may be used without effect.
    ///
    /// # Errors
    /// When it is refused, for whatever reason; or the store can not be reached.
    pub async fn redeem(
        &self,
        tenant: &Tenant,
        purpose: &Purpose,
        token: &str,
    ) -> Result<Grant, HandoffError> {
        self.redeem_presented(Presented {
            tenant,
            purpose,
            token,
            browser: Browser::NotAsked,
        })
        .await
    }

    pub(super) async fn redeem_presented(&self, presented: Presented<'_>) -> Result<Grant, HandoffError> {
        let Some(hash) = TokenHash::of_text(presented.token) else {
            return Err(self.refuse(&presented, None, None, HandoffRefusal::Malformed));
        };
        let grant = match self.store.take_boxed(hash).await {
            Ok(Some(grant)) => grant,
            Ok(None) => return Err(self.refuse(&presented, Some(hash), None, HandoffRefusal::Unknown)),
            Err(error) => {
                self.audit(&presented, Some(hash), None, HandoffStep::Failed);
                return Err(HandoffError::unavailable(&self.home, error));
            }
        };
        match judge(&grant, &presented, millis(self.home.clock.unix_time())) {
            Ok(()) => {
                self.audit(&presented, Some(hash), Some(grant.clone()), HandoffStep::Redeemed);
                Ok(grant)
            }
            Err(refusal) => Err(self.refuse(&presented, Some(hash), Some(grant), refusal)),
        }
    }

    fn refuse(
        &self,
        presented: &Presented<'_>,
        hash: Option<TokenHash>,
        grant: Option<Grant>,
        refusal: HandoffRefusal,
    ) -> HandoffError {
        self.audit(presented, hash, grant, HandoffStep::Refused(refusal));
        HandoffError::refused(&self.home, refusal)
    }

    fn audit(
        &self,
        presented: &Presented<'_>,
        hash: Option<TokenHash>,
        grant: Option<Grant>,
        step: HandoffStep,
    ) {
        let mut audit = HandoffAudit::new(step);
        audit.reference = hash.map(|hash| hash.reference().into());
        audit.grant = grant;
        audit.presented_to = Some(presented.tenant.reference());
        audit.presented_for = Some(presented.purpose.clone());
        audit.write(&self.home);
    }

    pub(super) fn home(&self) -> &Arc<Home> {
        &self.home
    }
}

fn judge(grant: &Grant, presented: &Presented<'_>, now_ms: u64) -> Result<(), HandoffRefusal> {
    if grant.tenant != presented.tenant.reference() {
        return Err(HandoffRefusal::WrongTenant);
    }
    if grant.purpose != *presented.purpose {
        return Err(HandoffRefusal::WrongPurpose);
    }
    if now_ms >= grant.expires_at_ms {
        return Err(HandoffRefusal::Expired);
    }
    match (grant.browser, &presented.browser) {
        (None, Browser::NotAsked) => Ok(()),
        (Some(bound), Browser::With(Some(present))) if bool::from(bound.ct_eq(present)) => Ok(()),
        (None, Browser::With(_)) | (Some(_), _) => Err(HandoffRefusal::WrongBrowser),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Handoffs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handoffs").finish_non_exhaustive()
    }
}
