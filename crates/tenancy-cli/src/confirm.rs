use std::io::{self, BufRead, IsTerminal as _, Write};

use crate::CliError;

/// Asks before something is done that hurts, unless `--yes` was given.
pub(crate) fn confirm(question: &str, answer: &str, is_yes: bool) -> Result<(), CliError> {
    if is_yes {
        return Ok(());
    }
    check_can_ask(is_yes)?;
    if ask(
        question,
        answer,
        &mut io::stdin().lock(),
        &mut io::stderr().lock(),
    )
    .map_err(CliError::from_output)?
    {
        Ok(())
    } else {
        Err(CliError::failed("not confirmed, nothing was changed"))
    }
}

/// Fails before anything is looked up where the question could not be asked anyway.
pub(crate) fn check_can_ask(is_yes: bool) -> Result<(), CliError> {
    if is_yes || (io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Ok(());
    }
    Err(
        CliError::usage("this needs to be confirmed, and there is no terminal to ask on")
            .advise("Add --yes to confirm it beforehand."),
    )
}

fn ask(question: &str, answer: &str, from: &mut dyn BufRead, to: &mut dyn Write) -> io::Result<bool> {
    write!(to, "{question}\nType `{answer}` to go on: ")?;
    to.flush()?;
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim() == answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_answer_confirms() {
        for (typed, goes_on) in [
            ("acme\n", true),
            (" acme \r\n", true),
            ("", false),
            ("\n", false),
            ("y\n", false),
            ("acme-2\n", false),
        ] {
            let mut shown = Vec::new();
            assert_eq!(
                ask("Purge?", "acme", &mut typed.as_bytes(), &mut shown).unwrap(),
                goes_on,
                "{typed:?}"
            );
            assert_eq!(shown, b"Purge?\nType `acme` to go on: ");
        }
    }
}
