//! The SQL of an adoption, for MySQL 8.0.21 and newer and MariaDB 10.6 and newer. Its statements that change a schema
//! commit at once, so the text is a list of steps of which each can be run again. The objects are those of `sqlite`, but:
//!
//! | object | what for |
//! |---|---|
//! | table `tenancy_source_ids` | the application's own id beside its text, so that its own indexes are used: there are none on expressions |
//! | table `tenancy_incarnation_domains` | the domains of each tenant when it last changed, in lower case; the view `tenancy_domains` reads it |
//! | procedures `tenancy_change`, `tenancy_touch` | a change with all who share a name before or after it; one change of one tenant |

use super::{AdoptedData, Adoption, DomainsTable, Removal, columns::Columns, source::Source};
use crate::CatalogueError;

const NOW_MS: &str = "CAST(unix_timestamp(now(3)) * 1000 AS SIGNED)";
/// Nobody guesses it: what tells one history of the log from another.
const STAMP: &str = "CAST(conv(substr(sha2(concat(uuid(), rand()), 256), 1, 15), 16, 10) AS SIGNED)";
/// Texts of a routine have the collation of the tables.
const TEXT: &str = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

const TRIGGERS: [&str; 6] = [
    "tenancy_on_tenant_insert",
    "tenancy_on_tenant_update",
    "tenancy_on_tenant_delete",
    "tenancy_on_domain_insert",
    "tenancy_on_domain_update",
    "tenancy_on_domain_delete",
];
const PROCEDURES: [&str; 2] = ["tenancy_change", "tenancy_touch"];
const VIEWS: [&str; 3] = ["tenancy_tenants", "tenancy_domains", "tenancy_source"];
/// Made of the application's tables anew at each adoption.
const COPIES: [&str; 2] = ["tenancy_source_ids", "tenancy_incarnation_domains"];
const TABLES: [&str; 3] = ["tenancy_changes", "tenancy_change_head", "tenancy_incarnations"];

/// The steps, in their order.
pub(super) fn adoption(adoption: &Adoption) -> Result<Vec<String>, CatalogueError> {
    let columns = Columns::check(adoption)?;
    let writer = Writer(&columns);
    let mut steps = vec![writer.schema()];
    steps.extend(drops());
    steps.extend(COPIES.map(|table| format!("DROP TABLE IF EXISTS {table}")));
    steps.extend(tables());
    steps.push(writer.source_ids());
    steps.extend(writer.views());
    steps.push(writer.touch());
    steps.push(change());
    steps.extend(writer.tenant_triggers());
    steps.extend(writer.domain_triggers());
    steps.extend(writer.start());
    Ok(steps)
}

pub(super) fn removal(what: Removal) -> Vec<String> {
    // Fails on a managed catalogue, where this is a table.
    let mut steps = vec!["CREATE OR REPLACE VIEW tenancy_schema AS SELECT 'removed' AS kind".to_owned()];
    steps.extend(drops());
    steps.extend(COPIES.map(|table| format!("DROP TABLE IF EXISTS {table}")));
    if what == Removal::Everything {
        steps.extend(TABLES.map(|table| format!("DROP TABLE IF EXISTS {table}")));
    }
    steps.push("DROP VIEW IF EXISTS tenancy_schema".to_owned());
    steps
}

/// As a text for the `mysql` program, which must be told where a routine ends.
pub(super) fn text(about: &str, steps: &[String]) -> String {
    let mut text = format!("-- {about} Run it with: mysql DATABASE < FILE\n");
    for step in steps {
        if step.contains(';') {
            text += &format!("DELIMITER //\n{step}//\nDELIMITER ;\n");
        } else {
            text += &format!("{step};\n");
        }
    }
    text
}

fn drops() -> impl Iterator<Item = String> {
    let of = |kind: &'static str, names: &'static [&'static str]| {
        names
            .iter()
            .map(move |name| format!("DROP {kind} IF EXISTS {name}"))
    };
    of("TRIGGER", &TRIGGERS)
        .chain(of("PROCEDURE", &PROCEDURES))
        .chain(of("VIEW", &VIEWS))
}

