/// What warming may take.
#[derive(Clone, Copy, Debug)]
#[must_use = "give them to the builder"]
pub struct WarmingSettings {
    pub(crate) at_once: usize,
    pub(crate) share_of_bytes: f64,
}

impl WarmingSettings {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            at_once: 4,
            share_of_bytes: 0.5,
        }
    }

    /// How much database concurrency all recipes of this process have together, by their [costs](super::Recipe::cost); as many
    /// tenants are warmed at once. Default: 4.
    pub fn at_once(mut self, connections: usize) -> Self {
        self.at_once = connections;
        self
    }

    /// How much of level 1 may be filled by warming, as a share from 0 to 1 of [`max_bytes`](super::super::CacheSettings::max_bytes):
    /// what was brought within the last [`local_ttl`](super::super::CacheSettings::local_ttl) counts. Default: 0.5.
    pub fn share_of_bytes(mut self, share: f64) -> Self {
        self.share_of_bytes = share;
        self
    }

    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.at_once == 0 || self.at_once > tokio::sync::Semaphore::MAX_PERMITS {
            mistakes.push(format!("{} recipes at once are not possible", self.at_once));
        }
        if !(0.0..=1.0).contains(&self.share_of_bytes) {
            mistakes.push(format!(
                "a share of {} of the cache's bytes for warming is not between 0 and 1",
                self.share_of_bytes
            ));
        }
        mistakes
    }
}

impl Default for WarmingSettings {
    fn default() -> Self {
        Self::new()
    }
}
