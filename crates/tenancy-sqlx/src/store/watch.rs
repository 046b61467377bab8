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
    central::{Connection, Row, Statement, sql},
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

    /// Most of the time nothing has happened, and the look at the log says so.
    async fn read_changes(&self, since: ChangeMark, limit: usize) -> Result<ChangeBatch, sqlx::Error> {
        let (mut connection, rows) = self.inner.readers.ask(self.log_since(since, limit)).await?;
        let log = match self.read_log(&rows, since, limit)? {
            Log::GoesOn(log) if log.tenants.is_empty() => return Ok(log.into_batch(HashMap::new())),
            Log::GoesOn(log) => log,
            Log::Broken { head } => return Ok(ChangeBatch::Reload { mark: head }),
        };
        let (head, present) = self.present_entries(&mut connection, &log.tenants).await?;
        // Every change takes a number: where none was taken between the two looks, they saw one and the same catalogue.
        if head == log.head {
            return Ok(log.into_batch(present));
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
        let rows = snapshot.fetch_all(self.log_since(since, limit)).await?;
        match self.read_log(&rows, since, limit)? {
            Log::GoesOn(log) => {
                let (_, present) = self.present_entries(snapshot, &log.tenants).await?;
                Ok(log.into_batch(present))
            }
            Log::Broken { head } => Ok(ChangeBatch::Reload { mark: head }),
        }
    }

    /// Where the log stands, whether `since` is a place in it, and what it has after that: one row at least, and one look. The
    /// stamp tells a place from the same number in another history.
    fn log_since(&self, since: ChangeMark, limit: usize) -> Statement {
        let mut look = sql(
            "SELECT head.*, entry.number AS entry_number, entry.stamp AS entry_stamp, entry.tenant_id, \
             entry.\"keys\", (SELECT count(*) FROM tenancy_changes WHERE number = ",
        );
        look.push_bind(since.number.cast_signed());
        look.push(" AND stamp = ").push_bind(since.stamp.cast_signed());
        look.push(") AS goes_on FROM (").push(self.statements().head);
        look.push(") head LEFT JOIN (SELECT * FROM tenancy_changes WHERE number > ");
        look.push_bind(since.number.cast_signed());
        // Bounds what one tenant that changes all the time can cost; the reader asks again for the rest. Who comes from nowhere
        // lists everything anyway.
        let entries = match since {
            ChangeMark::NONE => 0,
            _ => limit.saturating_mul(4),
        };
        look.push(" ORDER BY number LIMIT ");
        look.push_bind(i64::try_from(entries).unwrap_or(i64::MAX));
        look.push(") entry ON 1 = 1 ORDER BY entry.number");
        look
    }

    /// Reads the log from `since` until `limit` tenants are seen.
    fn read_log(&self, rows: &[Row], since: ChangeMark, limit: usize) -> Result<Log, sqlx::Error> {
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let head = checked_head(first)?;
        if since == ChangeMark::NONE || since.number > head.number || first.int("goes_on")? == 0 {
            return Ok(Log::Broken { head });
        }
        let mut part = LogPart {
            tenants: Vec::new(),
            mark: since,
            head,
        };
        let mut place_of: HashMap<TenantId, usize> = HashMap::new();
        for row in rows {
            let Some(number) = row.optional_int("entry_number")? else {
                break;
            };
            let mark = ChangeMark {
                number: number.cast_unsigned(),
                stamp: row.int("entry_stamp")?.cast_unsigned(),
            };
            let Some((id, keys)) =
                read_logged(row, self.inner.kind).filter(|_| mark.number == part.mark.number + 1)
            else {
                tracing::error!(
                    number = mark.number,
                    "the change log cannot be followed; everything is listed anew"
                );
                return Ok(Log::Broken { head });
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
        Ok(Log::GoesOn(part))
    }

    /// The entries of those tenants that are there and can be read, and where the log stood then: one look. One statement for
    /// all: each costs a way to the server, or to SQLite's thread, and back.
    async fn present_entries(
        &self,
        connection: &mut Connection,
        tenants: &[Touched],
    ) -> Result<(ChangeMark, HashMap<TenantId, TenantEntry>), sqlx::Error> {
        let ids: Vec<&str> = tenants.iter().map(|(id, _)| id.as_str()).collect();
        let mut look = sql("SELECT head.*, present.* FROM (");
        look.push(self.statements().head).push(") head LEFT JOIN (");
        look.push(self.statements().select).push("t.id");
        Grammar::of(self.dialect()).push_in_list(&mut look, &ids)?;
        look.push(") present ON 1 = 1");
        let rows = connection.fetch_all(look).await?;
        let head = checked_head(rows.first().ok_or(sqlx::Error::RowNotFound)?)?;
        let mut present = HashMap::new();
        for row in &rows {
            // Of none of them is there a row.
            if row.optional_text("id")?.is_none() {
                break;
            }
            present.extend(self.entry(row).map(|entry| (entry.record.id.clone(), entry)));
        }
        Ok((head, present))
    }
}

/// Where the log stands. Without its triggers, a log of an adopted catalogue that stands still says nothing.
fn checked_head(row: &Row) -> Result<ChangeMark, sqlx::Error> {
    if row.int("missing_triggers")? > 0 {
        return Err(sqlx::Error::Protocol(shape::TRIGGERS_ARE_MISSING.to_owned()));
    }
    read::mark_of(row)
}

enum Log {
    GoesOn(LogPart),
    /// It is another one, or has a gap or an entry that cannot be read: only a reload is sure to miss nothing.
    Broken {
        head: ChangeMark,
    },
}

/// What the log has after a place in it, up to a mark, and where it ended.
struct LogPart {
    tenants: Vec<Touched>,
    mark: ChangeMark,
    head: ChangeMark,
}

impl LogPart {
    fn into_batch(self, mut present: HashMap<TenantId, TenantEntry>) -> ChangeBatch {
        let more = self.mark.number < self.head.number;
        let changes = self
            .tenants
            .into_iter()
            .map(|(id, keys_touched)| TenantChange {
                current: present.remove(&id),
                id,
                keys_touched,
            })
            .collect();
        ChangeBatch::Changes {
            mark: self.mark,
            changes,
            more,
        }
    }
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
