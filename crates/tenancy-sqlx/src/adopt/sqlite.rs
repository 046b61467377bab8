//! The SQL of an adoption, for SQLite. Another dialect gets a file of its own beside this one.
//!
//! | object | what for |
//! |---|---|
//! | view `tenancy_schema` | marks the file as adopted; a managed catalogue has a table of that name, so that neither script runs on the other's file |
//! | view `tenancy_tenants`, `tenancy_domains` | the fixed shape that stores read |
//! | table `tenancy_changes`, `tenancy_change_head` | the log and its number, as in a managed catalogue |
//! | table `tenancy_incarnations` | what each tenant was when it last changed: tells a row made anew, and which keys it has lost |
//! | view `tenancy_source` | id and slug as the application's tables have them now |
//! | view `tenancy_touch` | the way in: a row put into it is one change of one tenant |

use super::{
    AdoptedData, Adoption, DomainsTable, Removal,
    columns::{Columns, literal, name, of},
    source::Source,
};
use crate::CatalogueError;

const NOW_MS: &str = "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";

const VIEWS: [&str; 4] = [
    "tenancy_tenants",
    "tenancy_domains",
    "tenancy_source",
    "tenancy_touch",
];
const TRIGGERS: [&str; 7] = [
    "tenancy_on_touch",
    "tenancy_on_tenant_insert",
    "tenancy_on_tenant_update",
    "tenancy_on_tenant_delete",
    "tenancy_on_domain_insert",
    "tenancy_on_domain_update",
    "tenancy_on_domain_delete",
];
const INDEXES: [&str; 3] = [
    "tenancy_index_tenant_id",
    "tenancy_index_domain_tenant",
    "tenancy_index_domain",
];
const TABLES: [&str; 3] = ["tenancy_changes", "tenancy_change_head", "tenancy_incarnations"];

pub(super) fn adoption(adoption: &Adoption) -> Result<String, CatalogueError> {
    let columns = Columns::check(adoption)?;
    let sql = [
        "-- The tenancy catalogue over your own tables. Run it with: sqlite3 -bail FILE\n\
         BEGIN IMMEDIATE;\n\n\
         -- Fails on a managed catalogue, where this is a table.\n\
         DROP VIEW IF EXISTS tenancy_schema;\n"
            .to_owned(),
        drops(),
        tables(),
        columns.views(),
        columns.indexes(),
        START.replace("{now}", NOW_MS),
        TOUCH.replace("{now}", NOW_MS),
        columns.tenant_triggers(),
        columns.domain_triggers(),
        "\nCOMMIT;\n".to_owned(),
    ];
    Ok(sql.concat())
}

pub(super) fn removal(what: Removal) -> String {
    let mut sql = String::from(
        "-- Takes the tenancy catalogue out of your tables. Run it with: sqlite3 -bail FILE\n\
         BEGIN IMMEDIATE;\n\n\
         -- Fails on a managed catalogue, where this is a table.\n\
         DROP VIEW IF EXISTS tenancy_schema;\n",
    );
    sql += &drops();
    if what == Removal::Everything {
        for table in TABLES {
            sql += &format!("DROP TABLE IF EXISTS {table};\n");
        }
    }
    sql + "\nCOMMIT;\n"
}

fn drops() -> String {
    let of = |kind: &str, names: &[&str]| -> String {
        let lines = names
            .iter()
            .map(|name| format!("DROP {kind} IF EXISTS {name};\n"));
        lines.collect()
    };
    of("TRIGGER", &TRIGGERS) + &of("VIEW", &VIEWS) + &of("INDEX", &INDEXES)
}

