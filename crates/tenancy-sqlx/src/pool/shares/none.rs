//! Without a database there is no catalogue, and nobody to share with.
#![allow(dead_code, reason = "nobody can make a ledger")]

use std::time::Duration;

use crate::CatalogueError;

#[derive(Clone)]
pub(crate) struct ShareLedger(());

pub(crate) struct ShareRequest<'a> {
    pub(crate) server: &'a str,
    pub(crate) holder: &'a str,
    pub(crate) budget: u64,
    pub(crate) keeps: u64,
    pub(crate) wants: u64,
    pub(crate) lease: Duration,
}

#[derive(Clone, Copy)]
pub(crate) struct Share {
    pub(crate) granted: u64,
    pub(crate) due: u64,
}

impl ShareLedger {
    pub(crate) async fn renew(&self, _: ShareRequest<'_>) -> Result<Share, CatalogueError> {
        std::future::pending().await
    }

    pub(crate) async fn give_back(&self, _: &str, _: &str) -> Result<(), CatalogueError> {
        std::future::pending().await
    }
}
