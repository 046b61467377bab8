//! The one place where text becomes a path in the store.

use object_store::path::Path;
use tenancy::Tenant;

use crate::FilesError;

/// What file systems and stores take; the tenant's prefix has its part of 1,024.
const MAX_PATH: usize = 900;
const MAX_SEGMENT: usize = 255;

/// A tenant's prefix. Ids have no dot and no slash, and incarnations are numbers: one segment, and no two tenants have
/// the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root(Path);

impl Root {
    pub(crate) fn of(tenant: &Tenant) -> Self {
        Self::new(tenant.id().as_str(), tenant.incarnation())
    }

    fn new(id: &str, incarnation: u64) -> Self {
        Self(Path::from_iter(["t", &format!("{id}.{incarnation}")]))
    }

    /// The place of one file.
    pub(crate) fn file(&self, path: &str) -> Result<Path, FilesError> {
        if let Some(reason) = fault(path) {
            return Err(FilesError::invalid_path(reason));
        }
        // Also refuses what the store would have to escape, and so keep under another name than was asked for.
        let relative = Path::parse(path)
            .map_err(|_| FilesError::invalid_path("it has a character that stores do not take"))?;
        let place: Path = self.0.parts().chain(relative.parts()).collect();
        match self.relative(&place) {
            Some(again) if again == path => Ok(place),
            _ => Err(FilesError::invalid_path("it does not lie inside")),
        }
    }

    /// The place of a directory; the empty path is all that the tenant has.
    pub(crate) fn directory(&self, path: &str) -> Result<Path, FilesError> {
        if path.is_empty() {
            return Ok(self.0.clone());
        }
        self.file(path)
    }

    /// The path below the prefix; `None` for what is not inside.
    pub(crate) fn relative(&self, place: &Path) -> Option<String> {
        let inside: Path = place.prefix_match(&self.0)?.collect();
        (!inside.as_ref().is_empty()).then(|| inside.as_ref().to_owned())
    }
}

fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("it is empty")
    } else if path.len() > MAX_PATH {
        Some("it is longer than 900 bytes")
    } else if path.contains('\\') {
        Some("it has a '\\', which some systems read as '/'")
    } else if path.contains('%') {
        Some("it has a '%', which hides other characters")
    } else if path.contains(':') {
        Some("it has a ':', which names a drive on some systems")
    } else if path.contains(['*', '?', '<', '>', '|', '"', '#']) {
        // `#` and a number end the names under which a directory keeps what is half written, and does not list.
        Some("it has one of the characters * ? < > | \" #, which some stores do not take")
    } else if path.chars().any(char::is_control) {
        Some("it has a control character")
    } else {
        path.split('/').find_map(fault_of_segment)
    }
}

fn fault_of_segment(segment: &str) -> Option<&'static str> {
    if segment.is_empty() {
        Some("it is absolute, or has an empty segment")
    } else if segment.len() > MAX_SEGMENT {
        Some("a segment is longer than 255 bytes")
    } else if segment.ends_with(['.', ' ']) {
        // `.` and `..` too. Some systems drop what stands there: `.. ` becomes `..`.
        Some("a segment ends with a dot or a space")
    } else if segment.starts_with(' ') {
        Some("a segment begins with a space")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_lie_inside_are_taken_as_they_are() {
        let root = Root::new("acme", 7);
        for path in [
            "a",
            "a/b.txt",
            "Ä/ß é.pdf",
            ".hidden/x",
            "a..b/c",
            "a-b_c/1 2",
            &"a".repeat(255),
        ] {
            let place = root.file(path).unwrap();
            assert_eq!(place.as_ref(), format!("t/acme.7/{path}"));
            assert_eq!(root.relative(&place).as_deref(), Some(path));
        }
        assert_eq!(root.directory("").unwrap().as_ref(), "t/acme.7");
    }

    #[test]
    fn hostile_paths_are_refused() {
        let root = Root::new("acme", 7);
        let long = ["a".repeat(256), "a/".repeat(451) + "a"];
        for path in [
            "",
            "/",
            "//",
            "/etc/passwd",
            "//evil",
            ".",
            "..",
            "../b/x",
            "a/../b",
            "a/..",
            "a/./b",
            "../acme.70/x",
            "a//b",
            "a/",
            "/a",
            "%2e%2e/b",
            "%2e%2e%2fb",
            "a%00b",
            "%252e",
            "a\0b",
            "a\nb",
            "a\u{85}b",
            "..\\b",
            "a\\b",
            "\\\\server\\share",
            "C:\\x",
            "C:x",
            "x:stream",
            ".. /b",
            "../ b",
            "... ",
            "a./b",
            "a /b",
            " a",
            "a*",
            "a?b",
            "a#1",
            "<a>",
            "a|b",
            "\u{7f}",
            &long[0],
            &long[1],
        ] {
            let error = root.file(path).unwrap_err();
            assert!(error.is_invalid_path(), "{path:?}");
            assert!(path.is_empty() || root.directory(path).is_err(), "{path:?}");
            assert!(path.len() < 5 || !error.to_string().contains(path), "{error}");
        }
    }

    #[test]
    fn a_sibling_whose_name_begins_alike_is_not_inside() {
        let root = Root::new("acme", 1);
        for place in [
            "t/acme.1",
            "t/acme.10/x",
            "t/acme.1x/x",
            "t/acme2.1/x",
            "t/acme/x",
            "u/acme.1/x",
            "acme.1/x",
            "x",
        ] {
            assert_eq!(root.relative(&Path::from(place)), None, "{place}");
        }
        assert_eq!(root.relative(&Path::from("t/acme.1/x")).as_deref(), Some("x"));
    }

    proptest! {
        #[test]
        fn different_tenants_and_paths_have_different_places(
            a in ("[a-z0-9_][a-z0-9_-]{0,3}", 0_u64..30, "[a-z0-9./_-]{1,6}"),
            b in ("[a-z0-9_][a-z0-9_-]{0,3}", 0_u64..30, "[a-z0-9./_-]{1,6}"),
        ) {
            let place = |(id, incarnation, path): &(String, u64, String)| Root::new(id, *incarnation).file(path).ok();
            if let (Some(here), Some(there)) = (place(&a), place(&b)) {
                prop_assert_eq!(here == there, a == b);
            }
        }

        #[test]
        fn whatever_is_accepted_lies_inside(path in "(\\PC|[./\\\\%: ~#]){0,20}") {
            let root = Root::new("acme", 7);
            if let Ok(place) = root.file(&path) {
                prop_assert!(place.as_ref().starts_with("t/acme.7/"));
                prop_assert!(!place.as_ref().split('/').any(|segment| matches!(segment, "" | "." | "..")));
                prop_assert_eq!(root.relative(&place), Some(path));
            }
        }
    }
}
