//! Opening a catalogue on a server.

use super::{Opened, Tables, checked_kind, refuse_adopted};
use crate::{
    CatalogueError,
    central::{Connection, Pool, PoolLimits},
    store::{SqlStoreOptions, StoreKind, place::Server, schema, shape},
};

pub(super) async fn open_to_manage(
    server: &Server,
    options: &SqlStoreOptions,
) -> Result<Opened, CatalogueError> {
    let writer = server.pool(limits(options, 0, 1));
    let mut connection = connect(&writer, options).await?;
    refuse_adopted(shape::kind_of(&mut connection).await?, options)?;
    schema::migrate(&mut connection, &*options.clock).await?;
    Ok(Opened {
        kind: StoreKind::Managed,
        readers: server.pool(readers(options)),
        writer: Some(writer),
        is_read_alone: false,
    })
}

pub(super) async fn open_to_read(
    server: &Server,
    options: &SqlStoreOptions,
) -> Result<Opened, CatalogueError> {
    let readers = server.pool(readers(options));
    let mut connection = connect(&readers, options).await?;
    let kind = checked_kind(shape::kind_of(&mut connection).await?, options)?;
    match kind {
        StoreKind::Adopted => shape::check(&mut connection).await?,
        StoreKind::Managed | StoreKind::ReadOnly => schema::check_can_be_read(&mut connection).await?,
    }
    Ok(Opened {
        kind,
        readers,
        writer: None,
        is_read_alone: false,
    })
}

pub(super) async fn open_beside(
    server: &Server,
    options: &SqlStoreOptions,
    tables: Tables,
) -> Result<Pool, CatalogueError> {
    let one = server.pool(limits(options, 0, 1));
    drop(connect(&one, options).await?);
    schema::create_table(&one, tables(one.dialect())).await?;
    Ok(one)
}

/// One of all is the writer's.
fn readers(options: &SqlStoreOptions) -> PoolLimits {
    let max = options.connections.end().saturating_sub(1).max(1);
    limits(
        options,
        options.connections.start().saturating_sub(1).min(max),
        max,
    )
}

fn limits(options: &SqlStoreOptions, min: u32, max: u32) -> PoolLimits {
    PoolLimits {
        min,
        max,
        connect: options.connect,
    }
}

/// The first connection of a pool: it tells whether there is a server, and what is wrong with what it was told.
async fn connect(pool: &Pool, options: &SqlStoreOptions) -> Result<Connection, CatalogueError> {
    pool.acquire()
        .await
        .map_err(|error| CatalogueError::not_connected(&options.place, error))
}
