//! Stands for what sends mail.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tenancy::scope;

/// Remembers what it would have sent.
#[derive(Debug, Default)]
pub struct Mailer {
    is_down: AtomicBool,
    sent: Mutex<Vec<String>>,
}

impl Mailer {
    /// Makes it fail, or work again.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Sends an invoice to the tenant of the current scope.
    ///
    /// # Errors
    /// When it is down, or there is no tenant.
    pub fn send(&self, number: u32) -> io::Result<()> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(io::Error::other("the mail server does not answer"));
        }
        let tenant = scope::current_tenant().ok_or_else(|| io::Error::other("for whom?"))?;
        tracing::info!(%tenant, number, "an invoice is sent");
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(format!("{tenant}: {number}"));
        Ok(())
    }

    /// What was sent, sorted.
    pub fn sent(&self) -> Vec<String> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sent.sort();
        sent
    }
}
