use std::time::Duration;

use tenancy_test::servers::{Fault, FaultProxy, Postgres};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{eventually, postgres::psql};

/// Answers each byte with the next one.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(byte) = stream.read_u8().await {
                    if stream.write_u8(byte + 1).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn ask(client: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    client.write_u8(byte).await?;
    client.read_u8().await
}

async fn connected(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

#[tokio::test]
async fn it_passes_and_counts_round_trips_and_bytes_of_all_connections() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    proxy.record();
    let (mut a, mut b) = (connected(&proxy).await, connected(&proxy).await);
    for byte in 1..=3 {
        assert_eq!(ask(&mut a, byte).await.unwrap(), byte + 1);
        assert_eq!(ask(&mut b, byte + 100).await.unwrap(), byte + 101);
    }
    let traffic = proxy.traffic();
    assert_eq!(
        (traffic.connections, traffic.open, traffic.round_trips),
        (2, 2, 6)
    );
    assert_eq!((traffic.client_bytes, traffic.server_bytes), (6, 6));
    let bursts: Vec<_> = proxy
        .take_recorded()
        .into_iter()
        .map(|burst| burst.bytes)
        .collect();
    assert_eq!(bursts, [[1], [101], [2], [102], [3], [103]]);
    drop((a, b));
    eventually("both are closed", || proxy.traffic().open == 0).await;
}

#[tokio::test]
async fn frozen_it_accepts_and_says_nothing_and_thawed_it_delivers() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let mut old = connected(&proxy).await;
    assert_eq!(ask(&mut old, 1).await.unwrap(), 2);
    proxy.set(Fault::Freeze);
    let mut new = connected(&proxy).await;
    for client in [&mut old, &mut new] {
        let answer = timeout(Duration::from_millis(100), ask(client, 1)).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    assert_eq!(proxy.traffic().round_trips, 1);
    proxy.set(Fault::Pass);
    for client in [&mut old, &mut new] {
        assert_eq!(client.read_u8().await.unwrap(), 2);
    }
}

#[tokio::test]
async fn it_resets_or_closes_open_connections_and_new_ones() {
    for (fault, error) in [
        (Fault::Reset, std::io::ErrorKind::ConnectionReset),
        (Fault::Close, std::io::ErrorKind::UnexpectedEof),
    ] {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut old = connected(&proxy).await;
        assert_eq!(ask(&mut old, 1).await.unwrap(), 2);
        proxy.set(fault);
        assert_eq!(old.read_u8().await.unwrap_err().kind(), error);
        assert_eq!(connected(&proxy).await.read_u8().await.unwrap_err().kind(), error);
        proxy.set(Fault::Pass);
        assert_eq!(ask(&mut connected(&proxy).await, 1).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_cut_ends_what_is_open_also_while_frozen_and_leaves_what_comes_after() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let mut old = connected(&proxy).await;
    assert_eq!(ask(&mut old, 1).await.unwrap(), 2);
    proxy.set(Fault::Freeze);
    proxy.cut();
    let error = old.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    proxy.set(Fault::Pass);
    assert_eq!(ask(&mut connected(&proxy).await, 1).await.unwrap(), 2);
}

/// The clock stands still and is moved by what waits for it: time is exact, and the test takes none.
#[tokio::test(start_paused = true)]
async fn a_delay_is_of_each_round_trip_and_a_trickle_of_each_byte() {
    let proxy = FaultProxy::start(echo().await).await.unwrap();
    let mut client = connected(&proxy).await;
    assert_eq!(ask(&mut client, 1).await.unwrap(), 2);

    let began = tokio::time::Instant::now();
    proxy.set(Fault::Delay(Duration::from_secs(60)));
    assert_eq!(ask(&mut client, 1).await.unwrap(), 2);
    assert!(began.elapsed() >= Duration::from_secs(60));

    let began = tokio::time::Instant::now();
    proxy.set(Fault::Trickle { bytes_per_second: 1 });
    client.write_all(&[7; 10]).await.unwrap();
    let mut answers = [0; 10];
    client.read_exact(&mut answers).await.unwrap();
    assert_eq!(answers, [8; 10]);
    assert!(began.elapsed() >= Duration::from_secs(10));
}

#[tokio::test]
async fn nobody_behind_it_is_a_reset_and_its_port_is_free_after_it() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = FaultProxy::start(unused).await.unwrap();
    let error = connected(&proxy).await.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let address = proxy.address();
    drop(proxy);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_answers_through_it_and_a_simple_query_is_one_round_trip() {
    let database = Postgres::shared().await.database("proxied").await;
    let proxy = FaultProxy::start(database.server().address()).await.unwrap();
    let url = proxy.url(&database.url());
    proxy.record();
    let one = psql(&url, "SELECT 1").unwrap();
    // Its good-bye may still be on its way when psql has ended.
    eventually("it is closed", || proxy.traffic().open == 0).await;
    let trips_of_login_and_query = proxy.traffic().round_trips;
    let messages: Vec<_> = proxy
        .take_recorded()
        .iter()
        .map(|burst| burst.postgres_messages())
        .collect();
    // The start-up, two of scram-sha-256, the query and the good-bye.
    assert_eq!((one.as_str(), messages.concat()), ("1", "ppQX".to_owned()));
    assert_eq!(trips_of_login_and_query, messages.len() as u64);
}
