//! Starts the example server.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use example_server::{
    memory::Watch,
    notes::NotesDatabase,
    options::Options,
    routes::{self, DebugRoutes},
    start::prepare,
};
use sqlx::{MySql, Postgres, Sqlite};
use tenancy_memory::{Jemalloc, Metered};
use tenancy_server::{
    log,
    serve::{self, End, Ending},
    settings::{DatabaseKind, IsolationName, Settings},
};
use tenancy_sqlx::file::TenantsFile;
use tokio::runtime::Runtime;
use tower_layer::Layer;

/// What each request allocates is counted, and jemalloc says what is live.
#[global_allocator]
static ALLOCATOR: Metered<Jemalloc> = Metered::new(Jemalloc);

/// What still blocks a thread at the end, such as a disk that hangs, has this long.
const AT_THE_END: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match Runtime::new() {
        Ok(runtime) => {
            let ended = runtime.block_on(run(options));
            // Dropped, it would wait for such threads without end.
            runtime.shutdown_timeout(AT_THE_END);
            ended
        }
        Err(error) => Err(error.into()),
    };
    match ended {
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
    let debug = match options.debug_routes {
        true => DebugRoutes::On,
        false => DebugRoutes::Off,
    };
    match settings.database_kind() {
        DatabaseKind::Postgres => serve::<Postgres>(&settings, tenants, debug).await,
        DatabaseKind::MySql => serve::<MySql>(&settings, tenants, debug).await,
        _ => serve::<Sqlite>(&settings, tenants, debug).await,
    }
}

async fn serve<DB: NotesDatabase>(
    settings: &Settings,
    tenants: TenantsFile,
    debug: DebugRoutes,
) -> Result<(), Box<dyn std::error::Error>> {
    let first = tenants.tenants.first().map(|tenant| tenant.slug.clone());
    let ready = prepare::<DB>(settings, tenants).await?;
    let listener = serve::bind(settings.server.listen).await?;
    let address = listener.local_addr()?;

    let app = routes::app(&ready.tenancy, ready.databases.clone(), debug)?;
    // In front of the stack: probes name no tenant.
    let app = ready.health.layer(app);
    let watch = Watch::start(settings, &ready.tenancy, &ready.health).await?;
    let grace = Duration::from_millis(settings.server.grace_ms);
    let ending = Ending::within(grace).drain(&ready.health, Duration::ZERO);
    let serving = serve::until_told_to_end(listener, app, ending);
    // Standard output may be closed; the server runs all the same.
    let _ = say_what_to_try(
        settings,
        address,
        watch.address(),
        ready.created,
        first.as_deref(),
    );
    let end = serving.await?;
    // What was cut off may hold a connection still, and closing would wait for it. Nothing is lost without.
    if end == End::Drained {
        ready.databases.close().await;
        ready.catalogue.close().await;
    }
    tracing::info!("{end}");
    Ok(())
}

fn catalogue(settings: &Settings) -> String {
    match settings.catalogue_url() {
        Some(url) => url.to_string(),
        None => settings.catalogue.file().display().to_string(),
    }
}

fn homes(settings: &Settings) -> String {
    let databases = &settings.databases;
    let what = match databases.isolation {
        Some(IsolationName::Schema) => "a schema for each",
        Some(IsolationName::Rows) => "rows of shared tables, behind policies",
        _ if settings.database_kind() == DatabaseKind::Sqlite => "a file for each",
        _ => "a database for each",
    };
    match &databases.url {
        Some(url) => format!("{what}, {url}"),
        None => format!(
            "{what}, {}",
            settings.catalogue.data_dir.join("tenants").display()
        ),
    }
}

fn cache(settings: &Settings) -> String {
    match &settings.cache.redis_url {
        Some(url) => format!("shared, {url}"),
        None => "in this process alone".to_owned(),
    }
}

fn say_what_to_try(
    settings: &Settings,
    address: SocketAddr,
    admin: Option<SocketAddr>,
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
    writeln!(out, "catalogue: {} ({created} new tenants)", catalogue(settings))?;
    writeln!(out, "tenants: {}", homes(settings))?;
    writeln!(out, "cache: {}", cache(settings))?;
    if let Some(admin) = admin {
        writeln!(out, "for operators: http://{admin}/memory")?;
    }
    writeln!(out)?;
    writeln!(out, "try:")?;
    writeln!(out, "  curl -H 'Host: {tenant}.{base}' http://{address}/")?;
    writeln!(
        out,
        "  curl -H 'Host: {tenant}.{base}' -H 'Content-Type: application/json' -d '{{\"text\":\"hello\"}}' http://{address}/notes"
    )?;
    writeln!(out, "  curl -H 'Host: {tenant}.{base}' http://{address}/notes")?;
    writeln!(out, "  curl -H 'Host: {tenant}.{base}' http://{address}/cache")?;
    writeln!(out, "  curl -i -H 'Host: nobody.{base}' http://{address}/")?;
    writeln!(out, "  curl -H 'Host: {base}' http://{address}/about")?;
    writeln!(out, "  curl http://{address}/readyz")?;
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