fn tables() -> String {
    "
CREATE TABLE IF NOT EXISTS tenancy_change_head (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    number   INTEGER NOT NULL,
    floor    INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS tenancy_changes (
    number    INTEGER PRIMARY KEY NOT NULL,
    stamp     INTEGER NOT NULL,
    tenant_id TEXT,
    kind      TEXT    NOT NULL,
    keys      TEXT    NOT NULL,
    actor     TEXT,
    at_ms     INTEGER NOT NULL
);
-- What each tenant was when it last changed.
CREATE TABLE IF NOT EXISTS tenancy_incarnations (
    id            TEXT    PRIMARY KEY NOT NULL,
    slug          TEXT,
    domains       TEXT    NOT NULL,
    incarnation   INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    changed_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tenancy_incarnations_slug ON tenancy_incarnations (slug);
CREATE INDEX IF NOT EXISTS tenancy_incarnations_number ON tenancy_incarnations (incarnation);
"
    .to_owned()
}

/// Takes in the tenants that are there. Numbers begin with the time, so that a catalogue that was taken out and adopted
/// anew gives no incarnation twice. The log begins anew: readers list everything.
const START: &str = "
INSERT OR IGNORE INTO tenancy_change_head (only_row, number, floor) VALUES (1, {now}, {now});
DELETE FROM tenancy_incarnations WHERE id NOT IN (SELECT id FROM tenancy_source WHERE id IS NOT NULL);
INSERT INTO tenancy_incarnations (id, slug, domains, incarnation, epoch, changed_at_ms)
    SELECT s.id, NULL, '[]', h.number + row_number() OVER (ORDER BY s.id),
           h.number + row_number() OVER (ORDER BY s.id), {now}
    FROM tenancy_source s, tenancy_change_head h
    WHERE s.id IS NOT NULL AND s.id NOT IN (SELECT id FROM tenancy_incarnations);
UPDATE tenancy_incarnations SET
    slug = (SELECT s.slug FROM tenancy_source s WHERE s.id = tenancy_incarnations.id),
    domains = (SELECT json_group_array(DISTINCT d.domain) FROM tenancy_domains d
               WHERE d.tenant_id = tenancy_incarnations.id);
UPDATE tenancy_change_head SET number = number + 1 + (SELECT count(*) FROM tenancy_incarnations);
UPDATE tenancy_change_head SET floor = number;
DELETE FROM tenancy_changes;
INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, keys, actor, at_ms)
    SELECT number, random(), NULL, 'init', '[]', NULL, {now} FROM tenancy_change_head;
-- Fails here if a column is not there.
SELECT count(*) FROM (SELECT * FROM tenancy_tenants LIMIT 1);
";

/// One change of one tenant: takes a number, logs the keys that the tenant had or has, and remembers what it is now.
/// The log keeps the last 10,000.
const TOUCH: &str = "
CREATE TRIGGER tenancy_on_touch INSTEAD OF INSERT ON tenancy_touch BEGIN
    UPDATE tenancy_change_head SET number = number + 1, floor = max(floor, number - 9998);
    DELETE FROM tenancy_changes WHERE number < (SELECT floor FROM tenancy_change_head);
    UPDATE tenancy_incarnations SET incarnation = (SELECT number FROM tenancy_change_head)
        WHERE id = NEW.tenant_id AND NEW.kind = 'create';
    INSERT INTO tenancy_incarnations (id, slug, domains, incarnation, epoch, changed_at_ms)
        SELECT s.id, NULL, '[]', h.number, h.number, {now} FROM tenancy_source s, tenancy_change_head h
        WHERE s.id = NEW.tenant_id AND NOT EXISTS (SELECT 1 FROM tenancy_incarnations i WHERE i.id = s.id);
    INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, keys, actor, at_ms)
        SELECT h.number, random(), NEW.tenant_id, NEW.kind,
            (SELECT json_group_array(key) FROM (
                SELECT 'slug:' || i.slug AS key FROM tenancy_incarnations i WHERE i.id = NEW.tenant_id
                UNION SELECT 'domain:' || d.value FROM tenancy_incarnations i, json_each(i.domains) d
                    WHERE i.id = NEW.tenant_id
                UNION SELECT 'slug:' || s.slug FROM tenancy_source s WHERE s.id = NEW.tenant_id
                UNION SELECT 'domain:' || d.domain FROM tenancy_domains d WHERE d.tenant_id = NEW.tenant_id
            ) WHERE key IS NOT NULL),
            NULL, {now}
        FROM tenancy_change_head h;
    UPDATE tenancy_incarnations SET
        slug = (SELECT s.slug FROM tenancy_source s WHERE s.id = NEW.tenant_id),
        domains = (SELECT json_group_array(DISTINCT d.domain) FROM tenancy_domains d
                   WHERE d.tenant_id = NEW.tenant_id),
        epoch = (SELECT number FROM tenancy_change_head),
        changed_at_ms = {now}
        WHERE id = NEW.tenant_id;
    DELETE FROM tenancy_incarnations
        WHERE id = NEW.tenant_id AND NOT EXISTS (SELECT 1 FROM tenancy_source s WHERE s.id = NEW.tenant_id);
