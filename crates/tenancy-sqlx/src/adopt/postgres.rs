//! The SQL of an adoption, for PostgreSQL 13 and newer. The objects are those of `sqlite`, but:
//!
//! | object | what for |
//! |---|---|
//! | functions `tenancy_on_tenants`, `tenancy_on_domains` | what the triggers run, once for a statement. With the rights of who adopted, so that the application needs none |
//! | functions `tenancy_touch`, `tenancy_touch_all`, `tenancy_sharing` | one change of one tenant; changes of several; who shares a name with them |
//! | functions `tenancy_json`, `tenancy_ms` | a text as JSON or as a time, or NULL: one bad row must not break the others |

use super::{
    AdoptedData, Adoption, DomainsTable, Removal,
    columns::{Columns, literal, name, of},
    source::Source,
};
use crate::CatalogueError;

const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// Nobody guesses it: what tells one history of the log from another.
const STAMP: &str = "('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 16))::bit(64)::bigint";

const DROPS: &str = "DROP FUNCTION IF EXISTS tenancy_on_tenants() CASCADE;
DROP FUNCTION IF EXISTS tenancy_on_domains() CASCADE;
DROP FUNCTION IF EXISTS tenancy_touch_all(text[], text[]);
DROP FUNCTION IF EXISTS tenancy_touch(text, text);
DROP FUNCTION IF EXISTS tenancy_sharing(text[]);
DROP VIEW IF EXISTS tenancy_tenants;
DROP VIEW IF EXISTS tenancy_domains;
DROP VIEW IF EXISTS tenancy_source;
DROP INDEX IF EXISTS tenancy_index_tenant_id;
DROP INDEX IF EXISTS tenancy_index_domain_tenant;
DROP INDEX IF EXISTS tenancy_index_domain;
DROP FUNCTION IF EXISTS tenancy_json(text);
DROP FUNCTION IF EXISTS tenancy_ms(text);
";

const TABLES: [&str; 3] = ["tenancy_changes", "tenancy_change_head", "tenancy_incarnations"];

pub(super) fn adoption(adoption: &Adoption) -> Result<String, CatalogueError> {
    let columns = Columns::check(adoption)?;
    let writer = Writer(&columns);
    let sql = [
        "-- The tenancy catalogue over your own tables. Run it with: psql -v ON_ERROR_STOP=1 -f FILE\n\
         BEGIN;\n\
         SET LOCAL standard_conforming_strings = on;\n\n\
         -- Fails on a managed catalogue, where this is a table.\n\
         DROP VIEW IF EXISTS tenancy_schema;\n"
            .to_owned(),
        writer.locks(),
        DROPS.to_owned(),
        MADE.to_owned(),
        writer.views(),
        writer.indexes(),
        START.replace("{now}", NOW_MS).replace("{stamp}", STAMP),
        TOUCH.replace("{now}", NOW_MS).replace("{stamp}", STAMP),
        checked(writer.tenant_triggers())?,
        checked(writer.domain_triggers())?,
        "\nCOMMIT;\n".to_owned(),
    ];
    Ok(sql.concat())
}

/// A name with the mark that ends a function's text would end it.
fn checked(function: String) -> Result<String, CatalogueError> {
    if function.matches("$tenancy$").count() > 2 {
        return Err(CatalogueError::invalid(
            "a name can not stand in SQL",
            "a name with `$tenancy$` in it can not be adopted",
        ));
    }
    Ok(function)
}

pub(super) fn removal(what: Removal) -> String {
    let mut sql = String::from(
        "-- Takes the tenancy catalogue out of your tables. Run it with: psql -v ON_ERROR_STOP=1 -f FILE\n\
         BEGIN;\n\n\
         -- Fails on a managed catalogue, where this is a table.\n\
         DROP VIEW IF EXISTS tenancy_schema;\n",
    );
    sql += DROPS;
    if what == Removal::Everything {
        for table in TABLES {
            sql += &format!("DROP TABLE IF EXISTS {table};\n");
        }
    }
    sql + "\nCOMMIT;\n"
}

