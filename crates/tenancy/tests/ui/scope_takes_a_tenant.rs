//! A job runs for a tenant that was entered, not for a name.

use tenancy::{core::TenantId, scope};

fn job(id: TenantId) {
    let _ = scope::run(&id, async {});
}

fn main() {}
