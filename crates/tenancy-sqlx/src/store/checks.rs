//! Checks of values that only the store takes. Those that a file of tenants has too are in `names`.

use tenancy_core::{InvalidName, Maintenance, Placement};

use crate::CatalogueError;

const MAX_PAGE_BYTES: usize = 64 * 1024;
/// What PostgreSQL keeps of an identifier; MySQL keeps one more.
const MAX_PLACEMENT_BYTES: usize = 63;

/// Servers and strategies have plain names, which settings give them. A database, schema or file that was there before has
/// the name that it has: it is quoted wherever it becomes SQL, and what it may lead to is for its strategy to say.
pub(super) fn check_placement(placement: Option<&Placement>) -> Result<(), CatalogueError> {
    let Some(placement) = placement else { return Ok(()) };
    for (what, name) in [("server", &placement.server), ("isolation", &placement.isolation)] {
        let is_plain = name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.'));
        if !is_plain || name.len() > MAX_PLACEMENT_BYTES || name.starts_with(['-', '.']) {
            return Err(invalid_placement(
                what,
                name,
                "at most 63 letters, digits, '_', '-' and '.', not beginning with '-' or '.'",
            ));
        }
    }
    let database = &placement.database;
    if database.len() > MAX_PLACEMENT_BYTES || database.chars().any(char::is_control) {
        return Err(invalid_placement(
            "database",
            database,
            "at most 63 bytes, without control characters",
        ));
    }
    Ok(())
}

fn invalid_placement(what: &'static str, name: &str, reason: &'static str) -> CatalogueError {
    CatalogueError::invalid_name("the placement is not valid", InvalidName::new(what, name, reason))
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
    fn servers_and_strategies_are_plain_names_and_databases_are_what_they_are() {
        let check = |name: &str, put: fn(&mut Placement) -> &mut Box<str>| {
            let mut placement = Placement::default();
            *put(&mut placement) = name.into();
            check_placement(Some(&placement))
        };
        for (name, is_plain, may_be_a_database) in [
            ("", true, true),
            ("tenant_acme", true, true),
            ("Acme-1.db", true, true),
            ("old/acme.db", false, true),
            ("O'Brien \"Ltd\"", false, true),
            ("a`b", false, true),
            ("a\\b", false, true),
            ("ä", false, true),
            // Its strategy refuses it.
            ("..", false, true),
            ("a\nb", false, false),
            ("a\0", false, false),
            (&"a".repeat(63), true, true),
            (&"a".repeat(64), false, false),
            (&"ä".repeat(32), false, false),
        ] {
            for (put, passes) in [
                (
                    (|placement| &mut placement.server) as fn(&mut Placement) -> &mut Box<str>,
                    is_plain,
                ),
                (|placement| &mut placement.isolation, is_plain),
                (|placement| &mut placement.database, may_be_a_database),
            ] {
                let checked = check(name, put);
                assert_eq!(checked.is_ok(), passes, "{name:?}");
                assert!(checked.err().is_none_or(|error| error.is_invalid()), "{name:?}");
            }
        }
    }
}
