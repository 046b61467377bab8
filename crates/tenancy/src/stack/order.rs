//! The stages of the stack, their order, and which orders make no sense.

use std::{fmt, str::FromStr};

/// A stage of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Turns a panic further in into 500.
    PanicCatch,
    /// Maintenance of the whole service. May stand before `Resolve`.
    Maintenance,
    /// Finds the tenant.
    Resolve,
    /// Lets tenants through that are served: status and maintenance of one tenant.
    Gate,
    /// Refuses bodies that are too large.
    BodyLimit,
    /// Ends what takes too long to begin its answer.
    Deadline,
    /// Opens the tenant's part of the cache; see [`CacheScope`](crate::cache::CacheScope).
    CacheScope,
    /// Counts the memory of what stands further in; see [`memory`](crate::memory). Not in the default order.
    #[cfg(feature = "memory")]
    Memory,
}

impl Stage {
    /// The stages of the default order, outside in.
    pub const ALL: [Self; 7] = [
        Self::PanicCatch,
        Self::Maintenance,
        Self::Resolve,
        Self::Gate,
        Self::BodyLimit,
        Self::Deadline,
        Self::CacheScope,
    ];

    /// Stages that are there only where they are asked for.
    #[cfg(feature = "memory")]
    const OPTIONAL: [Self; 1] = [Self::Memory];
    #[cfg(not(feature = "memory"))]
    const OPTIONAL: [Self; 0] = [];

    /// Every stage that there is: those of the default order, and those that are only there where they are asked for.
    pub fn every() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain(Self::OPTIONAL)
    }

    /// The name in settings, such as `body_limit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PanicCatch => "panic_catch",
            Self::Maintenance => "maintenance",
            Self::Resolve => "resolve",
            Self::Gate => "gate",
            Self::BodyLimit => "body_limit",
            Self::Deadline => "deadline",
            Self::CacheScope => "cache_scope",
            #[cfg(feature = "memory")]
            Self::Memory => "memory",
        }
    }

    /// What the stage does, in a line.
    pub fn summary(self) -> &'static str {
        match self {
            Self::PanicCatch => "turns a panic further in into 500",
            Self::Maintenance => "maintenance of the whole service",
            Self::Resolve => "finds the tenant",
            Self::Gate => "status and maintenance of the tenant",
            Self::BodyLimit => "refuses bodies that are too large",
            Self::Deadline => "ends what takes too long to begin its answer",
            Self::CacheScope => "opens the tenant's part of the cache",
            #[cfg(feature = "memory")]
            Self::Memory => "counts the memory of what stands further in",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = OrderMistake;

    fn from_str(name: &str) -> Result<Self, OrderMistake> {
        Self::every()
            .find(|stage| stage.as_str() == name)
            .ok_or_else(|| OrderMistake::UnknownStage {
                name: name.chars().take(64).collect(),
            })
    }
}

/// Which stages there are, and in which order a request passes them, outside in.
///
/// ```
/// use tenancy::stack::{Order, Stage};
///
/// let order = Order::from_names(["maintenance", "resolve", "body_limit", "cache_scope"])?;
/// assert!(order.stages().eq([Stage::Maintenance, Stage::Resolve, Stage::BodyLimit, Stage::CacheScope]));
///
/// let mistakes = Order::from_names(["cache_scope", "resolve", "resolv"]).unwrap_err();
/// assert_eq!(mistakes.mistakes().len(), 2);
/// # Ok::<(), tenancy::stack::OrderError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    stages: Vec<Stage>,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            stages: Stage::ALL.to_vec(),
        }
    }
}

impl Order {
    /// An order of these stages and no others.
    ///
    /// # Errors
    /// When it makes no sense. All mistakes are named.
    pub fn new(stages: impl IntoIterator<Item = Stage>) -> Result<Self, OrderError> {
        let order = Self {
            stages: stages.into_iter().collect(),
        };
        order.check()?;
        Ok(order)
    }

    /// An order from names, as settings have them.
    ///
    /// # Errors
    /// When a name is unknown or the order makes no sense. All mistakes are named.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, OrderError> {
        let mut mistakes = Vec::new();
        let mut order = Self { stages: Vec::new() };
        for name in names {
            match name.parse() {
                Ok(stage) => order.stages.push(stage),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        mistakes.extend(order.mistakes());
        if mistakes.is_empty() {
            Ok(order)
        } else {
            Err(OrderError { mistakes })
        }
    }

    /// The stages, outside in.
    pub fn stages(&self) -> impl ExactSizeIterator<Item = Stage> + '_ {
        self.stages.iter().copied()
    }

