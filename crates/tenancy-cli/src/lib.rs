//! The `tenancy` command, and its parts for a binary of your own.
//!
//! | command | what it does |
//! |---|---|
//! | `tenants create`, `import` | make tenants, and the catalogue if it is not there |
//! | `tenants list`, `show` | look at them |
//! | `tenants update`, `suspend`, `resume`, `maintenance`, `delete`, `restore`, `purge` | change them |
//! | `domains add`, `remove`, `list` | what leads to a tenant |
//! | `domains claim`, `claims`, `verify`, `unclaim` | what a tenant says is its own, and the proof of it |
//! | `catalogue adopt`, `check` | a catalogue over tables that an application has already |
//! | `tenants make-home`, `reset`, `remove`, `recover`; `seed` | their databases, schemas or files |
//! | `tenants export`, `import-data` | the data of one tenant, to a directory and back |
//! | `pending` | homes that are made ahead |
//! | `migrate`, `rollback` | bring the databases of tenants to a version |
//! | `run`, `psql` | SQL or a program in tenants' sessions, for many or for one |
//! | `doctor` | what is wrong with the databases of tenants |
//! | `explain` | why a request gets the tenant that it gets |
//! | `order` | the stages of the stack, in the order in force |
//! | `cache flush`, `tags`, `warm`, `stats`, `explain` | the cache that servers share in Redis |
//! | `status` | how the catalogue stands; with `--memory`, what a running server needs |
//! | `completions` | for bash, zsh, fish, PowerShell and elvish |
//!
//! * Results go to standard output, errors to standard error; with `--json` both are JSON.
//! * The exit code tells what happened; see [`EXIT_CODES`].
//! * A running server sees a change within its poll interval; nothing needs to be told to it.
//! * Only `create` and `import` make a catalogue. All others say where none is.
//! * Commands that look work on any catalogue, adopted ones too, and need no right to write. Commands that change need a
//!   managed one; each says so in its help.
//! * Deletions ask on a terminal, and need `--yes` elsewhere.
//!
//! # In your own binary
//!
//! [`TenancyCommand`] is a clap subcommand and [`TenancyArgs`] its options. [`CliContext::stack`] makes `explain` and
//! `order` tell of your stack, with your identifiers and layers, instead of the one that settings describe.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use clap::{CommandFactory, Parser, Subcommand};
//! use tenancy::stack::Stage;
//! use tenancy_cli::{TenancyArgs, TenancyCommand};
//!
//! #[derive(Parser)]
//! #[command(name = "shop", after_help = tenancy_cli::EXIT_CODES)]
//! struct Shop {
//!     #[command(flatten)]
//!     tenancy: TenancyArgs,
//!     #[command(subcommand)]
//!     command: ShopCommand,
//! }
//!
//! #[derive(Subcommand)]
//! enum ShopCommand {
//!     /// Serve the shop
//!     Serve,
//!     /// Manage tenants
//!     #[command(subcommand)]
//!     Tenancy(TenancyCommand),
//! }
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     let shop = Shop::parse();
//!     let context = shop
//!         .tenancy
//!         .context()
//!         .command(Shop::command())
//!         .stack(|settings, store| Ok(settings.stack(store)?.disable(Stage::CacheScope)));
//!     match shop.command {
//!         ShopCommand::Serve => ExitCode::SUCCESS, // …
//!         ShopCommand::Tenancy(command) => command.execute(context).await,
//!     }
//! }
//! ```
//!
//! [`TenancyCommand::run`] writes wherever you like, and returns the error:
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use clap::{Args, Command, FromArgMatches, Subcommand};
//! use tenancy_cli::{CliContext, TenancyCommand};
//! use tenancy_server::settings::Settings;
//!
//! let parser = TenancyCommand::augment_subcommands(Command::new("tenancy"));
//! let order = TenancyCommand::from_arg_matches(&parser.get_matches_from(["tenancy", "order"]))?;
//!
//! let mut text = Vec::new();
//! order.run(&CliContext::new(Settings::default()), &mut text).await?;
//! assert!(String::from_utf8(text)?.contains("resolve"));
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! # What the log has to do with it
//!
//! Rows that can not be read are left out of lists and told to `tracing`. The binary `tenancy` writes such warnings to
//! standard error; a binary of your own needs a subscriber for that.

mod args;
mod cache;
mod catalogue;
mod command;
mod completions;
mod confirm;
mod context;
mod databases;
mod domains;
mod error;
mod explain;
mod memory;
mod order;
mod output;
mod place;
mod redact;
mod status;
mod store;
mod tenants;
mod view;

pub use args::TenancyArgs;
pub use cache::CacheArgs;
pub use catalogue::CatalogueArgs;
pub use command::TenancyCommand;
pub use completions::CompletionsArgs;
pub use context::CliContext;
pub use databases::{
    doctor::DoctorArgs, homes::CommandHomes, migrate::MigrateArgs, pending::PendingArgs, psql::PsqlArgs,
    rollback::RollbackArgs, run::RunArgs, seed::SeedArgs,
};
pub use domains::DomainsArgs;
pub use error::{CliError, CliErrorKind, EXIT_CODES};
pub use explain::ExplainArgs;
pub use status::StatusArgs;
pub use store::CommandStore;
pub use tenants::TenantsArgs;
