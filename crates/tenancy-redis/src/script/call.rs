//! What the scripts are given.

use tenancy::cache::shared::{Ask, Claim, HOTTEST, Level, ProcessReport, Raise, ScopeName};

use super::{
    ASK, CLAIM, HEAT, RAISE, RELEASE, REPORT, REPORTS, Script, TEACH,
    number::{cell_text, mode_text, number_text},
};
use crate::{
    command::Command,
    failure::Failure,
    keys::{Keys, slot_of},
};

pub(crate) fn ask(keys: &Keys, node: u16, ask: &Ask) -> Result<Command, Failure> {
    let arguments = vec![node.to_string(), number_text(ask.seen)?];
    Ok(command(keys, &ask.scope, &ASK, arguments))
}

pub(crate) fn raise(keys: &Keys, node: u16, raise: &Raise) -> Result<Command, Failure> {
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

pub(crate) fn teach(keys: &Keys, node: u16, scope: &ScopeName, known: &[Level]) -> Result<Command, Failure> {
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

pub(crate) fn claim(keys: &Keys, claim: &Claim, milliseconds: u64) -> Command {
    let key = keys.claim(&claim.scope, &claim.what);
    let arguments = vec![claim.by.to_string(), milliseconds.to_string()];
    Command::script(slot_of(&claim.scope), &CLAIM, [key], arguments)
}

pub(crate) fn release(keys: &Keys, claim: &Claim) -> Command {
    let key = keys.claim(&claim.scope, &claim.what);
    Command::script(slot_of(&claim.scope), &RELEASE, [key], vec![claim.by.to_string()])
}

pub(crate) fn heat(keys: &Keys, central: &ScopeName, uses: &[(ScopeName, u64)]) -> Command {
    let uses = uses
        .iter()
        .flat_map(|(scope, uses)| [scope.to_string(), uses.to_string()]);
    let arguments = [HOTTEST.to_string()].into_iter().chain(uses).collect();
    Command::script(slot_of(central), &HEAT, keys.heat(central), arguments)
}

pub(crate) fn report(keys: &Keys, report: &ProcessReport, seconds: u64) -> Command {
    let arguments = vec![
        report.process.to_string(),
        seconds.to_string(),
        report.text.clone(),
    ];
    Command::script(
        slot_of(&report.scope),
        &REPORT,
        [keys.reports(&report.scope)],
        arguments,
    )
}

pub(crate) fn reports(keys: &Keys, scope: &ScopeName) -> Command {
    Command::script(slot_of(scope), &REPORTS, [keys.reports(scope)], Vec::new())
}

fn command(keys: &Keys, scope: &ScopeName, script: &'static Script, arguments: Vec<String>) -> Command {
    Command::script(
        slot_of(scope),
        script,
        vec![keys.versions(scope), keys.history(scope)],
        arguments,
    )
}
