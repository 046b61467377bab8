use std::fmt;

/// One thing that is wrong with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsMistake {
    /// Where the value comes from: a file with its line, an environment variable, an option.
    pub source: String,
    /// The key, such as `tenancy.deadline_ms`; empty when the source as a whole can not be read.
    pub key: String,
    /// Why it is refused.
    pub reason: String,
}

impl fmt::Display for SettingsMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.source, self.reason)
        } else {
            write!(f, "{}: {}: {}", self.source, self.key, self.reason)
        }
    }
}

/// Settings can not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    mistakes: Vec<SettingsMistake>,
}

impl SettingsError {
    pub(super) fn new(mistakes: Vec<SettingsMistake>) -> Self {
        Self { mistakes }
    }

    /// Everything that is wrong.
    pub fn mistakes(&self) -> &[SettingsMistake] {
        &self.mistakes
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings can not be used")?;
        for mistake in &self.mistakes {
            // A reason may have lines of its own: they stay under their mistake.
            write!(f, "\n  - {}", mistake.to_string().replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}
