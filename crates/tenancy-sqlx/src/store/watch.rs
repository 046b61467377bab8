use std::collections::HashMap;

use tenancy_core::{
    ChangeBatch, ChangeMark, ChangeSignal, StoreError, TenantChange, TenantEntry, TenantId, TenantKey,
    TenantPage, TenantRecord, TenantStore,
};

use super::{
    SqlStore, StoreKind, read,
    row::{self, Decoded},
    shape,
    statements::Grammar,
};
use crate::{
    CatalogueError,
    central::{Connection, Row, sql},
};

/// A page or batch is held in memory as a whole.
const MAX_LIMIT: usize = 10_000;

impl TenantStore for SqlStore {
    /// Finds by id, slug and active domain; any other kind of key finds nothing.
    async fn find(&self, key: &TenantKey<'_>) -> Result<Option<TenantRecord>, StoreError> {
        let found = self
            .find_details(key)
            .await
            .map_err(CatalogueError::into_store_error)?;
        Ok(found.map(|details| details.record))
    }

    fn signal(&self) -> Option<ChangeSignal> {
        Some(self.inner.signal.clone())
    }

    /// Rows that cannot be read are logged and left out. The limit is taken as 1 to 10,000.
    async fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<TenantPage, StoreError> {
        let limit = limit.clamp(1, MAX_LIMIT);
        let mut page = TenantPage::default();
        let mut after = after.map_or_else(String::new, ToString::to_string);
        loop {
            // One more than wanted, to know whether there is a next page; further rounds replace broken rows.
            let wanted = limit + 1 - page.entries.len();
            let rows = self
                .rows_after(&after, wanted)
                .await
                .map_err(CatalogueError::into_store_error)?;
            page.entries.extend(rows.iter().filter_map(|row| self.entry(row)));
            if page.entries.len() > limit {
                page.entries.truncate(limit);
                page.next = page.entries.last().map(|entry| entry.record.id.clone());
                return Ok(page);
            }
            match rows.last() {
                Some(last) if rows.len() == wanted => {
                    last.text("id")
                        .map_err(StoreError::corrupt)?
                        .clone_into(&mut after);
                }
                _ => return Ok(page),
            }
        }
    }

    /// A changed tenant whose row cannot be read is logged, and reported as gone: nobody goes on to serve what it
    /// was before. The limit is taken as 1 to 10,000.
    async fn changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, StoreError> {
        let limit = limit.clamp(1, MAX_LIMIT);
        self.read(self.read_changes(since, limit))
            .await
            .map_err(CatalogueError::into_store_error)
    }
}

impl SqlStore {
    /// The entry of a row. What is left out of it is logged: one broken row must not hide the others.
    fn entry(&self, row: &Row) -> Option<TenantEntry> {
        row::decode_or_log(row, self.inner.kind).map(Decoded::into_entry_or_log)
    }

    async fn rows_after(&self, after: &str, limit: usize) -> Result<Vec<Row>, CatalogueError> {
        let mut query = row::select_tenants(self.dialect(), self.inner.kind);
        query
            .push("t.id > ")
            .push_bind(after)
            .push(" ORDER BY t.id LIMIT ")
            .push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.fetch_all(query).await
    }

    /// Where the log stands. Without its triggers, a log of an adopted catalogue that stands still says nothing.
    async fn head_of(&self, connection: &mut Connection) -> Result<ChangeMark, sqlx::Error> {
        let row = connection.fetch_one(sql(self.statements().head)).await?;
        if row.int("missing_triggers")? > 0 {
            return Err(sqlx::Error::Protocol(shape::TRIGGERS_ARE_MISSING.to_owned()));
        }
        read::mark_of(&row)
    }

    async fn read_changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, sqlx::Error> {
        let mut connection = self.inner.readers.acquire().await?;
        // Most of the time nothing has happened, and one statement is enough to know.
        if since != ChangeMark::NONE && self.head_of(&mut connection).await? == since {
            return Ok(ChangeBatch::Changes {
                mark: since,
                changes: Vec::new(),
                more: false,
            });
        }
        connection.begin_read().await?;
        let batch = self.read_snapshot(&mut connection, since, limit).await;
        connection.roll_back().await?;
        batch
    }

    async fn read_snapshot(
        &self,
        snapshot: &mut Connection,
        since: ChangeMark,
        limit: usize,
    ) -> Result<ChangeBatch, sqlx::Error> {
        let head = self.head_of(snapshot).await?;
        if !log_goes_on_from(snapshot, since, head).await? {
            return Ok(ChangeBatch::Reload { mark: head });
        }
        let Some(log) = self.read_log(snapshot, since, limit).await? else {
            return Ok(ChangeBatch::Reload { mark: head });
        };
        let mut present = self.present_entries(snapshot, &log.tenants).await?;
        let changes = log
            .tenants
            .into_iter()
            .map(|(id, keys_touched)| TenantChange {
                current: present.remove(&id),
                id,
                keys_touched,
            })
            .collect();
        Ok(ChangeBatch::Changes {
            mark: log.mark,
            changes,
            more: log.mark.number < head.number,
        })
    }

