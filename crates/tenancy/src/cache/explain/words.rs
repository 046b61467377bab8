//! The same for people.

use std::{error::Error, fmt, time::Duration};

use super::{
    CacheExplanation, CacheVerdict, DependencyExplained, DependencyState, EntryExplained, LeaseExplained,
    SharedExplained, Use, WhatItDependsOn,
};

pub(super) fn verdict(
    here: &Option<(EntryExplained, Use)>,
    shared: &SharedExplained,
) -> (CacheVerdict, String) {
    if let Some((entry, Use::Serve)) = here {
        let tier = if entry.is_hot {
            ", among what is asked for most"
        } else {
            ""
        };
        return (CacheVerdict::Hit, format!("this process has it{tier}"));
    }
    if let SharedExplained::Found(entry) = shared
        && entry.fresh_for.is_some()
        && worst(&entry.depends_on) == DependencyState::Same
    {
        return (CacheVerdict::SharedHit, "the shared level has it".to_owned());
    }
    let reason = why_not(here, shared);
    match here {
        Some((_, Use::ServeStale)) => (CacheVerdict::Stale, reason),
        _ => (CacheVerdict::Miss, reason),
    }
}

/// What is in the shared level is told first: what is here was taken from there, mostly.
fn why_not(here: &Option<(EntryExplained, Use)>, shared: &SharedExplained) -> String {
    match (shared, here) {
        (SharedExplained::Found(entry), _) => format!("what the shared level has {}", why_old(entry)),
        (SharedExplained::Unreadable { error, .. }, _) => {
            format!("what the shared level has can not be read: {error}")
        }
        (_, Some((entry, _))) => format!("what this process has {}", why_old(entry)),
        (SharedExplained::None, None) => "it was not loaded yet, or has made room for others".to_owned(),
        (SharedExplained::Missing, None) => {
            "neither level has it: it was not loaded yet, it has ended, or it has made room for others"
                .to_owned()
        }
        (SharedExplained::LeftAlone | SharedExplained::Failed { .. }, None) => {
            "this process does not have it, and the shared level does not answer".to_owned()
        }
    }
}

fn why_old(entry: &EntryExplained) -> String {
    let flushed = entry.depends_on.iter().max_by_key(|dependency| dependency.state);
    match flushed {
        Some(dependency) if dependency.state != DependencyState::Same => why_flushed(dependency),
        _ if entry.fresh_for.is_none() => "is older than its time to live".to_owned(),
        _ => "can not be trusted: the shared level does not say whether it was flushed".to_owned(),
    }
}

fn why_flushed(dependency: &DependencyExplained) -> String {
    let softly = match dependency.state {
        DependencyState::FlushedSoftly => "softly ",
        DependencyState::Unknown => {
            return "was loaded after a flush that the shared level has lost".to_owned();
        }
        DependencyState::Same | DependencyState::FlushedHard => "",
    };
    match &dependency.what {
        WhatItDependsOn::Everything => format!("was {softly}flushed with everything of this scope"),
        WhatItDependsOn::Key => format!("was {softly}flushed by its own key"),
        WhatItDependsOn::Tag { tag } => format!("was {softly}flushed by the tag {tag}"),
        WhatItDependsOn::Slot { slot } => format!("was {softly}flushed by a tag of slot {slot}"),
    }
}

pub(super) fn worst(dependencies: &[DependencyExplained]) -> DependencyState {
    let states = dependencies.iter().map(|dependency| dependency.state);
    states.max().unwrap_or(DependencyState::Same)
}

pub(in crate::cache) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl fmt::Display for CacheVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hit => "hit",
            Self::SharedHit => "hit in the shared level",
            Self::Stale => "stale",
            Self::Miss => "miss",
        })
    }
}

impl fmt::Display for LeaseExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded => f.write_str("needs none, without a shared level"),
            Self::Held => f.write_str("held: this process knows of every flush"),
            Self::Ended { ago } => write!(f, "ended {} ago: this process asks first", Short(*ago)),
            Self::Never => f.write_str("none: this process asks first"),
        }
    }
}

impl fmt::Display for CacheExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {}: {}", self.key, self.scope, self.verdict)?;
        writeln!(f, "  because {}", self.reason)?;
        writeln!(f, "  lease: {}", self.lease)?;
        if self.is_loading {
            writeln!(f, "  it is being loaded in this process")?;
        }
        match &self.here {
            Some(entry) => write!(f, "  in this process: {entry}")?,
            None => write!(f, "  in this process: nothing")?,
        }
        write!(f, "\n  in the shared level: {}", self.shared)
    }
}

impl fmt::Display for SharedExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is none"),
            Self::LeftAlone => f.write_str("not asked; it did not answer lately"),
            Self::Failed { error } => write!(f, "no answer: {error}"),
            Self::Missing => f.write_str("nothing"),
            Self::Unreadable { error, .. } => write!(f, "not readable: {error}"),
            Self::Found(entry) => entry.fmt(f),
        }
    }
}

impl fmt::Display for EntryExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)?;
        if self.is_hot {
            f.write_str(", hot")?;
        }
        match (self.fresh_for, self.usable_for) {
            (Some(fresh), _) => write!(f, ", fresh for {}", Short(fresh))?,
            (None, Some(usable)) => write!(f, ", no longer fresh, usable for {}", Short(usable))?,
            (None, None) => f.write_str(", ended")?,
        }
        if !self.load_took.is_zero() {
            write!(f, ", its load took {}", Short(self.load_took))?;
        }
        self.depends_on
            .iter()
            .try_for_each(|dependency| write!(f, "\n    {dependency}"))
    }
}

impl fmt::Display for DependencyExplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            WhatItDependsOn::Everything => f.write_str("everything")?,
            WhatItDependsOn::Key => f.write_str("its own key")?,
            WhatItDependsOn::Tag { tag } => write!(f, "tag {tag}")?,
            WhatItDependsOn::Slot { slot } => write!(f, "a tag of slot {slot}")?,
        }
        let Self {
            loaded_under, now, ..
        } = self;
        match self.state {
            DependencyState::Same => write!(f, ": not flushed since, number {now}"),
            DependencyState::FlushedSoftly => write!(f, ": flushed softly, from {loaded_under} to {now}"),
            DependencyState::FlushedHard => write!(f, ": flushed, from {loaded_under} to {now}"),
            DependencyState::Unknown => write!(f, ": of the lost number {loaded_under}, now {now}"),
        }
    }
}

/// In whole milliseconds.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(milliseconds) = u64::try_from(self.0.as_millis()) else {
            return f.write_str("ever");
        };
        fmt::Debug::fmt(&Duration::from_millis(milliseconds), f)
    }
}
