use std::{error::Error, fmt};

use tenancy_core::BoxError;

/// What a check comes to.
pub type CheckResult = Result<Verdict, Failure>;

/// A check that found no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What is checked does what it must.
    Passed,
    /// It, or its harness, does not offer what the check needs: this.
    NotOffered(&'static str),
}

/// Something does not do what it must: what was expected, what was seen, and why it matters.
#[derive(Debug)]
pub struct Failure {
    check: &'static str,
    expected: String,
    seen: String,
    why: &'static str,
    source: Option<BoxError>,
}

impl Failure {
    /// The name of the check, which is the name of its function.
    pub fn check(&self) -> &'static str {
        self.check
    }

    /// What was expected.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What was seen instead.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// What goes wrong in production with such a thing.
    pub fn why(&self) -> &'static str {
        self.why
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.check)?;
        writeln!(f, "  expected  {}", self.expected)?;
        writeln!(f, "  seen      {}", self.seen)?;
        write!(f, "  why       {}", self.why)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What all checks came to. `Display` prints a line for each, and more for those that failed.
#[derive(Debug)]
#[must_use = "call `assert_passed`, or look at the failures"]
pub struct Report {
    subject: &'static str,
    results: Vec<(&'static str, CheckResult)>,
}

impl Report {
    /// Of checks of this: "store".
    pub(super) fn of(subject: &'static str) -> Self {
        Self {
            subject,
            results: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, check: &'static str, result: CheckResult) {
        self.results.push((check, result));
    }

    /// The checks that failed, in the order of their run.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.results
            .iter()
            .filter_map(|(_, result)| result.as_ref().err())
    }

    /// The checks that were not run, each with what they need.
    pub fn not_offered(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.results.iter().filter_map(|(check, result)| match result {
            Ok(Verdict::NotOffered(what)) => Some((*check, *what)),
            _ => None,
        })
    }

    /// The checks that were run and found no fault.
    pub fn passed(&self) -> impl Iterator<Item = &'static str> {
        let passed = |result: &CheckResult| matches!(result, Ok(Verdict::Passed));
        self.results
            .iter()
            .filter_map(move |(check, result)| passed(result).then_some(*check))
    }

    /// Fails the test unless all checks that were run have passed.
    ///
    /// # Panics
    /// With all failures, when there are any.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(
            self.failures().next().is_none(),
            "the {} fails its checks\n{self}",
            self.subject
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, result) in &self.results {
            match result {
                Ok(Verdict::Passed) => writeln!(f, "passed       {check}")?,
                Ok(Verdict::NotOffered(what)) => writeln!(f, "not offered  {check}: {what}")?,
                Err(failure) => writeln!(f, "FAILED       {failure}")?,
            }
        }
        Ok(())
    }
}

/// A running check: its name, and why it matters.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
}

impl Check {
    /// Fails the check unless `holds`.
    pub(super) fn that(
        &self,
        holds: bool,
        expected: impl Into<String>,
        seen: impl fmt::Debug,
    ) -> Result<(), Failure> {
        if holds {
            return Ok(());
        }
        Err(self.failure(expected, format!("{seen:?}")))
    }

    /// Fails the check if what it does to its subject or asks of it is answered with an error.
    pub(super) fn done<T>(
        &self,
        doing: impl fmt::Display,
        result: Result<T, impl Into<BoxError>>,
    ) -> Result<T, Failure> {
        result.map_err(|error| {
            let source = error.into();
            let mut failure = self.failure(format!("{doing} to succeed"), with_causes(&*source));
            failure.source = Some(source);
            failure
        })
    }

    pub(super) fn failure(&self, expected: impl Into<String>, seen: impl Into<String>) -> Failure {
        Failure {
            check: self.name,
            expected: expected.into(),
            seen: seen.into(),
            why: self.why,
            source: None,
        }
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