fn tables() -> [String; 4] {
    let of = |text: &str| format!("{text} ENGINE = InnoDB DEFAULT {TEXT}");
    [
        of("CREATE TABLE IF NOT EXISTS tenancy_change_head (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    number   BIGINT NOT NULL,
    floor    BIGINT NOT NULL)"),
        of("CREATE TABLE IF NOT EXISTS tenancy_changes (
    number    BIGINT NOT NULL PRIMARY KEY,
    stamp     BIGINT NOT NULL,
    tenant_id VARCHAR(191),
    kind      VARCHAR(32) NOT NULL,
    `keys`    MEDIUMTEXT NOT NULL,
    actor     TEXT,
    at_ms     BIGINT NOT NULL)"),
        of("CREATE TABLE IF NOT EXISTS tenancy_incarnations (
    id            VARCHAR(191) NOT NULL PRIMARY KEY,
    slug          VARCHAR(255),
    incarnation   BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    INDEX (slug), INDEX (incarnation))"),
        of("CREATE TABLE tenancy_incarnation_domains (
    tenant_id VARCHAR(191) NOT NULL,
    domain    VARCHAR(255) NOT NULL,
    PRIMARY KEY (tenant_id, domain), INDEX (domain))"),
    ]
}

/// One change, with all who share a name before or after it. Takes the head's lock first, so that no two wait for each
/// other inside.
fn change() -> String {
    let others = |join: &str| {
        format!(
            "    SET last_id = '';
    REPEAT
        SET next_id = NULL;
        SELECT min(o.{column}) INTO next_id FROM {join} AND o.{column} > last_id LOCK IN SHARE MODE;
        IF next_id IS NOT NULL THEN
            CALL tenancy_touch(next_id, 'shared');
            SET last_id = next_id;
        END IF;
    UNTIL next_id IS NULL END REPEAT;
",
            column = if join.starts_with("tenancy_incarnation_domains") {
                "tenant_id"
            } else {
                "id"
            }
        )
    };
    let slugs = others(
        "tenancy_incarnations i JOIN tenancy_incarnations o ON o.slug = i.slug AND o.id <> i.id WHERE i.id = touched",
    );
    let domains = others(
        "tenancy_incarnation_domains i JOIN tenancy_incarnation_domains o ON o.domain = i.domain \
         AND o.tenant_id <> i.tenant_id WHERE i.tenant_id = touched",
    );
    format!(
        "CREATE PROCEDURE tenancy_change(touched VARCHAR(191) {TEXT}, change_kind VARCHAR(16) {TEXT})
    MODIFIES SQL DATA
BEGIN
    DECLARE locked BIGINT;
    DECLARE next_id VARCHAR(191) {TEXT};
    DECLARE last_id VARCHAR(191) {TEXT};
    SELECT number INTO locked FROM tenancy_change_head FOR UPDATE;
{slugs}{domains}    CALL tenancy_touch(touched, change_kind);
{slugs}{domains}END"
    )
}

struct Writer<'a>(&'a Columns<'a>);

