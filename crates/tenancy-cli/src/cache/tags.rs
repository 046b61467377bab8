use clap::Args;
use serde::Serialize;
use tenancy::cache::TagExplained;

use super::{Opened, WhoseArgs, no_answer};
use crate::{
    CliError,
    output::{Output, moment},
};

/// Arguments of `cache tags`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TagsArgs {
    #[command(flatten)]
    whose: WhoseArgs,

    /// The tags
    #[arg(value_name = "TAG", required = true)]
    tags: Vec<String>,
}

#[derive(Serialize)]
struct TagsView<'a> {
    tenant: Option<&'a str>,
    tags: &'a [TagExplained],
}

impl TagsArgs {
    pub(crate) async fn run(self, opened: &Opened, out: &mut Output<'_>) -> Result<(), CliError> {
        let (cache, _) = opened.part(&self.whose).await?;
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        let explained = cache.explain_tags(&tags).await;
        let explained = explained.map_err(|error| no_answer(&error))?;
        if out.is_json() {
            return out.json(&TagsView {
                tenant: self.whose.id(),
                tags: &explained,
            });
        }
        let rows = explained.iter().map(|tag| {
            // A flush of everything, or the beginning of the numbers, of before which nothing is served either.
            let is_of_all = tag.everything_number > tag.number;
            let at = if is_of_all {
                tag.everything_at
            } else {
                tag.flushed_at
            };
            let at = at.and_then(|at| i64::try_from(at.as_millis()).ok());
            let how = match tag.number {
                _ if is_of_all => "everything",
                0 => "never",
                number if number == tag.hard => "hard",
                _ => "soft",
            };
            [
                tag.tag.clone(),
                tag.slot.to_string(),
                at.and_then(moment).unwrap_or_default(),
                how.to_owned(),
                tag.number.max(tag.everything_number).to_string(),
            ]
        });
        out.table(["TAG", "SLOT", "FLUSHED", "HOW", "NUMBER"], rows)
    }
}
