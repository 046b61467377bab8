use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::future::{select, try_join};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::sleep,
};

use super::{
    Burst, Traffic,
    carry::{Side, carry, thawed},
    traffic::{Counters, Line},
};

/// What a [`FaultProxy`] does to connections, those that are open and those to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    #[default]
    Pass,
    /// What a client sends reaches the server so much later: each round trip costs that.
    Delay(Duration),
    /// Both ways go on drop by drop, at this rate each; at 0 as at 1.
    Trickle {
        /// Bytes in a second.
        bytes_per_second: u32,
    },
    /// Connections are accepted and stay open, and nothing passes until there is another fault.
    Freeze,
    /// Connections are reset, at once or when they are made: "connection reset by peer".
    Reset,
    /// Connections are closed in an orderly way, at once or when they are made: the other side reads the end.
    Close,
}

/// What connections look at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) fault: Fault,
    /// How often all connections were cut: one that began before the last is over.
    cuts: u64,
}

impl State {
    fn ends(self, begun_after: u64) -> bool {
        self.cuts != begun_after || matches!(self.fault, Fault::Reset | Fault::Close)
    }

    fn resets(self, begun_after: u64) -> bool {
        self.cuts != begun_after || self.fault == Fault::Reset
    }
}

/// A TCP proxy on the loopback address between an application and its server, which fails on request, and counts.
///
/// It lives in the runtime that it was started in. When it is dropped, its connections end and its port is free.
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tenancy_test::servers::{Fault, FaultProxy};
/// use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
///
/// // Instead of a database server.
/// let server = TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = FaultProxy::start(server.local_addr()?).await?;
///
/// let mut client = TcpStream::connect(proxy.address()).await?;
/// client.write_all(b"hello").await?;
/// let (mut connection, _) = server.accept().await?;
/// connection.read_exact(&mut [0; 5]).await?;
/// assert_eq!(proxy.traffic().round_trips, 1);
///
/// proxy.set(Fault::Reset);
/// assert!(client.read(&mut [0; 1]).await.is_err());
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
///
/// In front of a database server, round trips are counted on the wire:
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use tenancy_test::servers::{FaultProxy, Postgres};
///
/// let database = Postgres::shared().await.database("round_trips").await;
/// let proxy = FaultProxy::start(database.server().address()).await?;
/// let url = proxy.url(&database.app_url()); // for the application
/// let before = proxy.traffic().round_trips;
/// // a query …
/// assert_eq!(proxy.traffic().round_trips - before, 1);
/// # drop(url);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    server: SocketAddr,
    state: watch::Sender<State>,
    counters: Arc<Counters>,
    accepting: AbortHandle,
}

impl FaultProxy {
    /// A proxy to this server on a free port. The server need not run yet: it is connected to for each client.
    ///
    /// # Errors
    /// The system gave no port.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::new(State::default());
        let counters = Arc::new(Counters::default());
        let accepting = tokio::spawn(accept(listener, server, state.subscribe(), Arc::clone(&counters)));
        Ok(Self {
            address,
            server,
            state,
            counters,
            accepting: accepting.abort_handle(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of the server, made to lead through this proxy.
    ///
    /// # Panics
    /// When the URL does not name the server's address.
    #[track_caller]
    pub fn url(&self, url: &str) -> String {
        let server = self.server.to_string();
        assert!(url.contains(&server), "the URL does not name {server}");
        url.replacen(&server, &self.address.to_string(), 1)
    }

    /// What happens from now on. [`Fault::Reset`] and [`Fault::Close`] end what is open, soon; the others let it live.
    pub fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// Resets, soon, the connections that are open. Those to come are treated as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// What went through it since it was started.
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    /// Begins to keep what clients send, up to 64 MiB, and forgets what was kept before.
    pub fn record(&self) {
        self.counters.record();
    }

    /// What clients sent since [`record`](Self::record), in the order in which bursts began. Ends the recording.
    pub fn take_recorded(&self) -> Vec<Burst> {
        self.counters.take_recorded()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // Its connections end when they see that nobody can set a fault any more.
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    states: watch::Receiver<State>,
    counters: Arc<Counters>,
) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let (states, counters) = (states.clone(), Arc::clone(&counters));
                tokio::spawn(async move { serve(client, server, states, &counters).await });
            }
            // Of that connection alone, or of too many open files, which may get fewer.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(
    client: TcpStream,
    server: SocketAddr,
    mut states: watch::Receiver<State>,
    counters: &Counters,
) {
    let begun_after = states.borrow().cuts;
    let line = counters.open_line();
    let mut streams = Streams { client, server: None };
    let for_passing = states.clone();
    {
        let pass = pin!(streams.pass(server, for_passing, &line));
        let end = pin!(states.wait_for(|state| state.ends(begun_after)));
        select(pass, end).await;
    }
    if states.borrow().resets(begun_after) {
        streams.reset();
    }
}

struct Streams {
    client: TcpStream,
    server: Option<TcpStream>,
}

impl Streams {
    async fn pass(&mut self, address: SocketAddr, mut states: watch::Receiver<State>, line: &Line<'_>) {
        thawed(&mut states).await;
        let Ok(server) = TcpStream::connect(address).await else {
            // As the server would: nobody listens.
            let _ = self.client.set_zero_linger();
            return;
        };
        // What is small goes at once, as it came.
        let _ = self.client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let (from_client, to_client) = self.client.split();
        let (from_server, to_server) = self.server.insert(server).split();
        let upwards = carry(Side::Client, from_client, to_server, line, states.clone());
        let downwards = carry(Side::Server, from_server, to_client, line, states);
        // Where one way breaks, the other has nothing more to say.
        let _ = try_join(upwards, downwards).await;
    }

    fn reset(&self) {
        for stream in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
            let _ = stream.set_zero_linger();
        }
    }
}