impl Writer<'_> {
    /// First of all: it fails on a managed catalogue, where this is a table.
    fn schema(&self) -> String {
        let triggers = match self.0.adoption.domains {
            Some(_) => 6,
            None => 3,
        };
        format!(
            "CREATE OR REPLACE VIEW tenancy_schema AS SELECT 1 AS version, 1 AS oldest_reader, 0 AS applied_at_ms, \
             'adopted' AS kind, {triggers} AS triggers"
        )
    }

    fn source_ids(&self) -> String {
        format!(
            "CREATE TABLE tenancy_source_ids (id VARCHAR(191) {TEXT} NOT NULL PRIMARY KEY, INDEX (source_id)) \
             ENGINE = InnoDB
    SELECT {id} AS id, {raw} AS source_id FROM {table} c WHERE {id} IS NOT NULL",
            id = id_text(&of("c", self.0.id)),
            raw = of("c", self.0.id),
            table = name(self.0.table),
        )
    }

    fn views(&self) -> [String; 3] {
        let columns = self.0;
        let table = name(columns.table);
        let raw = of("c", columns.id);
        [
            format!(
                "CREATE VIEW tenancy_source AS SELECT {id} AS id, {slug} AS slug FROM {table} c",
                id = id_text(&raw),
                slug = self.slug(),
            ),
            "CREATE VIEW tenancy_domains AS SELECT tenant_id, domain FROM tenancy_incarnation_domains".to_owned(),
            format!(
                "CREATE VIEW tenancy_tenants AS
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
    FROM tenancy_incarnations i JOIN tenancy_source_ids s ON s.id = i.id JOIN {table} c ON {raw} = s.source_id",
                status = self.status(),
                plan = text_or_null(columns.plan),
                tenant_type = text_or_null(columns.tenant_type),
                settings = text_or_null(columns.settings),
                data = self.data(),
                server = text_or_null(columns.placement_server),
                database = text_or_null(columns.placement_database),
                maintenance = self.maintenance(),
                created = created(columns.created_at),
            ),
        ]
    }

    /// The rows of a tenant's own table, as `c`, of those whose ids `s` has.
    fn source_rows(&self) -> String {
        format!(
            "tenancy_source_ids s JOIN {} c ON {} = s.source_id",
            name(self.0.table),
            of("c", self.0.id)
        )
    }

    /// The rows of domains, as `d`, of the tenants whose ids `s` has, and the condition on them.
    fn domain_rows(&self) -> Option<(String, String, String)> {
        let domains = self.0.adoption.domains.as_ref()?;
        let domain = domain_text(&of("d", &domains.domain));
        let from = format!(
            "tenancy_source_ids s JOIN {} d ON {} = s.source_id",
            name(&domains.table),
            of("d", &domains.tenant)
        );
        let mut condition = format!("{domain} IS NOT NULL");
        if self.0.adoption.stancl {
            condition += &format!(" AND locate('.', {domain}) > 0");
        }
        Some((domain, from, condition))
    }

    /// One change of one tenant: takes a number, logs the keys that it had or has, and remembers what it is now. The log
    /// keeps the last 10,000. Of a tenant that only shares a name with it, nothing else has changed.
    fn touch(&self) -> String {
        let source = self.source_rows();
        let slug = self.slug();
        let (key_of_domain, domains) = match self.domain_rows() {
            Some((domain, from, condition)) => (
                format!(
                    "
            UNION SELECT concat('domain:', {domain}) FROM {from}
                WHERE s.id = touched AND change_kind <> 'shared' AND {condition}"
                ),
                format!(
                    "
        INSERT INTO tenancy_incarnation_domains (tenant_id, domain)
            SELECT DISTINCT touched, {domain} FROM {from} WHERE s.id = touched AND {condition};"
                ),
            ),
            None => (String::new(), String::new()),
        };
        format!(
            "CREATE PROCEDURE tenancy_touch(touched VARCHAR(191) {TEXT}, change_kind VARCHAR(16) {TEXT})
    MODIFIES SQL DATA
BEGIN
    DECLARE taken BIGINT;
    DECLARE now_ms BIGINT DEFAULT {NOW_MS};
    UPDATE tenancy_change_head SET floor = greatest(floor, number - 9998), number = number + 1;
    SELECT number INTO taken FROM tenancy_change_head;
    DELETE FROM tenancy_changes WHERE number < (SELECT floor FROM tenancy_change_head);
    UPDATE tenancy_incarnations SET incarnation = taken WHERE id = touched AND change_kind = 'create';
    INSERT INTO tenancy_incarnations (id, slug, incarnation, epoch, changed_at_ms)
        SELECT s.id, NULL, taken, taken, now_ms FROM {source} WHERE s.id = touched AND change_kind <> 'shared'
        ON DUPLICATE KEY UPDATE id = tenancy_incarnations.id;
    INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, `keys`, actor, at_ms)
        SELECT taken, {STAMP}, touched, change_kind, (SELECT coalesce(json_arrayagg(k.name), '[]') FROM (
            SELECT concat('slug:', i.slug) AS name FROM tenancy_incarnations i WHERE i.id = touched
            UNION SELECT concat('domain:', i.domain) FROM tenancy_incarnation_domains i WHERE i.tenant_id = touched
            UNION SELECT concat('slug:', {slug}) FROM {source} WHERE s.id = touched AND change_kind <> 'shared'{key_of_domain}
        ) k WHERE k.name IS NOT NULL), NULL, now_ms;
    IF change_kind <> 'shared' THEN
        DELETE FROM tenancy_incarnation_domains WHERE tenant_id = touched;{domains}
        UPDATE tenancy_incarnations SET slug = (SELECT {slug} FROM {source} WHERE s.id = touched) WHERE id = touched;
    END IF;
    UPDATE tenancy_incarnations SET epoch = taken, changed_at_ms = now_ms WHERE id = touched;
    IF change_kind <> 'shared' AND NOT EXISTS (SELECT 1 FROM {source} WHERE s.id = touched) THEN
        DELETE FROM tenancy_incarnation_domains WHERE tenant_id = touched;
        DELETE FROM tenancy_incarnations WHERE id = touched;
    END IF;
END"
        )
    }

    fn slug(&self) -> String {
        let id = id_text(&of("c", self.0.id));
        match (&self.0.adoption.domains, self.0.slug) {
            (_, Some(source)) => format!("left(lower({}), 255)", text_of(source)),
            (Some(domains), None) if self.0.adoption.stancl => format!(
                "coalesce((SELECT min({domain}) FROM {table} d WHERE {tenant} = {raw} AND locate('.', {domain}) = 0), {id})",
                domain = domain_text(&of("d", &domains.domain)),
                table = name(&domains.table),
                tenant = of("d", &domains.tenant),
                raw = of("c", self.0.id),
            ),
            (_, None) => id,
        }
    }

    fn status(&self) -> String {
        let Some(source) = self.0.status else {
            return format!(
                "CAST('active' AS CHAR {}) COLLATE utf8mb4_bin",
                "CHARACTER SET utf8mb4"
            );
        };
        let value = text_of(source);
        if self.0.adoption.status_map.is_empty() {
            return value;
        }
        // Binary: other texts are equal with and without spaces at the end.
        let mut sql = format!("CASE CAST(coalesce({value}, '') AS BINARY)");
        for (word, status) in &self.0.adoption.status_map {
            sql += &format!(
                " WHEN CAST({} AS BINARY) THEN '{}'",
                literal(word),
                status.as_str()
            );
        }
        sql + &format!(" ELSE {value} END")
    }

    fn data(&self) -> String {
        match &self.0.adoption.data {
            AdoptedData::None => "NULL".to_owned(),
            AdoptedData::Columns(columns) => {
                let fields: Vec<String> = columns
                    .iter()
                    .map(|column| format!("{}, {}", literal(column), of("c", column)))
                    .collect();
                format!(
                    "CAST(json_object({}) AS CHAR CHARACTER SET utf8mb4)",
                    fields.join(", ")
                )
            }
            AdoptedData::Json(column) => {
                let value = of("c", column);
                if !self.0.adoption.stancl {
                    return format!("convert({value} USING utf8mb4)");
                }
                format!(
                    "CASE WHEN json_valid({value}) THEN CAST(json_remove({value}, '$.tenancy_db_username', \
                     '$.tenancy_db_password') AS CHAR CHARACTER SET utf8mb4) ELSE convert({value} USING utf8mb4) END"
                )
            }
        }
    }

    fn maintenance(&self) -> String {
        if !self.0.adoption.stancl || self.0.maintenance.is_some() {
            return text_or_null(self.0.maintenance);
        }
        let data = of("c", "data");
        let mode = format!("json_extract({data}, '$.maintenance_mode')");
        let retry = format!("json_extract({data}, '$.maintenance_mode.retry')");
        format!(
            "CASE WHEN json_valid({data}) AND (json_type({mode}) IN ('OBJECT', 'ARRAY') OR {mode} = 'true')
               THEN concat('{{\"retry_after\":', CASE json_type({retry}) WHEN 'INTEGER'
                   THEN greatest(0, least(CAST({retry} AS SIGNED), 4294967295)) ELSE 60 END, '}}') END"
        )
    }

    fn tenant_triggers(&self) -> [String; 3] {
        let table = name(self.0.table);
        let (old_raw, new_raw) = (of("OLD", self.0.id), of("NEW", self.0.id));
        let (old, new) = (id_text(&old_raw), id_text(&new_raw));
        let remember = format!("REPLACE INTO tenancy_source_ids (id, source_id) VALUES ({new}, {new_raw});");
        let forget = format!("DELETE FROM tenancy_source_ids WHERE id = {old};");
        [
            format!(
                "CREATE TRIGGER tenancy_on_tenant_insert AFTER INSERT ON {table} FOR EACH ROW
IF {new} IS NOT NULL THEN
    {remember}
    CALL tenancy_change({new}, 'create');
END IF"
            ),
            format!(
                "CREATE TRIGGER tenancy_on_tenant_update AFTER UPDATE ON {table} FOR EACH ROW
IF NOT ({old} <=> {new}) THEN
    IF {old} IS NOT NULL THEN
        {forget}
        CALL tenancy_change({old}, 'delete');
    END IF;
    IF {new} IS NOT NULL THEN
        {remember}
        CALL tenancy_change({new}, 'create');
    END IF;
ELSEIF {differs} THEN
    CALL tenancy_change({new}, 'update');
END IF",
                differs = any_differs(&self.0.read_columns()),
            ),
            format!(
                "CREATE TRIGGER tenancy_on_tenant_delete AFTER DELETE ON {table} FOR EACH ROW
IF {old} IS NOT NULL THEN
    {forget}
    CALL tenancy_change({old}, 'delete');
END IF"
            ),
        ]
    }

    fn domain_triggers(&self) -> Vec<String> {
        let Some(DomainsTable {
            table,
            domain,
            tenant,
        }) = &self.0.adoption.domains
        else {
            return Vec::new();
        };
        let table = name(table);
        let (old, new) = (id_text(&of("OLD", tenant)), id_text(&of("NEW", tenant)));
        let differs = any_differs(&[domain, tenant]);
        vec![
            format!(
                "CREATE TRIGGER tenancy_on_domain_insert AFTER INSERT ON {table} FOR EACH ROW
IF {new} IS NOT NULL THEN CALL tenancy_change({new}, 'update'); END IF"
            ),
            format!(
                "CREATE TRIGGER tenancy_on_domain_update AFTER UPDATE ON {table} FOR EACH ROW
IF {differs} THEN
    IF {old} IS NOT NULL AND NOT ({old} <=> {new}) THEN CALL tenancy_change({old}, 'update'); END IF;
    IF {new} IS NOT NULL THEN CALL tenancy_change({new}, 'update'); END IF;
END IF"
            ),
            format!(
                "CREATE TRIGGER tenancy_on_domain_delete AFTER DELETE ON {table} FOR EACH ROW
IF {old} IS NOT NULL THEN CALL tenancy_change({old}, 'update'); END IF"
            ),
        ]
    }

    /// Takes in the tenants that are there, as in `sqlite`. The triggers wait for the head meanwhile.
    fn start(&self) -> Vec<String> {
        let source = self.source_rows();
        let slug = self.slug();
        let mut steps = vec![
            format!(
                "INSERT INTO tenancy_change_head (only_row, number, floor) VALUES (1, {NOW_MS}, {NOW_MS}) \
                 ON DUPLICATE KEY UPDATE only_row = 1"
            ),
            "START TRANSACTION".to_owned(),
            "SELECT number FROM tenancy_change_head FOR UPDATE".to_owned(),
            "DELETE FROM tenancy_incarnations WHERE id NOT IN (SELECT id FROM tenancy_source_ids)".to_owned(),
            format!(
                "INSERT INTO tenancy_incarnations (id, slug, incarnation, epoch, changed_at_ms)
    SELECT s.id, NULL, h.number + row_number() OVER (ORDER BY s.id), h.number + row_number() OVER (ORDER BY s.id), {NOW_MS}
    FROM tenancy_source_ids s JOIN tenancy_change_head h LEFT JOIN tenancy_incarnations i ON i.id = s.id
    WHERE i.id IS NULL"
            ),
            "DELETE FROM tenancy_incarnation_domains".to_owned(),
        ];
        if let Some((domain, from, condition)) = self.domain_rows() {
            steps.push(format!(
                "INSERT INTO tenancy_incarnation_domains (tenant_id, domain)
    SELECT DISTINCT s.id, {domain} FROM {from} WHERE {condition}"
            ));
        }
        steps.extend([
            format!(
                "UPDATE tenancy_incarnations i SET i.slug = (SELECT {slug} FROM {source} WHERE s.id = i.id)"
            ),
            "UPDATE tenancy_change_head SET number = number + 1 + (SELECT count(*) FROM tenancy_incarnations)".to_owned(),
            "UPDATE tenancy_change_head SET floor = number".to_owned(),
            "DELETE FROM tenancy_changes".to_owned(),
            format!(
                "INSERT INTO tenancy_changes (number, stamp, tenant_id, kind, `keys`, actor, at_ms)
    SELECT number, {STAMP}, NULL, 'init', '[]', NULL, {NOW_MS} FROM tenancy_change_head"
            ),
            "COMMIT".to_owned(),
        ]);
        steps
    }
}

