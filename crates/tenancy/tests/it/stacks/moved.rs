//! Layers of the user's that move calls to other tasks: the scope is that of the request there, too.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
    routing::get,
};
use futures_util::{StreamExt, stream};
use tenancy::{
    Tenant,
    cache::CacheScope,
    scope::{self, on_exit},
    stack::{BoxedService, Stage},
};
use tower::{Layer, Service, ServiceExt, buffer::BufferLayer, layer::layer_fn};

use crate::{
    scopes::{Notes, Recorder, builder, enter, here, yields},
    support::{self, send},
};

/// One worker task for the requests of all tenants. A worker does not end while its service is there.
fn buffered() -> impl Layer<BoxedService, Service = Unfailing> + Send + Sync + 'static {
    layer_fn(|inner: BoxedService| {
        let buffer = BufferLayer::new(8).layer(inner);
        Unfailing(tower::util::BoxCloneSyncService::new(buffer))
    })
}

#[derive(Clone)]
struct Unfailing(tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, tower::BoxError>);

impl Service<Request<Body>> for Unfailing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context).map(Result::unwrap).map(Ok)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { Ok(answer.await.unwrap()) })
    }
}

/// Runs the call in a task of its own, in the scope that `wrap` makes there.
fn spawning<W>(wrap: W) -> impl Layer<BoxedService, Service = BoxedService> + Send + Sync + 'static
where
    W: Fn(Answering) -> Answering + Clone + Send + Sync + 'static,
{
    layer_fn(move |inner: BoxedService| {
        let wrap = wrap.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answering = wrap(Box::pin(inner.clone().oneshot(request)));
            async move { tokio::spawn(answering).await.unwrap() }
        });
        BoxedService::new(service)
    })
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn observed(notes: &Notes) -> Router {
    let notes = notes.clone();
    let handler = async move |tenant: Tenant, cache: CacheScope| {
        let at_end = notes.clone();
        on_exit(move || at_end.note("cleaned up")).unwrap();
        yields(1).await;
        notes.note("handler");
        assert_eq!(cache.tenant(), &tenant);
        Body::from_stream(stream::iter(0..2).then(move |_| {
            let notes = notes.clone();
            async move {
                yields(1).await;
                notes.note("body");
                Ok::<_, Infallible>("x")
            }
        }))
    };
    Router::new().route("/", get(handler))
}

const STAGES: [(bool, Stage); 5] = [
    (true, Stage::Resolve),
    (false, Stage::Resolve),
    (false, Stage::Gate),
    (true, Stage::CacheScope),
    (false, Stage::CacheScope),
];

const IN_ORDER: [&str; 4] = ["handler", "body", "body", "cleaned up"];

async fn assert_scope_is_kept<L>(expected: [&str; 4], layer: impl Fn() -> L)
where
    L: Layer<BoxedService> + Send + Sync + 'static,
    L::Service:
        Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<Body>>>::Future: Send,
{
    for (before, stage) in STAGES {
        let (notes, recorder) = (Notes::default(), Recorder::default());
        let builder = builder().listener(recorder.clone());
        let builder = if before {
            builder.insert_before(stage, layer())
        } else {
            builder.insert_after(stage, layer())
        };
        let app = builder.build().unwrap().wrap(observed(&notes));
        for whose in ["acme", "globex"] {
            recorder.take();
            let response = send(&app, support::get(&format!("{whose}.app.test"), "/")).await;
            assert_eq!(response.status(), 200, "{before} {stage}");
            assert_eq!(support::text(response).await, "xx");
            // Before resolve, the layer is no concern of the scope's.
            let expected = if (before, stage) == (true, Stage::Resolve) {
                IN_ORDER
            } else {
                expected
            };
            let expected = expected.map(|what| format!("{what} for {whose}"));
            assert_eq!(notes.take(), expected, "{before} {stage}");
            let told = recorder.take_short();
            let count = |what: String| told.iter().filter(|event| **event == what).count();
            assert!(count(format!("entered {whose}")) >= 1, "{told:?}");
            assert_eq!(
                count(format!("entered {whose}")),
                count(format!("left {whose}")),
                "{told:?}"
            );
        }
    }
}

#[tokio::test]
async fn behind_a_buffer_each_request_has_its_own_scope() {
    assert_scope_is_kept(IN_ORDER, buffered).await;
}

#[tokio::test]
async fn in_a_task_of_its_own_each_request_has_its_own_scope() {
    assert_scope_is_kept(IN_ORDER, || spawning(|answering| answering)).await;
}

#[tokio::test]
async fn a_task_that_carries_the_scope_keeps_it_and_cleans_up_at_its_own_end() {
    let at_the_answer = ["handler", "cleaned up", "body", "body"];
    assert_scope_is_kept(at_the_answer, || {
        spawning(|answering| Box::pin(scope::carry(answering)))
    })
    .await;
}

#[tokio::test]
async fn in_the_scope_of_somebody_else_each_request_still_has_its_own() {
    let foreign = enter(&crate::scopes::tenancy(), "initech").await;
    assert_scope_is_kept(IN_ORDER, || {
        let foreign = foreign.clone();
        spawning(move |answering| Box::pin(scope::run(&foreign, answering)))
    })
    .await;
    assert_scope_is_kept(IN_ORDER, || {
        spawning(|answering| Box::pin(scope::central(answering)))
    })
    .await;
}

#[tokio::test]
async fn many_requests_through_one_buffer_never_meet() {
    let handler = async |tenant: Tenant| {
        for _ in 0..5 {
            yields(fastrand::usize(..3)).await;
            assert_eq!(here(), tenant.to_string());
        }
        tenant.to_string()
    };
    let tenancy = builder()
        .insert_after(Stage::Resolve, buffered())
        .build()
        .unwrap();
    let app = tenancy.wrap(Router::new().route("/", get(handler)));
    let requests = (0..200).map(|number| {
        let (app, whose) = (app.clone(), ["acme", "globex", "initech"][number % 3]);
        async move {
            let response = send(&app, support::get(&format!("{whose}.app.test"), "/")).await;
            assert_eq!(support::text(response).await, whose);
        }
    });
    futures_util::future::join_all(requests).await;
}
