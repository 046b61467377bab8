use super::{SqlStore, StoreKind, row, statements::Grammar};
use crate::{CatalogueError, central::sql};

const PAGE: i64 = 1000;

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
            let mut query = row::select_tenants(self.dialect(), self.inner.kind);
            query
                .push("t.id > ")
                .push_bind(after.as_str())
                .push(" ORDER BY t.id LIMIT ")
                .push_bind(PAGE);
            let rows = self.fetch_all(query).await?;
            let Some(last) = rows.last() else { break };
            last.text("id")
                .map_err(CatalogueError::from_sqlx)?
                .clone_into(&mut after);
            for row in &rows {
                let tenant_id = row.text("id").map_err(CatalogueError::from_sqlx)?;
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

    /// Rows that changed while triggers were missing, or by what runs none: in SQLite a `REPLACE` that removes another
    /// row, in MySQL a `TRUNCATE` and what a foreign key deletes.
    async fn unseen(&self, limit: usize) -> Result<Vec<RowFault>, CatalogueError> {
        if self.inner.kind != StoreKind::Adopted {
            return Ok(Vec::new());
        }
        let grammar = Grammar::of(self.dialect());
        let made = self.fetch_one(sql(grammar.has_unseen)).await?;
        if made.int("answer").map_err(CatalogueError::from_sqlx)? != 2 {
            return Ok(Vec::new());
        }
        let mut query = sql(grammar.unseen);
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.fetch_all(query).await?;
        rows.iter()
            .map(|row| {
                let (tenant_id, reason) = (row.text("id")?, row.text("reason")?);
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
