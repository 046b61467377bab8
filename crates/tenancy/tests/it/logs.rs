//! For which tenant a line of the log was written, and which tenant's lines are written at all.

use std::{
    io::{self, Write},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use serde_json::Value;
use tenancy::{
    Tenant,
    core::ManualClock,
    log::{TenantLevels, TenantLines},
    scope,
};
use tokio::task::yield_now;
use tracing::{
    Dispatch, Level,
    dispatcher::DefaultGuard,
    subscriber::{NoSubscriber, Subscriber},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::Layer,
    prelude::*,
    registry::LookupSpan,
};

use crate::{
    lookups::Hand,
    scopes::{builder, enter, tenancy},
    support,
};

/// What was written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    fn json(&self) -> Vec<Value> {
        let lines = self.lines();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Writes to this log what this thread says, until the guard is dropped.
    fn with<L>(&self, layer: impl FnOnce(Self) -> L) -> DefaultGuard
    where
        L: Layer<tracing_subscriber::Registry> + Send + Sync,
    {
        // With a single subscriber, `tracing` asks the thread that meets a call site first, which may have none.
        static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));
        LazyLock::force(&ANOTHER);
        let subscriber = tracing_subscriber::registry().with(layer(self.clone()));
        tracing::dispatcher::set_default(&Dispatch::new(subscriber))
    }

    fn with_text(&self) -> DefaultGuard {
        self.with(|log| plain(log).map_event_format(TenantLines::new))
    }

    fn with_levels(&self, levels: &TenantLevels) -> DefaultGuard {
        let base = Targets::new().with_target("it", Level::INFO);
        self.with(|log| {
            plain(log)
                .map_event_format(TenantLines::new)
                .with_filter(levels.filter(base))
        })
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

type Text = fmt::format::Format<fmt::format::Full, ()>;

/// Lines without what differs from run to run.
fn plain<S>(log: Log) -> fmt::Layer<S, fmt::format::DefaultFields, Text, Log>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer()
        .with_writer(log)
        .with_ansi(false)
        .with_target(false)
        .without_time()
}

async fn two_tenants() -> (Tenant, Tenant) {
    let tenancy = tenancy();
    (enter(&tenancy, "acme").await, enter(&tenancy, "globex").await)
}

/// Logs before and after it waits.
async fn work(of: &'static str) {
    tracing::info!(of, "begins");
    yield_now().await;
    tracing::info!(of, "ends");
}

#[tokio::test]
async fn tenants_that_run_at_once_have_their_own_lines_and_what_has_no_scope_has_none() {
    let (acme, globex) = two_tenants().await;
    let log = Log::default();
    let _guard = log.with_text();
    let plain_spawn = async { tokio::spawn(work("a plain spawn")).await.unwrap() };
    let carried = async { scope::spawn(work("globex")).await.unwrap() };
    tokio::join!(
        scope::run(&acme, work("acme")),
        scope::run(&globex, async {
            tokio::join!(work("globex"), plain_spawn, carried)
        }),
        scope::central(work("central")),
        work("nobody"),
    );
    let lines = log.lines();
    assert_eq!(lines.len(), 12, "{lines:#?}");
    for line in lines {
        let expected = match &line {
            line if line.contains("of=\"acme\"") => Some("acme"),
            line if line.contains("of=\"globex\"") => Some("globex"),
            _ => None,
        };
        let found = line.split_once(" tenant=").map(|(_, tenant)| tenant);
        assert_eq!(found, expected, "{line}");
    }
}

#[tokio::test]
async fn a_request_of_a_tenant_says_so_in_handler_and_body_and_a_central_one_does_not() {
    async fn handler() -> Body {
        tracing::info!("handler");
        Body::from_stream(futures_util::stream::once(async {
            tracing::info!("body");
            Ok::<_, io::Error>(Bytes::from_static(b"done"))
        }))
    }
    let router = Router::new().route("/", get(handler));
    let app = builder().build().unwrap().routes().universal(router).build();
    let log = Log::default();
    let _guard = log.with(|log| plain(log).json().map_event_format(TenantLines::new));
    for host in ["acme.app.test", "app.test", "globex.app.test"] {
        let response = support::send(&app, support::get(host, "/")).await;
        assert_eq!(support::text(response).await, "done");
    }
    let lines = log.json();
    let written = lines
        .iter()
        .filter(|line| ["handler", "body"].contains(&line["fields"]["message"].as_str().unwrap()));
    let tenants: Vec<_> = written.map(|line| line["tenant"].as_str()).collect();
    let [acme, globex] = [Some("acme"), Some("globex")];
    assert_eq!(tenants, [acme, acme, None, None, globex, globex]);
}

