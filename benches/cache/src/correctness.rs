//! What goes wrong in caches, tried on each: races and faults, and not speed.

use std::{
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tenancy::{
    cache::{CacheSettings, EntryOptions, Keys, TenantCache},
    core::{Clock, SystemClock},
};
use tenancy_bench::{
    Failure,
    report::{Report, Row},
};
use tenancy_redis::RedisLevel;
use tenancy_test::servers::{Fault, FaultProxy, Redis};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};

use crate::{
    loading::{self, Loader, Loading},
    stack::cache_of_one,
};

/// What one question found out of one cache.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which cache.
    pub name: &'static str,
    /// `None` where the question makes no sense.
    pub is_right: Option<bool>,
    /// What was seen, or why there was nothing to see.
    pub text: String,
}

impl Finding {
    /// What was seen.
    pub fn seen(name: &'static str, is_right: bool, text: impl Into<String>) -> Self {
        Self {
            name,
            is_right: Some(is_right),
            text: text.into(),
        }
    }

    /// Nothing to see.
    pub fn none(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            name,
            is_right: None,
            text: why.into(),
        }
    }

    pub(crate) fn row(self) -> Row {
        let (value, verdict) = match self.is_right {
            Some(true) => (1.0, "right"),
            Some(false) => (0.0, "wrong"),
            None => (f64::NAN, "does not apply"),
        };
        let row = Row::shown(self.name, "right", value);
        let row = if self.name == TENANCY {
            row.at_least(1.0)
        } else {
            row
        };
        row.note(format!("{verdict}: {}", self.text))
    }
}

/// The name under which ours stands.
pub const TENANCY: &str = "tenancy";
/// How long a process may serve what was flushed elsewhere.
const BOUND: Duration = Duration::from_secs(2);

/// Asks a cache with a Redis of its own.
pub type Question = fn(Redis) -> BoxFuture<'static, Result<Finding, Failure>>;

/// Asks a cache by itself.
pub type QuestionAlone = fn() -> BoxFuture<'static, Result<Finding, Failure>>;

/// What can be asked of caches that are not in this package.
#[derive(Debug)]
pub struct Others {
    /// Those that load.
    pub loaders: Vec<Loader>,
    /// Those that do not, and why they can not be asked the same.
    pub without_loader: Vec<(&'static str, &'static str)>,
    /// A removal during a load, of those that are asked in a way of their own.
    pub removed: Vec<QuestionAlone>,
    /// Many who ask for one key, of the same.
    pub together: Vec<QuestionAlone>,
    /// A message that does not arrive.
    pub lost_message: Vec<Question>,
    /// A Redis that stands still.
    pub frozen: Vec<Question>,
    /// Those of one process.
    pub of_one_process: Vec<&'static str>,
}

/// Asks all but the flush among a million and the loud neighbour, which have sections of their own.
///
/// # Errors
/// Something can not be made.
pub(crate) async fn measure(report: &mut Report, others: &Others) -> Result<(), Failure> {
    eprintln!("cache     correctness");
    let ours = [
        Loader {
            name: TENANCY,
            make: loading::tenancy,
        },
        Loader {
            name: "moka",
            make: loading::moka,
        },
    ];
    let (mut flushed, mut hung_up) = (Vec::new(), Vec::new());
    for loader in ours.iter().chain(&others.loaders) {
        flushed.push(flushed_while_loading(loader).await?);
        hung_up.push(hang_ups(loader).await?);
    }
    for (name, why) in &others.without_loader {
        flushed.push(Finding::none(name, *why));
        hung_up.push(Finding::none(name, *why));
    }
    for ask in &others.removed {
        flushed.push(ask().await?);
    }
    for ask in &others.together {
        hung_up.push(ask().await?);
    }
    add(report, "removed while it is loaded (pitfall 1)", flushed);
    add(report, "400 callers that hang up (pitfall 4)", hung_up);

    let mut lost = vec![lost_message(Redis::start(&[]).await?).await?];
    for ask in &others.lost_message {
        lost.push(ask(Redis::start(&[]).await?).await?);
    }
    let mut frozen = vec![frozen_redis(Redis::start(&[]).await?).await?];
    for ask in &others.frozen {
        frozen.push(ask(Redis::start(&[]).await?).await?);
    }
    for name in &others.of_one_process {
        lost.push(Finding::none(name, "has one process"));
        frozen.push(Finding::none(name, "has no second level"));
    }
    add(
        report,
        "a flush elsewhere whose message is lost (pitfall 5)",
        lost,
    );
    add(report, "one read while Redis is frozen (pitfall 17)", frozen);
    Ok(())
}

pub(crate) fn add(report: &mut Report, question: &str, findings: Vec<Finding>) {
    report.add(
        format!("cache: right or wrong: {question}"),
        findings.into_iter().map(Finding::row),
    );
}

/// A loader that reads at once and hands over when it is let.
struct Slow {
    source: Arc<std::sync::Mutex<String>>,
    loads: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    began: mpsc::UnboundedSender<usize>,
}

impl Slow {
    fn new() -> (Self, mpsc::UnboundedReceiver<usize>) {
        let (began, begins) = mpsc::unbounded_channel();
        let slow = Self {
            source: Arc::new("old".to_owned().into()),
            loads: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            began,
        };
        (slow, begins)
    }

