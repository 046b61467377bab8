//! Starts the example server.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use example_server::{
    routes,
    start::{Options, prepare},
};
use tenancy_server::{
    log,
    serve::{self, End},
    settings::Settings,
};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let loaded = options.load()?;
    let settings = loaded.settings;
    if let Some(levels) = log::set_up(&settings.log) {
        options.raise_level(&levels)?;
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let tenants = options.tenants()?;
    let first = tenants.tenants.first().map(|tenant| tenant.slug.clone());
    let ready = prepare(&settings, tenants).await?;
    let listener = serve::bind(settings.server.listen).await?;
    let address = listener.local_addr()?;

    let app = routes::app(&ready.tenancy, ready.notes.clone());
    let grace = Duration::from_millis(settings.server.grace_ms);
    let serving = serve::until_told_to_end(listener, app, grace);
    // Standard output may be closed; the server runs all the same.
    let _ = say_what_to_try(&settings, address, ready.created, first.as_deref());
    let end = serving.await?;
    // What was cut off may hold a connection still, and closing would wait for it. SQLite loses nothing without.
    if end == End::Drained {
        ready.notes.close().await;
        ready.catalogue.close().await;
    }
    tracing::info!("{end}");
    Ok(())
}

fn say_what_to_try(
    settings: &Settings,
    address: std::net::SocketAddr,
    created: usize,
    tenant: Option<&str>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let base = settings
        .tenancy
        .base_domains
        .first()
        .map_or("localhost", String::as_str);
    let tenant = tenant.unwrap_or("acme");
    writeln!(out, "listening on http://{address}")?;
    writeln!(
        out,
        "catalogue: {} ({created} new tenants)",
        match &settings.catalogue.url {
            Some(url) => url.to_string(),
            None => settings.catalogue.file().display().to_string(),
        }
    )?;
    writeln!(out)?;
    writeln!(out, "try:")?;
    writeln!(out, "  curl -H 'Host: {tenant}.{base}' http://{address}/")?;
    writeln!(
        out,
        "  curl -H 'Host: {tenant}.{base}' -H 'Content-Type: application/json' -d '{{\"text\":\"hello\"}}' http://{address}/notes"
    )?;
    writeln!(out, "  curl -H 'Host: {tenant}.{base}' http://{address}/notes")?;
    writeln!(out, "  curl -i -H 'Host: nobody.{base}' http://{address}/")?;
    writeln!(out, "  curl -H 'Host: {base}' http://{address}/about")?;
    if base == "localhost" {
        let port = address.port();
        writeln!(out)?;
        writeln!(
            out,
            "browsers resolve names under localhost by themselves: http://{tenant}.localhost:{port}/"
        )?;
    }
    writeln!(out)?;
    writeln!(out, "Ctrl-C ends it.")?;
    out.flush()
}