/// Tables, and functions that read none.
const MADE: &str = r#"
CREATE TABLE IF NOT EXISTS tenancy_change_head (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    number   bigint NOT NULL,
    floor    bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS tenancy_changes (
    number    bigint PRIMARY KEY,
    stamp     bigint NOT NULL,
    tenant_id text COLLATE "C",
    kind      text NOT NULL,
    keys      text NOT NULL,
    actor     text,
    at_ms     bigint NOT NULL
);
-- What each tenant was when it last changed.
CREATE TABLE IF NOT EXISTS tenancy_incarnations (
    id            text COLLATE "C" PRIMARY KEY,
    slug          text COLLATE "C",
    domains       text NOT NULL,
    incarnation   bigint NOT NULL,
    epoch         bigint NOT NULL,
    changed_at_ms bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS tenancy_incarnations_slug ON tenancy_incarnations (slug);
CREATE INDEX IF NOT EXISTS tenancy_incarnations_number ON tenancy_incarnations (incarnation);

CREATE FUNCTION tenancy_json(given text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN given::jsonb;
EXCEPTION WHEN others THEN
    RETURN NULL;
END $$;
-- A number above 100000000000 is no time in seconds before the year 5000.
CREATE FUNCTION tenancy_ms(given text) RETURNS bigint LANGUAGE plpgsql STABLE SET timezone = 'UTC' AS $$
BEGIN
    IF given ~ '^-?[0-9]{1,18}$' THEN
        RETURN CASE WHEN abs(given::bigint) >= 100000000000 THEN given::bigint ELSE given::bigint * 1000 END;
    END IF;
    RETURN coalesce((extract(epoch FROM given::timestamptz) * 1000)::bigint, 0);
EXCEPTION WHEN others THEN
    RETURN 0;
END $$;
"#;

/// As in `sqlite`.
const START: &str = "
INSERT INTO tenancy_change_head (only_row, number, floor) VALUES (1, {now}, {now}) ON CONFLICT DO NOTHING;
DELETE FROM tenancy_incarnations WHERE id NOT IN (SELECT id FROM tenancy_source WHERE id IS NOT NULL);
INSERT INTO tenancy_incarnations (id, slug, domains, incarnation, epoch, changed_at_ms)
    SELECT s.id, NULL, '[]', h.number + row_number() OVER (ORDER BY s.id),
           h.number + row_number() OVER (ORDER BY s.id), {now}
    FROM tenancy_source s, tenancy_change_head h
    WHERE s.id IS NOT NULL AND s.id NOT IN (SELECT id FROM tenancy_incarnations);
UPDATE tenancy_incarnations i SET
    slug = (SELECT s.slug FROM tenancy_source s WHERE s.id = i.id),
    domains = (SELECT coalesce(jsonb_agg(DISTINCT d.domain), '[]')::text FROM tenancy_domains d WHERE d.tenant_id = i.id);
UPDATE tenancy_change_head SET number = number + 1 + (SELECT count(*) FROM tenancy_incarnations);
UPDATE tenancy_change_head SET floor = number;
DELETE FROM tenancy_changes;
INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, keys, actor, at_ms)
    SELECT number, {stamp}, NULL, 'init', '[]', NULL, {now} FROM tenancy_change_head;
-- Fails here if a row cannot be read.
SELECT count(*) FROM (SELECT * FROM tenancy_tenants LIMIT 1) t;
";

/// One change of one tenant, as in `sqlite`; then those of a statement, with all who share a name before or after it.
const TOUCH: &str = "
CREATE FUNCTION tenancy_touch(touched text, change_kind text) RETURNS void LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    taken bigint;
BEGIN
    UPDATE tenancy_change_head SET number = number + 1, floor = greatest(floor, number - 9998)
        RETURNING number INTO taken;
    DELETE FROM tenancy_changes WHERE number < (SELECT floor FROM tenancy_change_head);
    UPDATE tenancy_incarnations SET incarnation = taken WHERE id = touched AND change_kind = 'create';
    INSERT INTO tenancy_incarnations (id, slug, domains, incarnation, epoch, changed_at_ms)
        SELECT s.id, NULL, '[]', taken, taken, {now} FROM tenancy_source s WHERE s.id = touched
        ON CONFLICT DO NOTHING;
    INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, keys, actor, at_ms)
        VALUES (taken, {stamp}, touched, change_kind,
            (SELECT coalesce(jsonb_agg(key), '[]')::text FROM (
                SELECT 'slug:' || i.slug AS key FROM tenancy_incarnations i WHERE i.id = touched
                UNION SELECT 'domain:' || d.domain FROM tenancy_incarnations i
                    CROSS JOIN jsonb_array_elements_text(i.domains::jsonb) AS d(domain) WHERE i.id = touched
                UNION SELECT 'slug:' || s.slug FROM tenancy_source s WHERE s.id = touched
                UNION SELECT 'domain:' || d.domain FROM tenancy_domains d WHERE d.tenant_id = touched
            ) k WHERE key IS NOT NULL),
            NULL, {now});
    UPDATE tenancy_incarnations SET
        slug = (SELECT s.slug FROM tenancy_source s WHERE s.id = touched),
        domains = (SELECT coalesce(jsonb_agg(DISTINCT d.domain), '[]')::text FROM tenancy_domains d
                   WHERE d.tenant_id = touched),
        epoch = taken,
        changed_at_ms = {now}
        WHERE id = touched;
    DELETE FROM tenancy_incarnations
        WHERE id = touched AND NOT EXISTS (SELECT 1 FROM tenancy_source s WHERE s.id = touched);
    PERFORM pg_notify('tenancy_changes', taken::text);
END $$;

CREATE FUNCTION tenancy_sharing(touched text[]) RETURNS SETOF text LANGUAGE sql
    SET search_path FROM CURRENT AS $$
    SELECT o.id FROM tenancy_incarnations i JOIN tenancy_incarnations o ON o.slug = i.slug AND o.id <> i.id
        WHERE i.id = ANY (touched)
    UNION SELECT o.tenant_id FROM tenancy_incarnations i
        CROSS JOIN jsonb_array_elements_text(i.domains::jsonb) AS d(domain)
        JOIN tenancy_domains o ON o.domain = d.domain AND o.tenant_id <> i.id
        WHERE i.id = ANY (touched)
$$;

CREATE FUNCTION tenancy_touch_all(touched text[], kinds text[]) RETURNS void LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
BEGIN
    IF touched IS NULL THEN
        RETURN;
    END IF;
    -- First of all, so that what is read below stays true until the end of the transaction.
    PERFORM number FROM tenancy_change_head FOR UPDATE;
    PERFORM tenancy_touch(other, 'shared') FROM (SELECT tenancy_sharing(touched) AS other) o;
    PERFORM tenancy_touch(t.id, t.kind) FROM unnest(touched, kinds) AS t(id, kind);
    PERFORM tenancy_touch(other, 'shared') FROM (SELECT tenancy_sharing(touched) AS other) o;
END $$;
";

struct Writer<'a>(&'a Columns<'a>);

impl Writer<'_> {
    /// Nothing changes until the triggers are there.
    fn locks(&self) -> String {
        let mut tables = vec![name(self.0.table)];
        tables.extend(self.0.adoption.domains.iter().map(|domains| name(&domains.table)));
        format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE;\n", tables.join(", "))
    }

    fn views(&self) -> String {
        let columns = self.0;
        let triggers = match columns.adoption.domains {
            Some(_) => 8,
            None => 4,
        };
        format!(
            "
CREATE VIEW tenancy_schema AS
    SELECT 1 AS version, 1 AS oldest_reader, 0 AS applied_at_ms, 'adopted'::text AS kind, {triggers} AS triggers;
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
            id = id_text(&of("c", columns.id)),
            slug = self.slug(),
            table = name(columns.table),
            status = self.status(),
            plan = text_or_null(columns.plan),
            tenant_type = text_or_null(columns.tenant_type),
            settings = text_or_null(columns.settings),
            data = self.data(),
            server = text_or_null(columns.placement_server),
            database = text_or_null(columns.placement_database),
            maintenance = self.maintenance(),
            created = columns.created_at.map_or("0::bigint".to_owned(), |source| format!(
                "coalesce(tenancy_ms({}), 0)",
                text(source)
            )),
            domains = self.domains(),
        )
    }

    fn slug(&self) -> String {
        let id = id_text(&of("c", self.0.id));
        match (&self.0.adoption.domains, self.0.slug) {
            (_, Some(source)) => format!("lower({})", text(source)),
            (Some(domains), None) if self.0.adoption.stancl => format!(
                "coalesce((SELECT min({domain}) FROM {table} d
               WHERE {tenant} = {id} AND strpos({domain}, '.') = 0), {id})",
                domain = domain_text(&of("d", &domains.domain)),
                table = name(&domains.table),
                tenant = id_text(&of("d", &domains.tenant)),
            ),
            (_, None) => id,
        }
    }

    fn status(&self) -> String {
        let Some(source) = self.0.status else {
            return "'active'::text".to_owned();
        };
        let value = text(source);
        if self.0.adoption.status_map.is_empty() {
            return value;
        }
        let mut sql = format!("CASE coalesce({value}, '')");
        for (word, status) in &self.0.adoption.status_map {
            sql += &format!(" WHEN {} THEN {}", literal(word), literal(status.as_str()));
        }
        sql + &format!(" ELSE {value} END")
    }

    fn data(&self) -> String {
        match &self.0.adoption.data {
            AdoptedData::None => "NULL::text".to_owned(),
            // A function takes 100 arguments.
            AdoptedData::Columns(columns) => {
                let objects: Vec<String> = columns
                    .chunks(40)
                    .map(|columns| {
                        let fields: Vec<String> = columns.iter().map(|column| field(column)).collect();
                        format!("jsonb_build_object({})", fields.join(", "))
                    })
                    .collect();
                format!("({})::text", objects.join(" || "))
            }
            AdoptedData::Json(column) => {
                let value = format!("({})::text", of("c", column));
                if !self.0.adoption.stancl {
                    return value;
                }
                format!(
                    "CASE WHEN jsonb_typeof(tenancy_json({value})) = 'object' THEN (tenancy_json({value}) \
                     - 'tenancy_db_username' - 'tenancy_db_password')::text ELSE {value} END"
                )
            }
        }
    }

    fn maintenance(&self) -> String {
        if !self.0.adoption.stancl || self.0.maintenance.is_some() {
            return text_or_null(self.0.maintenance);
        }
        let mode = format!(
            "(tenancy_json(({})::text) -> 'maintenance_mode')",
            of("c", "data")
        );
        format!(
            "CASE WHEN jsonb_typeof({mode}) IN ('object', 'array') OR {mode} = 'true'::jsonb
               THEN json_build_object('retry_after', CASE WHEN jsonb_typeof({mode} -> 'retry') = 'number'
                   AND ({mode} ->> 'retry') ~ '^-?[0-9]{{1,18}}$'
                   THEN greatest(0, least(({mode} ->> 'retry')::bigint, 4294967295)) ELSE 60 END)::text END"
        )
    }

    fn domains(&self) -> String {
        let Some(domains) = &self.0.adoption.domains else {
            return "    SELECT NULL::text AS tenant_id, NULL::text AS domain WHERE false".to_owned();
        };
        let domain = domain_text(&of("d", &domains.domain));
        let only_names = if self.0.adoption.stancl {
            format!(" AND strpos({domain}, '.') > 0")
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
            name(self.0.table),
            id_text(&name(self.0.id))
        );
        if let Some(DomainsTable {
            table,
            domain,
            tenant,
        }) = &self.0.adoption.domains
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
        let id = id_text(&of("r", self.0.id));
        function_of_tenants(&id, &as_texts(&self.0.read_columns()))
            + &triggers("tenant", self.0.table, "tenancy_on_tenants")
    }

    fn domain_triggers(&self) -> String {
        let Some(DomainsTable {
            table,
            domain,
            tenant,
        }) = &self.0.adoption.domains
        else {
            return String::new();
        };
        let id = id_text(&of("r", tenant));
        function_of_domains(&id, &as_texts(&[domain])) + &triggers("domain", table, "tenancy_on_domains")
    }
}

