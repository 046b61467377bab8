//! One connection through the proxy.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::watch,
    time::sleep,
};

use super::{Fault, server::State, traffic::Line};

/// How often a second a trickle passes something on.
const DROPS_PER_SECOND: u32 = 50;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// Passes on what one side sends until that side has said all, at the pace of the fault.
pub(super) async fn carry(
    from: Side,
    mut source: ReadHalf<'_>,
    mut sink: WriteHalf<'_>,
    line: &Line<'_>,
    mut states: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = source.read(&mut buffer).await?;
        let bytes = &buffer[..length];
        // Not before it goes on may it be counted.
        thawed(&mut states).await;
        if bytes.is_empty() {
            return sink.shutdown().await;
        }
        match from {
            Side::Client => line.client_sent(bytes),
            Side::Server => line.server_sent(bytes),
        }
        pass_on(from, bytes, &mut sink, &mut states).await?;
    }
}

async fn pass_on(
    from: Side,
    bytes: &[u8],
    sink: &mut WriteHalf<'_>,
    states: &mut watch::Receiver<State>,
) -> io::Result<()> {
    let fault = states.borrow().fault;
    match fault {
        Fault::Delay(delay) if from == Side::Client => sleep(delay).await,
        Fault::Trickle { bytes_per_second } => return trickle(bytes, bytes_per_second, sink, states).await,
        _ => {}
    }
    // It may have been frozen meanwhile.
    thawed(states).await;
    sink.write_all(bytes).await
}

/// Drop by drop, as long as the fault is this one; then the rest at once.
async fn trickle(
    mut bytes: &[u8],
    bytes_per_second: u32,
    sink: &mut WriteHalf<'_>,
    states: &mut watch::Receiver<State>,
) -> io::Result<()> {
    let drop = (bytes_per_second / DROPS_PER_SECOND).max(1);
    let pause = Duration::from_secs(1) * drop / bytes_per_second.max(1);
    while !bytes.is_empty() && states.borrow().fault == (Fault::Trickle { bytes_per_second }) {
        let (now, rest) = bytes.split_at(bytes.len().min(drop as usize));
        sleep(pause).await;
        sink.write_all(now).await?;
        bytes = rest;
    }
    thawed(states).await;
    sink.write_all(bytes).await
}

/// Waits while the proxy is frozen. Where the proxy has gone, its connections are about to be ended.
pub(super) async fn thawed(states: &mut watch::Receiver<State>) {
    let _ = states.wait_for(|state| state.fault != Fault::Freeze).await;
}
