//! The served side of the load runs: one process, one thread, `axum::serve`.

use std::{io, process, thread};

use axum::Router;
use clap::ValueEnum;
use tenancy::{MemoryStore, Tenancy};
use tokio::net::TcpListener;

use crate::{
    Failure,
    scenario::{bare, identifier, say},
};

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Served {
    /// The router by itself.
    Bare,
    /// The default stack around it.
    Stack,
}

/// Serves on a free port, prints the port, and ends when its standard input does.
pub(crate) fn serve(served: Served) -> Result<(), Failure> {
    // Whoever started it may be gone without a word.
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let router: Router = bare();
        match served {
            Served::Bare => {
                say(&port.to_string())?;
                axum::serve(listener, router).await?;
            }
            Served::Stack => {
                let tenancy = Tenancy::new(identifier()?, MemoryStore::of(["acme", "globex"])?);
                tenancy.ready().await;
                say(&port.to_string())?;
                axum::serve(listener, tenancy.wrap(router)).await?;
            }
        }
        Ok(())
    })
}
