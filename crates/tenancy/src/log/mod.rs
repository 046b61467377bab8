//! The tenant in each line of the log, and a log level for each tenant. Needs the feature `log`.
//!
//! * [`TenantLines`] is a format of `tracing_subscriber`: each line that is written in a tenant's [scope](crate::scope)
//!   ends with `tenant=acme`, as text, or has `"tenant":"acme"`, in JSON. Fields of your own follow as
//!   `tenant.plan=pro`. Lines of central code, and of code without a scope, are as ever.
//! * [`TenantLevels`] raises the level of one tenant for some minutes, or quiets one. When the time is over, the log's
//!   own level is back by itself.
//! * Both look at the scope when a line is written. A request that logs nothing pays nothing; while no tenant has a
//!   level of its own, a line costs one atomic load more than before.
//! * It holds wherever the scope does: handlers and bodies, [`run`](crate::scope::run), carried tasks, jobs. Names of
//!   fields come from the code, never from a client.
//!
//! **Caveats.** What a library logs on a thread of its own has no tenant; so do a plain `tokio::spawn` and what the
//! stack says before a request is resolved. A line that names a field `tenant` itself keeps its own. Raising lets the
//! lines of all libraries through that the tenant's code calls, and those may have secrets. While a tenant is raised,
//! [`tracing::enabled!`] may say yes for others too; their lines are not written for that.
//!
//! Set both up when the log is:
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenancy::{MemoryStore, Tenancy, log::{TenantLevels, TenantLines}, resolve::Subdomain, scope};
//! use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*};
//!
//! # let written = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
//! # #[derive(Clone)] struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
//! # impl std::io::Write for Written {
//! #     fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
//! #         self.0.lock().unwrap().extend_from_slice(line);
//! #         Ok(line.len())
//! #     }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let writer = Written(written.clone());
//! let levels = TenantLevels::new();
//! let lines = fmt::layer()
//!     .map_event_format(|format| TenantLines::new(format).field("plan", |tenant| tenant.record().plan.clone()))
//! #   .with_ansi(false).with_writer(move || writer.clone())
//!     // `EnvFilter` as well, or any other.
//!     .with_filter(levels.filter(LevelFilter::INFO));
//! tracing_subscriber::registry().with(lines).init();
//!
//! let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! let acme = tenancy.enter(&"acme".parse()?).await?;
//! scope::run(&acme, async {
//!     tracing::info!(invoice = 17, "sent"); // … INFO my_app: sent invoice=17 tenant=acme
//! })
//! .await;
//! # let text = String::from_utf8(written.lock().unwrap().clone())?;
//! # assert!(text.ends_with("sent invoice=17 tenant=acme\n"), "{text}");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! And raise the level of one, from a page for operators for instance:
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tenancy::{log::TenantLevels, scope};
//! use tracing::Level;
//!
//! # use std::{io::Write, sync::{Arc, atomic::{AtomicUsize, Ordering::SeqCst}}};
//! # use tenancy::{MemoryStore, Tenancy, core::{Clock, ManualClock}, resolve::Subdomain};
//! # use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*};
//! # #[derive(Debug)] struct Shared(Arc<ManualClock>);
//! # impl Clock for Shared {
//! #     fn monotonic(&self) -> Duration { self.0.monotonic() }
//! #     fn unix_time(&self) -> Duration { self.0.unix_time() }
//! # }
//! # struct Counted;
//! # static WRITTEN: AtomicUsize = AtomicUsize::new(0);
//! # impl Write for Counted {
//! #     fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
//! #         WRITTEN.fetch_add(1, SeqCst);
//! #         Ok(line.len())
//! #     }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # let clock = Arc::new(ManualClock::new());
//! # let levels = TenantLevels::with_clock(Shared(clock.clone()));
//! # let lines = fmt::layer().with_writer(|| Counted).with_filter(levels.filter(LevelFilter::INFO));
//! # tracing_subscriber::registry().with(lines).init();
//! # let tenancy = Tenancy::new(Subdomain::of("example.com")?, MemoryStore::of(["acme", "globex"])?);
//! # let (acme, globex) = (tenancy.enter(&"acme".parse()?).await?, tenancy.enter(&"globex".parse()?).await?);
//! # fn writes(say: impl FnOnce()) -> bool {
//! #     let before = WRITTEN.load(SeqCst);
//! #     say();
//! #     WRITTEN.load(SeqCst) > before
//! # }
//! # fn debug_is_written() -> bool { writes(|| tracing::debug!("said")) }
//! # fn info_is_written() -> bool { writes(|| tracing::info!("said")) }
//! # // The only subscriber of this process: `tracing` remembers that this place interests nobody.
//! # assert!(!scope::run(&acme, async { debug_is_written() }).await);
//! # assert_eq!(LevelFilter::current(), LevelFilter::INFO);
//! levels.raise(acme.id(), Level::DEBUG, Duration::from_secs(15 * 60))?;
//!
//! assert!(scope::run(&acme, async { debug_is_written() }).await);
//! assert!(!scope::run(&globex, async { debug_is_written() }).await);
//! assert!(!debug_is_written());
//! # clock.advance(Duration::from_secs(15 * 60));
//! # assert!(!scope::run(&acme, async { debug_is_written() }).await);
//! # assert!(levels.in_force().is_empty());
//! # assert!(scope::run(&globex, async { info_is_written() }).await);
//! # levels.quiet(globex.id(), Level::WARN, Duration::MAX)?;
//! # assert!(!scope::run(&globex, async { info_is_written() }).await);
//! # assert!(scope::run(&acme, async { info_is_written() }).await && info_is_written());
//! # assert_eq!(LevelFilter::current(), LevelFilter::INFO, "what is over costs nothing any more");
//! # assert!(levels.reset(globex.id()) && !levels.reset(globex.id()));
//! # assert!(scope::run(&globex, async { info_is_written() }).await);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod filter;
mod levels;
mod lines;

pub use filter::TenantFilter;
pub use levels::{LevelEffect, TenantLevel, TenantLevels, TooManyLevels};
pub use lines::{LineShape, TenantLines};
