//! How accounts hear of flushes elsewhere: by asking before their lease ends, and sooner by messages.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::{Account, Hub, Link, Unanswered, tasks::Running};
use crate::{
    Tenant,
    cache::{
        shared::{Answer, Ask, Cell, FlushMode, Message},
        versions::{Applied, PendingAsk},
    },
};

const FORGET_EVERY: Duration = Duration::from_secs(30);
/// Asked for at once.
const BATCH: usize = 256;
/// After a failover every scope may have something to teach.
const TAUGHT_AT_ONCE: usize = 16;

/// Accounts that are kept, because they were used lately. Without it an account would end with the last request that has it.
#[derive(Default)]
pub(super) struct Listed(Mutex<Vec<Arc<Account>>>);

impl Listed {
    pub(super) fn add(&self, account: &Arc<Account>) {
        self.lock().push(Arc::clone(account));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Account>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<Arc<Account>> {
        self.lock().clone()
    }

    /// Those that were used within this time, and whose tenant is still there: one that is gone is not made anew where it was erased.
    fn used_within(&self, time: Duration, now: Duration) -> Vec<Arc<Account>> {
        let mut used = self.all();
        used.retain(|account| account.was_used_within(time, now) && !account.is_orphaned());
        used
    }

    /// Takes those off the list that were not used for so long, and those of tenants that are gone.
    fn take_unused(&self, after: Duration, now: Duration) -> Vec<Arc<Account>> {
        // Not under the lock: a look at whose tenant may be what ends it, which may run any code.
        let mut unused = self.all();
        unused.retain(|account| {
            let is_used = account.was_used_within(after, now) || account.is_kept(now);
            !is_used || account.is_orphaned()
        });
        let ids: HashSet<_> = unused.iter().map(|account| account.share.id()).collect();
        self.lock().retain(|account| !ids.contains(&account.share.id()));
        for account in &unused {
            account.end_to_be_listed();
        }
        unused
    }
}

impl Account {
    pub(crate) fn ask(&self) -> (PendingAsk, Ask) {
        let pending = self.versions.ask();
        let ask = Ask {
            scope: self.name.clone(),
            seen: pending.seen(),
        };
        (pending, ask)
    }
}

impl Hub {
    /// Takes an answer in. Where this process knows more than the shared level, it tells it so first.
    pub(crate) async fn apply(
        &self,
        link: &Link,
        account: &Account,
        pending: &PendingAsk,
        sent_at: Duration,
        answer: &Answer,
    ) -> Result<(), Unanswered> {
        if has_soft_flushes(answer) {
            // Before the numbers are raised, as everywhere.
            account.note_soft_flush(self.now());
        }
        match account.versions.apply(pending, sent_at, self.lease, answer) {
            Applied::Current => Ok(()),
            Applied::MustTeach => {
                let (pending, known) = account.versions.teaching();
                let sent_at = self.now();
                let answer = link.call(link.level.teach(&account.name, &known)).await?;
                // What it lacks even now is taught at the next renewal.
                let _ = account.versions.apply(&pending, sent_at, self.lease, &answer);
                Ok(())
            }
        }
    }

    /// Makes sure of a lease. Those who ask at the same time wait for one answer, or for one failure.
    ///
    /// Cancel-safe: who is dropped lets the next one ask.
    pub(crate) async fn renew(&self, link: &Link, account: &Account) -> Result<(), Unanswered> {
        let failures_before = account.failures.load(Ordering::Acquire);
        let _alone = account.renewing.lock().await;
        if account.versions.holds_lease(self.now()) {
            return Ok(());
        }
        if account.failures.load(Ordering::Acquire) != failures_before {
            return Err(Unanswered::LeftAlone);
        }
        let (pending, ask) = account.ask();
        let sent_at = self.now();
        let renewed = match link.call(link.level.renew(std::slice::from_ref(&ask))).await {
            Ok(answers) => match answers.first() {
                Some(answer) => self.apply(link, account, &pending, sent_at, answer).await,
                None => Ok(()),
            },
            Err(error) => Err(error),
        };
        if renewed.is_err() {
            account.failures.fetch_add(1, Ordering::AcqRel);
        }
        renewed
    }

