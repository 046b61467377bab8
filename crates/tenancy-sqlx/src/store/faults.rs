use sqlx::Row as _;

use super::{SqlStore, StoreKind, row};
use crate::CatalogueError;

const PAGE: i64 = 1000;

/// Where the adoption's own notes differ from the application's tables. Only what `adopt` made has both.
const UNSEEN: &str = "SELECT coalesce(s.id, '') AS id, \
        CASE WHEN s.id IS NULL THEN 'it has no id' ELSE 'its triggers did not see how it is now' END AS reason \
        FROM tenancy_source s LEFT JOIN tenancy_incarnations i ON i.id = s.id \
        WHERE i.id IS NULL OR i.slug IS NOT s.slug \
    UNION ALL SELECT i.id, 'it is gone, and the triggers did not see that' \
        FROM tenancy_incarnations i WHERE NOT EXISTS (SELECT 1 FROM tenancy_source s WHERE s.id = i.id) \
    LIMIT ?";

/// A tenant, or a name of one, that the catalogue has and nobody gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowFault {
    /// The id as it stands in the catalogue, cut to 64 characters. It may be no valid one.
    pub tenant_id: String,
    /// The name that leads nowhere (`slug:acme`, `domain:acme.example`); `None` when the whole tenant is left out.
    pub key: Option<String>,
    /// Why.
    pub reason: String,
}

impl SqlStore {
    /// The tenants and names that are left out because their rows break the rules, at most `limit` of them.
    ///
    /// A managed catalogue has none unless its file was changed by other means. Reads all tenants: for operators.
    ///
    /// # Errors
    /// When the catalogue does not answer.
    pub async fn faults(&self, limit: usize) -> Result<Vec<RowFault>, CatalogueError> {
        let mut faults = self.unseen(limit).await?;
        let mut after = String::new();
        while faults.len() < limit {
            let mut query = row::select_tenants(self.inner.kind);
            query
                .push("t.id > ")
                .push_bind(after.clone())
                .push(" ORDER BY t.id LIMIT ")
                .push_bind(PAGE);
            let rows = self.read(query.build().fetch_all(&self.inner.readers)).await?;
            let Some(last) = rows.last() else { break };
            after = last.try_get("id").map_err(CatalogueError::from_sqlx)?;
            for row in &rows {
                let tenant_id: String = row.try_get("id").map_err(CatalogueError::from_sqlx)?;
                let tenant_id: String = tenant_id.chars().take(64).collect();
                match row::decode(row, self.inner.kind) {
                    Ok(decoded) => {
                        faults.extend(decoded.left_out.into_iter().map(|(key, reason)| RowFault {
                            tenant_id: tenant_id.clone(),
                            key: Some(key),
                            reason: reason.to_owned(),
                        }));
                    }
                    Err(error) => faults.push(RowFault {
                        tenant_id,
                        key: None,
                        reason: error.operator_detail().unwrap_or_default().to_owned(),
                    }),
                }
            }
        }
        faults.truncate(limit);
        Ok(faults)
    }

    /// Rows that changed while triggers were missing, or by a `REPLACE` that removed another row: SQLite runs no trigger
    /// for that.
    async fn unseen(&self, limit: usize) -> Result<Vec<RowFault>, CatalogueError> {
        let made = sqlx::query_scalar(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('tenancy_source', 'tenancy_incarnations')",
        );
        if self.inner.kind != StoreKind::Adopted {
            return Ok(Vec::new());
        }
        let made: i64 = self.read(made.fetch_one(&self.inner.readers)).await?;
        if made != 2 {
            return Ok(Vec::new());
        }
        let query = sqlx::query(UNSEEN).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.read(query.fetch_all(&self.inner.readers)).await?;
        rows.iter()
            .map(|row| {
                let tenant_id: String = row.try_get("id")?;
                let reason: String = row.try_get("reason")?;
                Ok(RowFault {
                    tenant_id: tenant_id.chars().take(64).collect(),
                    key: None,
                    reason: format!("{reason}: run the adoption again"),
                })
            })
            .collect::<Result<_, _>>()
            .map_err(CatalogueError::from_sqlx)
    }
}
