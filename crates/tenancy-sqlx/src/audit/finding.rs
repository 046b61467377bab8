use std::fmt;

/// What an audit may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The login may do everything.
    Superuser,
    /// Policies do not bind the login.
    BypassesPolicies,
    /// The login may become a role that may do everything, or that policies do not bind.
    MayBecomeSuperuser,
    /// The login owns a table that tenants share, and may switch its policies off.
    OwnsTable,
    /// A table that tenants share has no policies, or they are not switched on.
    NoPolicies,
    /// Policies of a table do not bind its owner.
    NotForced,
    /// A policy lets everything through.
    OpenPolicy,
    /// The login may empty a table, which policies do not see.
    MayTruncate,
    /// A view sees with the eyes of its owner, or keeps what it saw.
    DefinerView,
    /// A function reads a setting and says that its result never changes: the server remembers that of another tenant.
    ImmutableHelper,
    /// A pooler gives each transaction to another session.
    PoolerInBetween,
    /// A table behind the tenant's own schemas on the path that tenants have, too: who lacks it sees this one.
    Shadowed,
    /// The login may put tables and functions in a schema that is on every tenant's path.
    MayCreateInPath,
    /// A schema of the path is not there.
    MissingInPath,
    /// A schema has types of its own: its connections serve no other tenant.
    TypesOfItsOwn,
    /// The directory of files is not there.
    MissingDirectory,
}

impl FindingKind {
    /// Whether a process must not serve with it.
    pub fn refuses(self) -> bool {
        !matches!(self, Self::MissingInPath | Self::TypesOfItsOwn)
    }

    /// What it is, in words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Superuser => "the login may do everything",
            Self::BypassesPolicies => "policies do not bind the login",
            Self::MayBecomeSuperuser => {
                "the login may become a role that may do everything, or that policies do not bind"
            }
            Self::OwnsTable => "the login owns a table that tenants share",
            Self::NoPolicies => "a table that tenants share has no policies in force",
            Self::NotForced => "policies do not bind the owner of the table",
            Self::OpenPolicy => "a policy lets everything through",
            Self::MayTruncate => "the login may empty the tables of all tenants",
            Self::DefinerView => "a view sees with the eyes of its owner, or keeps what it saw",
            Self::ImmutableHelper => "a function reads a setting and says that its result never changes",
            Self::PoolerInBetween => {
                "a pooler in transaction mode stands in between and loses what a session is told"
            }
            Self::Shadowed => "a table behind the tenants' schemas on the path has the name of one in them",
            Self::MayCreateInPath => "the login may create in a schema that is on every tenant's path",
            Self::MissingInPath => "a schema of the path is not there",
            Self::TypesOfItsOwn => "a schema has types of its own, and its connections serve no other tenant",
            Self::MissingDirectory => "the directory of the tenants' files is not there",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Superuser | Self::BypassesPolicies => {
                "log in as a role of its own, made with NOSUPERUSER NOBYPASSRLS"
            }
            Self::MayBecomeSuperuser => "REVOKE the membership",
            Self::OwnsTable => "give the table to another role, and use its URL as the owner's",
            Self::NoPolicies => {
                "ALTER TABLE … ENABLE ROW LEVEL SECURITY and CREATE POLICY; or REVOKE ALL from the login; or name it a common table"
            }
            Self::NotForced => "ALTER TABLE … FORCE ROW LEVEL SECURITY",
            Self::OpenPolicy => "compare the tenant's column with the setting, or name it a common table",
            Self::MayTruncate => "REVOKE TRUNCATE",
            Self::DefinerView => "ALTER VIEW … SET (security_invoker = true), or REVOKE ALL from the login",
            Self::ImmutableHelper => "ALTER FUNCTION … STABLE",
            Self::PoolerInBetween => "connect to the server itself, or say Server::behind_transaction_pooler",
            Self::Shadowed => "drop one of the two, or take the schema off the path",
            Self::MayCreateInPath => "REVOKE CREATE ON SCHEMA",
            Self::MissingInPath => "create it, or take it off the path",
            Self::TypesOfItsOwn => {
                "use text with CHECK, or types in a schema of the path, so that connections can be shared"
            }
            Self::MissingDirectory => "create it",
        }
    }
}

/// One thing that an audit found. `Display` says where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    server: Box<str>,
    kind: FindingKind,
    subject: Box<str>,
}

impl Finding {
    pub(super) fn new(server: &str, kind: FindingKind, subject: &str) -> Self {
        Self {
            server: server.into(),
            kind,
            subject: subject.into(),
        }
    }

    /// The server that it was found on.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What it is.
    pub fn kind(&self) -> FindingKind {
        self.kind
    }

    /// The role, table, view, function, schema or directory.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            server,
            kind,
            subject,
        } = self;
        let (what, remedy) = (kind.what(), kind.remedy());
        write!(f, "server {server:?}, {subject:?}: {what}. {remedy}")
    }
}

/// All that an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    findings: Vec<Finding>,
}

impl AuditReport {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// Everything, in the order in which it was looked at.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether a process must not serve with what was found.
    pub fn refuses(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind.refuses())
    }

    /// What a process may serve with, and should be known.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.kind.refuses())
    }
}

/// One finding a line.
impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        Ok(())
    }
}
