use std::{error::Error, fmt};

#[derive(Debug)]
enum Kind {
    InvalidPath(&'static str),
    NotFound,
    Failed(object_store::Error),
}

/// Why a file could not be had. The text names no tenant and repeats no path; the cause may, and is for logs.
#[derive(Debug)]
pub struct FilesError {
    kind: Kind,
}

impl FilesError {
    pub(crate) fn invalid_path(reason: &'static str) -> Self {
        Self {
            kind: Kind::InvalidPath(reason),
        }
    }

    /// Whether the path is none that a tenant can have.
    pub fn is_invalid_path(&self) -> bool {
        matches!(self.kind, Kind::InvalidPath(_))
    }

    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, Kind::NotFound)
    }
}

impl From<object_store::Error> for FilesError {
    fn from(error: object_store::Error) -> Self {
        let kind = match error {
            object_store::Error::NotFound { .. } => Kind::NotFound,
            error => Kind::Failed(error),
        };
        Self { kind }
    }
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::InvalidPath(reason) => write!(f, "the path of a file is not valid: {reason}"),
            Kind::NotFound => f.write_str("there is no such file"),
            Kind::Failed(_) => f.write_str("the file store failed"),
        }
    }
}

impl Error for FilesError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Failed(cause) => Some(cause),
            Kind::InvalidPath(_) | Kind::NotFound => None,
        }
    }
}