    /// Whether the stage is in it.
    pub fn contains(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }

    pub(crate) fn remove(&mut self, stage: Stage) {
        self.stages.retain(|present| *present != stage);
    }

    /// Puts a stage outside of all others, unless it has a place.
    #[cfg(feature = "memory")]
    pub(crate) fn add_outermost(&mut self, stage: Stage) {
        if !self.contains(stage) {
            self.stages.insert(0, stage);
        }
    }

    pub(crate) fn check(&self) -> Result<(), OrderError> {
        let mistakes = self.mistakes();
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(OrderError { mistakes })
        }
    }

    fn mistakes(&self) -> Vec<OrderMistake> {
        let mut mistakes = Vec::new();
        for (at, stage) in self.stages.iter().enumerate() {
            if self.stages[..at].contains(stage) {
                mistakes.push(OrderMistake::Twice { stage: *stage });
            }
        }
        for (outer, inner, reason) in RULES {
            let place = |stage| self.stages.iter().position(|present| *present == stage);
            match (place(outer), place(inner)) {
                (Some(outer_at), Some(inner_at)) if outer_at > inner_at => {
                    mistakes.push(OrderMistake::WrongWayRound { outer, inner, reason });
                }
                (None, Some(_)) => mistakes.push(OrderMistake::Missing {
                    needed: outer,
                    by: inner,
                    reason,
                }),
                _ => {}
            }
        }
        mistakes
    }
}

/// The first must stand outside of the second.
const RULES: [(Stage, Stage, &str); 2] = [
    (
        Stage::Resolve,
        Stage::Gate,
        "the gate judges the tenant that was found",
    ),
    (
        Stage::Resolve,
        Stage::CacheScope,
        "a cache that is opened before the tenant is known would be shared by all",
    ),
];

/// One thing that is wrong with an order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderMistake {
    /// There is no stage of this name.
    UnknownStage {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// The stage is in the order twice.
    Twice {
        /// The stage.
        stage: Stage,
    },
    /// A stage stands outside of one that it depends on.
    WrongWayRound {
        /// What must stand further out.
        outer: Stage,
        /// What must stand further in.
        inner: Stage,
        /// Why.
        reason: &'static str,
    },
    /// A stage depends on one that is not there.
    Missing {
        /// What is missing.
        needed: Stage,
        /// What needs it.
        by: Stage,
        /// Why.
        reason: &'static str,
    },
}

impl fmt::Display for OrderMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownStage { name } => {
                let known: Vec<&str> = Stage::every().map(Stage::as_str).collect();
                write!(f, "there is no stage {name:?}; known are {}", known.join(", "))
            }
            Self::Twice { stage } => write!(f, "{stage} is there twice"),
            Self::WrongWayRound { outer, inner, reason } => {
                write!(f, "{outer} must come before {inner}: {reason}")
            }
            Self::Missing { needed, by, reason } => {
                write!(f, "{by} needs {needed}, which is not there: {reason}")
            }
        }
    }
}

impl std::error::Error for OrderMistake {}

/// An order of stages that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderError {
    mistakes: Vec<OrderMistake>,
}

impl OrderError {
    /// Everything that is wrong with it.
    pub fn mistakes(&self) -> &[OrderMistake] {
        &self.mistakes
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the order of stages is not valid")?;
        for mistake in &self.mistakes {
            write!(f, "\n  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for OrderError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_order_is_valid_and_has_every_stage() {
        assert_eq!(Order::new(Stage::ALL), Ok(Order::default()));
        let names = Stage::ALL.map(Stage::as_str);
        assert_eq!(Order::from_names(names), Ok(Order::default()));
    }

    #[test]
    fn the_order_of_the_seed_is_expressible() {
        let seed = ["maintenance", "resolve", "body_limit", "cache_scope"];
        assert!(Order::from_names(seed).is_ok());
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let error = Order::from_names(["gate", "cache_scope", "resolve", "resolve", "gaet"]).unwrap_err();
        let text = error.to_string();
        for part in [
            "\"gaet\"",
            "resolve is there twice",
            "before gate",
            "before cache_scope",
            "shared by all",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(error.mistakes().len(), 4);
        let missing = Order::new([Stage::Gate]).unwrap_err().to_string();
        assert!(missing.contains("gate needs resolve"), "{missing}");
    }
}
