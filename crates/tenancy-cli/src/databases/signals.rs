/// What `work` came to; `None` when the operator broke it off with Ctrl-C, or the system with SIGTERM. It is dropped then.
///
/// From the first call on, these signals end the process no more by themselves.
pub(crate) async fn unless_broken_off<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = broken_off() => None,
    }
}

#[cfg(unix)]
async fn broken_off() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Signals then do what they always did.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn broken_off() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
