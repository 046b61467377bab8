//! Real clients over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that finds nothing where something must be has failed"
)]

use std::{net::SocketAddr, time::Duration};

use example_chat::{Channels, app};
use futures_util::{SinkExt, StreamExt};
use tenancy::{
    MemoryStore, Tenancy,
    core::{TenantEntry, TenantId, TenantRecord, TenantStatus},
    resolve::Subdomain,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, protocol::frame::coding::CloseCode},
};

struct Server {
    address: SocketAddr,
    store: MemoryStore,
}

impl Server {
    async fn start() -> Self {
        let store = MemoryStore::of(["acme", "globex"]).unwrap();
        let tenancy = Tenancy::new(Subdomain::of("localhost").unwrap(), store.clone());
        tenancy.ready().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app(&tenancy, Channels::default());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, store }
    }

    async fn try_join(&self, tenant: &str, channel: &str) -> Result<Client, Error> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let url = format!(
            "ws://{tenant}.localhost:{}/channels/{channel}",
            self.address.port()
        );
        Ok(Client(client_async(url, stream).await?.0))
    }

    async fn join(&self, tenant: &str, channel: &str) -> Client {
        self.try_join(tenant, channel).await.unwrap()
    }

    async fn refusal(&self, tenant: &str, channel: &str) -> u16 {
        match self.try_join(tenant, channel).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            other => panic!("{:?} instead of a refusal", other.err()),
        }
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn next(&mut self) -> Message {
        let message = tokio::time::timeout(Duration::from_secs(60), self.0.next());
        message.await.expect("nothing comes").unwrap().unwrap()
    }

    async fn hear(&mut self) -> String {
        self.next().await.into_text().unwrap().to_string()
    }

    async fn closed_with(&mut self) -> CloseCode {
        match self.next().await {
            Message::Close(Some(frame)) => frame.code,
            other => panic!("{other:?} instead of the end"),
        }
    }
}

fn id(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

#[tokio::test]
async fn channels_of_one_name_never_cross_between_tenants() {
    let server = Server::start().await;
    let mut acme = server.join("acme", "general").await;
    let mut globex = server.join("globex", "general").await;
    acme.say("of acme").await;
    assert_eq!(acme.hear().await, "of acme");
    globex.say("of globex").await;
    assert_eq!(globex.hear().await, "of globex", "and nothing before it");

    let mut colleague = server.join("acme", "general").await;
    assert_eq!(colleague.hear().await, "of acme", "the history");
    colleague.say("hello").await;
    assert_eq!(acme.hear().await, "hello", "and nothing of globex before it");
    assert_eq!(colleague.hear().await, "hello");

    let mut newcomer = server.join("globex", "general").await;
    assert_eq!(newcomer.hear().await, "of globex");
    newcomer.say("last").await;
    assert_eq!(newcomer.hear().await, "last");
    assert_eq!(globex.hear().await, "last");
}

#[tokio::test]
async fn channels_of_one_tenant_are_apart_too() {
    let server = Server::start().await;
    let (mut here, mut there) = (
        server.join("acme", "here").await,
        server.join("acme", "there").await,
    );
    here.say("1").await;
    there.say("2").await;
    assert_eq!((here.hear().await, there.hear().await), ("1".into(), "2".into()));
}

#[tokio::test]
async fn the_sockets_of_a_suspended_tenant_close_and_no_others() {
    let server = Server::start().await;
    let mut acme = [
        server.join("acme", "general").await,
        server.join("acme", "general").await,
        server.join("acme", "other").await,
    ];
    let mut globex = server.join("globex", "general").await;
    server
        .store
        .set_status(&id("acme"), TenantStatus::Suspended)
        .await
        .unwrap();
    for client in &mut acme {
        assert_eq!(client.closed_with().await, CloseCode::Policy);
    }
    assert_eq!(server.refusal("acme", "general").await, 403);
    globex.say("still here").await;
    assert_eq!(globex.hear().await, "still here");

    server
        .store
        .set_status(&id("acme"), TenantStatus::Active)
        .await
        .unwrap();
    let mut again = server.join("acme", "general").await;
    again.say("back").await;
    assert_eq!(again.hear().await, "back");
}

#[tokio::test]
async fn who_gets_the_name_of_a_purged_tenant_hears_nothing_of_it() {
    let server = Server::start().await;
    let mut former = server.join("acme", "general").await;
    former.say("secret of the former acme").await;
    former.hear().await;
    server.store.remove(&id("acme")).await.unwrap();
    assert_eq!(former.closed_with().await, CloseCode::Policy);

    let mut record = TenantRecord::new(id("acme-2"));
    record.slug = Some("acme".into());
    let entry = TenantEntry {
        record,
        keys: Vec::new(),
    };
    server.store.insert(entry).await.unwrap();
    let mut newcomer = server.join("acme", "general").await;
    newcomer.say("first").await;
    assert_eq!(newcomer.hear().await, "first");
}

#[tokio::test]
async fn unknown_tenants_and_hostile_names_are_refused_before_the_socket_opens() {
    let server = Server::start().await;
    assert_eq!(server.refusal("initech", "general").await, 404);
    let too_long = "a".repeat(41);
    for name in ["..%2Fglobex", "General", "a%00b", "a:b", too_long.as_str()] {
        assert_eq!(server.refusal("acme", name).await, 404, "{name}");
    }
    for number in 0..100 {
        server.join("acme", &format!("channel-{number}")).await;
    }
    assert_eq!(server.refusal("acme", "one-too-many").await, 404);
    server.join("globex", "one-too-many").await;
}
