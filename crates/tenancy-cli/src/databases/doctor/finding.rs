use serde::Serialize;
use tenancy_sqlx::audit;

use crate::redact::without_passwords;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    Problem,
    Warning,
}

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// What was looked at.
    pub(super) check: &'static str,
    /// A tenant, a server, or what on it.
    pub(super) subject: String,
    pub(super) what: String,
    pub(super) remedy: String,
}

#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn problem(&mut self, check: &'static str, subject: &str, what: &str, remedy: &str) {
        self.add(Severity::Problem, check, subject, what, remedy);
    }

    pub(super) fn warn(&mut self, check: &'static str, subject: &str, what: &str, remedy: &str) {
        self.add(Severity::Warning, check, subject, what, remedy);
    }

    pub(super) fn add_audited(&mut self, found: &audit::Finding) {
        let severity = match found.kind().refuses() {
            true => Severity::Problem,
            false => Severity::Warning,
        };
        let subject = format!("server {}, {}", found.server(), found.subject());
        let remedy = found.kind().remedy();
        self.add(severity, "audit", &subject, found.kind().what(), remedy);
    }

    fn add(&mut self, severity: Severity, check: &'static str, subject: &str, what: &str, remedy: &str) {
        self.0.push(Finding {
            severity,
            check,
            subject: subject.to_owned(),
            what: without_passwords(what),
            remedy: remedy.to_owned(),
        });
    }

    /// Problems first, each kind in the order in which it was found.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.severity);
        self.0
    }
}
