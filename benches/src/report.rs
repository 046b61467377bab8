//! The rows: a table on the terminal, a list in `target/bench/report.json`.

use std::{fs, path::Path};

use serde::Serialize;

use crate::Failure;

/// One figure, with the budget it must keep if there is one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    /// The most that is allowed, or the least where `note` says so; `None` for figures that are only shown.
    pub(crate) budget: Option<f64>,
    pub(crate) pass: bool,
    pub(crate) note: String,
    #[serde(skip)]
    section: &'static str,
}

impl Row {
    /// A figure that is only shown.
    pub(crate) fn shown(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            value,
            budget: None,
            pass: true,
            note: String::new(),
            section: "",
        }
    }

    /// Passes up to this value. A value that is no number never passes.
    pub(crate) fn at_most(mut self, budget: f64) -> Self {
        self.budget = Some(budget);
        self.pass = self.value <= budget;
        self
    }

    /// Passes from this value on.
    pub(crate) fn at_least(mut self, budget: f64) -> Self {
        self.budget = Some(budget);
        self.pass = self.value >= budget;
        self.note("at least")
    }

    /// The same figure, only shown.
    pub(crate) fn without_budget(self) -> Self {
        Self {
            budget: None,
            pass: true,
            ..self
        }
    }

    pub(crate) fn note(mut self, note: impl AsRef<str>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(note.as_ref());
        self
    }
}

/// All rows, in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(&mut self, section: &'static str, rows: impl IntoIterator<Item = Row>) {
        self.rows
            .extend(rows.into_iter().map(|row| Row { section, ..row }));
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.pass)
    }

    /// Columns aligned, a heading for each section.
    pub(crate) fn table(&self) -> String {
        let names = self.rows.iter().map(|row| row.name.chars().count());
        let width = names.max().unwrap_or(0);
        let mut table = format!("{:width$}  {:>11}  {:>11}\n", "", "measured", "budget");
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = row.section;
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

    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, serde_json::to_string_pretty(&self.rows)? + "\n")?;
        Ok(())
    }
}

fn verdict(row: &Row) -> &'static str {
    match (row.budget, row.pass) {
        (None, _) => "",
        (Some(_), true) => "ok",
        (Some(_), false) => "FAIL",
    }
}

/// Thousands apart; decimals only where they say something.
pub(crate) fn number(value: f64) -> String {
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
