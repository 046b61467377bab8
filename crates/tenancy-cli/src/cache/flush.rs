use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tenancy::core::{Clock as _, SystemClock};

use super::{Opened, WhoseArgs, no_answer};
use crate::{
    CliError,
    databases::signals::unless_broken_off,
    output::{Output, moment},
};

/// Arguments of `cache flush`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FlushArgs {
    #[command(flatten)]
    whose: WhoseArgs,

    /// Only what has this tag; may be given more than once [default: everything]
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Let servers serve what is flushed while they load it anew, for half a minute
    #[arg(long)]
    soft: bool,

    /// Wait until it is in effect everywhere
    #[arg(long)]
    wait: bool,
}

#[derive(Serialize)]
struct FlushView<'a> {
    tenant: Option<&'a str>,
    tags: &'a [String],
    soft: bool,
    number: u64,
    everywhere_within_ms: u64,
}

impl FlushArgs {
    pub(crate) async fn run(self, opened: &Opened, out: &mut Output<'_>) -> Result<(), CliError> {
        let (cache, name) = opened.part(&self.whose).await?;
        // A flush that is told later is none here: this process ends.
        let answers = cache.explain_tags(&[]).await;
        answers.map_err(|error| no_answer(&error).advise("Nothing was flushed."))?;
        let flush = match self.tags.as_slice() {
            [] => cache.flush(),
            tags => cache.flush_tags(tags),
        };
        let receipt = match self.soft {
            true => flush.soft().await,
            false => flush.await,
        };
        let Some(mut within) = receipt.everywhere_within() else {
            return Err(
                CliError::failed("the shared cache level does not answer any more").advise(
                    "Whether something was flushed is not known. The same command does it once it answers.",
                ),
            );
        };
        if self.wait {
            match unless_broken_off(receipt.everywhere()).await {
                Some(Ok(())) => within = Duration::ZERO,
                _ => {
                    return Err(CliError::failed(
                        "broken off while waiting: the flush is done, and in effect everywhere soon",
                    ));
                }
            }
        }
        if out.is_json() {
            return out.json(&FlushView {
                tenant: self.whose.id(),
                tags: &self.tags,
                soft: self.soft,
                number: receipt.version(),
                everywhere_within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            });
        }
        let what = match self.tags.as_slice() {
            [] => "everything".to_owned(),
            tags => format!("what has the tag {}", tags.join(" or ")),
        };
        let softly = if self.soft { " softly" } else { "" };
        out.line(format_args!(
            "Flushed {what} of {name}{softly}: number {}, in effect everywhere{}.",
            receipt.version(),
            when(within)
        ))
    }
}

fn when(within: Duration) -> String {
    if within.is_zero() {
        return " now".to_owned();
    }
    // Rounded up: it must not be told too early.
    let by = SystemClock::new().unix_time() + within + Duration::from_millis(999);
    let by = i64::try_from(by.as_millis()).ok().and_then(moment);
    by.map_or_else(|| " soon".to_owned(), |by| format!(" by {by}"))
}
