use clap::{Args, ValueEnum};
use clap_complete::{Generator as _, Shell};

use crate::{CliContext, CliError, output::Output};

/// Arguments of `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to write for
    #[arg(value_enum)]
    shell: ShellName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Elvish,
}

impl CompletionsArgs {
    pub(crate) fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let shell = match self.shell {
            ShellName::Bash => Shell::Bash,
            ShellName::Zsh => Shell::Zsh,
            ShellName::Fish => Shell::Fish,
            ShellName::PowerShell => Shell::PowerShell,
            ShellName::Elvish => Shell::Elvish,
        };
        let mut command = context.whole_command();
        if command.get_bin_name().is_none() {
            command.set_bin_name(command.get_name().to_owned());
        }
        command.build();
        let mut script = Vec::new();
        shell
            .try_generate(&command, &mut script)
            .map_err(CliError::from_output)?;
        if out.is_json() {
            return out.json(&serde_json::json!({ "script": String::from_utf8_lossy(&script) }));
        }
        out.text(String::from_utf8_lossy(&script))
    }
}
