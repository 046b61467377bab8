use super::MariaDb;
use crate::servers::Role;

/// A database of one test on a [`MariaDb`], empty at first and dropped with this.
///
/// The application's role may read and write rows in it, and create no tables.
#[derive(Debug)]
pub struct MariaDbDatabase {
    server: MariaDb,
    name: String,
}

impl MariaDbDatabase {
    pub(super) fn new(server: MariaDb, name: String) -> Self {
        Self { server, name }
    }

    /// Its name, unique on the server: the test's name behind a number.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that it is on.
    pub fn server(&self) -> &MariaDb {
        &self.server
    }

    /// The owner's URL, over TCP: enough for a test that does not care about roles.
    pub fn url(&self) -> String {
        self.owner_url()
    }

    /// The URL of the role that may create tables and databases: for migrations and the lifecycle of tenants.
    pub fn owner_url(&self) -> String {
        self.server.url(Role::Owner, &self.name)
    }

    /// The URL of the application's role.
    pub fn app_url(&self) -> String {
        self.server.url(Role::App, &self.name)
    }

    /// The superuser's URL.
    pub fn admin_url(&self) -> String {
        self.server.url(Role::Admin, &self.name)
    }
}

impl Drop for MariaDbDatabase {
    fn drop(&mut self) {
        self.server.drop_later(&self.name);
    }
}
