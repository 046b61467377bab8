use serde_json::json;
use tenancy::core::TenantRecord;

use crate::{
    CliError,
    databases::engine::Answer,
    output::{Output, counted, printable},
    redact::without_passwords,
};

/// What became of one tenant.
pub(super) enum Done {
    Answers(Vec<Answer>),
    Ended(Ended),
    Failed(String),
    NotTried,
}

/// How a program ended.
pub(super) struct Ended {
    /// `None` when a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) is_success: bool,
    pub(super) out: String,
    pub(super) err: String,
}

impl Done {
    pub(super) fn is_failed(&self) -> bool {
        match self {
            Self::Answers(_) | Self::NotTried => false,
            Self::Ended(ended) => !ended.is_success,
            Self::Failed(_) => true,
        }
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) done: usize,
    pub(super) failed: usize,
}

/// Tells what became of tenants, one after the other: lines behind their ids, or one object of JSON a line.
pub(super) struct Teller<'a, 'o> {
    out: &'a mut Output<'o>,
    id_width: usize,
    counts: Counts,
}

impl<'a, 'o> Teller<'a, 'o> {
    pub(super) fn new(out: &'a mut Output<'o>, records: &[TenantRecord]) -> Self {
        let lengths = records.iter().map(|record| record.id.as_str().len());
        Self {
            out,
            id_width: lengths.max().unwrap_or(0),
            counts: Counts::default(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn tell(&mut self, record: &TenantRecord, done: &Done) -> Result<(), CliError> {
        match done {
            Done::NotTried => return Ok(()),
            failed if failed.is_failed() => self.counts.failed += 1,
            _ => self.counts.done += 1,
        }
        if self.out.is_json() {
            self.tell_json(record, done)?;
        } else {
            self.tell_text(record, done)?;
        }
        // What is done stands there, whatever comes after it.
        self.out.flush()
    }

    fn tell_json(&mut self, record: &TenantRecord, done: &Done) -> Result<(), CliError> {
        let (id, is_done) = (&record.id, !done.is_failed());
        let line = match done {
            Done::Answers(answers) => json!({ "tenant": id, "ok": is_done, "answers": answers }),
            Done::Ended(ended) => json!({
                "tenant": id, "ok": is_done, "code": ended.code, "stdout": ended.out, "stderr": ended.err,
            }),
            Done::Failed(reason) => {
                json!({ "tenant": id, "ok": is_done, "error": without_passwords(reason) })
            }
            Done::NotTried => return Ok(()),
        };
        self.out.line(line)
    }

    fn tell_text(&mut self, record: &TenantRecord, done: &Done) -> Result<(), CliError> {
        let id = record.id.as_str();
        match done {
            Done::Answers(answers) if answers.is_empty() => self.lines(id, "done"),
            Done::Answers(answers) => answers.iter().try_for_each(|answer| self.answer(id, answer)),
            Done::Ended(ended) => {
                self.lines(id, &ended.out)?;
                self.lines(id, &ended.err)?;
                match (ended.is_success, ended.code) {
                    (true, _) => Ok(()),
                    (false, Some(code)) => self.lines(id, &format!("error: it ended with the code {code}")),
                    (false, None) => self.lines(id, "error: a signal ended it"),
                }
            }
            Done::Failed(reason) => {
                let reason = printable(&without_passwords(reason));
                self.lines(id, &format!("error: {reason}"))
            }
            Done::NotTried => Ok(()),
        }
    }

    fn answer(&mut self, id: &str, answer: &Answer) -> Result<(), CliError> {
        if answer.columns.is_empty() {
            let changed = usize::try_from(answer.rows_affected).unwrap_or(usize::MAX);
            return self.lines(id, &counted(changed, "row", "rows"));
        }
        let cells = answer.rows.iter().map(|row| {
            row.iter()
                .map(|value| value.as_deref().map_or_else(|| "NULL".to_owned(), printable))
                .collect()
        });
        let heading = answer.columns.iter().map(|column| printable(column)).collect();
        let table = self.out.table_text(heading, cells);
        self.lines(id, &table)?;
        match answer.more_rows {
            0 => Ok(()),
            more => self.lines(id, &format!("… and {more} more (--rows)")),
        }
    }

    fn lines(&mut self, id: &str, text: &str) -> Result<(), CliError> {
        let width = self.id_width;
        text.lines()
            .try_for_each(|line| self.out.line(format_args!("{id:width$} | {line}")))
    }

    /// How many were done, failed, and were not tried.
    pub(super) fn end(&mut self, total: usize) -> Result<(), CliError> {
        let Counts { done, failed } = self.counts;
        let not_tried = total - done - failed;
        if self.out.is_json() {
            return self
                .out
                .line(json!({ "summary": { "done": done, "failed": failed, "not_tried": not_tried } }));
        }
        self.out.line(format_args!(
            "{} done, {failed} failed, {not_tried} not tried.",
            counted(done, "tenant", "tenants")
        ))
    }
}
