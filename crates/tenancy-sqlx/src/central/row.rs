use sqlx::Row as _;
#[cfg(feature = "postgres")]
use sqlx::{TypeInfo as _, ValueRef as _};

/// A row of an answer. Columns are asked for by name.
pub(crate) enum Row {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
    #[cfg(feature = "mysql")]
    MySql(sqlx::mysql::MySqlRow),
}

impl Row {
    pub(crate) fn text(&self, column: &str) -> Result<&str, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column),
            // Some are binary, to be compared byte by byte.
            #[cfg(feature = "mysql")]
            Self::MySql(row) => row.try_get_unchecked(column),
        }
    }

    pub(crate) fn optional_text(&self, column: &str) -> Result<Option<&str>, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column),
            #[cfg(feature = "mysql")]
            Self::MySql(row) => row.try_get_unchecked(column),
        }
    }

    pub(crate) fn optional_int(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column),
            #[cfg(feature = "mysql")]
            Self::MySql(row) => row.try_get(column),
        }
    }

    /// A whole number of any width; a boolean is 1 or 0.
    pub(crate) fn int(&self, column: &str) -> Result<i64, sqlx::Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => postgres_int(row, column),
            #[cfg(feature = "mysql")]
            Self::MySql(row) => row.try_get(column),
        }
    }
}

#[cfg(feature = "postgres")]
fn postgres_int(row: &sqlx::postgres::PgRow, column: &str) -> Result<i64, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    let of_type = value.type_info();
    match of_type.name() {
        "INT4" => row.try_get::<i32, _>(column).map(i64::from),
        "INT2" => row.try_get::<i16, _>(column).map(i64::from),
        "BOOL" => row.try_get::<bool, _>(column).map(i64::from),
        _ => row.try_get(column),
    }
}

macro_rules! from_driver {
    ($feature:literal, $kind:ident, $row:ty) => {
        #[cfg(feature = $feature)]
        impl From<$row> for Row {
            fn from(row: $row) -> Self {
                Self::$kind(row)
            }
        }
    };
}
from_driver!("sqlite", Sqlite, sqlx::sqlite::SqliteRow);
from_driver!("postgres", Postgres, sqlx::postgres::PgRow);
from_driver!("mysql", MySql, sqlx::mysql::MySqlRow);
