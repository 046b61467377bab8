use sqlx::{PgConnection, Row as _};

use super::{
    super::{TransferError, manifest::SequenceEntry},
    tables::{Scope, quoted},
};

const SEQUENCES: &str = "
    SELECT nullif(schemaname, current_schema())::text, schemaname::text, sequencename::text, last_value FROM pg_sequences
    WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_'
        AND NOT ($1 AND schemaname IS DISTINCT FROM current_schema())
    ORDER BY 2, 3";

struct Sequence {
    entry: SequenceEntry,
    quoted: String,
}

async fn all(connection: &mut PgConnection, scope: Scope) -> Result<Vec<(Sequence, bool)>, TransferError> {
    let failed = |error| TransferError::server("read the home's sequences", error);
    let rows = sqlx::query(SEQUENCES)
        .bind(scope == Scope::Schema)
        .fetch_all(connection)
        .await;
    let mut sequences = Vec::new();
    for row in &rows.map_err(failed)? {
        let (schema, name): (String, String) =
            (row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
        let value: Option<i64> = row.try_get(3).map_err(failed)?;
        let quoted = format!("{}.{}", quoted(&schema)?, quoted(&name)?);
        let entry = SequenceEntry {
            schema: row.try_get(0).map_err(failed)?,
            name,
            value: value.unwrap_or_default(),
        };
        sequences.push((Sequence { entry, quoted }, value.is_some()));
    }
    Ok(sequences)
}

/// Those that gave a value.
pub(super) async fn values(
    connection: &mut PgConnection,
    scope: Scope,
) -> Result<Vec<SequenceEntry>, TransferError> {
    let all = all(connection, scope).await?;
    let used = all.into_iter().filter(|(_, was_used)| *was_used);
    Ok(used.map(|(sequence, _)| sequence.entry).collect())
}

/// Makes the home's sequences go on where those of the export stood. This is no part of a transaction: it comes last.
pub(super) async fn set(
    connection: &mut PgConnection,
    scope: Scope,
    wanted: &[SequenceEntry],
) -> Result<(), TransferError> {
    let there = all(connection, scope).await?;
    let mut found = Vec::new();
    for wanted in wanted {
        let is_it = |(sequence, _): &&(Sequence, bool)| {
            (&sequence.entry.schema, &sequence.entry.name) == (&wanted.schema, &wanted.name)
        };
        let Some((sequence, _)) = there.iter().find(is_it) else {
            return Err(TransferError::mismatch(format!(
                "the home has no sequence {:?}, which the export has",
                wanted.name
            )));
        };
        found.push((sequence, wanted.value));
    }
    for (sequence, value) in found {
        let set = sqlx::query("SELECT setval($1::text::regclass, $2)")
            .bind(&sequence.quoted)
            .bind(value);
        let set = set.execute(&mut *connection).await;
        set.map_err(|error| {
            TransferError::server(format!("set the sequence {:?}", sequence.entry.name), error)
        })?;
    }
    Ok(())
}
