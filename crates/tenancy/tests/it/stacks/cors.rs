//! Where CORS belongs: around the stack. Real preflights and requests, as a browser sends them, over a socket.

use std::{future::IntoFuture, net::SocketAddr};

use axum::{
    Router, ServiceExt,
    http::{HeaderName, HeaderValue, Method, Request},
    routing::get,
};
use tenancy::{
    MemoryStore, Tenancy, Tenant,
    core::TenantStatus,
    resolve::{Header, Subdomain},
    routes::TenancyApp,
    stack::Stage,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tower::ServiceBuilder;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{scopes::id, support::faulty::FaultyStore};

const ORIGIN: &str = "https://app.example.com";

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list([HeaderValue::from_static(ORIGIN)]))
        .allow_methods([Method::GET, Method::PUT])
        .allow_headers([HeaderName::from_static("x-tenant")])
}

fn router() -> Router {
    let orders = get(|tenant: Tenant| async move { format!("orders of {tenant}") });
    Router::new()
        .route("/orders", orders)
        .route("/panics", get(|| async { panic!("as told") as &str }))
}

async fn store() -> FaultyStore<MemoryStore> {
    let store = MemoryStore::of(["acme", "asleep"]).unwrap();
    store
        .set_status(&id("asleep"), TenantStatus::Suspended)
        .await
        .unwrap();
    FaultyStore::new(store).finding_only()
}

struct Server {
    address: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn of<M, S>(app: M) -> Self
    where
        M: for<'a> tower::Service<
                axum::serve::IncomingStream<'a, TcpListener>,
                Error = std::convert::Infallible,
                Response = S,
                Future: Send,
            > + Send
            + 'static,
        S: tower::Service<
                Request<axum::body::Body>,
                Response = axum::response::Response,
                Error = std::convert::Infallible,
                Future: Send,
            > + Clone
            + Send
            + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(axum::serve(listener, app).into_future());
        Self { address, task }
    }

    /// The status, and which origin may read the answer.
    async fn send(
        &self,
        method: &str,
        path: &str,
        host: &str,
        lines: &[(&str, &str)],
    ) -> (u16, Option<String>) {
        let lines: String = lines
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n");
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let header = |name| {
            let mut lines = answer.lines();
            lines.find_map(|line| line.strip_prefix(name)).map(str::to_owned)
        };
        (status, header("access-control-allow-origin: "))
    }

    /// What a browser sends before it sends a request with a header of the application's own. It names no tenant.
    async fn preflight(&self, host: &str, origin: &str) -> (u16, Option<String>) {
        let lines = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Headers", "x-tenant"),
        ];
        self.send("OPTIONS", "/orders", host, &lines).await
    }

    async fn request(&self, path: &str, tenant: Option<&str>) -> (u16, Option<String>) {
        let mut lines = vec![("Origin", ORIGIN)];
        lines.extend(tenant.map(|tenant| ("X-Tenant", tenant)));
        self.send("GET", path, "api.example.com", &lines).await
    }
}

fn readable(status: u16) -> (u16, Option<String>) {
    (status, Some(ORIGIN.to_owned()))
}

fn by_header(store: &FaultyStore<MemoryStore>) -> tenancy::stack::TenancyBuilder {
    Tenancy::builder(Header::named("x-tenant").unwrap(), store.clone())
}

async fn assert_right(server: &Server, store: &FaultyStore<MemoryStore>) {
    assert_eq!(server.preflight("api.example.com", ORIGIN).await, readable(200));
    assert_eq!(store.finds(), 0, "a preflight asks for no tenant");
    let foreign = server.preflight("api.example.com", "https://evil.example").await;
    assert_eq!(foreign, (200, None), "the browser sends nothing after that");
    for (path, tenant, status) in [
        ("/orders", Some("acme"), 200),
        ("/orders", None, 404),
        ("/orders", Some("initech"), 404),
        ("/orders", Some("NOT/ONE"), 400),
        ("/orders", Some("asleep"), 403),
        ("/panics", Some("acme"), 500),
        ("/nowhere", Some("acme"), 404),
    ] {
        let seen = server.request(path, tenant).await;
        assert_eq!(
            seen,
            readable(status),
            "{path} {tenant:?}: the browser shows the status"
        );
    }
    store.fail(true);
    assert_eq!(server.request("/orders", Some("unasked")).await, readable(503));
}

#[tokio::test]
async fn around_the_stack_every_answer_can_be_read() {
    let asked = store().await;
    let tenancy = by_header(&asked)
        .insert_before(Stage::PanicCatch, cors())
        .build()
        .unwrap();
    let app: TenancyApp = tenancy.wrap(router());
    assert_right(&Server::of(app).await, &asked).await;

    let asked = store().await;
    let app = by_header(&asked).build().unwrap().wrap(router());
    let app = ServiceBuilder::new().layer(cors()).service(app);
    let app = ServiceExt::<Request<axum::body::Body>>::into_make_service(app);
    assert_right(&Server::of(app).await, &asked).await;

    let asked = store().await;
    let app = by_header(&asked).build().unwrap().wrap(router());
    let app = Router::new().fallback_service(app).layer(cors());
    assert_right(&Server::of(app).await, &asked).await;
}

/// What the guide says goes wrong.
#[tokio::test]
async fn inside_of_the_stack_preflights_are_refused_and_refusals_cannot_be_read() {
    let asked = store().await;
    let app = by_header(&asked).build().unwrap().wrap(router().layer(cors()));
    let server = Server::of(app).await;
    let preflight = server.preflight("api.example.com", ORIGIN).await;
    assert_eq!(
        preflight,
        (404, None),
        "it names no tenant: the browser sends nothing after that"
    );
    assert_eq!(server.request("/orders", Some("acme")).await, readable(200));
    for (tenant, status) in [(None, 404), (Some("initech"), 404), (Some("asleep"), 403)] {
        let seen = server.request("/orders", tenant).await;
        assert_eq!(
            seen,
            (status, None),
            "{tenant:?}: the browser shows a network error"
        );
    }

    // With tenants in the host a preflight names one; what is refused cannot be read all the same.
    let by_host = Tenancy::new(Subdomain::of("example.com").unwrap(), store().await);
    let server = Server::of(by_host.wrap(router().layer(cors()))).await;
    assert_eq!(server.preflight("acme.example.com", ORIGIN).await, readable(200));
    assert_eq!(server.preflight("asleep.example.com", ORIGIN).await, (403, None));
    assert_eq!(server.preflight("initech.example.com", ORIGIN).await, (404, None));
}
