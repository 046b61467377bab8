use std::{error::Error, fmt, io};

use serde::Serialize;
use tenancy::{
    core::{BoxError, InvalidName},
    domains::DomainError,
};
use tenancy_server::settings::SettingsError;
use tenancy_sqlx::CatalogueError;

use crate::redact::without_passwords;

/// What a script can tell from the exit code. Made to stand at the end of `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; `explain`: the request reaches the application
  1  failed, or broken off at the question; `explain`: refused
  2  the command line is not valid
  3  not found; `explain`: no tenant answers to the request
  4  conflict: a name is taken, or the tenant's status does not allow it
  5  a value, a file or the settings are not valid
  6  the catalogue is not there, can not be opened or does not answer

With --json errors are objects on standard error, unless the command line can not even be parsed:
  {\"error\":{\"kind\":\"not_found\",\"code\":3,\"message\":\"…\",\"advice\":\"…\",\"details\":[]}}";

/// What kind of failure it is: the `kind` of an error that is reported in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CliErrorKind {
    /// Failed, or broken off at the question.
    Failed,
    /// The command line is not valid.
    Usage,
    /// There is no such tenant or domain.
    NotFound,
    /// A name is taken, or the tenant's status does not allow the change.
    Conflict,
    /// A value, a file or the settings are not valid.
    Invalid,
    /// The catalogue is not there, can not be opened or does not answer.
    Catalogue,
    /// The reader of the output went away, as `head` does. Nothing is wrong then.
    OutputClosed,
}

/// Why a command failed, for the operator who gave it.
///
/// Opaque; ask for the [`kind`](Self::kind) or the [`exit_code`](Self::exit_code). The `Display` form is a sentence;
/// [`report`](Self::report) adds what to do. It may name tenants, paths and what was given, without the passwords of URLs.
pub struct CliError {
    kind: CliErrorKind,
    message: String,
    advice: Option<String>,
    details: Vec<String>,
    is_told: bool,
    source: Option<BoxError>,
}