END;
";

impl Columns<'_> {
    fn views(&self) -> String {
        let triggers = match self.adoption.domains {
            Some(_) => 7,
            None => 4,
        };
        format!(
            "
CREATE VIEW tenancy_schema AS
    SELECT 1 AS version, 1 AS oldest_reader, 0 AS applied_at_ms, 'adopted' AS kind, {triggers} AS triggers;
CREATE VIEW tenancy_touch AS SELECT NULL AS tenant_id, NULL AS kind WHERE 0;
CREATE VIEW tenancy_source AS
    SELECT {id} AS id,
           {slug} AS slug
    FROM {table} c;
CREATE VIEW tenancy_tenants AS
    SELECT i.id AS id, i.slug AS slug,
           {status} AS status,
           {plan} AS plan,
           {tenant_type} AS tenant_type,
           {settings} AS settings,
           {data} AS data,
           {server} AS placement_server,
           {database} AS placement_database,
           {maintenance} AS maintenance,
           i.epoch AS epoch, i.incarnation AS incarnation,
           {created} AS created_at_ms,
           i.changed_at_ms AS updated_at_ms
    FROM tenancy_incarnations i JOIN {table} c ON {id} = i.id;
CREATE VIEW tenancy_domains AS
{domains};
",
            id = id_text(&of("c", self.id)),
            slug = self.slug(),
            table = name(self.table),
            status = self.status(),
            plan = text_or_null(self.plan),
            tenant_type = text_or_null(self.tenant_type),
            settings = text_or_null(self.settings),
            data = self.data(),
            server = text_or_null(self.placement_server),
            database = text_or_null(self.placement_database),
            maintenance = self.maintenance(),
            created = self.created(),
            domains = self.domains(),
        )
    }

    fn slug(&self) -> String {
        let id = id_text(&of("c", self.id));
        match (&self.adoption.domains, self.slug) {
            (_, Some(source)) => format!("lower({})", text(source)),
            (Some(domains), None) if self.adoption.stancl => format!(
                "coalesce((SELECT min({domain}) FROM {table} d
               WHERE {tenant} = {id} AND instr({domain}, '.') = 0), {id})",
                domain = domain_text(&of("d", &domains.domain)),
                table = name(&domains.table),
                tenant = id_text(&of("d", &domains.tenant)),
            ),
            (_, None) => id,
        }
    }

    fn status(&self) -> String {
        let Some(source) = self.status else {
            return "'active'".to_owned();
        };
        let value = text(source);
        let mut sql = format!("CASE coalesce({value}, '')");
        for (word, status) in &self.adoption.status_map {
            sql += &format!(" WHEN {} THEN {}", literal(word), literal(status.as_str()));
        }
        if self.adoption.status_map.is_empty() {
            return value;
        }
        sql + &format!(" ELSE {value} END")
    }

    fn data(&self) -> String {
        match &self.adoption.data {
            AdoptedData::None => "NULL".to_owned(),
            AdoptedData::Columns(columns) => {
                let fields: Vec<String> = columns
                    .iter()
                    .map(|column| {
                        let value = of("c", column);
                        // `json_object` refuses a blob, and with it the whole query.
                        format!(
                            "{}, CASE typeof({value}) WHEN 'blob' THEN lower(hex({value})) ELSE {value} END",
                            literal(column)
                        )
                    })
                    .collect();
                format!("json_object({})", fields.join(", "))
            }
            AdoptedData::Json(column) => {
                let value = of("c", column);
                if !self.adoption.stancl {
                    return format!("CAST({value} AS TEXT)");
                }
                format!(
                    "CASE WHEN json_valid({value}) THEN json_remove({value}, '$.tenancy_db_username', \
                     '$.tenancy_db_password') ELSE CAST({value} AS TEXT) END"
                )
            }
        }
    }

    fn maintenance(&self) -> String {
        if !self.adoption.stancl || self.maintenance.is_some() {
            return text_or_null(self.maintenance);
        }
        let data = of("c", "data");
        format!(
            "CASE WHEN json_valid({data}) AND json_type({data}, '$.maintenance_mode') IN ('object', 'array', 'true')
               THEN json_object('retry_after', CASE json_type({data}, '$.maintenance_mode.retry')
                   WHEN 'integer' THEN max(0, min(json_extract({data}, '$.maintenance_mode.retry'), 4294967295))
                   ELSE 60 END) END"
        )
    }

    fn created(&self) -> String {
        let Some(source) = self.created_at else {
            return "0".to_owned();
        };
        let value = raw(source);
        // A number above this is no time in seconds before the year 5000.
        format!(
            "coalesce(CASE typeof({value})
               WHEN 'integer' THEN CASE WHEN abs({value}) >= 100000000000 THEN {value} ELSE {value} * 1000 END
               WHEN 'text' THEN CAST(round((julianday({value}) - 2440587.5) * 86400000.0) AS INTEGER) END, 0)"
        )
    }

    fn domains(&self) -> String {
        let Some(domains) = &self.adoption.domains else {
            return "    SELECT NULL AS tenant_id, NULL AS domain WHERE 0".to_owned();
        };
        let domain = domain_text(&of("d", &domains.domain));
        let only_names = if self.adoption.stancl {
            format!(" AND instr({domain}, '.') > 0")
        } else {
            String::new()
        };
        format!(
            "    SELECT i.id AS tenant_id, {domain} AS domain
    FROM tenancy_incarnations i JOIN {table} d ON {tenant} = i.id
    WHERE {domain} IS NOT NULL{only_names}",
            table = name(&domains.table),
            tenant = id_text(&of("d", &domains.tenant)),
        )
    }

    fn indexes(&self) -> String {
        let mut sql = format!(
            "
CREATE UNIQUE INDEX tenancy_index_tenant_id ON {} ({});
",
            name(self.table),
            id_text(&name(self.id))
        );
        if let Some(DomainsTable {
            table,
            domain,
            tenant,
        }) = &self.adoption.domains
        {
            let table = name(table);
            sql += &format!(
                "CREATE INDEX tenancy_index_domain_tenant ON {table} ({});\n\
                 CREATE INDEX tenancy_index_domain ON {table} ({});\n",
                id_text(&name(tenant)),
                domain_text(&name(domain))
            );
        }
        sql
    }

    fn tenant_triggers(&self) -> String {
        let (old, new) = (id_text(&of("OLD", self.id)), id_text(&of("NEW", self.id)));
        // A new or moved row may have replaced one of the same id, for which SQLite runs no trigger: so what that was is
        // looked at first.
        format!(
            "
CREATE TRIGGER tenancy_on_tenant_insert AFTER INSERT ON {table} BEGIN
{others_of_new}{touch_new_create}{others_of_new}END;
CREATE TRIGGER tenancy_on_tenant_update AFTER UPDATE ON {table}
WHEN {changed}
BEGIN
{others_of_both}{touch_old_if_moved}{touch_new}{others_of_new}END;
CREATE TRIGGER tenancy_on_tenant_delete AFTER DELETE ON {table} BEGIN
{others_of_old}{touch_old}END;
",
            table = name(self.table),
            changed = any_differs(&self.read_columns()),
            touch_new_create = touch(&new, "'create'", "1"),
            touch_new = touch(
                &new,
                &format!("CASE WHEN {old} IS {new} THEN 'update' ELSE 'create' END"),
                "1"
            ),
            touch_old_if_moved = touch(&old, "'delete'", &format!("{old} IS NOT {new}")),
            touch_old = touch(&old, "'delete'", "1"),
            others_of_old = others(&[&old]),
            others_of_new = others(&[&new]),
            others_of_both = others(&[&old, &new]),
        )
    }

    fn domain_triggers(&self) -> String {
        let Some(DomainsTable {
            table,
            domain,
            tenant,
        }) = &self.adoption.domains
        else {
            return String::new();
        };
        let (old, new) = (id_text(&of("OLD", tenant)), id_text(&of("NEW", tenant)));
        let moved = format!("{old} IS NOT {new}");
        // A subdomain may be a slug: so others are looked for before and after.
        format!(
            "
CREATE TRIGGER tenancy_on_domain_insert AFTER INSERT ON {table} BEGIN
{others_of_new}{touch_new}{others_of_new}END;
CREATE TRIGGER tenancy_on_domain_update AFTER UPDATE ON {table}
WHEN {changed}
BEGIN
{others_of_both}{touch_old_if_moved}{touch_new}{others_of_both}END;
CREATE TRIGGER tenancy_on_domain_delete AFTER DELETE ON {table} BEGIN
{others_of_old}{touch_old}{others_of_old}END;
",
            table = name(table),
            changed = any_differs(&[domain.as_str(), tenant.as_str()]),
            touch_new = touch(&new, "'update'", "1"),
            touch_old = touch(&old, "'update'", "1"),
            touch_old_if_moved = touch(&old, "'update'", &moved),
            others_of_old = others(&[&old]),
            others_of_new = others(&[&new]),
            others_of_both = others(&[&old, &new]),
        )
    }
}

