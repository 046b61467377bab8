//! What is counted: one request through one arrangement of services, by name.
//!
//! A name may have an argument behind a colon: `without:gate`, `tenants:1000000`.

use std::{
    convert::Infallible,
    future::Ready,
    io::{self, BufRead, Write},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Request, Response, StatusCode, Uri},
    routing::get,
};
use serde::{Deserialize, Serialize};
use stats_alloc::Region;
use tenancy::{
    MemoryStore, Tenancy,
    core::TenantStore,
    event::Event,
    health::{Check, Health, HealthStatus},
    resolve::DomainOrSubdomain,
    stack::{Order, Stage, TenancyBuilder},
};
use tokio::runtime::Runtime;
use tower::{Layer, Service, layer::util::Identity};
use tower_http::{catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer, timeout::TimeoutLayer};

use crate::{
    ALLOCATOR, Failure,
    request::{BrowserRequest, counted_request, fill_allocator, send},
    stores::GeneratedStore,
};

/// Requests before those that are counted: lazy set-up is done, and the allocator's lists are filled.
const WARM_UP: usize = 200;

/// What a scenario says of itself when it has run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Allocations {
    /// Allocations and reallocations in all counted requests.
    pub(crate) count: u64,
}

/// From this many tenants on, valgrind starts to count late; see [`crate::callgrind::run`].
pub(crate) const MANY_TENANTS: usize = 10_000;

/// Sets a scenario up, waits for a line on standard input, and sends `times` requests.
pub(crate) fn run(name: &str, times: usize) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Layers with timers ask for the runtime; nothing of the counted part runs on it.
    let _entered = runtime.enter();
    let load = Load::new(times);
    let (kind, argument) = name.split_once(':').unwrap_or((name, ""));
    match kind {
        "bare" => load.drive(&bare()),
        "default" => load.drive(&ready(&runtime, Tenancy::new(identifier()?, tenants()?)).wrap(bare())),
        "routes" => {
            let routes = ready(&runtime, Tenancy::new(identifier()?, tenants()?)).routes();
            let universal = Router::new().route("/about", get(hello));
            load.drive(&routes.tenant(bare()).central(bare()).universal(universal).build())
        }
        "central" => {
            let routes = stack(&runtime, |builder| builder)?.routes();
            load.host("localhost:8000")
                .drive(&routes.tenant(bare()).central(bare()).build())
        }
        "resolve-only" => {
            let tenancy = stack(&runtime, |builder| builder)?;
            load.measure(|request| {
                let resolved = tenancy::bench::resolve_only(&tenancy, &request);
                drop(request);
                resolved.then_some(StatusCode::OK)
            })
        }
        // As a router of its own, and in front of a stack: what a probe costs, and what all others pay.
        "health-routes" => {
            let health = health(&runtime)?;
            load.path(argument)?.drive(&health.routes())
        }
        "health-front" => {
            let tenancy = ready(&runtime, Tenancy::new(identifier()?, tenants()?));
            let app = health(&runtime)?.layer(tenancy.wrap(bare()));
            match argument {
                "" => load.drive(&app),
                path => load.path(path)?.drive(&app),
            }
        }
        // What resolve-only costs without resolving: the request's end.
        "nothing" => load.measure(|request| {
            drop(request);
            Some(StatusCode::OK)
        }),
        "trivial" => load.drive(&tower::service_fn(answer)),
        "trivial-gate" => {
            let order = Order::new([Stage::Resolve, Stage::Gate])?;
            let tenancy = stack(&runtime, |builder| builder.order(order))?;
            load.drive(&tenancy.layer(tower::service_fn(answer)))
        }
        "order" => {
            let stages = argument
                .split(',')
                .map(str::parse)
                .collect::<Result<Vec<Stage>, _>>()?;
            let order = Order::new(stages)?;
            load.drive(&stack(&runtime, |builder| builder.order(order))?.wrap(bare()))
        }
        // As `order`, around one router, which needs no choice between two.
        "layer" => {
            let stages = argument
                .split(',')
                .map(str::parse)
                .collect::<Result<Vec<Stage>, _>>()?;
            let order = Order::new(stages)?;
            load.drive(&stack(&runtime, |builder| builder.order(order))?.layer(bare()))
        }
        "observe" => load.drive(&stack(&runtime, TenancyBuilder::observe)?.wrap(bare())),
        "layer-observe" => {
            let order = Order::from_names(argument.split(','))?;
            load.drive(&stack(&runtime, |builder| builder.order(order).observe())?.layer(bare()))
        }
        "order-from-names" => {
            let order = Order::from_names(argument.split(','))?;
            load.drive(&stack(&runtime, |builder| builder.order(order))?.wrap(bare()))
        }
        "without" => {
            let stage: Stage = argument.parse()?;
            load.drive(&stack(&runtime, |builder| builder.disable(stage))?.wrap(bare()))
        }
        "layer-between" => load.drive(
            &stack(&runtime, |builder| {
                builder.insert_after(Stage::Resolve, Identity::new())
            })?
            .wrap(bare()),
        ),
        "router-layer" => load.drive(&bare().layer(stack(&runtime, |builder| builder)?)),
        "track-routes" => load.drive(&stack(&runtime, |builder| builder.track_routes(true))?.wrap(bare())),
        "listener" => {
            let tenancy = stack(&runtime, |builder| {
                builder.listener(|event: &Event| {
                    std::hint::black_box(event);
                })
            })?;
            load.drive(&tenancy.wrap(bare()))
        }
        "unknown-host" => load
            .host("nobody.localhost:8000")
            .expect(StatusCode::NOT_FOUND)
            .drive(&stack(&runtime, |builder| builder)?.wrap(bare())),
        "bad-host" => load
            .host("acme.localhost,b.localhost")
            .expect(StatusCode::BAD_REQUEST)
            .drive(&stack(&runtime, |builder| builder)?.wrap(bare())),
        "tenants" => {
            let count = argument.parse()?;
            let tenancy = Tenancy::new(identifier()?, GeneratedStore::new(count, false));
            load.tenants(count).drive(&ready(&runtime, tenancy).wrap(bare()))
        }
        "tower-http" => drive_tower_http(argument, load),
        _ => Err(format!("there is no scenario {name:?}").into()),
    }
}

