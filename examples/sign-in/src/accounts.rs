//! Who may sign in. Every look-up takes the tenant: user 7 of one is not user 7 of another.

use tenancy::{Tenant, core::TenantId};

/// A toy: a real one keeps slow hashes of passwords in the tenant's own database.
#[derive(Debug)]
pub(crate) struct Accounts {
    users: Vec<(TenantId, &'static str, &'static str, &'static str)>,
}

impl Default for Accounts {
    fn default() -> Self {
        // Tenant, user, password, address at the identity provider.
        let users = [
            ("acme", "7", "acme-7", "dana@example.com"),
            ("globex", "7", "globex-7", "erin@example.com"),
        ];
        let known = |(tenant, user, password, address): (&str, _, _, _)| {
            Some((TenantId::new(tenant).ok()?, user, password, address))
        };
        Self {
            users: users.into_iter().filter_map(known).collect(),
        }
    }
}

impl Accounts {
    /// The user with this password, in this tenant.
    pub(crate) fn verify(&self, tenant: &Tenant, user: &str, password: &str) -> bool {
        self.users
            .iter()
            .any(|known| known.0 == *tenant.id() && known.1 == user && known.2 == password)
    }

    /// Which user of this tenant the provider means.
    pub(crate) fn by_address(&self, tenant: &Tenant, address: &str) -> Option<&'static str> {
        let known = |known: &&(TenantId, _, _, &str)| known.0 == *tenant.id() && known.3 == address;
        self.users.iter().find(known).map(|known| known.1)
    }

    /// Whether this is a member of support.
    pub(crate) fn is_support(&self, user: &str, password: &str) -> bool {
        (user, password) == ("sam", "support")
    }
}