#[tokio::test]
async fn json_is_json_whatever_the_event_and_the_fields_hold() {
    let (acme, _) = two_tenants().await;
    for is_flat in [false, true] {
        let log = Log::default();
        let guard = log.with(|log| {
            let layer = plain(log).json().flatten_event(is_flat);
            layer.map_event_format(|format| {
                TenantLines::new(format)
                    .field("plan", |_| Some("replaced"))
                    .field("plan", |_| Some("a \"b\"\n}"))
                    .field("none", |_| None::<u8>)
            })
        });
        scope::run(&acme, async {
            tracing::info!("plain");
            tracing::info!(tenant = "of the event", "has a field of that name");
            tracing::info!(
                fields = r#""fields":{}"#,
                tenant.plan = 1,
                "looks like an object }}\n"
            );
            tracing::info_span!("span", fields = "{").in_scope(|| tracing::info!("in a span"));
        })
        .await;
        drop(guard);
        let text = log.text();
        let lines = log.json();
        assert_eq!((lines.len(), text.lines().count()), (4, 4));
        let own = |line: usize, name: &str| match is_flat {
            true => lines[line][name].clone(),
            false => lines[line]["fields"][name].clone(),
        };
        assert_eq!(
            (&lines[0]["tenant"], &lines[0]["tenant.plan"]),
            (&"acme".into(), &"a \"b\"\n}".into())
        );
        assert_eq!(
            (own(1, "tenant"), own(2, "tenant.plan")),
            ("of the event".into(), 1.into())
        );
        assert_eq!(lines[3]["tenant"], "acme");
        for (line, text) in lines.iter().zip(text.lines()) {
            assert!(line.get("tenant.none").is_none());
            let names = if is_flat {
                1
            } else {
                1 + usize::from(text.contains("of the event"))
            };
            assert_eq!(text.matches(r#""tenant":"#).count(), names, "{text}");
        }
        if !is_flat {
            assert_eq!(lines[1]["tenant"], "acme");
        }
    }
}

#[tokio::test]
async fn a_value_in_a_line_of_text_can_look_like_nothing_else() {
    let (acme, _) = two_tenants().await;
    for (value, written) in [
        ("pro", "pro"),
        ("", r#""""#),
        ("a b", r#""a b""#),
        ("x tenant=globex", r#""x tenant=globex""#),
        ("x\nINFO forged\u{1b}[2J", r#""x\nINFO forged\u{1b}[2J""#),
    ] {
        let log = Log::default();
        let _guard = log.with(|log| {
            plain(log).map_event_format(|format| TenantLines::new(format).field("plan", move |_| Some(value)))
        });
        scope::run(&acme, async { tracing::info!("said") }).await;
        assert_eq!(
            log.text(),
            format!(" INFO said tenant=acme tenant.plan={written}\n")
        );
    }
}

#[tokio::test]
async fn a_long_value_is_cut() {
    let (acme, _) = two_tenants().await;
    let log = Log::default();
    let _guard = log.with(|log| {
        let field = |_: &Tenant| Some("ä".repeat(1_000));
        plain(log).map_event_format(move |format| TenantLines::new(format).field("long", field))
    });
    scope::run(&acme, async { tracing::info!("said") }).await;
    assert_eq!(log.text().matches('ä').count(), 256);
}

#[tokio::test]
async fn a_line_of_a_tenant_looks_as_the_others_do() {
    let (acme, _) = two_tenants().await;
    for has_colours in [false, true] {
        let log = Log::default();
        let _guard = log.with(|log| {
            plain(log)
                .with_ansi(has_colours)
                .compact()
                .map_event_format(TenantLines::new)
        });
        let say = || tracing::warn!(number = 1, "said");
        say();
        scope::run(&acme, async { say() }).await;
        scope::run(&acme, async { tracing::warn!(tenant = "its own", "said") }).await;
        let lines = log.lines();
        assert_eq!(lines[0].contains("\u{1b}["), has_colours);
        let end = lines[1].strip_prefix(&lines[0]).unwrap();
        let visible = if has_colours {
            " \u{1b}[3mtenant\u{1b}[0m\u{1b}[2m=\u{1b}[0macme"
        } else {
            " tenant=acme"
        };
        assert_eq!(end, visible);
        assert!(!lines[2].contains("acme"), "{}", lines[2]);
    }
}

fn say_all() {
    tracing::debug!("debug");
    tracing::info!("info");
    tracing::warn!("warn");
    tracing::debug!(target: "library", "debug of a library");
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_raised_tenant_has_more_lines_than_others_until_the_time_is_over() {
    let (acme, globex) = two_tenants().await;
    let clock = Hand::default();
    let levels = TenantLevels::with_clock(clock.clone());
    let log = Log::default();
    let _guard = log.with_levels(&levels);
    let everybody_speaks = async || {
        let before = log.lines().len();
        scope::run(&acme, async { say_all() }).await;
        scope::run(&globex, async { say_all() }).await;
        scope::central(async { say_all() }).await;
        say_all();
        log.lines().split_off(before)
    };
    let usual = [
        " INFO info tenant=acme",
        " WARN warn tenant=acme",
        " INFO info tenant=globex",
        " WARN warn tenant=globex",
        " INFO info",
        " WARN warn",
        " INFO info",
        " WARN warn",
    ];
    assert_eq!(everybody_speaks().await, usual);
    levels.raise(acme.id(), Level::DEBUG, 5 * MINUTE).unwrap();
    for _ in 0..2 {
        let lines = everybody_speaks().await;
        assert_eq!(lines[0], "DEBUG debug tenant=acme");
        assert_eq!(lines[3], "DEBUG debug of a library tenant=acme");
        assert_eq!([&lines[1..3], &lines[4..]].concat(), usual);
        clock.advance(2 * MINUTE);
    }
    clock.advance(MINUTE);
    assert_eq!(everybody_speaks().await, usual);
    assert!(levels.in_force().is_empty());
}

#[tokio::test]
async fn a_quieted_tenant_has_fewer_lines_and_is_never_given_more() {
    let (acme, globex) = two_tenants().await;
    let levels = TenantLevels::with_clock(ManualClock::new());
    let log = Log::default();
    let _guard = log.with_levels(&levels);
    levels.raise(globex.id(), Level::TRACE, MINUTE).unwrap();
    levels.quiet(globex.id(), Level::DEBUG, MINUTE).unwrap();
    for (level, expected) in [
        (LevelFilter::WARN, &[" WARN warn tenant=acme"][..]),
        (LevelFilter::OFF, &[]),
        (
            LevelFilter::TRACE,
            &[" INFO info tenant=acme", " WARN warn tenant=acme"],
        ),
    ] {
        levels.quiet(acme.id(), level, MINUTE).unwrap();
        let before = log.lines().len();
        scope::run(&acme, async { say_all() }).await;
        scope::run(&globex, async { say_all() }).await;
        let lines = log.lines().split_off(before);
        assert_eq!(lines[..expected.len()], *expected, "{level}");
        let others = &lines[expected.len()..];
        assert_eq!(others, [" INFO info tenant=globex", " WARN warn tenant=globex"]);
    }
    assert!(levels.reset(acme.id()));
    let before = log.lines().len();
    scope::run(&acme, async { say_all() }).await;
    assert_eq!(log.lines().len() - before, 2);
}

#[tokio::test]
async fn a_load_of_the_cache_runs_in_the_span_of_who_asked_first() {
    use tenancy::cache::{EntryOptions, Keys};
    use tracing::Instrument as _;

    const NAME: Keys<(bool,), String> = Keys::new("name", 1);

    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry());
    let tenancy = tenancy();
    let cache = tenancy.cache_of(&enter(&tenancy, "acme").await);
    let name = || {
        let span = tracing::Span::current();
        span.metadata().map_or("none", tracing::Metadata::name).to_owned()
    };
    let (options, one, all) = (EntryOptions::new(), NAME.key((false,)), [NAME.key((true,))]);
    let asked = async {
        let one = cache
            .remember(&one, &options, async move || Ok::<_, io::Error>(name()))
            .await;
        let load = async move |_| Ok::<_, io::Error>(vec![name()]);
        let all = cache.remember_many(&all, &options, load).await;
        [one.unwrap(), all.unwrap().remove(0)]
    };
    let names = asked.instrument(tracing::info_span!("request")).await;
    assert_eq!(names.map(|name| name.to_string()), ["request", "request"]);
}