fn touch(id: &str, kind: &str, condition: &str) -> String {
    format!(
        "    INSERT INTO tenancy_touch (tenant_id, kind)
        SELECT {id}, {kind} WHERE {id} IS NOT NULL AND {condition};\n"
    )
}

/// Touches the tenants that have a name in common with these, as they last were: a name of two tenants leads to neither,
/// and once it is free again, to the one that still has it. Where the other is gone, because `REPLACE` removed it for its
/// slug, so are its domains: those who shared them are touched in its stead. All are looked for before one is touched,
/// since what a tenant last was is forgotten then.
fn others(ids: &[&str]) -> String {
    let of_each: Vec<String> = ids.iter().map(|id| others_of(id)).collect();
    format!(
        "    INSERT INTO tenancy_touch (tenant_id, kind)
        {};\n",
        of_each.join("\n        UNION ")
    )
}

fn others_of(id: &str) -> String {
    format!(
        "SELECT o.id, 'shared' FROM tenancy_incarnations i JOIN tenancy_incarnations o
            ON o.slug = i.slug AND o.id <> i.id WHERE i.id = {id}
        UNION SELECT o.tenant_id, 'shared' FROM tenancy_incarnations i, json_each(i.domains) d
            JOIN tenancy_domains o ON o.domain = d.value AND o.tenant_id <> i.id WHERE i.id = {id}
        UNION SELECT o.tenant_id, 'shared' FROM tenancy_incarnations i JOIN tenancy_incarnations gone
            ON gone.slug = i.slug AND gone.id <> i.id, json_each(gone.domains) d
            JOIN tenancy_domains o ON o.domain = d.value AND o.tenant_id <> gone.id
            WHERE i.id = {id} AND NOT EXISTS (SELECT 1 FROM tenancy_source s WHERE s.id = gone.id)"
    )
}

fn any_differs(columns: &[&str]) -> String {
    let differs: Vec<String> = columns
        .iter()
        .map(|column| format!("{} IS NOT {}", of("OLD", column), of("NEW", column)))
        .collect();
    differs.join(" OR ")
}

fn raw(source: Source<'_>) -> String {
    let column = of("c", source.column);
    match source.key {
        // A text that is no JSON would make the whole query fail, not this row alone.
        Some(key) => format!("CASE WHEN json_valid({column}) THEN json_extract({column}, '$.\"{key}\"') END"),
        None => column,
    }
}

fn text(source: Source<'_>) -> String {
    format!("CAST({} AS TEXT)", raw(source))
}

fn text_or_null(source: Option<Source<'_>>) -> String {
    source.map_or("NULL".to_owned(), text)
}

/// SQLite uses an index on an expression for a comparison with a column only if both have the column's affinity, and an
/// expression has one only by a cast.
fn id_text(column: &str) -> String {
    format!("CAST(CASE typeof({column}) WHEN 'blob' THEN lower(hex({column})) ELSE {column} END AS TEXT)")
}

fn domain_text(column: &str) -> String {
    format!("CAST(lower({column}) AS TEXT)")
}
