//! `tenant.json`: what an export says of itself.

use serde::{Deserialize, Serialize};
use tenancy_core::{TenantId, TenantRecord};

use super::TransferError;
use crate::isolation::{EngineKind, Identifier};

/// What this program writes and reads.
pub(super) const FORMAT: u32 = 1;
pub(super) const MANIFEST: &str = "tenant.json";
/// All of a tenant's tables, where one file has them.
pub(super) const DATABASE: &str = "database.sqlite";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) engine: String,
    pub(super) isolation: String,
    pub(super) tenant: ExportedTenant,
    pub(super) migrations: Vec<AppliedVersion>,
    pub(super) tables: Vec<TableEntry>,
    pub(super) sequences: Vec<SequenceEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) database: Option<FileEntry>,
}

/// What is known of the tenant that was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ExportedTenant {
    /// Its id. Where tenants share tables, its rows had it.
    pub id: TenantId,
    /// Its short name, if that differs from the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<Box<str>>,
    /// Name of its plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<str>>,
    /// What kind of customer it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_type: Option<Box<str>>,
    /// The application's settings for it, as raw JSON text, if they were [asked for](super::Export::with_settings).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<str>>,
}

impl ExportedTenant {
    pub(super) fn of(record: &TenantRecord, with_settings: bool) -> Self {
        Self {
            id: record.id.clone(),
            slug: record.slug.clone(),
            plan: record.plan.clone(),
            tenant_type: record.tenant_type.clone(),
            settings: record.settings.clone().filter(|_| with_settings),
        }
    }
}

/// A row of the ledger of migrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppliedVersion {
    pub(super) version: i64,
    pub(super) checksum: String,
}

/// A table whose rows were exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableEntry {
    /// `None`: the first schema of the home, whatever its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// In the order in which rows have them.
    pub(super) columns: Vec<String>,
    pub(super) rows: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<FileEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// What a sequence gave last, or what it gives next where a table counts for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SequenceEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    pub(super) name: String,
    pub(super) value: i64,
}

/// What an engine read out of a home.
#[derive(Debug, Default)]
pub struct Contents {
    pub(super) tables: Vec<TableEntry>,
    pub(super) sequences: Vec<SequenceEntry>,
    pub(super) database: Option<FileEntry>,
}

/// The file of the table of this number. Nothing of a table's name is part of a path.
pub(super) fn file_of_table(number: usize) -> String {
    format!("{:05}.rows", number + 1)
}

pub(super) fn name_of(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Postgres => "postgres",
        EngineKind::MySql => "mysql",
        EngineKind::Sqlite => "sqlite",
    }
}

impl TableEntry {
    /// How messages call it.
    pub(super) fn label(&self) -> String {
        label(self.schema.as_deref(), &self.name)
    }
}

pub(super) fn label(schema: Option<&str>, name: &str) -> String {
    match schema {
        Some(schema) => format!("{schema}.{name}"),
        None => name.to_owned(),
    }
}

impl Manifest {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, TransferError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let unreadable = |error| TransferError::damaged(format!("{MANIFEST} can not be read: {error}"));
        let version: Version = serde_json::from_slice(bytes).map_err(unreadable)?;
        if version.format != FORMAT {
            let format = version.format;
            return Err(TransferError::mismatch(format!(
                "the export has format {format}, and this program reads format {FORMAT}"
            )));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Names are names, each table and column is there once, and files are called as this program calls them.
    fn check(&self) -> Result<(), TransferError> {
        let mut tables = Vec::new();
        for (number, table) in self.tables.iter().enumerate() {
            let names = table.schema.iter().chain([&table.name]).chain(&table.columns);
            for name in names {
                if Identifier::new(name).is_err() {
                    return Err(TransferError::damaged(format!(
                        "{name:?} is no name of a table or column"
                    )));
                }
            }
            let mut columns: Vec<_> = table.columns.iter().collect();
            columns.sort_unstable();
            if columns.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(TransferError::damaged(format!(
                    "a column of {:?} is there twice",
                    table.name
                )));
            }
            let wanted = self.database.is_none().then(|| file_of_table(number));
            if table.file.as_ref().map(|file| &file.name) != wanted.as_ref() {
                return Err(TransferError::damaged(format!(
                    "the file of table {:?} is not named as it should be",
                    table.name
                )));
            }
            tables.push((table.schema.as_deref(), &*table.name));
        }
        tables.sort_unstable();
        if let Some(twice) = tables.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(TransferError::damaged(format!(
                "the table {:?} is there twice",
                twice[0].1
            )));
        }
        if self.database.as_ref().is_some_and(|file| file.name != DATABASE) {
            return Err(TransferError::damaged(
                "the file of the database is not named as it should be",
            ));
        }
        Ok(())
    }

    /// All files beside `tenant.json`, with whether they have rows as lines.
    pub(super) fn files(&self) -> impl Iterator<Item = (&FileEntry, Option<u64>)> {
        let of_tables = self
            .tables
            .iter()
            .filter_map(|table| Some((table.file.as_ref()?, Some(table.rows))));
        of_tables.chain(self.database.iter().map(|file| (file, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(tables: &str) -> Result<Manifest, TransferError> {
        let text = format!(
            r#"{{"format":1,"engine":"postgres","isolation":"schema","tenant":{{"id":"acme"}},"migrations":[],
                "tables":[{tables}],"sequences":[]}}"#
        );
        Manifest::read(text.as_bytes())
    }

    fn table(name: &str, columns: &str, file: &str) -> String {
        format!(
            r#"{{"name":"{name}","columns":[{columns}],"rows":0,"file":{{"name":"{file}","bytes":0,"sha256":""}}}}"#
        )
    }

    #[test]
    fn a_manifest_names_tables_once_and_files_as_this_program_does() {
        let good = table("notes", r#""id","text""#, "00001.rows");
        assert!(manifest(&good).is_ok());
        let long = "x".repeat(64);
        for bad in [
            table("notes", r#""id""#, "../../etc/passwd"),
            table("notes", r#""id""#, "00002.rows"),
            table("", r#""id""#, "00001.rows"),
            table(&long, r#""id""#, "00001.rows"),
            table("notes", r#""id","id""#, "00001.rows"),
            table("no\\u0000tes", r#""id""#, "00001.rows"),
            format!("{good},{}", table("notes", r#""id""#, "00002.rows")),
            r#"{"name":"notes","columns":[],"rows":0}"#.to_owned(),
            r#"{"name":"notes","columns":[],"rows":-1}"#.to_owned(),
            r#"{"name":"notes","columns":[],"rows":0,"more":1}"#.to_owned(),
        ] {
            assert!(manifest(&bad).unwrap_err().is_damaged(), "{bad}");
        }
    }

    #[test]
    fn another_format_is_told_from_a_damaged_one() {
        assert!(
            Manifest::read(br#"{"format":2,"new":true}"#)
                .unwrap_err()
                .is_mismatch()
        );
        for bad in ["", "{}", "[]", r#"{"format":"1"}"#, "\u{0}"] {
            assert!(Manifest::read(bad.as_bytes()).unwrap_err().is_damaged(), "{bad}");
        }
    }
}
