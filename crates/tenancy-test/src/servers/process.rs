//! A daemon's controls for async tests.

use std::{net::SocketAddr, sync::Arc};

use super::{ServerError, blocking, daemon::Daemon, folder::Folder};

/// Starting, stopping and waiting block: they happen on threads for that.
#[derive(Debug)]
pub(super) struct Process {
    daemon: Arc<Daemon>,
}

impl Process {
    pub(super) fn new(daemon: Daemon) -> Self {
        let daemon = Arc::new(daemon);
        Self { daemon }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.daemon.address()
    }

    pub(super) fn second_port(&self) -> u16 {
        self.daemon.second_port()
    }

    pub(super) fn folder(&self) -> &Folder {
        self.daemon.folder()
    }

    pub(super) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    pub(super) fn log(&self) -> String {
        self.daemon.log()
    }

    pub(super) async fn stop(&self) {
        let daemon = Arc::clone(&self.daemon);
        blocking(move || daemon.stop()).await;
    }

    pub(super) async fn kill(&self) {
        let daemon = Arc::clone(&self.daemon);
        blocking(move || daemon.kill()).await;
    }

    pub(super) async fn restart(&self) -> Result<(), ServerError> {
        let daemon = Arc::clone(&self.daemon);
        blocking(move || daemon.restart()).await
    }

    pub(super) async fn freeze(&self) {
        let daemon = Arc::clone(&self.daemon);
        blocking(move || daemon.freeze()).await;
    }

    pub(super) async fn thaw(&self) {
        let daemon = Arc::clone(&self.daemon);
        blocking(move || daemon.thaw()).await;
    }
}