/// With names of their own, for one of them may be called `id`.
fn as_texts(columns: &[&str]) -> String {
    let texts = columns.iter().zip(1..);
    let texts: Vec<String> = texts
        .map(|(column, number)| format!("({})::text AS read_{number}", of("r", column)))
        .collect();
    texts.join(", ")
}

/// What of the rows of a statement is new, gone, or another than before. Rows are compared as texts: not every type has an
/// equality.
fn changed(id: &str, read: &str) -> String {
    format!(
        "before AS (SELECT {id} AS id, {read} FROM old_rows r),
            after AS (SELECT {id} AS id, {read} FROM new_rows r),
            changed AS ((TABLE before EXCEPT ALL TABLE after) UNION ALL (TABLE after EXCEPT ALL TABLE before))"
    )
}

fn function_of_tenants(id: &str, read: &str) -> String {
    format!(
        "
CREATE FUNCTION tenancy_on_tenants() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path FROM CURRENT AS $tenancy$
DECLARE
    ids text[];
    kinds text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(id), array_agg('create'::text) INTO ids, kinds
            FROM (SELECT DISTINCT {id} AS id FROM new_rows r) t WHERE id IS NOT NULL;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(id), array_agg('delete'::text) INTO ids, kinds
            FROM (SELECT DISTINCT {id} AS id FROM old_rows r) t WHERE id IS NOT NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        WITH {changed}
        SELECT array_agg(id), array_agg(kind) INTO ids, kinds FROM (
            SELECT DISTINCT id, CASE WHEN id NOT IN (SELECT id FROM after WHERE id IS NOT NULL) THEN 'delete'
                WHEN id NOT IN (SELECT id FROM before WHERE id IS NOT NULL) THEN 'create' ELSE 'update' END AS kind
            FROM changed WHERE id IS NOT NULL) t;
    ELSE
        SELECT array_agg(id), array_agg('delete'::text) INTO ids, kinds FROM tenancy_incarnations;
    END IF;
    PERFORM tenancy_touch_all(ids, kinds);
    RETURN NULL;
END $tenancy$;
",
        changed = changed(id, read)
    )
}

