//! What the scripts are given.

use tenancy::cache::shared::{Ask, Level, Raise, ScopeName, SharedError};

use super::{
    ASK, RAISE, Script, TEACH,
    number::{cell_text, mode_text, number_text},
};
use crate::{
    command::Command,
    keys::{Keys, slot_of},
};

pub(crate) fn ask(keys: &Keys, node: u16, ask: &Ask) -> Result<Command, SharedError> {
    let arguments = vec![node.to_string(), number_text(ask.seen)?];
    Ok(command(keys, &ask.scope, &ASK, arguments))
}

pub(crate) fn raise(keys: &Keys, node: u16, raise: &Raise) -> Result<Command, SharedError> {
    let mut arguments = vec![
        node.to_string(),
        number_text(raise.known)?,
        raise.scope.to_string(),
        keys.channel().to_owned(),
        mode_text(raise.mode).to_owned(),
    ];
    arguments.extend(raise.cells.iter().copied().map(cell_text));
    Ok(command(keys, &raise.scope, &RAISE, arguments))
}

pub(crate) fn teach(
    keys: &Keys,
    node: u16,
    scope: &ScopeName,
    known: &[Level],
) -> Result<Command, SharedError> {
    let highest = known.iter().map(|level| level.any.max(level.hard)).max();
    let mut arguments = vec![
        node.to_string(),
        number_text(highest.unwrap_or_default())?,
        scope.to_string(),
        keys.channel().to_owned(),
    ];
    for level in known {
        arguments.push(cell_text(level.cell));
        arguments.push(number_text(level.any)?);
        arguments.push(number_text(level.hard)?);
    }
    Ok(command(keys, scope, &TEACH, arguments))
}

fn command(keys: &Keys, scope: &ScopeName, script: &'static Script, arguments: Vec<String>) -> Command {
    Command::script(
        slot_of(scope),
        script,
        vec![keys.versions(scope), keys.history(scope)],
        arguments,
    )
}
