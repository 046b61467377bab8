//! What is known of the warming of one account.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{Recipe, TenantWarmed};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

pub(crate) struct WarmState {
    /// One warming at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// The turns for loads that requests leave.
    pub(crate) spare_turns: Arc<Semaphore>,
    waits: AtomicBool,
    /// How many warmings have begun, and the last that has ended.
    begun: AtomicU64,
    ended: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    recipes: Vec<RecipeState>,
    /// The last whole warming: which it was, the base's number then, and what came of it.
    last: Option<(u64, u64, TenantWarmed)>,
    heat: Heat,
}

#[derive(Clone, Copy, Default)]
struct RecipeState {
    /// The base's number when it last ran; `None`: not yet.
    warmed_under: Option<u64>,
    warmed_at: Duration,
    /// How often the account had been used by then.
    uses: u64,
    failures: u32,
    not_before: Duration,
}

/// How much an account is used, halved each minute.
#[derive(Clone, Copy, Default)]
struct Heat {
    earlier: f64,
    uses: u64,
    reported: u64,
}

/// A warming, ended when this is dropped.
pub(super) struct UnderWay<'s> {
    state: &'s WarmState,
    pub(super) number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.state.ended.store(self.number, Ordering::Release);
    }
}

/// What of an account matters to whether it is to be warmed.
#[derive(Clone, Copy)]
pub(super) struct Present {
    pub(super) now: Duration,
    pub(super) base: u64,
    pub(super) uses: u64,
}

impl WarmState {
    pub(crate) fn new(recipes: usize, loads_at_once: usize) -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            // The other half is for requests alone; of one turn there is no half.
            spare_turns: Arc::new(Semaphore::new(
                (loads_at_once / 2).clamp(1, Semaphore::MAX_PERMITS),
            )),
            waits: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                recipes: vec![RecipeState::default(); recipes],
                ..Inner::default()
            }),
        }
    }

    /// Whether the caller is the one who is to let it wait for its turn.
    pub(super) fn begin_to_wait(&self) -> bool {
        !self.waits.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_to_wait(&self) {
        self.waits.store(false, Ordering::Release);
    }

    /// The warming that is under way.
    pub(super) fn under_way(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Acquire);
        (self.ended.load(Ordering::Acquire) < begun).then_some(begun)
    }

    /// For who has the turn.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        UnderWay {
            state: self,
            number: self.begun.fetch_add(1, Ordering::AcqRel) + 1,
        }
    }

    /// What came of a warming, if it ran to its end and nothing was flushed since it began.
    pub(super) fn outcome_of(&self, run: u64, base: u64) -> Option<TenantWarmed> {
        let inner = self.inner();
        let (last, under, outcome) = inner.last.as_ref()?;
        (*last >= run && *under == base).then(|| outcome.clone())
    }

    pub(super) fn keep_outcome(&self, run: u64, base: u64, outcome: &TenantWarmed) {
        self.inner().last = Some((run, base, outcome.clone()));
    }

    /// Its entries are gone.
    pub(crate) fn forget(&self) {
        let mut inner = self.inner();
        inner.last = None;
        for recipe in &mut inner.recipes {
            recipe.warmed_under = None;
        }
    }

    pub(super) fn is_any_due(&self, recipes: &[Recipe], present: Present, longest_refresh: Duration) -> bool {
        let inner = self.inner();
        let mut all = recipes.iter().zip(&inner.recipes);
        all.any(|(recipe, state)| state.is_due(recipe, present, longest_refresh))
    }

    pub(super) fn is_due(
        &self,
        at: usize,
        recipe: &Recipe,
        present: Present,
        longest_refresh: Duration,
    ) -> bool {
        let inner = self.inner();
        let state = inner.recipes.get(at);
        state.is_some_and(|state| state.is_due(recipe, present, longest_refresh))
    }

    /// `begun`: as it was when the recipe began.
    pub(super) fn note(&self, at: usize, begun: Present, now: Duration, is_warmed: bool) {
        let mut inner = self.inner();
        let Some(state) = inner.recipes.get_mut(at) else {
            return;
        };
        if is_warmed {
            *state = RecipeState {
                warmed_under: Some(begun.base),
                warmed_at: begun.now,
                uses: begun.uses,
                ..RecipeState::default()
            };
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(10));
        state.failures = state.failures.saturating_add(1);
        state.not_before = now + pause.min(LONGEST_PAUSE);
    }

    /// How much the account was used lately.
    pub(super) fn heat(&self, uses: u64) -> f64 {
        let heat = self.inner().heat;
        heat.earlier + uses.saturating_sub(heat.uses) as f64
    }

    /// A minute has passed.
    pub(super) fn cool(&self, uses: u64) {
        let heat = &mut self.inner().heat;
        heat.earlier = (heat.earlier + uses.saturating_sub(heat.uses) as f64) / 2.0;
        heat.uses = uses;
    }

    /// How often it was used since this was asked last.
    pub(super) fn take_new_uses(&self, uses: u64) -> u64 {
        let heat = &mut self.inner().heat;
        let reported = std::mem::replace(&mut heat.reported, uses);
        uses.saturating_sub(reported)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecipeState {
    fn is_due(&self, recipe: &Recipe, present: Present, longest_refresh: Duration) -> bool {
        if self.failures > 0 && present.now < self.not_before {
            return false;
        }
        if self.warmed_under != Some(present.base) {
            return true;
        }
        let every = recipe.refresh_every.map(|every| every.min(longest_refresh));
        every.is_some_and(|every| present.now >= self.warmed_at.saturating_add(every))
            && present.uses > self.uses
    }
}
