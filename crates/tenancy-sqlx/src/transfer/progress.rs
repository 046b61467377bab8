use std::fmt;

/// How far a transfer is with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferProgress<'a> {
    /// The table, with its schema where that is not the home's first one.
    pub table: &'a str,
    /// Its rows until now.
    pub rows: u64,
    /// The bytes of its rows until now. 0 on SQLite, where they pass through no hands but the database's.
    pub bytes: u64,
    /// Whether this was the last of the table.
    pub is_done: bool,
}

type Observe<'a> = dyn FnMut(TransferProgress<'_>) + Send + 'a;

/// Who wants to know how far it is.
pub struct Progress<'a>(Option<Box<Observe<'a>>>);

/// Bytes between two reports.
const STEP: u64 = 1024 * 1024;

impl<'a> Progress<'a> {
    pub(super) fn unobserved() -> Self {
        Self(None)
    }

    pub(super) fn to(observe: impl FnMut(TransferProgress<'_>) + Send + 'a) -> Self {
        Self(Some(Box::new(observe)))
    }

    pub(super) fn of<'p>(&'p mut self, table: &str) -> TableProgress<'p, 'a> {
        TableProgress {
            progress: self,
            table: table.into(),
            rows: 0,
            bytes: 0,
            told: 0,
        }
    }
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

/// Of one table.
pub(super) struct TableProgress<'p, 'a> {
    progress: &'p mut Progress<'a>,
    table: Box<str>,
    rows: u64,
    bytes: u64,
    told: u64,
}

impl TableProgress<'_, '_> {
    pub(super) fn add(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
        if self.bytes - self.told >= STEP {
            self.told = self.bytes;
            self.tell(false);
        }
    }

    /// Returns the number of rows.
    pub(super) fn done(mut self) -> u64 {
        self.tell(true);
        self.rows
    }

    fn tell(&mut self, is_done: bool) {
        if let Some(observe) = &mut self.progress.0 {
            observe(TransferProgress {
                table: &self.table,
                rows: self.rows,
                bytes: self.bytes,
                is_done,
            });
        }
    }
}

/// Rows in a piece of text, in which each ends with a newline.
pub(super) fn rows_in(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}
