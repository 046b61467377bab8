//! bentocache, in a Node of its own, which is told line by line what is next.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use tenancy_bench::{
    Failure,
    report::{Report, Row},
};
use tenancy_bench_cache::{correctness::Finding, flush::Crowded};
use tenancy_test::servers::{Fault, FaultProxy, Redis};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::OnceCell,
    time::sleep,
};

use crate::BENTOCACHE;

const FILES: [(&str, &str); 4] = [
    ("package.json", include_str!("../bentocache/package.json")),
    (
        "package-lock.json",
        include_str!("../bentocache/package-lock.json"),
    ),
    (".npmrc", include_str!("../bentocache/.npmrc")),
    ("measure.mjs", include_str!("../bentocache/measure.mjs")),
];

/// Where it is installed, or why it is not. Asked once: npm takes its time.
static INSTALLED: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();

async fn installed() -> Result<&'static Path, String> {
    let folder = INSTALLED.get_or_init(|| async { install().await.map_err(|error| error.to_string()) });
    match folder.await {
        Ok(folder) => Ok(folder),
        Err(why) => Err(format!("not measured, it can not be installed: {why}")),
    }
}

async fn install() -> Result<PathBuf, Failure> {
    eprintln!("cache     installing {BENTOCACHE}");
    // Beside the program, in the target folder.
    let program = env::current_exe()?;
    let folder = program.with_file_name("bentocache");
    fs::create_dir_all(&folder)?;
    for (name, text) in FILES {
        fs::write(folder.join(name), text)?;
    }
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .await?;
    if npm.status.success() {
        Ok(folder)
    } else {
        let said = String::from_utf8_lossy(&npm.stderr);
        let last = said.lines().rev().find(|line| line.contains("error"));
        Err(last.unwrap_or("npm failed").into())
    }
}