    /// One that fails does not keep the others from theirs.
    async fn renew_all(&self, link: &Link, accounts: &[Arc<Account>]) {
        for batch in accounts.chunks(BATCH) {
            let (pending, asks): (Vec<_>, Vec<_>) = batch.iter().map(|account| account.ask()).unzip();
            let sent_at = self.now();
            match link.call(link.level.renew(&asks)).await {
                Ok(answers) => {
                    let answered = batch.iter().zip(&pending).zip(&answers);
                    stream::iter(answered)
                        .for_each_concurrent(TAUGHT_AT_ONCE, async |((account, pending), answer)| {
                            note_failure(self.apply(link, account, pending, sent_at, answer).await);
                        })
                        .await;
                }
                Err(error) => note_failure(Err(error)),
            }
        }
    }

    /// Tenants whose account is kept because it was used within some minutes.
    pub(crate) fn tenants_in_use(&self) -> Vec<Tenant> {
        self.listed
            .all()
            .iter()
            .filter_map(|account| account.tenant())
            .collect()
    }

    fn hear(&self, message: &Message) {
        match message {
            Message::Gap => {
                // Whoever can be heard can be asked.
                if let Some(link) = &self.link {
                    link.end_pause();
                }
                for account in self.live_accounts() {
                    account.versions.revoke();
                }
            }
            Message::Raised {
                scope,
                previous,
                number,
                cells,
                mode,
            } => {
                if let Some(account) = self.known_account(scope) {
                    if *mode == FlushMode::Soft {
                        account.note_soft_flush(self.now());
                    }
                    account.versions.hear(*previous, *number, cells, *mode);
                    if cells.contains(&Cell::Base) {
                        self.warmer.wake(&account);
                    }
                }
            }
        }
    }
}

/// Whether a message of a soft flush may have been missed that this answer makes up for.
fn has_soft_flushes(answer: &Answer) -> bool {
    match answer {
        Answer::Changed { levels, .. } => levels.iter().any(|level| level.any > level.hard),
        Answer::Same | Answer::Whole { .. } | Answer::Behind => false,
    }
}

/// What failed is tried again next time; until then leases end, which is what they are for.
fn note_failure(renewed: Result<(), Unanswered>) {
    if let Err(Unanswered::Failed(error)) = renewed {
        let error: &dyn std::error::Error = &error;
        tracing::debug!(error, "leases of the cache could not be renewed");
    }
}

/// Renews the leases of all accounts that were used within two rounds, before they end.
pub(super) async fn renew_while_used(hub: Weak<Hub>, round: Duration) {
    loop {
        // Processes that were started together need not ask together.
        sleep(round.mul_f64(0.8 + 0.2 * fastrand::f64())).await;
        let Some(hub) = hub.upgrade() else {
            return;
        };
        let Some(link) = &hub.link else {
            return;
        };
        let in_use = hub.listed.used_within(round * 2, hub.now());
        hub.renew_all(link, &in_use).await;
    }
}

/// Lets go of accounts that nobody uses, with what they have in this process.
pub(super) async fn forget_unused(hub: Weak<Hub>, after: Duration, _running: Running) {
    loop {
        sleep(FORGET_EVERY).await;
        let Some(hub) = hub.upgrade() else {
            return;
        };
        // Without a lock: values are dropped, which may run any code.
        for account in hub.listed.take_unused(after, hub.now()) {
            hub.level1.purge(&account.share);
            account.forget_warmth();
        }
        hub.level1.run_pending();
    }
}

/// Takes messages in for as long as the cache lives.
pub(super) async fn listen(hub: Weak<Hub>) {
    let Some(mut messages) = hub
        .upgrade()
        .and_then(|hub| hub.link.as_ref().map(|link| link.level.listen()))
    else {
        return;
    };
    while let Some(message) = messages.next().await {
        let Some(hub) = hub.upgrade() else {
            return;
        };
        hub.hear(&message);
    }
}
