use std::{
    collections::HashSet,
    fmt,
    io::ErrorKind,
    path::{Component, Path},
    sync::Arc,
};

use tenancy_core::{InvalidName, TenantId, TenantRecord};

use super::{Audited, EngineKind, Identifier, IsolationStrategy, NameTemplate, ServerHome, named};
use crate::pool::Target;

/// A database of the tenant's own: `database`.
///
/// A placement names the database word for word; else it is `tenant_<id>`.
#[derive(Clone, Debug)]
pub struct DatabasePerTenant {
    template: NameTemplate,
}

impl DatabasePerTenant {
    /// With databases named `tenant_<id>`.
    #[expect(
        clippy::new_without_default,
        reason = "which name is the default is said here"
    )]
    pub fn new() -> Self {
        Self {
            template: NameTemplate::standard(""),
        }
    }

    /// Names databases otherwise. See [`NameTemplate`].
    ///
    /// # Errors
    /// When the template is not valid.
    pub fn template(mut self, text: &str) -> Result<Self, InvalidName> {
        self.template = NameTemplate::new(text)?;
        Ok(self)
    }
}

impl IsolationStrategy for DatabasePerTenant {
    fn name(&self) -> &'static str {
        "database"
    }

    fn works_on(&self, engine: EngineKind) -> bool {
        matches!(engine, EngineKind::Postgres | EngineKind::MySql)
    }

    fn target(&self, record: &TenantRecord, home: &ServerHome) -> Result<Target, InvalidName> {
        let name = match named(record) {
            Some(name) => Identifier::new(name)?,
            None => self.template.name_of(&record.id),
        };
        home.check_database(name.as_str())?;
        Ok(Target::database(name.as_str()))
    }

    fn tenant_of(&self, name: &str) -> Option<TenantId> {
        self.template.id_like(name)
    }
}

/// A schema of the tenant's own in the database of the server's URL: `schema`. PostgreSQL.
///
/// A placement names the schema word for word; else it is `tenant_<id>`. The search path has that schema and those of
/// [`extra_path`](Self::extra_path), and never `public` unless it is among these.
///
/// Connections go from tenant to tenant. One that serves a schema with types of its own (enums, domains, composites) does
/// not, for sqlx remembers types for each connection: such schemas are found by the audit, or [named](Self::pin).
#[derive(Clone, Debug)]
pub struct SchemaPerTenant {
    template: NameTemplate,
    extra: Arc<[Identifier]>,
    pinned: HashSet<Box<str>>,
}

impl SchemaPerTenant {
    /// With schemas named `tenant_<id>`, and nothing else on the path.
    #[expect(
        clippy::new_without_default,
        reason = "which name is the default is said here"
    )]
    pub fn new() -> Self {
        Self {
            template: NameTemplate::standard(""),
            extra: Arc::default(),
            pinned: HashSet::new(),
        }
    }

    /// Names schemas otherwise. See [`NameTemplate`].
    ///
    /// # Errors
    /// When the template is not valid.
    pub fn template(mut self, text: &str) -> Result<Self, InvalidName> {
        self.template = NameTemplate::new(text)?;
        Ok(self)
    }

    /// Schemas behind the tenant's own on the path, for what all share: extensions, types. A table in one of them that
    /// tenants have, too, would be seen by a tenant who lacks it: the audit refuses that.
    ///
    /// # Errors
    /// When a name is not valid.
    pub fn extra_path(
        mut self,
        schemas: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, InvalidName> {
        let schemas = schemas.into_iter().map(|schema| match schema.as_ref() {
            "$user" => Err(InvalidName::new(
                "schema of the path",
                "$user",
                "it means the login's",
            )),
            name => Identifier::new(name),
        });
        self.extra = schemas.collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Schemas whose connections serve no other tenant, besides those that the audit finds.
    #[must_use]
    pub fn pin(mut self, schemas: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.pinned.extend(schemas.into_iter().map(Into::into));
        self
    }
}

impl IsolationStrategy for SchemaPerTenant {
    fn name(&self) -> &'static str {
        "schema"
    }

    fn works_on(&self, engine: EngineKind) -> bool {
        engine == EngineKind::Postgres
    }

    fn target(&self, record: &TenantRecord, home: &ServerHome) -> Result<Target, InvalidName> {
        let schema = match named(record) {
            Some(name) => Identifier::new(name)?,
            None => self.template.name_of(&record.id),
        };
        home.check_schema(schema.as_str())?;
        if self.extra.contains(&schema) {
            return Err(InvalidName::new(
                "placement",
                schema.as_str(),
                "this schema is on the path of all tenants",
            ));
        }
        let is_pinned = self.pinned.contains(schema.as_str()) || home.has_types_of_its_own(schema.as_str());
        let extra = Arc::clone(&self.extra);
        Ok(if is_pinned {
            Target::pinned_schema(home.database(), schema, extra)
        } else {
            Target::schema(home.database(), schema, extra)
        })
    }

    fn tenant_of(&self, name: &str) -> Option<TenantId> {
        self.template.id_of(name)
    }

    fn audited(&self) -> Audited<'_> {
        Audited::Schemas { extra: &self.extra }
    }
}

