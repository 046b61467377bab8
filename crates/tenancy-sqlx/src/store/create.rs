//! How tenants are created: what they ask for is looked up at once for many, and written so.

use std::collections::{HashMap, HashSet};

use tenancy_core::{TenantId, TenantRecord, TenantStatus};

use super::{
    change::Change,
    checks,
    row::{self, logged_domain, logged_slug},
    statements::Grammar,
};
#[cfg(feature = "mysql")]
use crate::central::Dialect;
use crate::{
    CatalogueError, DomainDetails, NewTenant, TenantDetails,
    central::{ForEach, Row, sql},
    names,
};

const INSERT_TENANTS: ForEach = ForEach {
    before: "INSERT INTO tenants (id, slug, status, tenant_type, plan, settings, placement_server,
             placement_database, placement_isolation, epoch, incarnation, created_at_ms, updated_at_ms) VALUES ",
    item: "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    after: "",
};

const INSERT_USED_IDS: ForEach = ForEach {
    before: "INSERT INTO tenancy_used_ids (id, incarnation) VALUES ",
    item: "(?, ?)",
    after: "",
};

const INSERT_DOMAINS: ForEach = ForEach {
    before: "INSERT INTO domains (domain, tenant_id, is_active, is_primary, created_at_ms) VALUES ",
    item: "(?, ?, 1, ?, ?)",
    after: "",
};

#[cfg(feature = "mysql")]
const END_CLAIMS: ForEach = ForEach {
    before: "DELETE FROM tenancy_domain_claims WHERE domain IN (",
    item: "?",
    after: ")",
};

/// A new tenant whose values are checked and canonical.
#[derive(Clone)]
pub(super) struct CheckedTenant(NewTenant);

impl CheckedTenant {
    pub(super) fn check(mut new: NewTenant, reserved: &[Box<str>]) -> Result<Self, CatalogueError> {
        names::check_slug(&new.slug, reserved)?;
        if let Some(id) = &new.id {
            names::check_not_reserved(id.as_str(), reserved)?;
        }
        names::check_word("plan", new.plan.as_deref())?;
        names::check_word("tenant type", new.tenant_type.as_deref())?;
        names::check_settings(new.settings.as_deref())?;
        checks::check_placement(new.placement.as_ref())?;
        if new.status == TenantStatus::Deleted {
            return Err(CatalogueError::invalid(
                "the status is not valid",
                "a tenant cannot be created as deleted",
            ));
        }
        let mut seen = HashSet::new();
        for domain in &mut new.domains {
            *domain = names::check_domain(domain)?;
            if !seen.insert(domain.clone()) {
                return Err(CatalogueError::invalid(
                    "a domain is given twice",
                    format!("the domain {domain} is given twice"),
                ));
            }
        }
        Ok(Self(new))
    }

    pub(super) fn slug(&self) -> &str {
        &self.0.slug
    }

    /// The one it gets, unless that was given before.
    fn first_id(&self) -> Result<TenantId, CatalogueError> {
        match &self.0.id {
            Some(id) => Ok(id.clone()),
            None => numbered_id(&self.0.slug, 1),
        }
    }

    /// As it is read once it is written.
    fn details(&self, id: TenantId, number: i64, now_ms: i64) -> TenantDetails {
        let Self(new) = self;
        let mut record = TenantRecord::new(id);
        record.slug = (record.id != *new.slug).then(|| new.slug.as_str().into());
        record.status = new.status;
        record.plan = new.plan.as_deref().map(Into::into);
        record.tenant_type = new.tenant_type.as_deref().map(Into::into);
        record.settings = new.settings.as_deref().map(Into::into);
        record.placement = new.placement.clone().map(Box::new);
        record.epoch = number.cast_unsigned();
        record.incarnation = number.cast_unsigned();
        record.created_at_ms = now_ms;
        let mut domains: Vec<_> = new
            .domains
            .iter()
            .enumerate()
            .map(|(index, domain)| DomainDetails {
                domain: domain.clone(),
                is_active: true,
                is_primary: index == 0,
                created_at_ms: now_ms,
            })
            .collect();
        row::sort_domains(&mut domains);
        TenantDetails::new(record, domains, now_ms)
    }
}

impl Change {
    /// Asks once, as a rule, and writes nothing at once.
    pub(super) async fn create(&mut self, tenant: &CheckedTenant) -> Result<TenantDetails, CatalogueError> {
        let mut in_use = self.names_in_use(std::slice::from_ref(tenant)).await?;
        self.create_unless_in_use(tenant, &mut in_use).await
    }

