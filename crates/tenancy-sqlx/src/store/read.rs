use tenancy_core::{ChangeMark, KeyKind, TenantId, TenantKey, TenantStatus};

use super::{SqlStore, change::lock_head, row, schema};
use crate::{
    CatalogueError, TenantDetails, canonical_domain,
    central::{Row, sql},
};

/// In which order tenants are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreationOrder {
    /// The last created first.
    #[default]
    NewestFirst,
    /// The first created first.
    OldestFirst,
}

/// Which tenants to list, and how many at once. The default: all, newest first, 100 in a page.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListFilter {
    /// Only those with this status.
    pub status: Option<TenantStatus>,
    /// Only those of this type.
    pub tenant_type: Option<String>,
    /// By order of creation. Judged by change numbers, not by the clock.
    pub order: CreationOrder,
    /// At most this many in a page: 1 to 1000.
    pub limit: usize,
    /// Where to go on: [`TenantList::next`] of the page before.
    pub cursor: Option<String>,
}

impl Default for ListFilter {
    fn default() -> Self {
        Self {
            status: None,
            tenant_type: None,
            order: CreationOrder::NewestFirst,
            limit: 100,
            cursor: None,
        }
    }
}

/// One page of a list for operators.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TenantList {
    /// The tenants.
    pub tenants: Vec<TenantDetails>,
    /// Opaque text for [`ListFilter::cursor`]; `None` on the last page.
    pub next: Option<String>,
}

/// One change as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedChange {
    /// Its number.
    pub number: u64,
    /// The tenant's id; `None` for the beginning of the log.
    pub tenant_id: Option<String>,
    /// What was done: `create`, `update`, `suspend`, `resume`, `maintenance`, `delete`, `restore`, `purge`,
    /// `add_domain`, `remove_domain`, `verify_domain`, `unserve_domain`, `serve_domain`, `init`, or what a newer program added.
    pub kind: String,
    /// The keys it touched, as JSON text: `["slug:acme"]`.
    pub keys: String,
    /// Who did it, if that was said.
    pub actor: Option<String>,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
}

/// How the catalogue stands, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogueStatus {
    /// Version of the catalogue's schema.
    pub schema_version: u32,
    /// The oldest program version, as a schema version, that can read the catalogue.
    pub oldest_reader: u32,
    /// Number of the last change.
    pub change_number: u64,
    /// The oldest change that the log still holds.
    pub oldest_change: u64,
    /// Tenants being set up.
    pub pending: u64,
    /// Tenants that are served.
    pub active: u64,
    /// Tenants that are suspended.
    pub suspended: u64,
    /// Tenants deleted but not purged.
    pub deleted: u64,
    /// Domains of all tenants.
    pub domains: u64,
    /// Size of the file in bytes, without what still stands in the write-ahead log; on a server, of the catalogue's tables.
    pub file_bytes: u64,
}

/// Reads for operators. They see every committed change of every process, and fail as unavailable when the
/// catalogue does not answer within [`SqlStoreOptions::wait`](super::SqlStoreOptions::wait).
impl SqlStore {
    /// The tenant of an id.
    ///
    /// # Errors
    /// Corrupt when its row cannot be read.
    pub async fn get(&self, id: &TenantId) -> Result<Option<TenantDetails>, CatalogueError> {
        self.find_details(&TenantKey::id(id)).await
    }

    /// The tenant of a slug.
    ///
    /// # Errors
    /// Corrupt when its row cannot be read.
    pub async fn get_by_slug(&self, slug: &str) -> Result<Option<TenantDetails>, CatalogueError> {
        match TenantKey::slug(slug) {
            Ok(key) => self.find_details(&key).await,
            Err(_) => Ok(None),
        }
    }

    /// The tenant that an active domain leads to; Unicode is accepted.
    ///
    /// # Errors
    /// Corrupt when its row cannot be read.
    pub async fn get_by_domain(&self, domain: &str) -> Result<Option<TenantDetails>, CatalogueError> {
        match canonical_domain(domain).and_then(TenantKey::domain) {
            Ok(key) => self.find_details(&key).await,
            Err(_) => Ok(None),
        }
    }

