//! Maintenance of the whole service, switched while it runs.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use tenancy_core::Maintenance;

use super::{
    answer::{CompiledMaintenance, InvalidMaintenance, MaintenanceDecision, MaintenanceRequest},
    bypass::{BypassSettings, Subject},
};

/// The switch for maintenance of the whole service, in this process. Off at first.
///
/// Clones are handles on the same switch. It counts for every request that begins after the call returned;
/// requests under way are not ended.
#[derive(Clone, Default)]
pub struct GlobalMaintenance {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    settings: BypassSettings,
    // Says whether `compiled` is worth looking at: one plain load is all that a request costs when it is off.
    enabled: AtomicBool,
    compiled: ArcSwapOption<CompiledMaintenance>,
    // Keeps `enabled` and `compiled` in step when two callers switch at once. Requests never take it.
    switching: Mutex<()>,
}

impl GlobalMaintenance {
    /// A switch that is off, with the default bypass settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// A switch that is off, with these bypass settings.
    pub fn with_bypass_settings(settings: BypassSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                ..Shared::default()
            }),
        }
    }

    /// Begins maintenance, or changes its answer. Copies the page.
    ///
    /// # Errors
    /// When a setting cannot be used; nothing has changed then.
    pub fn enable(&self, maintenance: &Maintenance) -> Result<(), InvalidMaintenance> {
        let compiled = CompiledMaintenance::compile(maintenance, &self.shared.settings)?;
        let _switching = self
            .shared
            .switching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.shared.compiled.store(Some(Arc::new(compiled)));
        self.shared.enabled.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends maintenance.
    pub fn disable(&self) {
        let _switching = self
            .shared
            .switching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.shared.enabled.store(false, Ordering::Release);
        self.shared.compiled.store(None);
    }

    /// Whether maintenance is on. One atomic load.
    pub fn is_enabled(&self) -> bool {
        self.shared.enabled.load(Ordering::Acquire)
    }

    /// What becomes of a request. Takes no lock.
    pub(crate) fn decide(&self, request: &MaintenanceRequest<'_>) -> MaintenanceDecision {
        if !self.is_enabled() {
            return MaintenanceDecision::Pass;
        }
        match &*self.shared.compiled.load() {
            Some(compiled) => compiled.decide(Subject::Global, request),
            // It was switched off in between.
            None => MaintenanceDecision::Pass,
        }
    }
}

impl fmt::Debug for GlobalMaintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalMaintenance")
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, Method, Uri};

    use super::*;

    fn passes(switch: &GlobalMaintenance) -> bool {
        let request = MaintenanceRequest {
            method: &Method::GET,
            uri: &Uri::from_static("/"),
            headers: &HeaderMap::new(),
            host: None,
            now: Duration::from_secs(1_000_000_000),
            secure: true,
        };
        matches!(switch.decide(&request), MaintenanceDecision::Pass)
    }

    #[test]
    fn a_switch_counts_for_the_next_request_on_every_handle() {
        let switch = GlobalMaintenance::new();
        let other = switch.clone();
        for _ in 0..3 {
            assert!(!switch.is_enabled() && passes(&switch) && passes(&other));
            switch.enable(&Maintenance::default()).unwrap();
            assert!(other.is_enabled() && !passes(&switch) && !passes(&other));
            other.disable();
        }
    }

    #[test]
    fn a_refused_setting_changes_nothing() {
        let mut bad = Maintenance::default();
        bad.status = 200;
        let switch = GlobalMaintenance::new();
        assert_eq!(switch.enable(&bad).unwrap_err().field(), "status");
        assert!(passes(&switch));
        switch.enable(&Maintenance::default()).unwrap();
        assert!(switch.enable(&bad).is_err());
        assert!(!passes(&switch));
    }

    #[test]
    fn the_switch_and_its_answer_agree_after_two_callers_raced() {
        let switch = GlobalMaintenance::new();
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    for _ in 0..500 {
                        switch.enable(&Maintenance::default()).unwrap();
                        switch.disable();
                    }
                });
            }
        });
        assert!(!switch.is_enabled() && switch.shared.compiled.load().is_none());
        switch.enable(&Maintenance::default()).unwrap();
        assert!(switch.is_enabled() && switch.shared.compiled.load().is_some());
    }

    #[test]
    fn handles_cross_threads() {
        fn is_shareable<T: Send + Sync + Clone + 'static>() {}
        is_shareable::<GlobalMaintenance>();
        is_shareable::<CompiledMaintenance>();
    }
}
