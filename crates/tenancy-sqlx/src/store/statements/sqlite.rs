use super::{Grammar, Statements};

pub(super) static OWN_TABLES: Statements = Statements {
    select: "SELECT t.id, t.slug, t.status, t.tenant_type, t.plan, t.settings, t.placement_server, \
        t.placement_database, t.placement_isolation, t.maintenance, t.epoch, t.incarnation, t.created_at_ms, \
        t.updated_at_ms, \
        (SELECT json_group_array(json_array(d.domain, d.is_active, d.is_primary, d.created_at_ms)) \
           FROM domains d WHERE d.tenant_id = t.id) AS domains \
        FROM tenants t WHERE ",
    by_domain: (
        "t.id = (SELECT tenant_id FROM domains WHERE is_active = 1 AND domain = ",
        ")",
    ),
    count: "SELECT count(*) AS answer FROM tenants",
    status: "SELECT number, floor,
             (SELECT count(*) FROM tenants WHERE status = 'pending') AS pending,
             (SELECT count(*) FROM tenants WHERE status = 'active') AS active,
             (SELECT count(*) FROM tenants WHERE status = 'suspended') AS suspended,
             (SELECT count(*) FROM tenants WHERE status = 'deleted') AS deleted,
             (SELECT count(*) FROM domains) AS domains,
             (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()) AS bytes
         FROM tenancy_change_head",
    head: "SELECT h.number, c.stamp, 0 AS missing_triggers,
             (SELECT count(*) FROM tenants WHERE id = '') AS tenants_can_be_read
         FROM tenancy_change_head h JOIN tenancy_changes c ON c.number = h.number",
};

/// Over tables that tenancy does not guard: names may be shared, and a shared name leads to nobody.
pub(super) static VIEWS: Statements = Statements {
    select: "SELECT t.id, t.slug, t.status, t.tenant_type, t.plan, t.settings, t.data, t.placement_server, \
        t.placement_database, NULL AS placement_isolation, t.maintenance, t.epoch, t.incarnation, \
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
    count: "SELECT count(*) AS answer FROM tenancy_tenants",
    status: "SELECT number, floor, pending, active, suspended, deleted,
             (SELECT count(*) FROM tenancy_domains) AS domains,
             (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()) AS bytes
         FROM tenancy_change_head, (SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
             count(*) FILTER (WHERE status = 'active') AS active,
             count(*) FILTER (WHERE status = 'suspended') AS suspended,
             count(*) FILTER (WHERE status = 'deleted') AS deleted FROM tenancy_tenants)",
    // Rebuilding a table drops its triggers without a word.
    head:
        "SELECT h.number, c.stamp, (SELECT triggers FROM tenancy_schema) - (SELECT count(*) FROM sqlite_schema
             WHERE type = 'trigger' AND substr(name, 1, 11) = 'tenancy_on_') AS missing_triggers,
             (SELECT count(*) FROM tenancy_tenants WHERE id = '') AS tenants_can_be_read
         FROM tenancy_change_head h JOIN tenancy_changes c ON c.number = h.number",
};

pub(super) static GRAMMAR: Grammar = Grammar {
    in_list: (" IN (SELECT value FROM json_each(", "))"),
    // The transaction took the lock on the whole file when it began.
    lock_head: "SELECT number FROM tenancy_change_head",
    unseen: "SELECT coalesce(s.id, '') AS id, \
            CASE WHEN s.id IS NULL THEN 'it has no id' ELSE 'its triggers did not see how it is now' END AS reason \
            FROM tenancy_source s LEFT JOIN tenancy_incarnations i ON i.id = s.id \
            WHERE i.id IS NULL OR i.slug IS NOT s.slug \
        UNION ALL SELECT i.id, 'it is gone, and the triggers did not see that' \
            FROM tenancy_incarnations i WHERE NOT EXISTS (SELECT 1 FROM tenancy_source s WHERE s.id = i.id) \
        LIMIT ",
    has_unseen: "SELECT count(*) AS answer FROM sqlite_schema
        WHERE name IN ('tenancy_source', 'tenancy_incarnations')",
};
