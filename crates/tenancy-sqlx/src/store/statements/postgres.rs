use super::{Grammar, Statements};

pub(super) static OWN_TABLES: Statements = Statements {
    select: "SELECT t.id, t.slug, t.status, t.tenant_type, t.plan, t.settings, t.placement_server, \
        t.placement_database, t.placement_isolation, t.maintenance, t.epoch, t.incarnation, t.created_at_ms, \
        t.updated_at_ms, \
        (SELECT coalesce(json_agg(json_build_array(d.domain, d.is_active, d.is_primary, d.created_at_ms)), '[]')::text \
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
             pg_total_relation_size('tenants') + pg_total_relation_size('domains')
                 + pg_total_relation_size('tenancy_changes') AS bytes
         FROM tenancy_change_head",
    head: "SELECT h.number, c.stamp, 0 AS missing_triggers,
             (SELECT count(*) FROM tenants WHERE id = '') AS tenants_can_be_read
         FROM tenancy_change_head h JOIN tenancy_changes c ON c.number = h.number",
};

/// Over tables that tenancy does not guard: names may be shared, and a shared name leads to nobody.
pub(super) static VIEWS: Statements = Statements {
    select: "SELECT t.id, t.slug, t.status, t.tenant_type, t.plan, t.settings, t.data, t.placement_server, \
        t.placement_database, NULL::text AS placement_isolation, t.maintenance, t.epoch, t.incarnation, \
        coalesce(t.created_at_ms, 0) AS created_at_ms, coalesce(t.updated_at_ms, 0) AS updated_at_ms, \
        EXISTS (SELECT 1 FROM tenancy_tenants o WHERE o.slug = t.slug AND o.id <> t.id) AS slug_is_shared, \
        (SELECT coalesce(json_agg(json_build_array(d.domain, CASE WHEN EXISTS (SELECT 1 FROM tenancy_domains o \
               WHERE o.domain = d.domain AND o.tenant_id <> d.tenant_id) THEN 0 ELSE 1 END, 0, 0)), '[]')::text \
           FROM (SELECT DISTINCT domain, tenant_id FROM tenancy_domains WHERE tenant_id = t.id) d) AS domains \
        FROM tenancy_tenants t WHERE ",
    by_domain: (
        "t.id IN (SELECT min(tenant_id) FROM tenancy_domains WHERE domain = ",
        " GROUP BY domain HAVING count(DISTINCT tenant_id) = 1)",
    ),
    count: "SELECT count(*) AS answer FROM tenancy_tenants",
    status: "SELECT number, floor, pending, active, suspended, deleted,
             (SELECT count(*) FROM tenancy_domains) AS domains,
             pg_total_relation_size('tenancy_changes') AS bytes
         FROM tenancy_change_head, (SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
             count(*) FILTER (WHERE status = 'active') AS active,
             count(*) FILTER (WHERE status = 'suspended') AS suspended,
             count(*) FILTER (WHERE status = 'deleted') AS deleted FROM tenancy_tenants) t",
    // By the index on functions' names: a database may have a great many triggers, and this is asked each second.
    head: "SELECT h.number, c.stamp, (SELECT triggers FROM tenancy_schema) - (
             SELECT count(*) FROM pg_proc p
             JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
                 AND d.classid = 'pg_trigger'::regclass
             JOIN pg_trigger t ON t.oid = d.objid
             WHERE p.proname >= 'tenancy_on_' AND p.proname < 'tenancy_on`' AND t.tgenabled IN ('O', 'A')
                 AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('tenancy_schema'))
             ) AS missing_triggers,
             (SELECT count(*) FROM tenancy_tenants WHERE id = '') AS tenants_can_be_read
         FROM tenancy_change_head h JOIN tenancy_changes c ON c.number = h.number",
};

pub(super) static GRAMMAR: Grammar = Grammar {
    // An array: for what a subquery returns, the planner reckons with a hundred rows, and reads all of a table for them.
    in_list: (" = ANY (ARRAY(SELECT json_array_elements_text(", "::json)))"),
    lock_head: "SELECT number FROM tenancy_change_head FOR UPDATE",
    unseen: "SELECT coalesce(s.id, '') AS id, \
            CASE WHEN s.id IS NULL THEN 'it has no id' ELSE 'its triggers did not see how it is now' END AS reason \
            FROM tenancy_source s LEFT JOIN tenancy_incarnations i ON i.id = s.id \
            WHERE i.id IS NULL OR i.slug IS DISTINCT FROM s.slug \
        UNION ALL SELECT i.id, 'it is gone, and the triggers did not see that' \
            FROM tenancy_incarnations i WHERE NOT EXISTS (SELECT 1 FROM tenancy_source s WHERE s.id = i.id) \
        LIMIT ",
    has_unseen: "SELECT count(*) AS answer
        FROM (VALUES (to_regclass('tenancy_source')), (to_regclass('tenancy_incarnations'))) t(there)
        WHERE there IS NOT NULL",
};
