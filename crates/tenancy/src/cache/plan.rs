use std::{collections::BTreeSet, error::Error, fmt, str::FromStr};

use super::{
    Cache, CacheKey, Flush,
    shared::{Cell, FlushMode, SLOTS},
    slots::slot_of_tag,
};

/// A flush that is written down and done later: from an outbox, a queue, or by another process.
///
/// Its text is short and means the same in every release: `hard *`, or `soft 17 2048`. Tags and keys stand in it as the number of
/// their cell, so that it says nothing of what they are. Hard, unless it says otherwise.
///
/// ```
/// use tenancy::cache::{FlushPlan, Keys};
///
/// const NOTE: Keys<(u32,), String> = Keys::new("note", 1);
///
/// # async fn example(cache: &tenancy::cache::Cache) -> Result<(), tenancy::cache::InvalidFlushPlan> {
/// let plan = FlushPlan::tags(["notes"]).and(FlushPlan::key(&NOTE.key((7,))));
/// let text = plan.to_string();
///
/// // Later, and elsewhere:
/// cache.flush_planned(&text.parse::<FlushPlan>()?).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlushPlan {
    cells: BTreeSet<Cell>,
    mode: FlushMode,
}

impl FlushPlan {
    fn of(cells: impl IntoIterator<Item = Cell>) -> Self {
        Self {
            cells: cells.into_iter().collect(),
            mode: FlushMode::Hard,
        }
    }

    /// Of the whole scope.
    pub fn everything() -> Self {
        Self::of([Cell::Base])
    }

    /// Of all entries with one of these tags.
    pub fn tags<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> Self {
        let slots = tags.into_iter().map(|tag| slot_of_tag(tag.as_ref()));
        Self::of(slots.map(Cell::Slot))
    }

    /// Of one entry.
    pub fn key<V>(key: &CacheKey<V>) -> Self {
        Self::of([Cell::Slot(key.slot())])
    }

    /// As [`Flush::soft`].
    #[must_use]
    pub fn soft(mut self) -> Self {
        self.mode = FlushMode::Soft;
        self
    }

    /// Both, as one flush: hard, if one of them is. One that flushes nothing does not count.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        self.cells.extend(other.cells);
        if other.mode == FlushMode::Hard {
            self.mode = FlushMode::Hard;
        }
        self
    }

    /// Whether nothing of it may be served any more, not even as stale.
    pub fn is_hard(&self) -> bool {
        self.mode == FlushMode::Hard
    }

    /// Whether it flushes nothing.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    fn cells(&self) -> Vec<Cell> {
        self.cells.iter().copied().collect()
    }
}

impl Cache {
    /// Flushes what was planned when awaited: one round trip. A plan that is done twice only costs misses.
    pub fn flush_planned(&self, plan: &FlushPlan) -> Flush<'_> {
        let flush = Flush::new(self, plan.cells());
        match plan.mode {
            FlushMode::Hard => flush,
            FlushMode::Soft => flush.soft(),
        }
    }
}

impl fmt::Display for FlushPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mode {
            FlushMode::Hard => "hard",
            FlushMode::Soft => "soft",
        })?;
        for cell in &self.cells {
            match cell {
                Cell::Base => f.write_str(" *")?,
                Cell::Slot(slot) => write!(f, " {slot}")?,
            }
        }
        Ok(())
    }
}

/// A text is no [`FlushPlan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFlushPlan {
    _private: (),
}

impl fmt::Display for InvalidFlushPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a planned flush is written as `hard` or `soft`, followed by `*` or numbers below {SLOTS}"
        )
    }
}

impl Error for InvalidFlushPlan {}

impl FromStr for FlushPlan {
    type Err = InvalidFlushPlan;

    fn from_str(text: &str) -> Result<Self, InvalidFlushPlan> {
        let invalid = InvalidFlushPlan { _private: () };
        let mut words = text.split(' ');
        let mode = match words.next() {
            Some("hard") => FlushMode::Hard,
            Some("soft") => FlushMode::Soft,
            _ => return Err(invalid),
        };
        let cells: Option<BTreeSet<_>> = words.map(cell).collect();
        let plan = Self {
            cells: cells.ok_or_else(|| invalid.clone())?,
            mode,
        };
        // One spelling each.
        if plan.to_string() == text {
            Ok(plan)
        } else {
            Err(invalid)
        }
    }
}

fn cell(word: &str) -> Option<Cell> {
    match word {
        "*" => Some(Cell::Base),
        _ => word.parse().ok().filter(|slot| *slot < SLOTS).map(Cell::Slot),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::Keys;

    #[test]
    fn a_plans_text_means_the_same_in_every_release() {
        const NOTE: Keys<(u32,), String> = Keys::new("note", 1);
        let own = NOTE.key((7,)).slot();
        for (plan, text) in [
            (FlushPlan::everything(), "hard *".to_owned()),
            (FlushPlan::tags(["orders"]).soft(), "soft 2385".to_owned()),
            (FlushPlan::key(&NOTE.key((7,))), format!("hard {own}")),
            (FlushPlan::tags([""; 0]), "hard".to_owned()),
            (
                FlushPlan::tags(["orders", "", "orders"]).and(FlushPlan::everything()),
                "hard * 827 2385".to_owned(),
            ),
        ] {
            assert_eq!(plan.to_string(), text);
            assert_eq!(text.parse(), Ok(plan));
        }
    }

    #[test]
    fn two_plans_are_hard_if_one_of_them_is() {
        let soft = FlushPlan::tags(["orders"]).soft();
        assert_eq!(soft.clone().and(soft.clone()), soft);
        assert_eq!(
            soft.clone().and(FlushPlan::everything()).to_string(),
            "hard * 2385"
        );
        assert_eq!(
            FlushPlan::everything().and(soft.clone()).to_string(),
            "hard * 2385"
        );
        let nothing = || FlushPlan::tags([""; 0]);
        assert_eq!(nothing().and(soft.clone()), soft);
        assert_eq!(soft.clone().and(nothing()), soft);
    }

    #[test]
    fn what_nobody_wrote_is_no_plan() {
        for text in [
            "",
            " ",
            "hard ",
            "hard  1",
            "Hard *",
            "hard 4096",
            "hard 01",
            "hard +1",
            "hard -1",
            "hard 2 1",
            "hard 1 1",
            "hard 1 *",
            "hard *\n",
            "*",
            "1",
        ] {
            assert_eq!(
                text.parse::<FlushPlan>(),
                Err(InvalidFlushPlan { _private: () }),
                "{text:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read_again(
            slots in proptest::collection::vec(0..SLOTS, 0..20), base in any::<bool>(), soft in any::<bool>(),
        ) {
            let cells = slots.into_iter().map(Cell::Slot).chain(base.then_some(Cell::Base));
            let plan = FlushPlan::of(cells);
            let plan = if soft { plan.soft() } else { plan };
            prop_assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }
}
