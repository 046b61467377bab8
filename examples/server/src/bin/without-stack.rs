//! The example's routes without tenancy, for `tenancy-bench`, which measures what the stack adds to them.
//!
//! Only `/about` answers as in the example server: it is the route whose handler needs no tenant. Listens on a free port
//! and prints it.

use std::{
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::Parser;
use example_server::routes;
use sqlx::Sqlite;
use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
use tenancy_memory::Jemalloc;
use tenancy_sqlx::database::{Server, TenantDatabases};
use tokio::net::TcpListener;

/// That of the example server, which meters it too: a part of what the stack costs.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[derive(Parser)]
struct Options {
    /// Where notes would be kept
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.data_dir)?;
    // The other routes need a stack, and databases that they never open.
    let tenancy = Tenancy::new(Subdomain::of("localhost")?, MemoryStore::of(["acme"])?);
    let files = Server::at(format!("sqlite://{}", options.data_dir.display()));
    let databases = TenantDatabases::<Sqlite>::builder(&tenancy)
        .server("main", files)
        .build()
        .await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let app = routes::without_stack(databases).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}
