//! The statements that differ between a managed catalogue and an adopted one. All others read the log, which is the
//! same in both.

use super::StoreKind;

pub(super) struct Statements {
    /// Tenants with their domains in one row, so that one statement is one consistent view without a transaction.
    /// The condition follows.
    pub(super) select: &'static str,
    /// The condition that finds the tenant of an active domain: what stands before and after the domain.
    pub(super) by_domain: (&'static str, &'static str),
    pub(super) count: &'static str,
    /// Number and floor of the log, tenants by status, domains, bytes of the file.
    pub(super) status: &'static str,
}

impl Statements {
    pub(super) fn of(kind: StoreKind) -> &'static Self {
        match kind {
            StoreKind::Managed | StoreKind::ReadOnly => &OWN_TABLES,
            StoreKind::Adopted => &VIEWS,
        }
    }
}

static OWN_TABLES: Statements = Statements {
    select: "SELECT t.id, t.slug, t.status, t.tenant_type, t.plan, t.settings, t.placement_server, \
        t.placement_database, t.maintenance, t.epoch, t.incarnation, t.created_at_ms, t.updated_at_ms, \
        (SELECT json_group_array(json_array(d.domain, d.is_active, d.is_primary, d.created_at_ms)) \
           FROM domains d WHERE d.tenant_id = t.id) AS domains \
        FROM tenants t WHERE ",
    by_domain: (
        "t.id = (SELECT tenant_id FROM domains WHERE is_active = 1 AND domain = ",
        ")",
    ),
    count: "SELECT count(*) FROM tenants",
    status: "SELECT number, floor,
             (SELECT count(*) FROM tenants WHERE status = 'pending'),
             (SELECT count(*) FROM tenants WHERE status = 'active'),
             (SELECT count(*) FROM tenants WHERE status = 'suspended'),
             (SELECT count(*) FROM tenants WHERE status = 'deleted'),
             (SELECT count(*) FROM domains),
             (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size())
         FROM tenancy_change_head",
};

/// Over tables that tenancy does not guard: names may be shared, and a shared name leads to nobody.
static VIEWS: Statements = Statements {
    select: "SELECT t.id, t.slug, t.status, t.tenant_type, t.plan, t.settings, t.data, t.placement_server, \
        t.placement_database, t.maintenance, t.epoch, t.incarnation, \
        coalesce(t.created_at_ms, 0) AS created_at_ms, coalesce(t.updated_at_ms, 0) AS updated_at_ms, \
        EXISTS (SELECT 1 FROM tenancy_tenants o WHERE o.slug = t.slug AND o.id <> t.id) AS slug_is_shared, \
        (SELECT json_group_array(json_array(d.domain, NOT EXISTS (SELECT 1 FROM tenancy_domains o \
               WHERE o.domain = d.domain AND o.tenant_id <> d.tenant_id), 0, 0)) \
           FROM (SELECT DISTINCT domain, tenant_id FROM tenancy_domains WHERE tenant_id = t.id) d) AS domains \
        FROM tenancy_tenants t WHERE ",
    by_domain: (
        "t.id IN (SELECT min(tenant_id) FROM tenancy_domains WHERE domain = ",
        " GROUP BY domain HAVING count(DISTINCT tenant_id) = 1)",
    ),
    count: "SELECT count(*) FROM tenancy_tenants",
    status: "SELECT number, floor, pending, active, suspended, deleted,
             (SELECT count(*) FROM tenancy_domains),
             (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size())
         FROM tenancy_change_head, (SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
             count(*) FILTER (WHERE status = 'active') AS active,
             count(*) FILTER (WHERE status = 'suspended') AS suspended,
             count(*) FILTER (WHERE status = 'deleted') AS deleted FROM tenancy_tenants)",
};
