//! A shop for many customers: an axum application with its own customers table, sign-in and worker.

use std::{
    env,
    error::Error,
    io::{self, Write},
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use serde_json::{Value, json};
use sqlx::SqlitePool;
use tenancy::{Tenancy, resolve::Subdomain, scope::current_tenant};
use tenancy_sqlx::store::{SqlStore, SqlStoreOptions};
use tokio::net::TcpListener;

#[derive(Clone, Debug)]
struct Customer {
    id: i64,
    name: String,
}

#[derive(Clone, Debug)]
struct User {
    name: String,
    customer_id: i64,
}

/// Who the customer is, by the first label of the host.
async fn find_customer(
    State(db): State<SqlitePool>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let subdomain = host.and_then(|host| host.split('.').next()).unwrap_or_default();
    let customer: Option<(i64, String)> =
        sqlx::query_as("SELECT id, name FROM customers WHERE subdomain = ?")
            .bind(subdomain)
            .fetch_optional(&db)
            .await
            .map_err(failed)?;
    let (id, name) = customer.ok_or(StatusCode::NOT_FOUND)?;
    let customer = Customer { id, name };
    current_tenant().map(|tenant| tenant.compare(customer.id.to_string()));
    request.extensions_mut().insert(customer);
    Ok(next.run(request).await)
}

/// Who the user is, by a token.
async fn sign_in(
    State(db): State<SqlitePool>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let header = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|header| header.to_str().ok());
    let token = header
        .and_then(|header| header.strip_prefix("Bearer "))
        .ok_or(StatusCode::UNAUTHORIZED)?;
    let user: Option<(String, i64)> = sqlx::query_as("SELECT name, customer_id FROM users WHERE token = ?")
        .bind(token)
        .fetch_optional(&db)
        .await
        .map_err(failed)?;
    let (name, customer_id) = user.ok_or(StatusCode::UNAUTHORIZED)?;
    let user = User { name, customer_id };
    tracing::debug!(user = user.name, customer = user.customer_id, "signed in");
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

async fn home(Extension(customer): Extension<Customer>) -> Json<Value> {
    Json(json!({ "shop": customer.name }))
}

async fn list_orders(
    State(db): State<SqlitePool>,
    Extension(customer): Extension<Customer>,
) -> Result<Json<Vec<(String, bool)>>, StatusCode> {
    let orders = sqlx::query_as("SELECT item, confirmed FROM orders WHERE customer_id = ? ORDER BY id")
        .bind(customer.id)
        .fetch_all(&db)
        .await
        .map_err(failed)?;
    Ok(Json(orders))
}

async fn add_order(
    State(db): State<SqlitePool>,
    Extension(customer): Extension<Customer>,
    Extension(user): Extension<User>,
) -> Result<StatusCode, StatusCode> {
    sqlx::query("INSERT INTO orders (customer_id, item) VALUES (?, ?)")
        .bind(customer.id)
        .bind(format!("a book for {}", user.name))
        .execute(&db)
        .await
        .map_err(failed)?;
    Ok(StatusCode::CREATED)
}

/// Confirms orders, of whichever customer.
async fn work(db: SqlitePool) -> Result<(), sqlx::Error> {
    loop {
        let open: Vec<(i64, i64)> = sqlx::query_as("SELECT id, customer_id FROM orders WHERE confirmed = 0")
            .fetch_all(&db)
            .await?;
        for (order, customer) in open {
            tracing::info!(order, customer, "confirmed");
            sqlx::query("UPDATE orders SET confirmed = 1 WHERE id = ?")
                .bind(order)
                .execute(&db)
                .await?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err calls it")]
fn failed(error: sqlx::Error) -> StatusCode {
    tracing::error!(%error, "a query failed");
    StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let file = env::args().nth(1).unwrap_or_else(|| "shop.sqlite".to_owned());
    let db = SqlitePool::connect(&format!("sqlite://{file}?mode=rwc")).await?;
    sqlx::raw_sql(include_str!("schema.sql")).execute(&db).await?;
    tokio::spawn(work(db.clone()));
    let store = SqlStore::open(SqlStoreOptions::new(&file).adopted()).await?;
    let tenancy = Tenancy::builder(Subdomain::of("localhost")?, store)
        .observe()
        .build()?;

    let app = Router::new()
        .route("/orders", get(list_orders).post(add_order))
        .route_layer(middleware::from_fn_with_state(db.clone(), sign_in))
        .route("/", get(home))
        .layer(middleware::from_fn_with_state(db.clone(), find_customer))
        .with_state(db);
    let listener = TcpListener::bind(env::args().nth(2).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    axum::serve(listener, tenancy.wrap(app)).await?;
    Ok(())
}
