use serde::Serialize;
use tenancy::stack::Stage;

use crate::{CliContext, CliError, CommandStore, output::Output};

#[derive(Serialize)]
struct OrderView {
    stages: Vec<StageView>,
    left_out: Vec<&'static str>,
}

#[derive(Serialize)]
struct StageView {
    /// `None` for a layer of the application's own.
    name: Option<&'static str>,
    summary: &'static str,
}

pub(crate) fn run(context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
    let settings = context.settings()?.settings;
    let tenancy = context.built_stack(&settings, CommandStore::none())?;
    let order = tenancy.order();
    let view = OrderView {
        stages: order
            .stages()
            .map(|stage| StageView {
                name: stage.map(Stage::as_str),
                summary: stage.map_or("a layer of the application's own", Stage::summary),
            })
            .collect(),
        left_out: Stage::every()
            .filter(|stage| !order.contains(*stage))
            .map(Stage::as_str)
            .collect(),
    };
    if out.is_json() {
        return out.json(&view);
    }
    let rows = view.stages.iter().enumerate().map(|(at, stage)| {
        let name = stage.name.unwrap_or("(layer)").to_owned();
        [(at + 1).to_string(), name, stage.summary.to_owned()]
    });
    out.table(["#", "STAGE", "WHAT IT DOES"], rows)?;
    if view.left_out.is_empty() {
        return Ok(());
    }
    out.line(format_args!("\nLeft out: {}.", view.left_out.join(", ")))
}