fn drive_tower_http(layer: &str, load: Load) -> Result<(), Failure> {
    const DEADLINE: Duration = Duration::from_secs(30);
    match layer {
        "catch-panic" => load.drive(&CatchPanicLayer::new().layer(bare())),
        "timeout" => {
            let layer = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, DEADLINE);
            load.drive(&layer.layer(bare()))
        }
        "body-limit" => load.drive(&RequestBodyLimitLayer::new(2 * 1024 * 1024).layer(bare())),
        _ => Err(format!("no layer {layer:?} of tower-http is measured").into()),
    }
}

/// The router that every arrangement stands in front of.
pub(crate) fn bare() -> Router {
    Router::new().route("/", get(hello))
}

async fn hello() -> &'static str {
    "hello"
}

fn answer(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    std::future::ready(Ok(Response::new(Body::empty())))
}

/// As the example server has it.
pub(crate) fn identifier() -> Result<DomainOrSubdomain, Failure> {
    Ok(DomainOrSubdomain::of("localhost")?)
}

fn tenants() -> Result<MemoryStore, Failure> {
    let others = (0..9).map(GeneratedStore::id);
    Ok(MemoryStore::of(others.chain(["acme".to_owned()]))?)
}

/// With two checks that have a result.
fn health(runtime: &Runtime) -> Result<Health, Failure> {
    // Once: nothing runs while requests are counted, and a result must not become too old.
    let well = |name| {
        let check = Check::new(name, || std::future::ready(Ok::<_, Infallible>(())));
        check.interval(Duration::from_secs(24 * 60 * 60))
    };
    let health = Health::builder()
        .check(well("database"))
        .check(well("redis"))
        .readiness(["database"])
        .build()?;
    runtime.block_on(async {
        while health.status() != HealthStatus::Healthy {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    Ok(health)
}

/// The default stack with changes, ready.
fn stack(
    runtime: &Runtime,
    change: impl FnOnce(TenancyBuilder) -> TenancyBuilder,
) -> Result<Tenancy, Failure> {
    let builder = Tenancy::builder(identifier()?, tenants()?).central_hosts(["localhost"]);
    Ok(ready(runtime, change(builder).build()?))
}

fn ready(runtime: &Runtime, tenancy: Tenancy) -> Tenancy {
    runtime.block_on(tenancy.ready());
    tenancy
}

/// Waits until a stack over any store knows all tenants.
pub(crate) fn stack_over(runtime: &Runtime, store: impl TenantStore) -> Result<Tenancy, Failure> {
    Ok(ready(runtime, Tenancy::new(identifier()?, store)))
}

/// The requests of one scenario, and the answer that each must get.
struct Load {
    hosts: Vec<String>,
    path: Uri,
    expected: StatusCode,
    times: usize,
}

impl Load {
    fn new(times: usize) -> Self {
        Self {
            hosts: vec!["acme.localhost:8000".to_owned()],
            path: Uri::from_static("/"),
            expected: StatusCode::OK,
            times,
        }
    }

    fn host(mut self, host: &str) -> Self {
        self.hosts = vec![host.to_owned()];
        self
    }

    fn path(mut self, path: &str) -> Result<Self, Failure> {
        self.path = path.parse()?;
        Ok(self)
    }

    /// Spreads the requests over all of `count` tenants.
    fn tenants(mut self, count: usize) -> Self {
        let all = WARM_UP + self.times;
        self.hosts = (0..all.min(count))
            .map(|at| format!("{}.localhost:8000", GeneratedStore::id(at * (count / all).max(1))))
            .collect();
        self
    }

    fn expect(mut self, status: StatusCode) -> Self {
        self.expected = status;
        self
    }

    fn drive<S, B>(self, service: &S) -> Result<(), Failure>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
        B: HttpBody + Unpin,
    {
        self.measure(|request| send(service, request))
    }

    /// Each request is built right before it is sent, so that the allocator is in the steady state of a server;
    /// building is not counted.
    fn measure(self, send: impl Fn(Request<Body>) -> Option<StatusCode>) -> Result<(), Failure> {
        let requests: Vec<_> = self.hosts.iter().map(|host| BrowserRequest::to(host)).collect();
        let mut requests = requests.iter().cycle();
        let mut next = || -> Result<_, Failure> {
            let mut request = requests.next().ok_or("there is no host")?.build()?;
            *request.uri_mut() = self.path.clone();
            Ok(request)
        };
        for _ in 0..WARM_UP {
            self.check(send(next()?))?;
        }
        fill_allocator();
        wait_for_go()?;
        let mut count = 0;
        for _ in 0..self.times {
            let mut request = Some(next()?);
            let region = Region::new(ALLOCATOR);
            let answer = counted_request(&mut || send(request.take()?));
            let counted = region.change();
            count += counted.allocations + counted.reallocations;
            self.check(answer)?;
        }
        say(&serde_json::to_string(&Allocations { count: count as u64 })?)
    }

    fn check(&self, answer: Option<StatusCode>) -> Result<(), Failure> {
        if answer == Some(self.expected) {
            return Ok(());
        }
        Err(format!(
            "a request was answered with {answer:?} instead of {}",
            self.expected
        )
        .into())
    }
}

fn wait_for_go() -> Result<(), Failure> {
    say("ready")?;
    io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