    /// Reads the log from `since` until `limit` tenants are seen. `None` when it cannot be followed: it has a gap or
    /// an entry that cannot be read, and only a reload is sure to miss nothing.
    async fn read_log(
        &self,
        snapshot: &mut Connection,
        since: ChangeMark,
        limit: usize,
    ) -> Result<Option<LogPart>, sqlx::Error> {
        // Bounds what one tenant that changes all the time can cost; the reader asks again for the rest.
        let log = sql(
            "SELECT number, stamp, tenant_id, \"keys\" FROM tenancy_changes WHERE number > ?
             ORDER BY number LIMIT ?",
        )
        .bind(since.number.cast_signed())
        .bind(i64::try_from(limit.saturating_mul(4)).unwrap_or(i64::MAX));
        let rows = snapshot.fetch_all(log).await?;

        let mut part = LogPart {
            tenants: Vec::new(),
            mark: since,
        };
        let mut place_of: HashMap<TenantId, usize> = HashMap::new();
        for row in &rows {
            let mark = read::mark_of(row)?;
            let Some((id, keys)) =
                read_logged(row, self.inner.kind).filter(|_| mark.number == part.mark.number + 1)
            else {
                tracing::error!(
                    number = mark.number,
                    "the change log cannot be followed; everything is listed anew"
                );
                return Ok(None);
            };
            if let Some(id) = id {
                let place = match place_of.get(&id) {
                    Some(place) => *place,
                    None if part.tenants.len() == limit => break,
                    None => {
                        place_of.insert(id.clone(), part.tenants.len());
                        part.tenants.push((id, Vec::new()));
                        part.tenants.len() - 1
                    }
                };
                part.tenants[place].1.extend(keys);
            }
            part.mark = mark;
        }
        for (_, keys) in &mut part.tenants {
            keys.sort_unstable();
            keys.dedup();
        }
        Ok(Some(part))
    }

    /// The entries of those tenants that are there and can be read. One statement for all: each costs a way to
    /// SQLite's thread and back.
    async fn present_entries(
        &self,
        snapshot: &mut Connection,
        tenants: &[Touched],
    ) -> Result<HashMap<TenantId, TenantEntry>, sqlx::Error> {
        let ids: Vec<&str> = tenants.iter().map(|(id, _)| id.as_str()).collect();
        let ids = serde_json::to_string(&ids).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let mut query = row::select_tenants(self.dialect(), self.inner.kind);
        let (before, after) = Grammar::of(self.dialect()).id_in_list;
        query.push(before).push_bind(ids).push(after);
        let rows = snapshot.fetch_all(query).await?;
        let entries = rows.iter().filter_map(|row| self.entry(row));
        Ok(entries.map(|entry| (entry.record.id.clone(), entry)).collect())
    }
}

/// Whether `since` is a place in this very log. The stamp tells it from the same number in another history.
async fn log_goes_on_from(
    snapshot: &mut Connection,
    since: ChangeMark,
    head: ChangeMark,
) -> Result<bool, sqlx::Error> {
    if since == ChangeMark::NONE || since.number > head.number {
        return Ok(false);
    }
    let place = sql("SELECT number FROM tenancy_changes WHERE number = ? AND stamp = ?")
        .bind(since.number.cast_signed())
        .bind(since.stamp.cast_signed());
    Ok(snapshot.fetch_optional(place).await?.is_some())
}

struct LogPart {
    tenants: Vec<Touched>,
    mark: ChangeMark,
}

type LoggedTouch = (Option<TenantId>, Vec<TenantKey<'static>>);

fn read_logged(row: &Row, kind: StoreKind) -> Option<LoggedTouch> {
    let id = row.optional_text("tenant_id").ok()?;
    let keys: Vec<String> = serde_json::from_str(row.text("keys").ok()?).ok()?;
    if kind == StoreKind::Adopted {
        // What is no id or no key is logged as it stands in the application's tables, and led nowhere.
        let keys = keys.iter().filter_map(|key| row::parse_logged_key(key).ok());
        return Some((id.and_then(|id| TenantId::new(id).ok()), keys.flatten().collect()));
    }
    let id = id.map(TenantId::new).transpose().ok()?;
    let keys = keys
        .iter()
        .map(|key| row::parse_logged_key(key))
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    Some((id, keys.into_iter().flatten().collect()))
}

type Touched = (TenantId, Vec<TenantKey<'static>>);
