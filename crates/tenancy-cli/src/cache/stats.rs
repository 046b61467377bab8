use clap::Args;
use serde::Serialize;
use tenancy::cache::CacheStatistics;

use super::{Opened, WhoseArgs, no_answer};
use crate::{
    CliError,
    output::{Output, counted},
};

/// Arguments of `cache stats`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    whose: WhoseArgs,
}

#[derive(Serialize)]
struct StatsView<'a> {
    tenant: Option<&'a str>,
    processes: usize,
    sum: CacheStatistics,
    each: &'a [CacheStatistics],
}

impl StatsArgs {
    pub(crate) async fn run(self, opened: &Opened, out: &mut Output<'_>) -> Result<(), CliError> {
        let (cache, name) = opened.part(&self.whose).await?;
        let each = cache.statistics_of_processes().await;
        let each = each.map_err(|error| no_answer(&error))?;
        let sum: CacheStatistics = each.iter().copied().sum();
        if out.is_json() {
            return out.json(&StatsView {
                tenant: self.whose.id(),
                processes: each.len(),
                sum,
                each: &each,
            });
        }
        out.line(format_args!(
            "Counted of {name} by {}, as told within the last hour:",
            counted(each.len(), "process", "processes")
        ))?;
        let facts = [
            ("hits in the process", sum.hits),
            ("hits in Redis", sum.shared_hits),
            ("misses", sum.misses),
            ("stale answers", sum.stale),
            ("waited for another's load", sum.coalesced),
            ("loads", sum.loads),
            ("failed loads", sum.failed_loads),
            ("early refreshes", sum.early_refreshes),
            ("not readable", sum.unreadable),
            ("flushes", sum.flushes),
            ("evicted", sum.evicted),
            ("bytes in processes", sum.bytes),
        ];
        out.facts(facts.map(|(name, number)| (name, number.to_string())))
    }
}
