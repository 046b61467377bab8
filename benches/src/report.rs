//! The rows: a table on the terminal, a list in `target/bench/report.json`.

use std::{borrow::Cow, fs, path::Path, process::ExitCode};

use serde::{Deserialize, Deserializer, Serialize};

use crate::Failure;

/// One figure, with the budget it must keep if there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// What the value counts.
    pub unit: Cow<'static, str>,
    /// What was found. What is no number is `null` in JSON.
    #[serde(deserialize_with = "number_or_null")]
    pub value: f64,
    /// The most that is allowed, or the least where `note` says so; `None` for figures that are only shown.
    pub budget: Option<f64>,
    /// Whether the budget was kept; true without one.
    pub pass: bool,
    /// What one has to know to read the value.
    pub note: String,
    #[serde(skip)]
    section: Cow<'static, str>,
}

impl Row {
    /// A figure that is only shown.
    pub fn shown(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit: unit.into(),
            value,
            budget: None,
            pass: true,
            note: String::new(),
            section: "".into(),
        }
    }

    /// Passes up to this value. A value that is no number never passes.
    pub fn at_most(mut self, budget: f64) -> Self {
        self.budget = Some(budget);
        self.pass = self.value <= budget;
        self
    }

    /// Passes from this value on.
    pub fn at_least(mut self, budget: f64) -> Self {
        self.budget = Some(budget);
        self.pass = self.value >= budget;
        self.note("at least")
    }

    /// The same figure, only shown.
    pub fn without_budget(self) -> Self {
        Self {
            budget: None,
            pass: true,
            ..self
        }
    }

    /// Says more, behind what was said before.
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(note.as_ref());
        self
    }
}

/// All rows, in the order in which they were measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds rows under a heading.
    pub fn add(&mut self, section: impl Into<Cow<'static, str>>, rows: impl IntoIterator<Item = Row>) {
        let section = section.into();
        self.rows.extend(rows.into_iter().map(|row| Row {
            section: section.clone(),
            ..row
        }));
    }

    /// All rows with their headings, for another program.
    ///
    /// # Errors
    /// A row can not be written as JSON.
    pub fn to_json(&self) -> Result<String, Failure> {
        let rows: Vec<_> = self.rows.iter().map(|row| (&row.section, row)).collect();
        Ok(serde_json::to_string(&rows)?)
    }

    /// Adds what another program measured.
    ///
    /// # Errors
    /// It is not what [`to_json`](Self::to_json) writes.
    pub fn add_json(&mut self, rows: &[u8]) -> Result<(), Failure> {
        let rows: Vec<(String, Row)> = serde_json::from_slice(rows)?;
        for (section, row) in rows {
            self.add(section, [row]);
        }
        Ok(())
    }

    /// What does not keep its budget.
    pub fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.pass)
    }

    /// Columns aligned, a heading for each section.
    pub fn table(&self) -> String {
        let names = self.rows.iter().map(|row| row.name.chars().count());
        let width = names.max().unwrap_or(0);
        let mut table = format!("{:width$}  {:>11}  {:>11}\n", "", "measured", "budget");
        let mut section: &str = "";
        for row in &self.rows {
            if row.section != section {
                section = &row.section;
                table.push_str(&format!("\n{}\n", section.to_uppercase()));
            }
            let budget = row.budget.map_or_else(|| "–".to_owned(), number);
            let line = format!(
                "{:width$}  {:>11}  {budget:>11}  {:12}  {:4}  {}",
                row.name,
                number(row.value),
                row.unit,
                verdict(row),
                row.note
            );
            table.push_str(line.trim_end());
            table.push('\n');
        }
        table
    }

    /// Prints the rows for another program, which judges them, or the table, and says by the exit code whether all budgets are
    /// kept.
    ///
    /// # Errors
    /// A row can not be written as JSON.
    #[expect(clippy::print_stdout, reason = "what programs end with")]
    pub fn print(&self, as_json: bool) -> Result<ExitCode, Failure> {
        if as_json {
            println!("{}", self.to_json()?);
            return Ok(ExitCode::SUCCESS);
        }
        println!("{}", self.table());
        Ok(match self.failed().next() {
            None => ExitCode::SUCCESS,
            Some(_) => ExitCode::FAILURE,
        })
    }

    /// As a list of rows, without their headings.
    ///
    /// # Errors
    /// The file can not be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, serde_json::to_string_pretty(&self.rows)? + "\n")?;
        Ok(())
    }
}

