use std::{collections::BTreeMap, fmt::Display};

use serde::de;
use sha2::{Digest, Sha256};

/// So that no type keeps a request waiting: some milliseconds.
const MOST_STEPS: usize = 20_000;
const MOST_RUNS: usize = 1_000;
const DEEPEST: u16 = 48;
/// Above the number of samples of any kind.
const MOST_TRIES: u8 = 16;

/// The type does not accept what it was given, or there was enough of it.
#[derive(Debug)]
pub(super) struct Refused;

impl Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a made-up value was refused")
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

/// What is learned of a type by letting it read made-up values, again and again, until each variant was read once.
pub(super) struct Survey {
    readable: bool,
    /// Of all that was asked for.
    shape: Sha256,
    steps: usize,
    looks_ahead: bool,
    /// Enums by the names of their Rust types.
    enums: BTreeMap<&'static str, Enum>,
    /// By path: the sample to offer.
    samples: BTreeMap<u64, usize>,
    accepted: bool,
    /// Whether the present run has taught anything.
    learned: bool,
    /// Which variant leads to others that are still to be read.
    leads: BTreeMap<&'static str, usize>,
    /// Rust types that are being read, the outermost first.
    open: Vec<&'static str>,
    /// Variants that are being read.
    inside: Vec<Variant>,
    /// How many of the open ones are within themselves.
    recursions: usize,
    /// What was offered last, and how many samples there are.
    last_offer: Option<(u64, usize)>,
}

