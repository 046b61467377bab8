//! Processes that stand still, while others flush.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use tenancy::cache::{EntryOptions, Keys, TenantCache};
use tenancy_test::servers::Redis;

use crate::{
    joined::{BOUND, Truth, cache_of, process},
    place::eventually,
};

const TEXT: Keys<(), String> = Keys::new("text", 1);
const URL: &str = "TENANCY_REDIS_TEST_URL";
const FILE: &str = "TENANCY_REDIS_TEST_FILE";
/// Before each answer: the test harness writes to the same pipe.
const ANSWER: &str = "answer: ";

async fn read(cache: &TenantCache, file: &Path) -> String {
    let file = file.to_owned();
    let options = EntryOptions::new().ttl(Duration::from_secs(3600)).tag("texts");
    let load = async move || std::fs::read_to_string(file);
    cache
        .remember(&TEXT.key(()), &options, load)
        .await
        .unwrap()
        .to_string()
}

/// The other process: for each line that it is sent, it says what it has cached. In a test run it is nothing.
#[tokio::test]
async fn is_the_process_that_other_tests_pause() {
    let (Some(url), Some(file)) = (env::var_os(URL), env::var_os(FILE)) else {
        return;
    };
    let process = process(url.to_str().unwrap());
    let cache = cache_of(&process, "acme").await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            tell.send(line).unwrap();
        }
    });
    while told.recv().await.is_some() {
        println!("\n{ANSWER}{}", read(&cache, Path::new(&file)).await);
    }
}

struct Other {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Other {
    fn start(redis: &Redis, file: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "paused::is_the_process_that_other_tests_pause",
                "--nocapture",
            ])
            .env(URL, redis.url())
            .env(FILE, file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            asks: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn ask(&mut self) {
        self.asks.write_all(b"\n").unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        while !line.starts_with(ANSWER) {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "it has ended");
        }
        line[ANSWER.len()..].trim_end().to_owned()
    }

    fn read(&mut self) -> String {
        self.ask();
        self.answer()
    }

    /// Returns when all of its threads stand still.
    async fn pause(&self) {
        self.signal("-STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        eventually("it stands still", async || {
            std::fs::read_dir(&threads).unwrap().all(|thread| {
                let state = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
                let (_, state) = state.rsplit_once(") ").unwrap();
                state.starts_with('T')
            })
        })
        .await;
    }

    fn signal(&self, signal: &str) {
        // Every shell has it.
        let kill = format!("kill {signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn what_a_paused_process_has_cached_is_not_served_after_a_flush(is_deaf: bool) {
    let redis = Redis::start(&[]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("truth");
    std::fs::write(&file, "old").unwrap();
    let mut other = Other::start(&redis, &file);
    assert_eq!(other.read(), "old");
    if is_deaf {
        // Nothing is heard when it goes on: its lease alone keeps it from what it has.
        redis.command("ACL SETUSER default -subscribe").await;
        redis.command("CLIENT KILL TYPE pubsub").await;
    }
    let here = process(&redis.url());
    let cache = cache_of(&here, "acme").await;
    std::fs::write(&file, "new").unwrap();
    assert_eq!(other.read(), "old", "it has it in memory");

    for round in 0..3 {
        other.pause().await;
        // It is asked while it stands still.
        other.ask();
        let newest = format!("new {round}");
        std::fs::write(&file, &newest).unwrap();
        cache.flush_tags(["texts"]).barrier().await.unwrap();
        other.signal("-CONT");
        assert_eq!(other.answer(), newest);
        assert_eq!(other.read(), newest);
    }
}

#[tokio::test]
async fn a_process_that_stood_still_for_longer_than_the_bound_serves_nothing_that_was_flushed_meanwhile() {
    what_a_paused_process_has_cached_is_not_served_after_a_flush(false).await;
}

#[tokio::test]
async fn a_process_that_stood_still_and_hears_no_messages_serves_nothing_that_was_flushed_meanwhile() {
    what_a_paused_process_has_cached_is_not_served_after_a_flush(true).await;
}

#[tokio::test]
async fn a_runtime_that_was_blocked_serves_nothing_that_was_flushed_meanwhile() {
    let redis = Redis::start(&[]).await.unwrap();
    let process_here = process(&redis.url());
    let (cache, truth) = (cache_of(&process_here, "acme").await, Truth::default());
    for _ in 0..3 {
        let before = truth.read(&cache, 1).await;
        assert_eq!(truth.read(&cache, 1).await, before);
        let (url, elsewhere) = (redis.url(), truth.clone());
        let flush = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let process = process(&url);
                let cache = cache_of(&process, "acme").await;
                let now = elsewhere.write();
                cache.flush_tags(["numbers"]).barrier().await.unwrap();
                now
            })
        });
        // No task of this runtime runs: nothing is heard, nothing is renewed, nothing ticks.
        let now = flush.join().unwrap();
        assert_eq!(truth.read(&cache, 1).await, now);
    }
    assert!(BOUND < Duration::from_secs(1));
}