/// The name of a setting of PostgreSQL that policies read, such as `app.tenant`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SettingName(Arc<str>);

impl SettingName {
    /// Checks a name: parts of `a-z`, `0-9` and `_`, at least two, with dots between them; 63 bytes at most.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let is_part = |part: &str| {
            part.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '_')
                && part
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        };
        if name.len() <= Identifier::MAX_BYTES && name.contains('.') && name.split('.').all(is_part) {
            return Ok(Self(name.into()));
        }
        let reason = "it must be parts of a-z, 0-9 and _ with dots between them, such as app.tenant";
        Err(InvalidName::new("setting", name, reason))
    }

    /// The name as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SettingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SettingName({})", self.0)
    }
}

/// Tables that all tenants share, with policies: `rows`. PostgreSQL.
///
/// The id of the tenant is the value of a setting, `app.tenant` unless set otherwise, for the time of a transaction. A
/// placement can name nothing but the server.
#[derive(Clone, Debug)]
pub struct SharedRows {
    setting: SettingName,
    common: Vec<Box<str>>,
}

impl SharedRows {
    /// With the setting `app.tenant`.
    #[expect(
        clippy::new_without_default,
        reason = "which setting is the default is said here"
    )]
    pub fn new() -> Self {
        Self {
            setting: SettingName(Arc::from("app.tenant")),
            common: Vec::new(),
        }
    }

    /// The setting that the policies read.
    ///
    /// # Errors
    /// When the name is not valid.
    pub fn setting(mut self, name: &str) -> Result<Self, InvalidName> {
        self.setting = SettingName::new(name)?;
        Ok(self)
    }

    /// Tables and views that every tenant may see all of, such as a list of countries: the audit demands no policy of them.
    /// With their schema where that is not `public`.
    #[must_use]
    pub fn common_tables(mut self, tables: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.common.extend(tables.into_iter().map(Into::into));
        self
    }
}

impl IsolationStrategy for SharedRows {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn works_on(&self, engine: EngineKind) -> bool {
        engine == EngineKind::Postgres
    }

    fn target(&self, record: &TenantRecord, home: &ServerHome) -> Result<Target, InvalidName> {
        only_the_server(record, home)?;
        Ok(Target::rows(
            home.database(),
            self.setting.clone(),
            record.id.clone(),
        ))
    }

    fn audited(&self) -> Audited<'_> {
        Audited::Rows {
            setting: &self.setting,
            common: &self.common,
        }
    }
}

/// Tables that all tenants share, without policies: `guarded`.
///
/// A tenant's connection takes only statements that have the tenant in them: see
/// [`TenantDb::guarded`](crate::database::TenantDb::guarded). A placement can name nothing but the server.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GuardedTables;

impl GuardedTables {
    /// In the database of the server's URL.
    pub fn new() -> Self {
        Self
    }
}

impl IsolationStrategy for GuardedTables {
    fn name(&self) -> &'static str {
        "guarded"
    }

    fn works_on(&self, engine: EngineKind) -> bool {
        matches!(engine, EngineKind::Postgres | EngineKind::MySql)
    }

    fn target(&self, record: &TenantRecord, home: &ServerHome) -> Result<Target, InvalidName> {
        only_the_server(record, home)?;
        Ok(Target::guarded(home.database(), record.id.clone()))
    }
}

/// Where tables are shared, another database would be somebody else's.
fn only_the_server(record: &TenantRecord, home: &ServerHome) -> Result<(), InvalidName> {
    match named(record) {
        Some(name) if name != home.database() => Err(InvalidName::new(
            "placement",
            name,
            "tenants that share tables are in the database of the server's URL",
        )),
        _ => Ok(()),
    }
}

