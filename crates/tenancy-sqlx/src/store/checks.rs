//! Checks of values that only the store takes. Those that a file of tenants has too are in `names`.

use tenancy_core::{InvalidName, Maintenance, Placement};

use crate::CatalogueError;

const MAX_PAGE_BYTES: usize = 64 * 1024;
/// What PostgreSQL keeps of an identifier; MySQL keeps one more.
const MAX_PLACEMENT_BYTES: usize = 63;

/// Names of a server, a database and a strategy. They become parts of identifiers and paths further on, so that nothing passes
/// that needs quoting there.
pub(super) fn check_placement(placement: Option<&Placement>) -> Result<(), CatalogueError> {
    let Some(placement) = placement else { return Ok(()) };
    let names = [
        ("server", &placement.server),
        ("database", &placement.database),
        ("isolation", &placement.isolation),
    ];
    for (what, name) in names {
        let is_plain = name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.'));
        if !is_plain || name.len() > MAX_PLACEMENT_BYTES || name.starts_with(['-', '.']) {
            return Err(CatalogueError::invalid_name(
                "the placement is not valid",
                InvalidName::new(
                    what,
                    name,
                    "at most 63 letters, digits, '_', '-' and '.', not beginning with '-' or '.'",
                ),
            ));
        }
    }
    Ok(())
}

pub(super) fn check_maintenance(maintenance: &Maintenance) -> Result<(), CatalogueError> {
    // As the gate takes it: what it can not use, it answers in another way than was asked for.
    let reason = if !(400..=599).contains(&maintenance.status) {
        "`status` must be between 400 and 599"
    } else if !maintenance.redirect.as_deref().is_none_or(is_redirect_target) {
        "`redirect` must be a path that begins with one '/', or an absolute http or https URL"
    } else if !maintenance.bypass_key.as_deref().is_none_or(is_sha256_hex) {
        "`bypass_key` must be a SHA-256 in 64 lower-case hex digits"
    } else if !maintenance
        .page
        .as_deref()
        .is_none_or(|page| (1..=MAX_PAGE_BYTES).contains(&page.len()))
    {
        "`page` must have 1 to 65536 bytes"
    } else {
        return Ok(());
    };
    Err(CatalogueError::invalid("the maintenance is not valid", reason))
}

fn is_redirect_target(target: &str) -> bool {
    let visible = target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let path = target.starts_with('/') && !target.starts_with("//");
    let absolute = ["http://", "https://"]
        .iter()
        .any(|scheme| target.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    visible && target.len() <= 2048 && (path || absolute)
}

fn is_sha256_hex(key: &str) -> bool {
    key.len() == 64 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_leads_to_no_other_scheme_and_no_other_host_by_accident() {
        let with = |redirect: &str| {
            let mut maintenance = Maintenance::default();
            maintenance.redirect = Some(redirect.into());
            check_maintenance(&maintenance)
        };
        for good in ["/", "/soon", "https://status.example/x"] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "https://",
            "/a b",
            "/a\r\nx: y",
        ] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn maintenance_answers_with_an_error_and_with_something() {
        let with = |status: u16, page: Option<&str>| {
            let mut maintenance = Maintenance::default();
            (maintenance.status, maintenance.page) = (status, page.map(Into::into));
            check_maintenance(&maintenance)
        };
        let (longest, too_long) = ("a".repeat(65_536), "a".repeat(65_537));
        for (status, page) in [(400, None), (503, Some("soon")), (599, Some(longest.as_str()))] {
            assert!(with(status, page).is_ok(), "{status}");
        }
        for (status, page) in [
            (200, None),
            (302, None),
            (399, None),
            (600, None),
            (503, Some("")),
            (503, Some(too_long.as_str())),
        ] {
            assert!(with(status, page).unwrap_err().is_invalid(), "{status}");
        }
    }

    #[test]
    fn a_placement_needs_no_quoting_anywhere() {
        let with = |database: &str| {
            let mut placement = Placement::default();
            placement.database = database.into();
            check_placement(Some(&placement))
        };
        for good in ["", "tenant_acme", "Acme-1.db"] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in [
            "a'b",
            "a\"b",
            "a`b",
            "a\\b",
            "a/b",
            "..",
            "-a",
            "a\nb",
            "a\0",
            "a b",
            "ä",
            &"a".repeat(64),
        ] {
            assert!(with(bad).unwrap_err().is_invalid(), "{bad:?}");
        }
    }
}