    /// Creates one of those whose names were looked up together; its names are in use then.
    pub(super) async fn create_unless_in_use(
        &mut self,
        tenant: &CheckedTenant,
        in_use: &mut NamesInUse,
    ) -> Result<TenantDetails, CatalogueError> {
        let CheckedTenant(new) = tenant;
        let first_id = tenant.first_id()?;
        if let Some(owner) = in_use.owner_of_slug(&new.slug) {
            return Err(slug_taken(&new.slug, owner));
        }
        if let Some((domain, owner)) = new
            .domains
            .iter()
            .find_map(|domain| in_use.domains.get_key_value(domain))
        {
            return Err(domain_taken(domain, owner));
        }
        let has_id = in_use.ids.contains(first_id.as_str());
        let id = match &new.id {
            Some(id) if has_id => return Err(id_taken(id)),
            None if has_id || self.is_reserved(&first_id) => self.choose_id(&new.slug).await?,
            _ => first_id,
        };
        let keys: Vec<String> = std::iter::once(logged_slug(&new.slug))
            .chain(new.domains.iter().map(|domain| logged_domain(domain)))
            .collect();
        let number = self.log(&id, "create", &keys)?;
        self.insert_tenant(&id, new, number);
        for (index, domain) in new.domains.iter().enumerate() {
            self.insert_domain(&id, domain, index == 0);
        }
        in_use.add(&id, new);
        Ok(tenant.details(id, number, self.now_ms))
    }

    /// Whose the names are that these ask for: one look for all.
    pub(super) async fn names_in_use(
        &mut self,
        tenants: &[CheckedTenant],
    ) -> Result<NamesInUse, CatalogueError> {
        if tenants.is_empty() {
            return Ok(NamesInUse::default());
        }
        let slugs: Vec<&str> = tenants.iter().map(CheckedTenant::slug).collect();
        // A slug that makes no id is refused when its turn comes.
        let ids: Vec<TenantId> = tenants
            .iter()
            .filter_map(|tenant| tenant.first_id().ok())
            .collect();
        let domains = tenants.iter().flat_map(|CheckedTenant(new)| &new.domains);
        let parts = [
            (
                "SELECT 'slug' AS kind, slug AS name, id AS owner FROM tenants WHERE slug",
                slugs,
            ),
            (
                " UNION ALL SELECT 'id', id, id FROM tenancy_used_ids WHERE id",
                ids.iter().map(TenantId::as_str).collect(),
            ),
            (
                " UNION ALL SELECT 'domain', domain, tenant_id FROM domains WHERE domain",
                domains.map(String::as_str).collect(),
            ),
        ];
        let grammar = Grammar::of(self.dialect());
        let mut look = sql("");
        for (select, names) in parts.into_iter().filter(|(_, names)| !names.is_empty()) {
            look.push(select);
            grammar
                .push_in_list(&mut look, &names)
                .map_err(CatalogueError::from_sqlx)?;
        }
        let rows = self.fetch_all(look).await?;
        NamesInUse::read(&rows).map_err(CatalogueError::from_sqlx)
    }

    fn is_reserved(&self, id: &TenantId) -> bool {
        self.reserved.iter().any(|name| **name == *id.as_str())
    }

    fn insert_tenant(&mut self, id: &TenantId, new: &NewTenant, number: i64) {
        let placement = new.placement.as_ref();
        let row = vec![
            id.as_str().into(),
            new.slug.as_str().into(),
            new.status.as_str().into(),
            new.tenant_type.as_deref().into(),
            new.plan.as_deref().into(),
            new.settings.as_deref().into(),
            placement.map(|placement| &*placement.server).into(),
            placement.map(|placement| &*placement.database).into(),
            row::isolation_column(placement).into(),
            number.into(),
            number.into(),
            self.now_ms.into(),
            self.now_ms.into(),
        ];
        self.defer_each(INSERT_TENANTS, row);
        self.defer_each(INSERT_USED_IDS, vec![id.as_str().into(), number.into()]);
    }

    pub(super) fn insert_domain(&mut self, id: &TenantId, domain: &str, is_primary: bool) {
        #[cfg(feature = "mysql")]
        self.end_claims(domain);
        let row = vec![
            domain.into(),
            id.as_str().into(),
            is_primary.into(),
            self.now_ms.into(),
        ];
        self.defer_each(INSERT_DOMAINS, row);
    }