/// A file of the tenant's own, below the directory of the server's URL: `file`. SQLite.
///
/// A placement names the file, relative to the directory; else it is `tenant_<id>.db`. No name leads out of the directory,
/// and none is that of a file which SQLite keeps beside another one. A name that is a symbolic link below the directory, or
/// goes through one, is refused, wherever it leads; the directory itself may be one. The file must exist: nothing makes one on
/// the way.
#[derive(Clone, Debug)]
pub struct FilePerTenant {
    template: NameTemplate,
}

impl FilePerTenant {
    /// With files named `tenant_<id>.db`.
    #[expect(
        clippy::new_without_default,
        reason = "which name is the default is said here"
    )]
    pub fn new() -> Self {
        Self {
            template: NameTemplate::standard(".db"),
        }
    }

    /// Names files otherwise. See [`NameTemplate`].
    ///
    /// # Errors
    /// When the template is not valid, or leads out of the directory.
    pub fn template(mut self, text: &str) -> Result<Self, InvalidName> {
        self.template = NameTemplate::new(text)?;
        check_file(text)?;
        Ok(self)
    }
}

impl IsolationStrategy for FilePerTenant {
    fn name(&self) -> &'static str {
        "file"
    }

    fn works_on(&self, engine: EngineKind) -> bool {
        engine == EngineKind::Sqlite
    }

    fn target(&self, record: &TenantRecord, home: &ServerHome) -> Result<Target, InvalidName> {
        let derived;
        let name = match named(record) {
            Some(name) => name,
            None => {
                derived = self.template.name_of(&record.id);
                derived.as_str()
            }
        };
        check_file(name)?;
        home.check_reserved(name)?;
        check_no_link(Path::new(home.database()), name)?;
        let path = Path::new(home.database()).join(name);
        let path = path
            .to_str()
            .ok_or_else(|| InvalidName::new("placement", name, "the path is no UTF-8"))?;
        Ok(Target::database(path))
    }

    fn tenant_of(&self, name: &str) -> Option<TenantId> {
        self.template.id_like(name)
    }
}

/// What SQLite puts behind the name of a database, for files beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Refuses every path but one that leads down.
fn check_file(name: &str) -> Result<(), InvalidName> {
    let fault = |reason| Err(InvalidName::new("placement", name, reason));
    if name.is_empty() || name.len() > 255 {
        return fault("a file has 1 to 255 bytes of name");
    }
    // What means nothing to one system means a drive, a stream or a directory to another.
    if name
        .bytes()
        .any(|byte| byte.is_ascii_control() || b"\\:".contains(&byte))
    {
        return fault("control characters, '\\' and ':' are not allowed in a file's name");
    }
    let mut parts = Path::new(name).components();
    if !parts.all(|part| matches!(part, Component::Normal(_))) || name.ends_with('/') || name.contains("//") {
        return fault("it must lead to a file below the directory");
    }
    // `components` leaves out what makes no difference on the way, and two names would be one file.
    if name.split('/').any(|part| part == ".") {
        return fault("'.' is not allowed in a path");
    }
    let lower = name.to_ascii_lowercase();
    if BESIDE.iter().any(|end| lower.ends_with(end)) {
        return fault("SQLite keeps such files beside others");
    }
    Ok(())
}