/// Compared as bytes: with a database's own order of letters, upper and lower case may be the same.
fn any_differs(columns: &[&str]) -> String {
    let differs: Vec<String> = columns
        .iter()
        .map(|column| {
            format!(
                "NOT (CAST({} AS BINARY) <=> CAST({} AS BINARY))",
                of("OLD", column),
                of("NEW", column)
            )
        })
        .collect();
    differs.join(" OR ")
}

fn created(source: Option<Source<'_>>) -> String {
    let Some(source) = source else {
        return "0".to_owned();
    };
    let value = text_of(source);
    // A number above this is no time in seconds before the year 5000.
    format!(
        "coalesce(CASE WHEN {value} REGEXP '^-?[0-9]{{1,18}}$' THEN CASE WHEN abs(CAST({value} AS SIGNED)) >= 100000000000
               THEN CAST({value} AS SIGNED) ELSE CAST({value} AS SIGNED) * 1000 END
               ELSE CAST(unix_timestamp({value}) * 1000 AS SIGNED) END, 0)"
    )
}

fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// In hex: whether a backslash escapes depends on the session.
fn literal(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("_utf8mb4 0x{hex}")
}

fn of(table: &str, column: &str) -> String {
    format!("{table}.{}", name(column))
}

fn text_of(source: Source<'_>) -> String {
    let column = of("c", source.column);
    let value = match source.key {
        Some(key) => format!(
            "CASE WHEN json_valid({column}) AND json_type(json_extract({column}, '$.\"{key}\"')) <> 'NULL' \
             THEN json_unquote(json_extract({column}, '$.\"{key}\"')) END"
        ),
        None => column,
    };
    format!("convert({value} USING utf8mb4) COLLATE utf8mb4_bin")
}

fn text_or_null(source: Option<Source<'_>>) -> String {
    source.map_or("NULL".to_owned(), text_of)
}

/// Cut, so that what is no id anyway does not fail the application's own statement.
fn id_text(column: &str) -> String {
    format!("left(convert({column} USING utf8mb4) COLLATE utf8mb4_bin, 191)")
}

fn domain_text(column: &str) -> String {
    format!("left(lower(convert({column} USING utf8mb4)) COLLATE utf8mb4_bin, 255)")
}