fn number_or_null<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(f64::NAN))
}

fn verdict(row: &Row) -> &'static str {
    match (row.budget, row.pass) {
        (None, _) => "",
        (Some(_), true) => "ok",
        (Some(_), false) => "FAIL",
    }
}

/// Thousands apart; decimals only where they say something.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let decimals = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut grouped = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_decides_and_what_is_only_shown_passes() {
        assert!(Row::shown("a", "x", 5.0).pass);
        assert!(Row::shown("a", "x", 5.0).at_most(5.0).pass);
        assert!(!Row::shown("a", "x", 5.1).at_most(5.0).pass);
        assert!(Row::shown("a", "x", 1_000.0).at_least(1_000.0).pass);
        assert!(!Row::shown("a", "x", 999.0).at_least(1_000.0).pass);
        assert!(!Row::shown("a", "x", f64::NAN).at_most(5.0).pass);
        assert!(!Row::shown("a", "x", f64::NAN).at_least(5.0).pass);
    }

    #[test]
    fn numbers_are_read_easily() {
        for (value, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (0.0312, "0.031"),
            (1.25, "1.250"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (2_900.4, "2,900"),
            (1_234_567.0, "1,234,567"),
            (-1_234.0, "-1,234"),
            (-12.0, "-12"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn the_file_is_a_list_of_rows_with_null_for_no_budget() {
        let folder = std::env::temp_dir().join(format!("tenancy-bench-test-{}", std::process::id()));
        let path = folder.join("deep/report.json");
        let mut report = Report::default();
        report.add(
            "one",
            [Row::shown("resolve", "instructions", 512.0).at_most(900.0)],
        );
        report.add("two", [Row::shown("spread", "%", 3.5).note("noise")]);
        report.write(&path).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let expected = serde_json::json!([
            {"name": "resolve", "unit": "instructions", "value": 512.0, "budget": 900.0, "pass": true, "note": ""},
            {"name": "spread", "unit": "%", "value": 3.5, "budget": null, "pass": true, "note": "noise"},
        ]);
        assert_eq!(read, expected);
    }

    #[test]
    fn rows_of_another_program_stand_under_their_headings() {
        let mut other = Report::default();
        other.add("pool", [Row::shown("peak", "connections", 101.0).at_most(100.0)]);
        other.add("memory", [Row::shown("none", "bytes", f64::NAN).at_most(1.0)]);
        let mut report = Report::default();
        report.add_json(other.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(report.table(), other.table());
        assert!(report.table().contains("\nMEMORY\n"));
        assert_eq!(report.failed().count(), 2);
    }

    #[test]
    fn the_table_has_each_row_and_shows_what_failed() {
        let mut report = Report::default();
        report.add(
            "requests",
            [
                Row::shown("stack", "instructions", 3_000.0).at_most(2_900.0),
                Row::shown("bare", "instructions", 6_000.0),
            ],
        );
        let table = report.table();
        assert!(table.contains("\nREQUESTS\n"));
        let column = |line: &str, text| line.find(text).map(|at| at + str::len(text));
        let stack = table.lines().find(|line| line.starts_with("stack")).unwrap();
        let bare = table.lines().find(|line| line.starts_with("bare")).unwrap();
        assert_eq!(column(stack, "3,000"), column(bare, "6,000"));
        assert_eq!(
            column(stack, "2,900"),
            column(table.lines().next().unwrap(), "budget")
        );
        assert_eq!(table.matches("FAIL").count(), 1);
        assert_eq!(
            report.failed().map(|row| row.name.as_str()).collect::<Vec<_>>(),
            ["stack"]
        );
    }
}
