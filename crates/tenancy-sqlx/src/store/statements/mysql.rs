use super::{Grammar, Statements};

pub(super) static OWN_TABLES: Statements = Statements {
    select: "SELECT t.id, t.slug, t.status, t.tenant_type, t.plan, t.settings, t.placement_server, \
        t.placement_database, t.placement_isolation, t.maintenance, t.epoch, t.incarnation, t.created_at_ms, \
        t.updated_at_ms, \
        (SELECT coalesce(CAST(json_arrayagg(json_array(d.domain, d.is_active, d.is_primary, d.created_at_ms)) AS CHAR), \
                '[]') FROM domains d WHERE d.tenant_id = t.id) AS domains \
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
             (SELECT CAST(sum(data_length + index_length) AS SIGNED) FROM information_schema.tables
                WHERE table_schema = DATABASE()
                  AND table_name IN ('tenants', 'domains', 'tenancy_changes')) AS bytes
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
        (SELECT coalesce(CAST(json_arrayagg(json_array(d.domain, CASE WHEN EXISTS (SELECT 1 FROM tenancy_domains o \
               WHERE o.domain = d.domain AND o.tenant_id <> d.tenant_id) THEN 0 ELSE 1 END, 0, 0)) AS CHAR), '[]') \
           FROM tenancy_domains d WHERE d.tenant_id = t.id) AS domains \
        FROM tenancy_tenants t WHERE ",
    by_domain: (
        "t.id IN (SELECT min(tenant_id) FROM tenancy_domains WHERE domain = ",
        " GROUP BY domain HAVING count(DISTINCT tenant_id) = 1)",
    ),
    count: "SELECT count(*) AS answer FROM tenancy_tenants",
    status: "SELECT number, floor, pending, active, suspended, deleted,
             (SELECT count(*) FROM tenancy_domains) AS domains,
             (SELECT CAST(sum(data_length + index_length) AS SIGNED) FROM information_schema.tables
                WHERE table_schema = DATABASE() AND table_name = 'tenancy_changes') AS bytes
         FROM tenancy_change_head, (SELECT count(CASE WHEN status = 'pending' THEN 1 END) AS pending,
             count(CASE WHEN status = 'active' THEN 1 END) AS active,
             count(CASE WHEN status = 'suspended' THEN 1 END) AS suspended,
             count(CASE WHEN status = 'deleted' THEN 1 END) AS deleted FROM tenancy_tenants) t",
    // MariaDB looks for triggers in the files of all tables, which is too much each second: it is done when a store is
    // opened.
    head: "SELECT h.number, c.stamp, 0 AS missing_triggers,
             (SELECT count(*) FROM tenancy_tenants WHERE id = '') AS tenants_can_be_read
         FROM tenancy_change_head h JOIN tenancy_changes c ON c.number = h.number",
};

pub(super) static GRAMMAR: Grammar = Grammar {
    in_list: (
        " IN (SELECT listed.item COLLATE utf8mb4_bin FROM json_table(",
        ", '$[*]' COLUMNS (item VARCHAR(253) CHARACTER SET utf8mb4 PATH '$')) AS listed)",
    ),
    lock_head: "SELECT number FROM tenancy_change_head FOR UPDATE",
    unseen: "SELECT s.id AS id, 'its triggers did not see how it is now' AS reason \
            FROM tenancy_source s LEFT JOIN tenancy_incarnations i ON i.id = s.id \
            WHERE i.id IS NULL OR NOT i.slug <=> s.slug \
        UNION ALL SELECT i.id, 'it is gone, and the triggers did not see that' \
            FROM tenancy_incarnations i WHERE NOT EXISTS (SELECT 1 FROM tenancy_source s WHERE s.id = i.id) \
        LIMIT ",
    has_unseen: "SELECT count(*) AS answer FROM information_schema.tables
        WHERE table_schema = DATABASE() AND table_name IN ('tenancy_source', 'tenancy_incarnations')",
};
