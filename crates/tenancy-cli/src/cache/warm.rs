use clap::Args;
use tenancy::cache::{Warming, WarmingProgress};

use super::Opened;
use crate::{
    CliError,
    databases::{progress::Progress, signals::unless_broken_off},
    output::{Output, counted},
};

/// Arguments of `cache warm`.
#[derive(Clone, Debug, Args)]
#[group(id = "whom", required = true, multiple = false, args = ["ids", "all", "hottest"])]
pub(crate) struct WarmArgs {
    /// The tenants' ids
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// Every active tenant
    #[arg(long)]
    all: bool,

    /// So many of those that are used most
    #[arg(long, value_name = "NUMBER")]
    hottest: Option<usize>,
}

impl WarmArgs {
    pub(crate) async fn run(self, opened: &Opened, out: &mut Output<'_>) -> Result<(), CliError> {
        let tenancy = &opened.tenancy;
        if tenancy.recipes().is_empty() {
            return Err(
                CliError::invalid("there are no recipes: what to load only the application knows").advise(
                    "Run this by the application's own command line, which gives them to `CliContext::stack` or `recipes`, or \
                     call `Tenancy::warm_all` in it.",
                ),
            );
        }
        let warming = match (self.hottest, self.all) {
            (Some(most), _) => {
                opened.ready().await?;
                tenancy.warm_hottest(most)
            }
            (None, true) => {
                opened.ready().await?;
                tenancy.warm_all()
            }
            (None, false) => {
                let mut tenants = Vec::new();
                for id in &self.ids {
                    tenants.push(opened.tenant(id).await?);
                }
                tenancy.warm_these(tenants)
            }
        };
        let recipes = tenancy.recipes().len();
        let progress = Progress::new(0);
        let ended = unless_broken_off(follow(warming, &progress)).await;
        progress.clear();
        match ended {
            Some(ended) => answer(ended, recipes, out),
            None => {
                let (done, failed) = progress.tally();
                Err(CliError::failed(format!(
                    "broken off: {done} tenants are warm, {failed} failed"
                )))
            }
        }
    }
}

async fn follow(mut warming: Warming, progress: &Progress) -> WarmingProgress {
    let mut last = warming.progress();
    while let Some(next) = warming.further().await {
        progress.set_length(next.total as u64);
        (last.done + last.gone..next.done + next.gone).for_each(|_| progress.done());
        (last.failed..next.failed).for_each(|_| progress.failed());
        last = next;
    }
    last
}

fn answer(ended: WarmingProgress, recipes: usize, out: &mut Output<'_>) -> Result<(), CliError> {
    if out.is_json() {
        out.json(&ended)?;
    } else {
        out.line(format_args!(
            "{} of {} warm, by {}: {} bytes were loaded or found in Redis.",
            ended.done,
            counted(ended.total, "tenant is", "tenants are"),
            counted(recipes, "recipe", "recipes"),
            ended.bytes
        ))?;
    }
    if ended.is_out_of_room {
        return Err(CliError::failed(format!(
            "{} left: the part of this process's memory that warming may fill is full",
            counted(ended.left, "tenant is", "tenants are")
        ))
        .advise("A larger cache.max_bytes, or --hottest, lets it end."));
    }
    if ended.failed > 0 {
        return Err(CliError::failed(format!(
            "a recipe failed for {}",
            counted(ended.failed, "tenant", "tenants")
        ))
        .advise("The log tells for whom, and why."));
    }
    Ok(())
}