    fn load(&self, caller: usize) -> BoxFuture<'static, String> {
        let (source, loads) = (Arc::clone(&self.source), Arc::clone(&self.loads));
        let (gate, began) = (Arc::clone(&self.gate), self.began.clone());
        Box::pin(async move {
            loads.fetch_add(1, Ordering::SeqCst);
            let value = source.lock().map(|value| value.clone()).unwrap_or_default();
            // Nobody listens any more where nobody is to be hung up on.
            let _ = began.send(caller);
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            value
        })
    }

    fn change(&self) {
        if let Ok(mut value) = self.source.lock() {
            "new".clone_into(&mut value);
        }
    }

    fn let_go(&self) {
        self.gate.add_permits(100_000);
    }
}

/// What a read gets that begins after a removal that came while the old value was being loaded.
async fn flushed_while_loading(loader: &Loader) -> Result<Finding, Failure> {
    let cache = (loader.make)().await?;
    let (slow, mut begins) = Slow::new();
    let first = tokio::spawn(get(&cache, slow.load(0)));
    begins.recv().await;
    slow.change();
    // A cache may hold a removal up until the load is done: then it is no race.
    let removing = {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move { cache.remove("key").await })
    };
    sleep(Duration::from_millis(50)).await;
    slow.let_go();
    first.await?;
    removing.await?;
    let found = get(&cache, slow.load(1)).await;
    Ok(Finding::seen(
        loader.name,
        found == "new",
        format!("the next read gets the {found} value"),
    ))
}

fn get(cache: &Arc<dyn Loading>, load: BoxFuture<'static, String>) -> impl Future<Output = String> + use<> {
    let cache = Arc::clone(cache);
    async move { cache.get_or_load("key", load).await }
}

/// 400 callers of one key, of whom each hangs up when it has begun to load.
async fn hang_ups(loader: &Loader) -> Result<Finding, Failure> {
    let cache = (loader.make)().await?;
    let (slow, mut begins) = Slow::new();
    let callers: Vec<_> = (0..400)
        .map(|caller| tokio::spawn(get(&cache, slow.load(caller))))
        .collect();
    let usual = panic::take_hook();
    // They are counted.
    panic::set_hook(Box::new(|_| {}));
    while let Ok(Some(caller)) = timeout(Duration::from_millis(300), begins.recv()).await {
        callers[caller].abort();
    }
    slow.let_go();
    let (mut panics, mut served) = (0, 0);
    for caller in callers {
        match caller.await {
            Ok(_) => served += 1,
            Err(error) => panics += usize::from(error.is_panic()),
        }
    }
    panic::set_hook(usual);
    let loads = slow.loads.load(Ordering::SeqCst);
    Ok(Finding::seen(
        loader.name,
        loads == 1 && panics == 0,
        format!("{loads} loads, {panics} callers panicked, {served} served"),
    ))
}

const TEXTS: Keys<u32, String> = Keys::new("texts", 1);

async fn text(cache: &TenantCache, loaded: &'static str) -> Result<String, Failure> {
    let options = EntryOptions::new().ttl(Duration::from_secs(600)).tag("texts");
    let load = move || async move { Ok::<_, std::io::Error>(loaded.to_owned()) };
    Ok(cache.remember(&TEXTS.key(1), &options, load).await?.to_string())
}

/// Two processes. The second hears nothing of a flush in the first, since what it hears with is stuck and then cut.
async fn lost_message(server: Redis) -> Result<Finding, Failure> {
    let proxy = FaultProxy::start(server.address()).await?;
    let level = |url: &str| RedisLevel::connect(url);
    let here = cache_of_one(CacheSettings::new().shared(level(&server.url())?)).await?;
    let there = cache_of_one(CacheSettings::new().shared(level(&proxy.url(&server.url()))?)).await?;
    text(&here, "old").await?;
    text(&there, "old").await?;
    proxy.set(Fault::Freeze);
    here.flush_tags(["texts"]).await;
    proxy.cut();
    proxy.set(Fault::Pass);
    sleep(BOUND).await;
    let found = text(&there, "new").await?;
    Ok(Finding::seen(
        TENANCY,
        found == "new",
        format!(
            "{} s after the flush another process serves the {found} value",
            BOUND.as_secs()
        ),
    ))
}

/// One request that finds nothing in this process.
async fn frozen_redis(server: Redis) -> Result<Finding, Failure> {
    let cache = cache_of_one(CacheSettings::new().shared(RedisLevel::connect(&server.url())?)).await?;
    text(&cache, "old").await?;
    sleep(Duration::from_millis(100)).await;
    server.freeze().await;
    let key = TEXTS.key(2);
    let options = EntryOptions::new();
    let asked = cache.remember(&key, &options, || async {
        Ok::<_, std::io::Error>("loaded".to_owned())
    });
    let finding = in_time(TENANCY, asked.map(|found| found.is_ok())).await;
    server.thaw().await;
    Ok(finding)
}

/// Whether a read is served within 250 ms; it is given up after five seconds.
pub async fn in_time(name: &'static str, read: impl Future<Output = bool>) -> Finding {
    let clock = SystemClock::new();
    let served = timeout(Duration::from_secs(5), read).await;
    let milliseconds = clock.monotonic().as_millis();
    match served {
        Ok(true) => Finding::seen(
            name,
            milliseconds <= 250,
            format!("served after {milliseconds} ms"),
        ),
        Ok(false) => Finding::seen(name, false, format!("an error after {milliseconds} ms")),
        Err(_) => Finding::seen(name, false, "nothing within 5 s"),
    }
}
