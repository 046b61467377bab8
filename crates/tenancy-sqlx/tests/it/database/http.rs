//! In a handler.

use axum::{Router, body::Body, http::Request, response::Response, routing::get};
use sqlx::Postgres;
use tenancy::{Tenancy, rejection::Rejection, resolve::Subdomain};
use tenancy_sqlx::database::{DatabaseError, Server, TenantDatabases, TenantDb};
use tower::ServiceExt;

use super::fixture::{KINDS, Kind, World, notes};
use crate::pool::fixture::patient;

async fn list(db: TenantDb<Postgres>) -> Result<String, DatabaseError> {
    let mut transaction = db.begin().await?;
    let notes = notes(&mut transaction).await?;
    transaction.commit().await?;
    Ok(notes.join(","))
}

async fn broken(db: TenantDb<Postgres>) -> Result<(), DatabaseError> {
    let mut transaction = db.begin().await?;
    sqlx::query("SELECT secret_column FROM notes")
        .execute(&mut *transaction)
        .await?;
    Ok(())
}

/// Uses none.
async fn lazy(db: TenantDb<Postgres>) -> String {
    db.tenant().id().to_string()
}

async fn ask(
    world: &World,
    app: &tenancy::routes::TenancyApp,
    tenant: usize,
    path: &str,
) -> (Response, String) {
    let request = Request::get(path)
        .header("host", format!("{}.example.com", world.tenants[tenant].id()))
        .body(Body::empty())
        .unwrap();
    let mut response: Response = app.clone().oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(std::mem::take(response.body_mut()), 10_000)
        .await
        .unwrap();
    (response, String::from_utf8(body.to_vec()).unwrap())
}

fn router(databases: TenantDatabases<Postgres>) -> Router {
    Router::new()
        .route("/notes", get(list))
        .route("/broken", get(broken))
        .route("/lazy", get(lazy))
        .with_state(databases)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_reads_its_tenants_notes_and_opens_nothing_before_it_does() {
    for kind in KINDS {
        let world = World::new(kind, "handler", 3).await;
        let app = world.tenancy.wrap(router(world.databases.clone()));
        let (response, id) = ask(&world, &app, 0, "/lazy").await;
        assert_eq!(
            (response.status().as_u16(), id.as_str()),
            (200, world.tenants[0].id().as_str())
        );
        assert_eq!(world.databases.figures("main").unwrap().opens, 0, "{kind:?}");
        for tenant in [0, 1, 2, 0] {
            let (response, body) = ask(&world, &app, tenant, "/notes").await;
            assert_eq!(
                (response.status().as_u16(), body),
                (200, world.canary(tenant)),
                "{kind:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_fails_answers_in_the_applications_words_and_tells_nothing() {
    let world = World::new(Kind::Databases, "words", 2).await;
    let tenancy = Tenancy::builder(Subdomain::of("example.com").unwrap(), world.store.clone())
        .on_rejection(|rejection: &Rejection| {
            let mut response = Response::new(Body::from(format!("sorry: {}", rejection.reason())));
            *response.status_mut() = rejection.status();
            response
        })
        .build()
        .unwrap();
    tenancy.ready().await;
    let databases = TenantDatabases::builder(&tenancy)
        .server("main", Server::at(world.database.app_url()).settings(patient(4)))
        .isolation(Kind::Databases.isolation())
        .build()
        .await
        .unwrap();
    let app = tenancy.wrap(router(databases));
    let (response, body) = ask(&world, &app, 0, "/broken").await;
    assert_eq!(
        (response.status().as_u16(), body.as_str()),
        (500, "sorry: database_failed")
    );
    assert!(response.headers().contains_key("tenancy-reference"));

    let plain = world.tenancy.wrap(router(world.databases.clone()));
    for (place, status, retries) in [("missing", 503, true), ("postgres", 503, true)] {
        world
            .place(0, |placement| placement.database = place.into())
            .await;
        let (response, body) = ask(&world, &plain, 0, "/notes").await;
        assert_eq!(response.status().as_u16(), status, "{place}");
        assert_eq!(response.headers().contains_key("retry-after"), retries, "{place}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!body.contains(place) && !body.contains("tenant"), "{body}");
    }
    let (response, _) = ask(&world, &plain, 1, "/notes").await;
    assert_eq!(response.status().as_u16(), 200, "nobody else");
}
