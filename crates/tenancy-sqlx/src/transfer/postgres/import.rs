use sqlx::{PgConnection, Postgres, Row as _};
use tenancy_core::TenantId;

use super::{
    super::{
        TransferError,
        engine::Manner,
        incoming::Incoming,
        order::referred_first,
        place::Place,
        progress::{Progress, rows_in},
    },
    TEXTS, holds, run, sequences,
    tables::{self, Pair, Scope, pair},
};
use crate::engine::{Access, Engine as _};

/// Into tables that are the tenant's own, by their owner.
pub(super) async fn tables(
    place: &Place<Postgres>,
    owner: &mut PgConnection,
    incoming: &Incoming,
    manner: &Manner,
    progress: &mut Progress<'_>,
) -> Result<(), TransferError> {
    let begin = format!("BEGIN; {TEXTS}; SET LOCAL row_security TO off; SET CONSTRAINTS ALL DEFERRED");
    run(owner, "begin the import", begin).await?;
    let tables = tables::tables(owner, place.scope()).await?;
    let pairs = pair(&incoming.manifest.tables, &tables)?;
    let order = order(owner, &pairs).await?;
    if !pairs.is_empty() {
        let all = pairs
            .iter()
            .map(|pair| &*pair.table.quoted)
            .collect::<Vec<_>>()
            .join(", ");
        let lock = format!("LOCK TABLE {all} IN SHARE ROW EXCLUSIVE MODE");
        run(owner, "lock the home's tables", lock).await?;
        if manner.replaces {
            run(owner, "empty the home's tables", format!("TRUNCATE {all}")).await?;
        }
    }
    check_empty(owner, &pairs).await?;
    let triggers = silence_triggers(owner, &pairs).await?;
    for number in order {
        let pair = &pairs[number];
        let into = format!("COPY {}{} FROM STDIN", pair.table.quoted, pair.column_list());
        copy_in(owner, pair, &into, incoming, progress).await?;
    }
    run(
        owner,
        "check references",
        "SET CONSTRAINTS ALL IMMEDIATE".to_owned(),
    )
    .await?;
    for wake in triggers {
        run(owner, "enable triggers again", wake).await?;
    }
    check_counts(owner, &pairs).await?;
    sequences::set(owner, place.scope(), &incoming.manifest.sequences).await?;
    run(owner, "commit the import", "COMMIT".to_owned())
        .await
        .map(drop)
}

/// Where the rows of a table that others share wait until they are the tenant's.
const WAITING: &str = "pg_temp.tenancy_incoming";

/// Into tables that tenants share, by the application's role in the tenant's session: policies check every row. They allow no
/// `COPY`.
pub(super) async fn rows(
    place: &Place<Postgres>,
    owner: &mut PgConnection,
    incoming: &Incoming,
    manner: &Manner,
    progress: &mut Progress<'_>,
) -> Result<(), TransferError> {
    let mut connection = place.connect_app().await?;
    let connection = &mut connection;
    let access = Access {
        is_read_only: false,
        is_pooled: place.is_pooled,
    };
    let begin = Postgres::begin(&place.session, access).unwrap_or_else(|| "BEGIN".to_owned());
    let begin = format!("{begin}; {TEXTS}; SET LOCAL row_security TO on; SET CONSTRAINTS ALL DEFERRED");
    run(connection, "begin the import", begin).await?;
    let tables = tables::tables(connection, Scope::Policies).await?;
    let pairs = pair(&incoming.manifest.tables, &tables)?;
    // The application's role may not see what refers to what.
    let order = order(owner, &pairs).await?;
    if manner.replaces {
        for number in order.iter().rev() {
            let delete = format!("DELETE FROM {}", pairs[*number].table.quoted);
            run(connection, "empty the home's tables", delete).await?;
        }
    }
    check_empty(connection, &pairs).await?;
    for number in order {
        let from = &incoming.manifest.tenant.id;
        let to = &place.tenant;
        take_rows(connection, &pairs[number], from, to, manner, incoming, progress).await?;
    }
    run(
        connection,
        "check references",
        "SET CONSTRAINTS ALL IMMEDIATE".to_owned(),
    )
    .await?;
    check_counts(connection, &pairs).await?;
    run(connection, "commit the import", "COMMIT".to_owned())
        .await
        .map(drop)
}

async fn take_rows(
    connection: &mut PgConnection,
    pair: &Pair<'_>,
    from: &TenantId,
    to: &TenantId,
    manner: &Manner,
    incoming: &Incoming,
    progress: &mut Progress<'_>,
) -> Result<(), TransferError> {
    let label = pair.entry.label();
    let doing = format!("take in the table {label:?}");
    let waiting: Vec<_> = (0..pair.columns.len())
        .map(|number| format!("c{number} text"))
        .collect();
    let make = format!(
        "CREATE TEMP TABLE tenancy_incoming ({}) ON COMMIT DROP",
        waiting.join(", ")
    );
    run(
        connection,
        "make a temporary table, which the application's role must be allowed to",
        make,
    )
    .await?;
    copy_in(
        connection,
        pair,
        &format!("COPY {WAITING} FROM STDIN"),
        incoming,
        progress,
    )
    .await?;

    let is_tenants = |column: &str| *column == *manner.tenant_column;
    if let Some(number) = pair.columns.iter().position(|column| is_tenants(&column.name)) {
        // An id has no letter that SQL knows.
        let look = format!("SELECT EXISTS (SELECT FROM {WAITING} WHERE c{number} IS DISTINCT FROM '{from}')");
        if holds(connection, &doing, look).await? {
            return Err(TransferError::damaged(format!(
                "the table {label:?} has rows of another tenant"
            )));
        }
    }
    let value = |(number, column): (usize, &&tables::Column)| {
        if is_tenants(&column.name) {
            format!("'{to}'::{}", column.kind)
        } else {
            format!("c{number}::{}", column.kind)
        }
    };
    let values: Vec<_> = pair.columns.iter().enumerate().map(value).collect();
    let insert = format!(
        "INSERT INTO {}{} OVERRIDING SYSTEM VALUE SELECT {} FROM {WAITING}",
        pair.table.quoted,
        pair.column_list(),
        values.join(", ")
    );
    run(connection, &doing, insert).await?;
    run(connection, &doing, format!("DROP TABLE {WAITING}"))
        .await
        .map(drop)
}

