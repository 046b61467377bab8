//! A flush: raised in the shared level, or, where that does not answer, here alone and there as soon as it does.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Account, Hub, Unanswered};
use crate::cache::{
    receipt::{FlushReceipt, Reach},
    shared::{Cell, FlushMode, Raise},
};

impl Hub {
    /// Nothing that was loaded before is fresh in this process once this returns.
    ///
    /// Runs in a task of its own: a caller that is dropped does not take a flush back.
    pub(crate) async fn flush(
        self: &Arc<Self>,
        account: &Arc<Account>,
        cells: Vec<Cell>,
        mode: FlushMode,
    ) -> FlushReceipt {
        if cells.is_empty() {
            let nothing = watch::channel(Reach::EverywhereBy(Duration::ZERO)).1;
            return self.receipt(account.versions.highest(), nothing);
        }
        self.note_flush(account);
        if self.link.is_none() {
            let version = self.raise_alone(account, &cells, mode);
            return self.receipt(
                version,
                watch::channel(Reach::EverywhereBy(self.clock.monotonic())).1,
            );
        }
        self.run();
        let (hub, task_account, task_cells) = (Arc::clone(self), Arc::clone(account), cells.clone());
        let raising = tokio::spawn(async move { hub.raise_shared(&task_account, task_cells, mode).await });
        match raising.await {
            Ok((version, reach)) => self.receipt(version, reach),
            // The runtime is shutting down, or a level panicked: what can be done is done here.
            Err(_) => self.flush_later(account, &cells, mode),
        }
    }

    async fn raise_shared(
        self: &Arc<Self>,
        account: &Arc<Account>,
        cells: Vec<Cell>,
        mode: FlushMode,
    ) -> (u64, watch::Receiver<Reach>) {
        match self.try_to_raise(account, cells.clone(), mode).await {
            Ok(version) => (
                version,
                watch::channel(Reach::EverywhereBy(self.everywhere_by())).1,
            ),
            Err(error) => {
                if let Unanswered::Failed(error) = &error {
                    let error: &dyn std::error::Error = error;
                    tracing::warn!(scope = %account.name, error, "a flush could not be told to the shared cache level; it will be");
                }
                let version = self.raise_alone(account, &cells, mode);
                (version, self.retries.add(self, account, &cells, mode))
            }
        }
    }

    fn flush_later(
        self: &Arc<Self>,
        account: &Arc<Account>,
        cells: &[Cell],
        mode: FlushMode,
    ) -> FlushReceipt {
        let version = self.raise_alone(account, cells, mode);
        let reach = self.retries.add(self, account, cells, mode);
        self.receipt(version, reach)
    }

    /// One round trip.
    pub(super) async fn try_to_raise(
        &self,
        account: &Account,
        cells: Vec<Cell>,
        mode: FlushMode,
    ) -> Result<u64, Unanswered> {
        let link = self.link.as_ref().ok_or(Unanswered::LeftAlone)?;
        let raise = Raise {
            scope: account.name.clone(),
            cells,
            mode,
            known: account.versions.highest(),
        };
        let raised = link.call(link.level.raise(&raise)).await?;
        self.note_mode(account, mode);
        account.versions.raised(&raise, &raised);
        Ok(raised.number)
    }

    fn raise_alone(&self, account: &Account, cells: &[Cell], mode: FlushMode) -> u64 {
        self.note_mode(account, mode);
        account.versions.raise_alone(cells, mode)
    }

    /// Before the numbers are raised: who finds an entry stale must find the grace begun.
    fn note_mode(&self, account: &Account, mode: FlushMode) {
        if mode == FlushMode::Soft {
            account.note_soft_flush(self.now());
        }
    }

    fn receipt(&self, version: u64, reach: watch::Receiver<Reach>) -> FlushReceipt {
        FlushReceipt::new(version, reach, Arc::clone(&self.clock))
    }

    /// When a flush that was told just now is in effect everywhere.
    pub(super) fn everywhere_by(&self) -> Duration {
        self.clock.monotonic() + self.settings.staleness_bound
    }
}