type Variant = (&'static str, usize);

struct Enum {
    /// Where it was met first.
    within: Option<Variant>,
    variants: Vec<Progress>,
    /// The variant that was read first. It did not need another of its own enum within it, so that it ends.
    ending: Option<usize>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    tries: u8,
    done: bool,
}

impl Enum {
    fn next(&self) -> Option<usize> {
        let open = self
            .variants
            .iter()
            .enumerate()
            .filter(|(_, variant)| variant.is_open());
        open.min_by_key(|(_, variant)| variant.tries)
            .map(|(index, _)| index)
    }
}

impl Progress {
    fn is_open(&self) -> bool {
        !self.done && self.tries < MOST_TRIES
    }
}

/// The number for what both surveys have found.
pub(super) fn combined(type_name: &'static str, binary: &Survey, readable: &Survey) -> u64 {
    let mut id = Sha256::new();
    for survey in [binary, readable] {
        id.update(survey.shape.clone().finalize());
        if !survey.is_complete() {
            id.update(type_name);
        }
    }
    id.finalize()
        .iter()
        .take(8)
        .fold(0, |id, byte| id << 8 | u64::from(*byte))
}

impl Survey {
    /// Reads with `read` until nothing new is learned.
    pub(super) fn run(readable: bool, read: &dyn Fn(&mut Self) -> bool) -> Self {
        let mut survey = Self {
            readable,
            shape: Sha256::new(),
            steps: 0,
            looks_ahead: false,
            enums: BTreeMap::new(),
            samples: BTreeMap::new(),
            accepted: false,
            learned: false,
            leads: BTreeMap::new(),
            open: Vec::new(),
            inside: Vec::new(),
            recursions: 0,
            last_offer: None,
        };
        for _ in 0..MOST_RUNS {
            survey.begin();
            let accepted = read(&mut survey);
            survey.accepted |= accepted;
            let other_sample = !accepted && survey.offer_another();
            let more = other_sample || survey.enums.values().any(|found| found.next().is_some());
            if !more || !survey.learned {
                break;
            }
        }
        survey
    }

    pub(super) fn looks_ahead(&self) -> bool {
        self.looks_ahead
    }

    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether all there is was seen.
    pub(super) fn is_complete(&self) -> bool {
        let mut variants = self.enums.values().flat_map(|found| &found.variants);
        self.accepted && self.steps < MOST_STEPS && variants.all(|variant| variant.done)
    }

    fn begin(&mut self) {
        self.learned = false;
        self.open.clear();
        self.inside.clear();
        self.recursions = 0;
        self.last_offer = None;
        self.leads.clear();
        for unfinished in self.enums.values().filter(|found| found.next().is_some()) {
            let mut within = unfinished.within;
            while let Some((outer, variant)) = within {
                self.leads.entry(outer).or_insert(variant);
                within = self.enums.get(outer).and_then(|outer| outer.within);
            }
        }
    }

    fn offer_another(&mut self) -> bool {
        let Some((path, samples)) = self.last_offer else {
            return false;
        };
        let sample = self.samples.entry(path).or_insert(0);
        let another = *sample + 1 < samples;
        *sample = if another { *sample + 1 } else { 0 };
        self.learned |= another;
        another
    }

    /// Notes what was asked for.
    pub(super) fn note(&mut self, what: &str) -> Result<(), Refused> {
        self.steps += 1;
        if self.steps >= MOST_STEPS {
            return Err(Refused);
        }
        self.shape.update((what.len() as u64).to_le_bytes());
        self.shape.update(what);
        Ok(())
    }

    pub(super) fn note_all(&mut self, what: &str, names: &[&str]) -> Result<(), Refused> {
        self.note(what)?;
        self.note_len(names.len())?;
        names.iter().try_for_each(|name| self.note(name))
    }

    pub(super) fn note_len(&mut self, len: usize) -> Result<(), Refused> {
        self.note(&len.to_string())
    }

    pub(super) fn note_looking_ahead(&mut self) {
        self.looks_ahead = true;
    }

    /// Which of so many samples to offer at this place.
    pub(super) fn sample(&mut self, path: u64, samples: usize) -> usize {
        self.last_offer = Some((path, samples));
        self.samples.get(&path).copied().unwrap_or(0)
    }

    /// Whether what may be left out is to be left out: else a type within itself would never end.
    pub(super) fn is_closing(&self) -> bool {
        self.recursions > 0
    }

    /// Reads a type that may be within itself.
    pub(super) fn within<T>(
        &mut self,
        type_name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let recursion = usize::from(self.open.contains(&type_name));
        self.recursions += recursion;
        self.open.push(type_name);
        let outcome = read(self);
        self.open.pop();
        self.recursions -= recursion;
        outcome
    }

    /// Reads one variant of an enum; `read` is told which.
    pub(super) fn within_variant<T>(
        &mut self,
        type_name: &'static str,
        variants: usize,
        read: impl FnOnce(&mut Self, usize) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let recursion = self.open.contains(&type_name);
        let index = self.choose(type_name, variants, recursion)?;
        self.inside.push((type_name, index));
        let outcome = self.within(type_name, |survey| read(survey, index));
        self.inside.pop();
        self.tried(type_name, index, outcome.is_ok());
        outcome
    }

    fn choose(
        &mut self,
        type_name: &'static str,
        variants: usize,
        recursion: bool,
    ) -> Result<usize, Refused> {
        let within = self.inside.last().copied();
        let found = self.enums.entry(type_name).or_insert_with(|| Enum {
            within,
            variants: vec![Progress::default(); variants],
            ending: None,
        });
        let unread = found.next().or_else(|| self.leads.get(type_name).copied());
        unread.filter(|_| !recursion).or(found.ending).ok_or(Refused)
    }

    fn tried(&mut self, type_name: &'static str, index: usize, accepted: bool) {
        let Some(found) = self.enums.get_mut(type_name) else {
            return;
        };
        if let Some(variant) = found.variants.get_mut(index).filter(|variant| variant.is_open()) {
            variant.done = accepted;
            variant.tries += 1;
            self.learned = true;
            if accepted {
                found.ending.get_or_insert(index);
            }
        }
    }
}

/// Where something is within the whole, and how deep.
#[derive(Clone, Copy)]
pub(super) struct Path {
    hash: u64,
    depth: u16,
}

impl Path {
    pub(super) const ROOT: Self = Self { hash: 0, depth: 0 };

    pub(super) fn hash(self) -> u64 {
        self.hash
    }

    /// What is read next below this.
    pub(super) fn child(self, index: usize) -> Result<Self, Refused> {
        if self.depth == DEEPEST {
            return Err(Refused);
        }
        // An accident only means another sample.
        let mixed = (self.hash ^ (index as u64 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ok(Self {
            hash: mixed.rotate_left(29),
            depth: self.depth + 1,
        })
    }
}
