use clap::Args;
use tenancy::cache::{AnyKey, SharedExplained};

use super::{Opened, WhoseArgs};
use crate::{CliError, output::Output};

/// Arguments of `cache explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainKeyArgs {
    #[command(flatten)]
    whose: WhoseArgs,

    /// The key, as logs have it: notes@1(7, "open"). Whole numbers that are no u32 say their type, as in 7i64; one argument
    /// alone in a tuple has a comma: page@1(7i64,)
    #[arg(value_name = "KEY", value_parser = parse_key)]
    key: AnyKey,

    /// A tag that the entry may have, to tell by name whether it was flushed by that; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

fn parse_key(text: &str) -> Result<AnyKey, tenancy::cache::KeyTextError> {
    text.parse()
}

impl ExplainKeyArgs {
    pub(crate) async fn run(self, opened: &Opened, out: &mut Output<'_>) -> Result<(), CliError> {
        let (cache, _) = opened.part(&self.whose).await?;
        let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        let explained = cache.explain_any(&self.key, &tags).await;
        if let SharedExplained::Failed { error } = &explained.shared {
            return Err(CliError::failed(format!(
                "the shared cache level does not answer: {error}"
            )));
        }
        if out.is_json() {
            return out.json(&explained);
        }
        let found = if explained.verdict.is_hit() {
            "found"
        } else {
            "not found"
        };
        out.line(format_args!("{} of {}: {found}", explained.key, explained.scope))?;
        out.line(format_args!("  because {}", explained.reason))?;
        out.line(format_args!("  in the shared level: {}", explained.shared))
    }
}