fn function_of_domains(id: &str, read: &str) -> String {
    format!(
        "
CREATE FUNCTION tenancy_on_domains() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path FROM CURRENT AS $tenancy$
DECLARE
    ids text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(id) INTO ids FROM (SELECT DISTINCT {id} AS id FROM new_rows r) t WHERE id IS NOT NULL;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(id) INTO ids FROM (SELECT DISTINCT {id} AS id FROM old_rows r) t WHERE id IS NOT NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        WITH {changed}
        SELECT array_agg(DISTINCT id) INTO ids FROM changed WHERE id IS NOT NULL;
    ELSE
        SELECT array_agg(id) INTO ids FROM tenancy_incarnations;
    END IF;
    PERFORM tenancy_touch_all(ids, array_fill('update'::text, ARRAY[coalesce(array_length(ids, 1), 0)]));
    RETURN NULL;
END $tenancy$;
",
        changed = changed(id, read)
    )
}

fn triggers(what: &str, table: &str, function: &str) -> String {
    let table = name(table);
    [
        ("insert", "INSERT", "REFERENCING NEW TABLE AS new_rows "),
        (
            "update",
            "UPDATE",
            "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ",
        ),
        ("delete", "DELETE", "REFERENCING OLD TABLE AS old_rows "),
        ("truncate", "TRUNCATE", ""),
    ]
    .map(|(event, on, rows)| {
        format!(
            "CREATE TRIGGER tenancy_on_{what}_{event} AFTER {on} ON {table} {rows}\n    \
             FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n"
        )
    })
    .concat()
}

/// Bytes are written in hex.
fn field(column: &str) -> String {
    let value = of("c", column);
    format!(
        "{}, CASE WHEN pg_typeof({value}) = 'bytea'::regtype THEN to_jsonb(replace(({value})::text, '\\x', '')) \
         ELSE to_jsonb({value}) END",
        literal(column)
    )
}

/// Compared byte by byte, so that no database's own order of letters counts.
fn text(source: Source<'_>) -> String {
    let value = of("c", source.column);
    match source.key {
        Some(key) => format!("((tenancy_json(({value})::text) ->> '{key}') COLLATE \"C\")"),
        None => format!("(({value})::text COLLATE \"C\")"),
    }
}

fn text_or_null(source: Option<Source<'_>>) -> String {
    source.map_or("NULL::text".to_owned(), text)
}

/// Bytes are written in hex, without what PostgreSQL puts before it.
fn id_text(column: &str) -> String {
    format!("(replace(({column})::text, '\\x', '') COLLATE \"C\")")
}

fn domain_text(column: &str) -> String {
    format!("(lower(({column})::text COLLATE \"C\"))")
}