impl Pair<'_> {
    fn column_list(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| &*column.quoted).collect();
        if names.is_empty() {
            String::new()
        } else {
            format!(" ({})", names.join(", "))
        }
    }
}

async fn copy_in(
    connection: &mut PgConnection,
    pair: &Pair<'_>,
    statement: &str,
    incoming: &Incoming,
    progress: &mut Progress<'_>,
) -> Result<(), TransferError> {
    let label = pair.entry.label();
    let failed = |error| TransferError::server(format!("take in the table {label:?}"), error);
    let Some(entry) = &pair.entry.file else {
        return Err(TransferError::damaged(format!("the table {label:?} has no file")));
    };
    let mut file = incoming.file(entry).await?;
    let mut told = progress.of(&label);
    let mut copy = connection.copy_in_raw(statement).await.map_err(failed)?;
    while let Some(piece) = file.piece().await? {
        told.add(rows_in(piece), piece.len() as u64);
        copy.send(piece).await.map_err(failed)?;
    }
    let taken = copy.finish().await.map_err(failed)?;
    // It may be another file by now than the one that was checked.
    file.finish()?;
    if taken != pair.entry.rows {
        return Err(wrong_count(&label, taken, pair.entry.rows));
    }
    told.done();
    Ok(())
}

fn wrong_count(label: &str, found: u64, wanted: u64) -> TransferError {
    TransferError::damaged(format!("the table {label:?} has {found} rows and not {wanted}"))
}

async fn check_empty(connection: &mut PgConnection, pairs: &[Pair<'_>]) -> Result<(), TransferError> {
    for pair in pairs {
        let look = format!("SELECT EXISTS (SELECT FROM {})", pair.table.quoted);
        if holds(connection, "look at the home's tables", look).await? {
            return Err(TransferError::not_empty(&pair.entry.label()));
        }
    }
    Ok(())
}

/// Whatever the database made of the rows, such as a policy or a trigger that drops some.
async fn check_counts(connection: &mut PgConnection, pairs: &[Pair<'_>]) -> Result<(), TransferError> {
    for pair in pairs {
        let failed = |error| TransferError::server("count the home's rows", error);
        let count = format!("SELECT count(*) FROM {}", pair.table.quoted);
        let row = sqlx::query(sqlx::AssertSqlSafe(count))
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        let found: i64 = row.try_get(0).map_err(failed)?;
        if u64::try_from(found) != Ok(pair.entry.rows) {
            return Err(TransferError::mismatch(format!(
                "the table {:?} has {found} rows after the import and not {}",
                pair.entry.label(),
                pair.entry.rows
            )));
        }
    }
    Ok(())
}

/// Tables that others refer to first. References that can wait until the end do not count if they make a circle.
async fn order(connection: &mut PgConnection, pairs: &[Pair<'_>]) -> Result<Vec<usize>, TransferError> {
    let failed = |error| TransferError::server("read the home's references", error);
    let references = "SELECT conrelid::bigint, confrelid::bigint, condeferrable FROM pg_constraint
                      WHERE contype = 'f' AND conparentid = 0";
    let rows = sqlx::query(references)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let number = |oid: i64| pairs.iter().position(|pair| pair.table.oid == oid);
    let mut references = Vec::new();
    for row in &rows {
        let (from, to) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        if let (Some(from), Some(to)) = (number(from), number(to)) {
            references.push((from, to, row.try_get::<bool, _>(2).map_err(failed)?));
        }
    }
    let all = references.iter().map(|(from, to, _)| (*from, *to));
    let bound = references
        .iter()
        .filter(|(_, _, can_wait)| !can_wait)
        .map(|(from, to, _)| (*from, *to));
    referred_first(pairs.len(), all)
        .or_else(|_| referred_first(pairs.len(), bound))
        .map_err(|circle| {
            let names: Vec<_> = circle.iter().map(|number| pairs[*number].entry.label()).collect();
            TransferError::unsupported(format!(
                "the tables {} refer to each other in a circle: make one of the references DEFERRABLE",
                names.join(", ")
            ))
        })
}

/// Rows have all that triggers did when they were written first. Returns what enables them again.
async fn silence_triggers(
    connection: &mut PgConnection,
    pairs: &[Pair<'_>],
) -> Result<Vec<String>, TransferError> {
    let failed = |error| TransferError::server("read the home's triggers", error);
    let triggers = "SELECT tgname::text, tgenabled = 'A' FROM pg_trigger
                    WHERE tgrelid = $1::bigint::oid AND NOT tgisinternal AND tgenabled IN ('O', 'A')";
    let mut wake = Vec::new();
    for pair in pairs {
        let rows = sqlx::query(triggers)
            .bind(pair.table.oid)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
        for row in &rows {
            let (name, always): (String, bool) =
                (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            let (table, name) = (&pair.table.quoted, tables::quoted(&name)?);
            let silence = format!("ALTER TABLE {table} DISABLE TRIGGER {name}");
            run(connection, "disable triggers", silence).await?;
            let always = if always { "ALWAYS " } else { "" };
            wake.push(format!("ALTER TABLE {table} ENABLE {always}TRIGGER {name}"));
        }
    }
    Ok(wake)
}
