/// Who logs in to a database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// `app`: the application, which owns nothing and creates no databases.
    App,
    /// `owner`: owns the tests' databases and may create more; no superuser.
    Owner,
    /// `admin`: the superuser.
    Admin,
}

impl Role {
    /// The role's name on the server.
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Owner => "owner",
            Self::Admin => "admin",
        }
    }
}
