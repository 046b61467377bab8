use std::{error::Error, fmt};

use tenancy_core::InvalidName;

/// An identifier was configured with a value that it cannot work with, or not work safely.
///
/// The `Display` form is made for operators: it quotes the value, escaped and cut to 64 characters, and says why.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentifierConfigError {
    name: InvalidName,
}

impl IdentifierConfigError {
    /// `what` is the kind of value ("base domain"), `reason` completes "… is not valid: ".
    pub(super) fn new(what: &'static str, value: &str, reason: &'static str) -> Self {
        Self {
            name: InvalidName::new(what, value, reason),
        }
    }

    /// The refused value, cut to 64 characters.
    pub fn value(&self) -> &str {
        self.name.name()
    }

    /// Why it was refused.
    pub fn reason(&self) -> &'static str {
        self.name.reason()
    }
}

impl fmt::Display for IdentifierConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name, f)
    }
}

impl fmt::Debug for IdentifierConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for IdentifierConfigError {}

impl From<InvalidName> for IdentifierConfigError {
    fn from(name: InvalidName) -> Self {
        Self { name }
    }
}
