use tracing::{
    Event, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::layer::{Context, Filter};

use super::{TenantLevels, levels::Verdict};

/// A filter of a log in which some tenants have more lines, or fewer. Made by [`TenantLevels::filter`].
#[derive(Clone, Debug)]
pub struct TenantFilter<F> {
    levels: TenantLevels,
    base: F,
}

impl<F> TenantFilter<F> {
    pub(super) fn new(levels: TenantLevels, base: F) -> Self {
        Self { levels, base }
    }
}

impl<S: Subscriber, F: Filter<S>> Filter<S> for TenantFilter<F> {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        match self.levels.judge(metadata.level()) {
            Verdict::AsEver => self.base.enabled(metadata, context),
            Verdict::Let => true,
            Verdict::HoldBack => false,
        }
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let base = self.base.callsite_enabled(metadata);
        let Some(bounds) = self.levels.bounds() else {
            return base;
        };
        let some_get_it = base.is_never() && *metadata.level() <= bounds.raised_to;
        let some_get_it_not = base.is_always() && *metadata.level() > bounds.quieted_to;
        if some_get_it || some_get_it_not {
            Interest::sometimes()
        } else {
            base
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        match self.levels.judge(event.metadata().level()) {
            Verdict::AsEver => self.base.event_enabled(event, context),
            Verdict::Let => true,
            Verdict::HoldBack => false,
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let base = self.base.max_level_hint()?;
        let bounds = self.levels.bounds();
        Some(bounds.map_or(base, |bounds| base.max(bounds.raised_to)))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.base.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.base.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.base.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.base.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.base.on_close(id, context);
    }
}