/// Refuses links below the directory: they lead out of it, or to another tenant's file. Asks the system once for each part of
/// the name.
fn check_no_link(directory: &Path, name: &str) -> Result<(), InvalidName> {
    let mut path = directory.to_owned();
    for part in Path::new(name).components() {
        path.push(part);
        let fault = match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => "symbolic links are not followed",
            Ok(_) => continue,
            // Whoever opens it says so.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(_) => "it can not be told whether it is a symbolic link",
        };
        return Err(InvalidName::new("placement", name, fault));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tenancy_core::Placement;

    use super::*;

    fn home(engine: EngineKind, database: &str) -> ServerHome {
        ServerHome::new(engine, database, Arc::from([Box::from("catalogue.db")]))
    }

    fn record(id: &str, database: &str) -> TenantRecord {
        let mut record = TenantRecord::new(TenantId::new(id).unwrap());
        let mut placement = Placement::default();
        placement.database = database.into();
        record.placement = Some(Box::new(placement));
        record
    }

    #[test]
    fn a_database_is_derived_or_named_and_never_one_of_the_server() {
        let home = home(EngineKind::Postgres, "app");
        let strategy = DatabasePerTenant::new();
        for (named, leads_to) in [
            ("", Some("tenant_acme")),
            ("Acme \"Ltd\"", Some("Acme \"Ltd\"")),
            ("app", None),
            ("App", None),
            ("postgres", None),
            ("template1", None),
            ("mysql", None),
            ("a\0b", None),
        ] {
            let target = strategy.target(&record("acme", named), &home).ok();
            assert_eq!(target.as_ref().map(Target::database_name), leads_to, "{named:?}");
        }
        assert!(strategy.target(&record("acme", &"x".repeat(64)), &home).is_err());
    }

    #[test]
    fn a_schema_is_never_one_that_others_see() {
        let home = home(EngineKind::Postgres, "app");
        let strategy = SchemaPerTenant::new().extra_path(["extensions"]).unwrap();
        assert!(SchemaPerTenant::new().extra_path(["$user"]).is_err());
        for (named, leads_to) in [
            ("", Some("tenant_acme")),
            ("Acme", Some("Acme")),
            ("public", None),
            ("PUBLIC", None),
            ("pg_catalog", None),
            ("pg_temp_3", None),
            ("$user", None),
            ("information_schema", None),
            ("extensions", None),
        ] {
            let target = strategy.target(&record("acme", named), &home).ok();
            let schema = target
                .as_ref()
                .and_then(Target::schema_name)
                .map(Identifier::as_str);
            assert_eq!(schema, leads_to, "{named:?}");
        }
    }

    #[test]
    fn schemas_with_types_of_their_own_share_no_connection() {
        let home = home(EngineKind::Postgres, "app");
        let strategy = SchemaPerTenant::new().pin(["tenant_listed"]);
        home.pin(HashSet::from(["tenant_found".into()]));
        let target = |id: &str| strategy.target(&record(id, ""), &home).unwrap();
        for (id, shares) in [("other", true), ("listed", false), ("found", false)] {
            assert_eq!(target(id).shares_with(&target("acme")), shares, "{id}");
        }
    }

    #[test]
    fn where_tables_are_shared_a_placement_names_the_server_alone() {
        let home = home(EngineKind::Postgres, "app");
        for (named, is_accepted) in [("", true), ("app", true), ("tenant_bolt", false)] {
            let rows = SharedRows::new().target(&record("acme", named), &home);
            let guarded = GuardedTables::new().target(&record("acme", named), &home);
            assert_eq!(rows.is_ok(), is_accepted, "{named}");
            assert_eq!(guarded.is_ok(), is_accepted, "{named}");
        }
    }

    #[test]
    fn settings_are_plain_names_with_a_dot() {
        for good in ["app.tenant", "a.b.c", "_a.b1"] {
            assert!(SettingName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "tenant",
            "app.",
            ".a",
            "app.Tenant",
            "a b.c",
            "a.b'",
            "1a.b",
            "a..b",
        ] {
            assert!(SettingName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_never_leaves_its_directory() {
        let home = home(EngineKind::Sqlite, "/data/tenants");
        let strategy = FilePerTenant::new();
        for (named, leads_to) in [
            ("", Some("/data/tenants/tenant_acme.db")),
            ("old/acme.sqlite", Some("/data/tenants/old/acme.sqlite")),
            ("Ümlaut 'x'.db", Some("/data/tenants/Ümlaut 'x'.db")),
            ("../acme.db", None),
            ("a/../../b.db", None),
            ("/etc/passwd", None),
            ("a\0.db", None),
            ("a\n.db", None),
            ("..\\acme.db", None),
            ("c:acme.db", None),
            (".", None),
            ("./acme.db", None),
            ("a/./b.db", None),
            ("a//b.db", None),
            ("a/", None),
            ("tenant_bolt.db-wal", None),
            ("tenant_bolt.db-SHM", None),
            ("tenant_bolt.db-journal", None),
            ("catalogue.db", None),
        ] {
            let target = strategy.target(&record("acme", named), &home).ok();
            assert_eq!(target.as_ref().map(Target::database_name), leads_to, "{named:?}");
        }
    }

    proptest! {
        #[test]
        fn two_names_of_files_never_lead_to_one_path_and_none_leads_out(
            a in "[./a-bA\\\\-]{1,8}", b in "[./a-bA\\\\-]{1,8}",
        ) {
            let home = home(EngineKind::Sqlite, "/data");
            let path = |name: &str| {
                let target = FilePerTenant::new().target(&record("acme", name), &home).ok()?;
                let path = std::path::PathBuf::from(target.database_name());
                assert!(path.starts_with("/data") && path.components().count() > 2);
                assert!(path.components().all(|part| part != Component::ParentDir));
                Some(path)
            };
            if let (Some(first), Some(second)) = (path(&a), path(&b)) {
                prop_assert_eq!(a == b, first == second);
            }
        }
    }
}