impl CliError {
    fn new(kind: CliErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: without_passwords(&message.into()),
            advice: None,
            details: Vec::new(),
            is_told: false,
            source: None,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(CliErrorKind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(CliErrorKind::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(CliErrorKind::NotFound, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(CliErrorKind::Conflict, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(CliErrorKind::Invalid, message)
    }

    pub(crate) fn invalid_name(error: &InvalidName) -> Self {
        Self::invalid(error.to_string())
    }

    pub(crate) fn no_catalogue(message: impl Into<String>) -> Self {
        Self::new(CliErrorKind::Catalogue, message)
    }

    pub(crate) fn from_catalogue(error: CatalogueError) -> Self {
        Self::from_catalogue_in(&error).caused_by(error)
    }

    /// For operators the detail says more than the text that clients may see.
    pub(crate) fn from_catalogue_in(error: &CatalogueError) -> Self {
        let kind = if error.is_not_found() {
            CliErrorKind::NotFound
        } else if error.is_conflict() {
            CliErrorKind::Conflict
        } else if error.is_invalid() {
            CliErrorKind::Invalid
        } else {
            CliErrorKind::Catalogue
        };
        let detail = error.operator_detail().unwrap_or_default();
        let message = match kind {
            _ if detail.is_empty() => error.to_string(),
            CliErrorKind::Catalogue => format!("{error}: {detail}"),
            _ => detail.to_owned(),
        };
        let converted = Self::new(kind, message);
        if kind == CliErrorKind::Catalogue {
            let cause = error.source().map(ToString::to_string);
            return converted.with_details(cause.into_iter().collect());
        }
        converted
    }

    pub(crate) fn from_domains(error: DomainError) -> Self {
        let kind = if error.is_not_found() {
            CliErrorKind::NotFound
        } else if error.is_conflict() || error.is_too_many() || error.is_expired() {
            CliErrorKind::Conflict
        } else if error.is_invalid() {
            CliErrorKind::Invalid
        } else {
            CliErrorKind::Catalogue
        };
        let message = match error.operator_detail() {
            "" => error.to_string(),
            detail if kind == CliErrorKind::Catalogue => format!("{error}: {detail}"),
            detail => detail.to_owned(),
        };
        Self::new(kind, message).caused_by(error)
    }

    pub(crate) fn from_settings(error: SettingsError) -> Self {
        let mistakes = error.mistakes().iter().map(ToString::to_string).collect();
        Self::invalid("the settings can not be used")
            .with_details(mistakes)
            .caused_by(error)
    }

    pub(crate) fn from_output(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => CliErrorKind::OutputClosed,
            _ => CliErrorKind::Failed,
        };
        Self::new(kind, format!("the output can not be written: {error}")).caused_by(error)
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(without_passwords(&advice.into()));
        self
    }

    pub(crate) fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details
            .into_iter()
            .map(|detail| without_passwords(&detail))
            .collect();
        self
    }

    /// Marks an error that the command's output has told in full: only the exit code is left to say.
    pub(crate) fn told(mut self) -> Self {
        self.is_told = true;
        self
    }

    fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The code to end the process with; see [`EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            // The reader has seen what it wanted.
            CliErrorKind::OutputClosed => 0,
            CliErrorKind::Failed => 1,
            CliErrorKind::Usage => 2,
            CliErrorKind::NotFound => 3,
            CliErrorKind::Conflict => 4,
            CliErrorKind::Invalid => 5,
            CliErrorKind::Catalogue => 6,
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> CliErrorKind {
        self.kind
    }

    /// Writes the error for people, or as one line of JSON. Writes nothing where the command's output has said it all,
    /// or nobody reads.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn report(&self, json: bool, to: &mut dyn io::Write) -> io::Result<()> {
        if self.is_told || self.kind == CliErrorKind::OutputClosed {
            return Ok(());
        }
        if json {
            serde_json::to_writer(
                &mut *to,
                &Report {
                    error: self.as_object(),
                },
            )?;
            return writeln!(to);
        }
        writeln!(to, "error: {}", self.message)?;
        for detail in &self.details {
            writeln!(to, "  - {}", detail.replace('\n', "\n    "))?;
        }
        match &self.advice {
            Some(advice) => writeln!(to, "{advice}"),
            None => Ok(()),
        }
    }

    fn as_object(&self) -> ErrorObject<'_> {
        ErrorObject {
            kind: self.kind,
            code: self.exit_code(),
            message: &self.message,
            advice: self.advice.as_deref(),
            details: &self.details,
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    kind: CliErrorKind,
    code: u8,
    message: &'a str,
    advice: Option<&'a str>,
    details: &'a [String],
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CliError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("advice", &self.advice)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

impl Error for CliError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(error: &CliError, json: bool) -> String {
        let mut text = Vec::new();
        error.report(json, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_report_says_what_is_wrong_and_what_to_do() {
        let error = CliError::not_found("there is no tenant acme")
            .advise("`tenants list` shows those there are.")
            .with_details(vec!["one\ntwo".to_owned()]);
        assert_eq!(
            reported(&error, false),
            "error: there is no tenant acme\n  - one\n    two\n`tenants list` shows those there are.\n"
        );
        let json: serde_json::Value = serde_json::from_str(&reported(&error, true)).unwrap();
        assert_eq!(json["error"]["kind"], "not_found");
        assert_eq!(json["error"]["code"], 3);
        assert_eq!(json["error"]["details"][0], "one\ntwo");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure() {
        let error = CliError::from_output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((error.exit_code(), reported(&error, false).as_str()), (0, ""));
        let full = CliError::from_output(io::ErrorKind::StorageFull.into());
        assert_eq!(full.exit_code(), 1);
        assert!(reported(&full, false).starts_with("error: the output can not be written"));
    }

    #[test]
    fn what_the_output_told_is_not_told_again() {
        let error = CliError::not_found("no tenant").told();
        assert_eq!((error.exit_code(), reported(&error, true).as_str()), (3, ""));
    }
}
