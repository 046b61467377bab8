//! A file of tenants.

use std::collections::HashSet;

use tenancy::core::{is_domain, is_slug};
use tenancy_sqlx::file::TenantsFile;

/// Parses a file of tenants. Returns whether it is without mistakes.
pub fn tenants_file(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        return false;
    };
    match TenantsFile::parse(text, "t.toml") {
        Ok(file) => {
            check_tenants(&file);
            true
        }
        Err(error) => {
            let lines: Vec<usize> = error.mistakes().iter().map(|mistake| mistake.line).collect();
            let last = 1 + text.matches('\n').count();
            assert!(!lines.is_empty() && lines.is_sorted(), "{lines:?}");
            assert!(
                lines.iter().all(|line| (1..=last).contains(line)),
                "{lines:?} of {last}"
            );
            assert!(error.mistakes().iter().all(|mistake| !mistake.reason.is_empty()));
            assert!(error.to_string().starts_with("t.toml:"));
            false
        }
    }
}

fn check_tenants(file: &TenantsFile) {
    let mut slugs = HashSet::new();
    let mut domains = HashSet::new();
    for tenant in &file.tenants {
        assert!(
            is_slug(&tenant.slug) && slugs.insert(&tenant.slug),
            "{:?}",
            tenant.slug
        );
        for domain in &tenant.domains {
            assert!(is_domain(domain) && domains.insert(domain), "{domain:?}");
        }
        if let Some(settings) = &tenant.settings {
            let settings: serde_json::Value = serde_json::from_str(settings).expect("settings are JSON");
            assert!(settings.is_object(), "{settings}");
        }
    }
}