/// One question, in a process of its own that ends with this.
struct Node {
    _process: Child,
    tells: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl Node {
    async fn ask(question: &str, servers: &[String]) -> Result<Self, Failure> {
        let mut process = Command::new("node")
            .arg("measure.mjs")
            .arg(question)
            .args(servers)
            .current_dir(installed().await?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let tells = process.stdin.take().ok_or("it has no input")?;
        let says = process.stdout.take().ok_or("it has no output")?;
        Ok(Self {
            _process: process,
            tells,
            says: BufReader::new(says).lines(),
        })
    }

    /// What it says next.
    async fn says<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let line = self
            .says
            .next_line()
            .await?
            .ok_or("it ended before it had answered")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Lets it go on.
    async fn go_on(&mut self) -> Result<(), Failure> {
        Ok(self.tells.write_all(b"\n").await?)
    }
}

/// The finding, or that there is none because it could not be had.
fn or_not_measured(found: Result<Finding, Failure>) -> Result<Finding, Failure> {
    Ok(found.unwrap_or_else(|error| Finding::none(BENTOCACHE, error.to_string())))
}

#[derive(Deserialize)]
struct Found {
    found: Option<String>,
    #[serde(default)]
    milliseconds: f64,
}

/// A removal during a load.
pub(crate) async fn removed_while_loading() -> Result<Finding, Failure> {
    or_not_measured(
        async {
            let mut node = Node::ask("removed-while-loading", &[]).await?;
            let found = node.says::<Found>().await?.found.unwrap_or_default();
            let text = format!("the next read gets the {found} value");
            Ok(Finding::seen(BENTOCACHE, found == "new", text))
        }
        .await,
    )
}

/// Promises can not be hung up on: that many who ask together load once is what is left of the question.
pub(crate) async fn many_callers() -> Result<Finding, Failure> {
    #[derive(Deserialize)]
    struct Loads {
        loads: u32,
    }
    or_not_measured(
        async {
            let mut node = Node::ask("many-callers", &[]).await?;
            let Loads { loads } = node.says().await?;
            let text = format!("{loads} loads; its callers can not hang up");
            Ok(Finding::seen(BENTOCACHE, loads == 1, text))
        }
        .await,
    )
}

/// As tenancy is asked, with ten seconds in place of two.
pub(crate) async fn lost_message(server: Redis) -> Result<Finding, Failure> {
    or_not_measured(
        async {
            let proxy = FaultProxy::start(server.address()).await?;
            let servers = [server.address().to_string(), proxy.address().to_string()];
            let mut node = Node::ask("lost-message", &servers).await?;
            node.says::<String>().await?;
            proxy.set(Fault::Freeze);
            node.go_on().await?;
            node.says::<String>().await?;
            proxy.cut();
            proxy.set(Fault::Pass);
            sleep(Duration::from_secs(10)).await;
            node.go_on().await?;
            let found = node.says::<Found>().await?.found.unwrap_or_default();
            let text = format!("10 s after the removal another one serves the {found} value");
            Ok(Finding::seen(BENTOCACHE, found == "new", text))
        }
        .await,
    )
}

/// One read that its memory does not have.
pub(crate) async fn frozen(server: Redis) -> Result<Finding, Failure> {
    or_not_measured(
        async {
            let mut node = Node::ask("frozen", &[server.address().to_string()]).await?;
            node.says::<String>().await?;
            server.freeze().await;
            node.go_on().await?;
            let answer = node.says::<Found>().await;
            server.thaw().await;
            let Found { found, milliseconds } = answer?;
            Ok(match found.as_deref() {
                Some("loaded") => {
                    let text = format!("served after {milliseconds:.0} ms");
                    Finding::seen(BENTOCACHE, milliseconds <= 250.0, text)
                }
                Some(error) => Finding::seen(
                    BENTOCACHE,
                    false,
                    format!("an error after {milliseconds:.0} ms: {error}"),
                ),
                None => Finding::seen(BENTOCACHE, false, "nothing within 5 s"),
            })
        }
        .await,
    )
}

/// 10,000 entries of one tenant: by a tag that all have, and all that is in a namespace.
pub(crate) async fn flush(crowded: Arc<Crowded>) -> Result<Finding, Failure> {
    or_not_measured(
        async {
            let proxy = FaultProxy::start(crowded.server.address()).await?;
            let mut node = Node::ask("flush", &[proxy.address().to_string()]).await?;
            node.says::<String>().await?;
            let before = proxy.traffic().round_trips;
            node.go_on().await?;
            node.says::<String>().await?;
            let tagged = proxy.traffic().round_trips;
            node.go_on().await?;
            #[derive(Deserialize)]
            struct Took {
                milliseconds: f64,
            }
            let Took { milliseconds } = node.says().await?;
            let text = format!(
                "by a tag {} round trips; its namespace {}, {milliseconds:.0} ms",
                tagged - before,
                proxy.traffic().round_trips - tagged,
            );
            Ok(Finding::seen(BENTOCACHE, tagged - before == 1, text))
        }
        .await,
    )
}

/// How fast it is. Another language in another process: beside the others, and not among them in their rounds.
pub(crate) async fn speed(report: &mut Report) -> Result<(), Failure> {
    const SECTION: &str = "cache: another language's cache, in a process of its own";
    match measured_speed().await {
        Ok(rows) => report.add(SECTION, rows),
        Err(error) => {
            let row = Row::shown(BENTOCACHE, "ns", f64::NAN).note(error.to_string());
            report.add(SECTION, [row]);
        }
    }
    Ok(())
}

async fn measured_speed() -> Result<[Row; 2], Failure> {
    #[derive(Deserialize)]
    struct Level1 {
        nanoseconds: f64,
    }
    #[derive(Deserialize)]
    struct Level2 {
        thousands: f64,
        failed: u64,
    }
    eprintln!("cache     {BENTOCACHE}");
    let Level1 { nanoseconds } = Node::ask("level1", &[]).await?.says().await?;
    let server = Redis::start(&[]).await?;
    let servers = [server.address().to_string()];
    let Level2 { thousands, failed } = Node::ask("level2", &servers).await?.says().await?;
    Ok([
        Row::shown(format!("{BENTOCACHE}, a hit of its memory"), "ns", nanoseconds).note("two tags"),
        Row::shown(format!("{BENTOCACHE}, from Redis"), "thousand/s", thousands)
            .note(format!("1 KiB, 256 at once, {failed} failed")),
    ])
}