    pub(super) async fn find_details(
        &self,
        key: &TenantKey<'_>,
    ) -> Result<Option<TenantDetails>, CatalogueError> {
        let Some(query) = row::select_by_key(self.dialect(), key, self.inner.kind) else {
            return Ok(None);
        };
        let rows = self.fetch_all(query).await?;
        let Some(found) = rows.first() else {
            return Ok(None);
        };
        let decoded = row::decode(found, self.inner.kind)?;
        let leads = key.kind() != KeyKind::Slug || decoded.leads_by_slug;
        Ok(leads.then_some(decoded.details))
    }

    /// One page of tenants. Pages neither repeat nor skip a tenant that was there from the first to the last,
    /// whatever is created or purged meanwhile. Rows that cannot be read are logged and left out.
    ///
    /// # Errors
    /// Invalid when the limit is not 1 to 1000, or the cursor is not one of this order.
    pub async fn page(&self, filter: &ListFilter) -> Result<TenantList, CatalogueError> {
        if !(1..=1000).contains(&filter.limit) {
            return Err(CatalogueError::invalid(
                "the limit is not valid",
                format!("the limit must be 1 to 1000, not {}", filter.limit),
            ));
        }
        let after = filter
            .cursor
            .as_deref()
            .map(|cursor| parse_cursor(cursor, filter.order))
            .transpose()?;
        let wanted = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        let mut rows = self.page_rows(filter, after, wanted + 1).await?;
        let has_more = rows.len() > filter.limit;
        rows.truncate(filter.limit);
        let next = match rows.last() {
            Some(last) if has_more => Some(cursor_after(last, filter.order)?),
            _ => None,
        };
        Ok(TenantList {
            tenants: rows
                .iter()
                .filter_map(|row| row::decode_or_log(row, self.inner.kind))
                .map(|decoded| decoded.details)
                .collect(),
            next,
        })
    }

    async fn page_rows(
        &self,
        filter: &ListFilter,
        after: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Row>, CatalogueError> {
        let mut query = row::select_tenants(self.dialect(), self.inner.kind);
        let (comparison, order) = match filter.order {
            CreationOrder::NewestFirst => ("t.incarnation < ", " ORDER BY t.incarnation DESC LIMIT "),
            CreationOrder::OldestFirst => ("t.incarnation > ", " ORDER BY t.incarnation LIMIT "),
        };
        let start = match filter.order {
            CreationOrder::NewestFirst => i64::MAX,
            CreationOrder::OldestFirst => 0,
        };
        query.push(comparison).push_bind(after.unwrap_or(start));
        if let Some(status) = filter.status {
            query.push(" AND t.status = ").push_bind(status.as_str());
        }
        if let Some(tenant_type) = &filter.tenant_type {
            query
                .push(" AND t.tenant_type = ")
                .push_bind(tenant_type.as_str());
        }
        query.push(order).push_bind(limit);
        self.fetch_all(query).await
    }

    /// How many tenants there are, deleted ones included.
    ///
    /// # Errors
    /// When the catalogue does not answer.
    pub async fn count(&self) -> Result<u64, CatalogueError> {
        let row = self.fetch_one(sql(self.statements().count)).await?;
        let count = row.int("answer").map_err(CatalogueError::from_sqlx)?;
        Ok(count.cast_unsigned())
    }

    /// Where the change log stands.
    ///
    /// # Errors
    /// When the catalogue does not answer.
    pub async fn head(&self) -> Result<ChangeMark, CatalogueError> {
        let row = self.fetch_one(sql(self.statements().head)).await?;
        mark_of(&row).map_err(CatalogueError::from_sqlx)
    }

    /// The changes after a number, oldest first, at most `limit`: the audit log.
    ///
    /// # Errors
    /// When the catalogue does not answer.
    pub async fn changes_since(
        &self,
        number: u64,
        limit: usize,
    ) -> Result<Vec<LoggedChange>, CatalogueError> {
        let query = sql(
            "SELECT number, tenant_id, kind, \"keys\", actor, at_ms FROM tenancy_changes WHERE number > ?
             ORDER BY number LIMIT ?",
        )
        .bind(number.cast_signed())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.fetch_all(query).await?;
        rows.iter()
            .map(logged_change)
            .collect::<Result<_, _>>()
            .map_err(CatalogueError::from_sqlx)
    }

    /// Cuts the change log down to its newest `keep` entries, one at least, and returns how many went.
    ///
    /// Readers that stand before the cut list everything anew. Ids that were used stay used.
    ///
    /// # Errors
    /// When the catalogue does not answer or cannot be written. An adopted one keeps its log short by itself.
    pub async fn prune_changes(&self, keep: u64) -> Result<u64, CatalogueError> {
        let writer = self.writer()?.clone();
        let keep = keep.clamp(1, i64::MAX.cast_unsigned()).cast_signed();
        let inner = std::sync::Arc::clone(&self.inner);
        let running = tokio::spawn(async move {
            let _running = inner.running_changes.read().await;
            let mut connection = writer.acquire().await?;
            lock_head(&mut connection, inner.options.wait).await?;
            let cut = sql(
                "DELETE FROM tenancy_changes WHERE number <= (SELECT number FROM tenancy_change_head) - ?",
            );
            let removed = connection.execute(cut.bind(keep)).await?;
            connection
                .run("UPDATE tenancy_change_head SET floor = (SELECT min(number) FROM tenancy_changes)")
                .await?;
            connection.commit().await?;
            Ok(removed)
        });
        match running.await {
            Ok(removed) => removed.map_err(CatalogueError::from_sqlx),
            Err(error) => Err(CatalogueError::unavailable("the change was broken off", error)),
        }
    }

    /// Whether the catalogue answers: one small statement, for health checks. Waits as other reads do.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), CatalogueError> {
        self.fetch_one(sql("SELECT 1")).await.map(drop)
    }

