//! Why a server could not be had.

use std::{error::Error, fmt, io};

/// A server could not be started or did not do what it was asked.
///
/// Its text says what to do about it: the package to install, or the end of the server's own log.
#[derive(Debug)]
pub struct ServerError {
    kind: Kind,
    source: Option<io::Error>,
}

#[derive(Debug)]
enum Kind {
    NotInstalled {
        program: &'static str,
        package: &'static str,
    },
    Io(String),
    Ended {
        server: &'static str,
        log: String,
    },
    Silent {
        server: &'static str,
        log: String,
    },
    Refused {
        statement: String,
        answer: String,
    },
}

impl ServerError {
    /// A program is missing; the error's text names the Debian package that has it.
    pub fn is_not_installed(&self) -> bool {
        matches!(self.kind, Kind::NotInstalled { .. })
    }

    /// The server runs and refused a statement.
    pub fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Refused { .. })
    }

    /// The server, or a program that prepares its data, ended when it should have begun to serve, or did not begin in time.
    pub fn is_not_serving(&self) -> bool {
        matches!(self.kind, Kind::Ended { .. } | Kind::Silent { .. })
    }

    pub(super) fn not_installed(program: &'static str, package: &'static str) -> Self {
        Self::from_kind(Kind::NotInstalled { program, package })
    }

    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self {
            kind: Kind::Io(what.into()),
            source: Some(source),
        }
    }

    pub(super) fn ended(server: &'static str, log: String) -> Self {
        Self::from_kind(Kind::Ended { server, log })
    }

    pub(super) fn silent(server: &'static str, log: String) -> Self {
        Self::from_kind(Kind::Silent { server, log })
    }

    pub(super) fn refused(statement: &str, answer: impl Into<String>) -> Self {
        Self::from_kind(Kind::Refused {
            statement: statement.to_owned(),
            answer: answer.into(),
        })
    }

    /// Another program took the port between choosing it and listening.
    pub(super) fn is_lost_port(&self) -> bool {
        matches!(&self.kind, Kind::Ended { log, .. } if log.contains("in use"))
    }

    /// The connection broke, which says nothing about the statement.
    pub(super) fn is_io(&self) -> bool {
        matches!(self.kind, Kind::Io(_))
    }

    fn from_kind(kind: Kind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::NotInstalled { program, package } => write!(
                f,
                "{program} is not installed: install it, on Debian and Ubuntu with the package {package}"
            ),
            Kind::Io(what) => f.write_str(what),
            Kind::Ended { server, log } => write!(f, "{server} ended; its log ends with\n{log}"),
            Kind::Silent { server, log } => {
                write!(
                    f,
                    "{server} runs and did not answer in time; its log ends with\n{log}"
                )
            }
            Kind::Refused { statement, answer } => write!(f, "refused: {answer}; the statement: {statement}"),
        }
    }
}

impl Error for ServerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
