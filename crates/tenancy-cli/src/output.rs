use std::{
    fmt::{self, Write as _},
    io,
    time::{Duration, UNIX_EPOCH},
};

use comfy_table::{ContentArrangement, Row, Table, presets};
use serde::Serialize;

use crate::CliError;

/// Where a command's result goes, and in which form.
pub(crate) struct Output<'a> {
    out: &'a mut (dyn io::Write + Send),
    json: bool,
    width: Option<u16>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut (dyn io::Write + Send), json: bool, width: Option<u16>) -> Self {
        Self { out, json, width }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes a whole result as JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut *self.out, value)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(self.out))
            .map_err(CliError::from_output)
    }

    /// Writes a part of a result as JSON: nothing stands around it.
    pub(crate) fn json_part(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut *self.out, value).map_err(|error| CliError::from_output(error.into()))
    }

    pub(crate) fn text(&mut self, text: impl fmt::Display) -> Result<(), CliError> {
        write!(self.out, "{text}").map_err(CliError::from_output)
    }

    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Result<(), CliError> {
        writeln!(self.out, "{line}").map_err(CliError::from_output)
    }

    /// Writes rows under a heading.
    pub(crate) fn table<const COLUMNS: usize>(
        &mut self,
        heading: [&str; COLUMNS],
        rows: impl IntoIterator<Item = [String; COLUMNS]>,
    ) -> Result<(), CliError> {
        let mut table = self.empty_table();
        table.set_header(Row::from(heading));
        table.add_rows(rows.into_iter().map(Row::from));
        self.line(finished(table))
    }

    /// The same with as many columns as there are, as text. It is not wrapped: more stands around it.
    pub(crate) fn table_text(
        &self,
        heading: Vec<String>,
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> String {
        let mut table = bare_table();
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(Row::from(heading));
        table.add_rows(rows.into_iter().map(Row::from));
        finished(table)
    }

    /// Hands on what was written.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        self.out.flush().map_err(CliError::from_output)
    }

    /// Writes names and their values.
    pub(crate) fn facts<'f>(
        &mut self,
        facts: impl IntoIterator<Item = (&'f str, String)>,
    ) -> Result<(), CliError> {
        let mut table = self.empty_table();
        table.add_rows(
            facts
                .into_iter()
                .map(|(name, value)| Row::from([name.to_owned(), value])),
        );
        self.line(finished(table))
    }

    /// Bare columns: they can be read as well as cut apart. Lines are wrapped only where a terminal would.
    fn empty_table(&self) -> Table {
        let mut table = bare_table();
        match self.width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic);
                table.set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        table
    }
}

fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn finished(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A text of a tenant's, with nothing in it that a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => clean.push(letter),
            other if other.is_control() => clean.extend(other.escape_default()),
            other => clean.push(other),
        }
    }
    clean
}

/// A moment in RFC 3339, to the second; `None` when it is not known or has no such form.
pub(crate) fn moment(unix_ms: i64) -> Option<String> {
    let since_epoch = Duration::from_millis(u64::try_from(unix_ms).ok().filter(|ms| *ms > 0)?);
    let mut text = String::new();
    // Not `to_string`: it panics for years after 9999, which have no such form.
    write!(
        text,
        "{}",
        humantime::format_rfc3339_seconds(UNIX_EPOCH.checked_add(since_epoch)?)
    )
    .ok()?;
    Some(text)
}

/// A count with its noun.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: Option<u16>, write: impl FnOnce(&mut Output<'_>) -> Result<(), CliError>) -> String {
        let mut bytes = Vec::new();
        write(&mut Output::new(&mut bytes, false, width)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn moments_are_utc_and_the_impossible_has_none() {
        assert_eq!(moment(1_000_000_000_999).as_deref(), Some("2001-09-09T01:46:40Z"));
        assert_eq!(moment(951_782_400_000).as_deref(), Some("2000-02-29T00:00:00Z"));
        for unknown in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(moment(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_table_is_aligned_and_has_no_blanks_at_line_ends() {
        let rows = [
            ["a".to_owned(), "1".to_owned()],
            ["longer".to_owned(), String::new()],
        ];
        let text = written(None, |out| out.table(["ID", "PLAN"], rows));
        assert_eq!(text, "ID      PLAN\na       1\nlonger\n");
    }

    #[test]
    fn a_table_wraps_at_the_width_of_the_terminal_and_nowhere_else() {
        let row = || [["x".repeat(30), "two words".to_owned()]];
        let narrow = written(Some(20), |out| out.table(["ID", "TEXT"], row()));
        assert!(narrow.lines().all(|line| line.len() <= 20), "{narrow}");
        let wide = written(None, |out| out.table(["ID", "TEXT"], row()));
        assert_eq!(wide.lines().count(), 2, "{wide}");
    }
}
