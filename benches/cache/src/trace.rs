//! What is asked for: the same keys in the same order for all.

/// As long as the keys of applications are: 27 bytes.
pub(crate) fn keys(count: usize) -> Vec<String> {
    (0..count)
        .map(|key| format!("notes@1:list:open:{key:09}"))
        .collect()
}

/// Draws numbers below a bound, small ones more often.
#[derive(Debug)]
pub(crate) struct Zipf {
    sums: Vec<f64>,
    chance: fastrand::Rng,
}

impl Zipf {
    /// Of `keys` numbers; the larger `skew`, the more often the first ones.
    pub(crate) fn new(keys: usize, skew: f64, seed: u64) -> Self {
        let mut sum = 0.0;
        let add = |rank: usize| {
            sum += (rank as f64).powf(-skew);
            sum
        };
        Self {
            sums: (1..=keys).map(add).collect(),
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    /// The next number.
    pub(crate) fn draw(&mut self) -> u32 {
        let all = self.sums.last().copied().unwrap_or_default();
        let at = self.chance.f64() * all;
        self.sums.partition_point(|sum| *sum < at) as u32
    }

    /// The next numbers.
    pub(crate) fn draws(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.draw()).collect()
    }
}

/// Numbers below `keys`, each as likely as the others.
pub(crate) fn uniform(keys: u32, count: usize, seed: u64) -> Vec<u32> {
    let mut chance = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| chance.u32(..keys)).collect()
}