    /// How the catalogue stands. Counts all tenants: for operators, not for health probes.
    ///
    /// # Errors
    /// When the catalogue does not answer, or a newer program has made the catalogue unreadable for this one.
    pub async fn status(&self) -> Result<CatalogueStatus, CatalogueError> {
        let mut connection = self.read(self.inner.readers.acquire()).await?;
        let schema = schema::read(&mut connection).await?;
        drop(connection);
        let row = self.fetch_one(sql(self.statements().status)).await?;
        let number = |column: &str| {
            row.int(column)
                .map(i64::cast_unsigned)
                .map_err(CatalogueError::from_sqlx)
        };
        Ok(CatalogueStatus {
            schema_version: schema.version,
            oldest_reader: schema.oldest_reader,
            change_number: number("number")?,
            oldest_change: number("floor")?,
            pending: number("pending")?,
            active: number("active")?,
            suspended: number("suspended")?,
            deleted: number("deleted")?,
            domains: number("domains")?,
            file_bytes: number("bytes")?,
        })
    }
}

/// The mark in the columns `number` and `stamp`.
pub(super) fn mark_of(row: &Row) -> Result<ChangeMark, sqlx::Error> {
    Ok(ChangeMark {
        number: row.int("number")?.cast_unsigned(),
        stamp: row.int("stamp")?.cast_unsigned(),
    })
}

fn logged_change(row: &Row) -> Result<LoggedChange, sqlx::Error> {
    Ok(LoggedChange {
        number: row.int("number")?.cast_unsigned(),
        tenant_id: row.optional_text("tenant_id")?.map(str::to_owned),
        kind: row.text("kind")?.to_owned(),
        keys: row.text("keys")?.to_owned(),
        actor: row.optional_text("actor")?.map(str::to_owned),
        at_ms: row.int("at_ms")?,
    })
}

fn cursor_prefix(order: CreationOrder) -> &'static str {
    match order {
        CreationOrder::NewestFirst => "n",
        CreationOrder::OldestFirst => "o",
    }
}

fn cursor_after(last: &Row, order: CreationOrder) -> Result<String, CatalogueError> {
    let incarnation = last.int("incarnation").map_err(CatalogueError::from_sqlx)?;
    Ok(format!("{}{incarnation:x}", cursor_prefix(order)))
}

fn parse_cursor(cursor: &str, order: CreationOrder) -> Result<i64, CatalogueError> {
    cursor
        .strip_prefix(cursor_prefix(order))
        .filter(|digits| !digits.starts_with(['+', '-']))
        .and_then(|digits| i64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| {
            CatalogueError::invalid(
                "the cursor is not valid",
                "give the cursor of the page before, with the same order, or none",
            )
        })
}
