//! What processes count of tenants, where others can read it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use super::{Account, Hub, Unanswered};
use crate::cache::shared::{ProcessReport, SharedError};

const REPORT_EVERY: Duration = Duration::from_secs(10);
/// What a process that has ended counted is kept for so long.
const KEEP_FOR: Duration = Duration::from_secs(3600);
/// Reported at once.
const BATCH: usize = 256;

impl Hub {
    /// Tells what has changed since the last time. What is not told, because the shared level does not answer, is told next time.
    async fn report(&self, accounts: &[Arc<Account>], process: u64) -> Result<(), Unanswered> {
        let Some(link) = &self.link else {
            return Ok(());
        };
        let changed: Vec<_> = accounts
            .iter()
            .map(|account| (account, account.statistics()))
            .filter(|(account, counted)| account.reported() != *counted)
            .collect();
        for batch in changed.chunks(BATCH) {
            let reports: Vec<_> = batch
                .iter()
                .filter_map(|(account, counted)| {
                    Some(ProcessReport {
                        scope: account.name.clone(),
                        process,
                        text: serde_json::to_string(counted).ok()?,
                    })
                })
                .collect();
            link.call(link.level.report(&reports, KEEP_FOR)).await?;
            for (account, counted) in batch {
                account.note_reported(*counted);
            }
        }
        Ok(())
    }

    pub(crate) async fn reports_of(&self, account: &Account) -> Result<Vec<ProcessReport>, SharedError> {
        let Some(link) = &self.link else {
            return Ok(Vec::new());
        };
        link.call(link.level.reports(&account.name))
            .await
            .map_err(Unanswered::into_error)
    }
}

/// Reports what is counted for as long as the cache lives.
pub(super) async fn report_counts(hub: Weak<Hub>) {
    let process = fastrand::u64(..);
    loop {
        sleep(REPORT_EVERY).await;
        let Some(hub) = hub.upgrade() else {
            return;
        };
        let _ = hub.report(&hub.listed.all(), process).await;
    }
}
