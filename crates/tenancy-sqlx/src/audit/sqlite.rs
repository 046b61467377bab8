use std::path::Path;

use super::{FindingKind, Seen};

/// Files need no server: all that can be missing is where they are.
pub(crate) fn audit(directory: &Path) -> Seen {
    let mut seen = Seen::default();
    if !directory.is_dir() {
        seen.note(FindingKind::MissingDirectory, directory.to_string_lossy());
    }
    seen
}