    /// However a domain is given, nobody can prove it any more. Elsewhere a trigger does it, whoever gives the domain; on
    /// MySQL, triggers ask for a right that most roles lack.
    #[cfg(feature = "mysql")]
    fn end_claims(&mut self, domain: &str) {
        if self.dialect() == Dialect::MySql {
            self.defer_each(END_CLAIMS, vec![domain.into()]);
        }
    }

    async fn was_used(&mut self, id: &str) -> Result<bool, CatalogueError> {
        let used = sql("SELECT id AS answer FROM tenancy_used_ids WHERE id = ?").bind(id);
        Ok(self.find(used).await?.is_some())
    }

    /// The slug with the lowest number that was never used.
    async fn choose_id(&mut self, slug: &str) -> Result<TenantId, CatalogueError> {
        for attempt in 2_u32..=100_000 {
            let id = numbered_id(slug, attempt)?;
            if !self.is_reserved(&id) && !self.was_used(id.as_str()).await? {
                return Ok(id);
            }
        }
        Err(CatalogueError::conflict(
            "no id is free for the slug",
            format!("give an id of your own: 100000 ids that begin with {slug} are used up"),
        ))
    }
}

/// Whose the names are that new tenants ask for.
#[derive(Default)]
pub(super) struct NamesInUse {
    slugs: HashMap<String, String>,
    ids: HashSet<String>,
    domains: HashMap<String, String>,
}

impl NamesInUse {
    fn read(rows: &[Row]) -> Result<Self, sqlx::Error> {
        let mut in_use = Self::default();
        for row in rows {
            let (name, owner) = (row.text("name")?.to_owned(), row.text("owner")?.to_owned());
            match row.text("kind")? {
                "slug" => drop(in_use.slugs.insert(name, owner)),
                "id" => drop(in_use.ids.insert(name)),
                _ => drop(in_use.domains.insert(name, owner)),
            }
        }
        Ok(in_use)
    }

    fn add(&mut self, id: &TenantId, new: &NewTenant) {
        self.slugs.insert(new.slug.clone(), id.as_str().to_owned());
        self.ids.insert(id.as_str().to_owned());
        let domains = new.domains.iter().cloned();
        self.domains
            .extend(domains.map(|domain| (domain, id.as_str().to_owned())));
    }

    pub(super) fn owner_of_slug(&self, slug: &str) -> Option<&str> {
        self.slugs.get(slug).map(String::as_str)
    }
}

pub(super) fn slug_taken(slug: &str, owner: &str) -> CatalogueError {
    CatalogueError::conflict(
        "the slug is taken",
        format!("the slug {slug} belongs to the tenant {owner:?}"),
    )
}

fn id_taken(id: &TenantId) -> CatalogueError {
    CatalogueError::conflict(
        "the id is taken",
        format!("the id {id} is or was a tenant's; an id is never given twice, also after a purge"),
    )
}

pub(super) fn domain_taken(domain: &str, owner: &str) -> CatalogueError {
    CatalogueError::conflict(
        "the domain is taken",
        format!("the domain {domain} belongs to the tenant {owner:?}"),
    )
}

/// `slug` for 1, else `slug-2`, `slug-3`, …, the slug cut so that the whole has 48 characters at most.
fn numbered_id(slug: &str, attempt: u32) -> Result<TenantId, CatalogueError> {
    let id = if attempt == 1 {
        slug.to_owned()
    } else {
        let suffix = format!("-{attempt}");
        let room = TenantId::MAX_LEN - suffix.len();
        format!("{}{suffix}", slug.get(..room).unwrap_or(slug))
    };
    TenantId::new(&id).map_err(|error| CatalogueError::invalid_name("the slug makes no valid id", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_ids_fit_and_differ() {
        let longest = "a".repeat(48);
        assert_eq!(numbered_id("acme", 1).unwrap(), "acme");
        assert_eq!(numbered_id("acme", 2).unwrap(), "acme-2");
        assert_eq!(numbered_id(&longest, 1).unwrap(), longest.as_str());
        assert_eq!(numbered_id(&longest, 12).unwrap().as_str().len(), 48);
        assert!(numbered_id(&longest, 12).unwrap().as_str().ends_with("a-12"));
    }
}
