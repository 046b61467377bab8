//! The three programs, one after the other over one database: in on Tuesday, out again on Wednesday.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds nothing where something must be has failed"
)]

use std::{path::Path, process::Stdio, time::Duration};

use similar::{ChangeTag, TextDiff};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tenancy::core::TenantStatus;
use tenancy_sqlx::adopt::{Adoption, Removal};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

const BEFORE: &str = env!("CARGO_BIN_EXE_before");
const OBSERVING: &str = env!("CARGO_BIN_EXE_observing");
const ENFORCING: &str = env!("CARGO_BIN_EXE_enforcing");

/// Lines that are there only before or only after.
fn changed_lines(before: &str, after: &str) -> usize {
    let diff = TextDiff::from_lines(before, after);
    diff.iter_all_changes()
        .filter(|change| change.tag() != ChangeTag::Equal)
        .count()
}

#[test]
fn the_way_in_is_short() {
    let before = include_str!("../../src/before.rs");
    assert!(changed_lines(before, include_str!("../../src/observing.rs")) <= 10);
    assert!(changed_lines(before, include_str!("../../src/enforcing.rs")) <= 25);
}

struct Shop {
    process: Child,
    address: String,
}

impl Shop {
    async fn start(program: &str, file: &Path) -> Self {
        let mut process = Command::new(program)
            .arg(file)
            .arg("127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let address = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { process, address }
    }

    /// Status and body.
    async fn send(&self, method: &str, host: &str, path: &str, token: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}.localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    async fn status(&self, method: &str, host: &str, path: &str, token: &str) -> u16 {
        self.send(method, host, path, token).await.0
    }

    /// Waits until a GET gets this status, and an answer that has this text.
    async fn until(&self, host: &str, path: &str, token: &str, status: u16, text: &str) {
        eventually(&format!("{host}{path} gives {status} {text:?}"), async || {
            let (found, body) = self.send("GET", host, path, token).await;
            found == status && body.contains(text)
        })
        .await;
    }

    async fn end(mut self) {
        self.process.kill().await.unwrap();
    }
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(in_time.is_ok(), "never: {what}");
}

async fn run_sql(file: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .busy_timeout(Duration::from_secs(60))
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Whether the worker has confirmed the orders of Globex.
async fn globex_is_confirmed(file: &Path) -> bool {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .connect()
        .await
        .unwrap();
    let (open,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM orders WHERE customer_id = 2 AND confirmed = 0")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    connection.close().await.unwrap();
    open == 0
}

/// What `tenancy catalogue adopt --table customers --id id --slug subdomain --status state
/// --status-map live=active,locked=suspended --apply` does.
fn adoption() -> Adoption {
    let mut customers = Adoption::new("customers", "id");
    customers.slug = Some("subdomain".into());
    customers.status = Some("state".into());
    customers.status_map = vec![
        ("live".into(), TenantStatus::Active),
        ("locked".into(), TenantStatus::Suspended),
    ];
    customers
}

/// What every one of the programs must do.
async fn sells_books(shop: &Shop) {
    assert_eq!(
        shop.send("GET", "acme", "/", "").await,
        (200, r#"{"shop":"Acme Ltd"}"#.to_owned())
    );
    assert_eq!(shop.status("GET", "nobody", "/", "").await, 404);
    assert_eq!(shop.status("GET", "acme", "/orders", "forged").await, 401);
    assert_eq!(shop.status("POST", "acme", "/orders", "token-of-ann").await, 201);
    let (status, orders) = shop.send("GET", "acme", "/orders", "token-of-ann").await;
    assert_eq!(status, 200);
    assert!(orders.contains("a book for Ann"), "{orders}");
}

#[tokio::test]
async fn in_on_tuesday_and_out_on_wednesday() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.sqlite");

    let shop = Shop::start(BEFORE, &file).await;
    sells_books(&shop).await;
    // What nobody has noticed yet: Ann is Acme's, and the worker confirms for everybody.
    assert_eq!(
        shop.status("POST", "globex", "/orders", "token-of-ann").await,
        201
    );
    shop.end().await;

    adoption().apply(&file).await.unwrap();
    // Before it starts, so that the first list that the stack reads has it.
    run_sql(&file, "UPDATE customers SET state = 'locked' WHERE id = 2").await;
    let shop = Shop::start(OBSERVING, &file).await;
    sells_books(&shop).await;
    assert_eq!(
        shop.status("POST", "globex", "/orders", "token-of-ann").await,
        201,
        "nothing is refused"
    );
    assert_eq!(
        shop.status("GET", "globex", "/", "").await,
        200,
        "nothing is refused"
    );
    shop.end().await;
    run_sql(&file, "UPDATE customers SET state = 'live' WHERE id = 2").await;

    let shop = Shop::start(ENFORCING, &file).await;
    sells_books(&shop).await;
    assert_eq!(
        shop.status("POST", "globex", "/orders", "token-of-ann").await,
        403
    );
    assert_eq!(
        shop.status("POST", "globex", "/orders", "token-of-bob").await,
        201
    );
    run_sql(&file, "UPDATE customers SET state = 'locked' WHERE id = 2").await;
    shop.until("globex", "/", "", 403, "").await;
    run_sql(&file, "UPDATE orders SET confirmed = 0").await;
    run_sql(
        &file,
        "INSERT INTO orders (customer_id, item) VALUES (1, 'the last book')",
    )
    .await;
    let confirmed = r#"["the last book",true]"#;
    shop.until("acme", "/orders", "token-of-ann", 200, confirmed)
        .await;
    assert!(
        !globex_is_confirmed(&file).await,
        "no work is done for who is locked"
    );
    shop.end().await;

    Adoption::take_out(&file, Removal::Everything).await.unwrap();
    let shop = Shop::start(BEFORE, &file).await;
    sells_books(&shop).await;
    eventually("all orders are confirmed", async || {
        globex_is_confirmed(&file).await
    })
    .await;
    shop.end().await;
}

#[tokio::test]
async fn a_table_that_was_not_adopted_is_named_before_anything_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.sqlite");
    let output = Command::new(OBSERVING)
        .arg(&file)
        .arg("127.0.0.1:0")
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("shop.sqlite") && said.contains("catalogue adopt"),
        "{said}"
    );
}
