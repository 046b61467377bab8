use super::Postgres;
use crate::servers::Role;

/// A database of one test, empty at first and dropped with this.
///
/// Its owner is [`Role::Owner`]. As in every database of PostgreSQL 15 and newer, the application's role may
/// connect and see the schema `public`, and nothing else until the owner grants it.
#[derive(Debug)]
pub struct TestDatabase {
    server: Postgres,
    name: String,
}

impl TestDatabase {
    pub(super) fn new(server: Postgres, name: String) -> Self {
        Self { server, name }
    }

    /// Its name, unique on the server: the test's name behind a number.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that it is on.
    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// The owner's URL, over TCP: enough for a test that does not care about roles.
    pub fn url(&self) -> String {
        self.owner_url()
    }

    /// The URL of the role that owns the database: for migrations and the lifecycle of tenants.
    pub fn owner_url(&self) -> String {
        self.server.url(Role::Owner, &self.name)
    }

    /// The URL of the application's role, which owns nothing and may do what the owner grants it.
    pub fn app_url(&self) -> String {
        self.server.url(Role::App, &self.name)
    }

    /// The superuser's URL: to look at the server, and to see that an application refuses to serve with it.
    pub fn admin_url(&self) -> String {
        self.server.url(Role::Admin, &self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        self.server.drop_later(&self.name);
    }
}
