use std::{
    convert::Infallible,
    fmt::{self, Write as _},
    io::{self, Read as _},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tenancy::{
    core::Maintenance,
    gate::{BypassKey, BypassSettings, CompiledMaintenance},
};
use tenancy_server::settings::Settings;
use tenancy_sqlx::TenantDetails;

use super::{find, read_text};
use crate::{CliContext, CliError, output::Output, view::TenantView};

/// The stack takes pages of this length; the store may take less.
const LARGEST_PAGE: u64 = 256 * 1024;

/// Arguments of `tenants maintenance`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MaintenanceArgs {
    /// The tenant's id
    id: String,

    /// Into maintenance, or out of it
    #[arg(value_enum)]
    switch: Switch,

    #[command(flatten)]
    answer: AnswerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
struct AnswerArgs {
    /// Seconds for Retry-After [default: 60]
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u32>,

    /// Where to send browsers: a path or an http(s) URL
    #[arg(long, value_name = "URL")]
    redirect: Option<String>,

    /// HTML to show instead of the default page
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,

    /// Status of the answer [default: 503]
    #[arg(long, value_name = "STATUS")]
    status: Option<u16>,

    /// Secret of a bypass link, at least 16 characters; `-` reads it from standard input, where no other user and no
    /// shell history sees it. Only a key made from it is kept
    #[arg(long, value_name = "SECRET")]
    secret: Option<SecretArgument>,

    /// Make a secret for a bypass link, and show it once
    #[arg(long, conflicts_with = "secret")]
    generate_secret: bool,
}

/// A secret on the command line, which must not come out where a command is formatted.
#[derive(Clone, PartialEq, Eq)]
struct SecretArgument(String);

impl FromStr for SecretArgument {
    type Err = Infallible;

    fn from_str(given: &str) -> Result<Self, Infallible> {
        Ok(Self(given.to_owned()))
    }
}

impl fmt::Debug for SecretArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArgument(redacted)")
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    tenant: TenantView<'a>,
    bypass: Option<BypassView>,
}

#[derive(Serialize)]
struct BypassView {
    /// Only if it was made here: what was given is known to who gave it.
    secret: Option<String>,
    parameter: &'static str,
    example: String,
}

impl MaintenanceArgs {
    pub(crate) async fn run(self, context: &CliContext, out: &mut Output<'_>) -> Result<(), CliError> {
        let id = find::parse_id(&self.id)?;
        if self.switch == Switch::Off && self.answer != AnswerArgs::default() {
            return Err(CliError::usage(
                "options say how maintenance answers, and none is on after `off`",
            ));
        }
        let secret = self.answer.secret()?;
        let maintenance = match self.switch {
            Switch::On => Some(self.answer.maintenance(secret.as_ref())?),
            Switch::Off => None,
        };
        let settings = context.settings()?.settings;
        let store = context.catalogue_of(&settings).await?;
        let details = match store.set_maintenance(&id, maintenance).await {
            Ok(details) => details,
            Err(error) => return Err(find::refused(&store, &id, error).await),
        };
        store.close().await;
        let bypass = secret.map(|secret| secret.view(&details, &settings));
        answer(&details, bypass, out)
    }
}

impl AnswerArgs {
    fn secret(&self) -> Result<Option<Secret>, CliError> {
        match &self.secret {
            _ if self.generate_secret => Secret::generate().map(Some),
            Some(SecretArgument(given)) if given == "-" => Secret::from_standard_input().map(Some),
            Some(SecretArgument(given)) => Ok(Some(Secret::given(given.clone()))),
            None => Ok(None),
        }
    }

    fn maintenance(&self, secret: Option<&Secret>) -> Result<Maintenance, CliError> {
        let mut maintenance = Maintenance::default();
        if let Some(status) = self.status {
            maintenance.status = status;
        }
        if let Some(seconds) = self.retry_after {
            maintenance.retry_after = seconds;
        }
        maintenance.redirect = self.redirect.as_deref().map(Into::into);
        if let Some(path) = &self.page {
            maintenance.page = Some(read_text(path, LARGEST_PAGE)?.into());
        }
        if let Some(secret) = secret {
            let key = BypassKey::from_secret(&secret.text).map_err(|error| {
                CliError::invalid(error.to_string()).advise("--generate-secret makes one that is good.")
            })?;
            maintenance.bypass_key = Some(key.to_hex().into());
        }
        CompiledMaintenance::compile(&maintenance, &BypassSettings::default())
            .map_err(|error| CliError::invalid(error.to_string()))?;
        Ok(maintenance)
    }
}

/// A bypass secret. No `Debug`, so that nothing prints it by accident.
struct Secret {
    text: String,
    is_generated: bool,
}

impl Secret {
    fn given(text: String) -> Self {
        Self {
            text,
            is_generated: false,
        }
    }

    /// 192 random bits, in digits that need no escaping in a link.
    fn generate() -> Result<Self, CliError> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes)
            .map_err(|error| CliError::failed(format!("the system gave no random number: {error}")))?;
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a `String` can not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self {
            text,
            is_generated: true,
        })
    }

    fn from_standard_input() -> Result<Self, CliError> {
        // Room for the longest secret and its line break, so that a longer one is seen to be too long.
        let limit = BypassKey::MAX_SECRET_BYTES as u64 + 3;
        let mut text = String::new();
        io::stdin()
            .lock()
            .take(limit)
            .read_to_string(&mut text)
            .map_err(|error| CliError::invalid(format!("the secret can not be read: {error}")))?;
        Ok(Self::given(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    fn view(self, details: &TenantDetails, settings: &Settings) -> BypassView {
        let shown = if self.is_generated { &self.text } else { "SECRET" };
        let parameter = BypassSettings::DEFAULT_PARAMETER;
        BypassView {
            example: format!("https://{}/?{parameter}={shown}", host_of(details, settings)),
            secret: self.is_generated.then_some(self.text),
            parameter,
        }
    }
}

/// A host that leads to the tenant, as far as the settings say.
fn host_of(details: &TenantDetails, settings: &Settings) -> String {
    let mut domains = details.domains.iter().filter(|domain| domain.is_active);
    let base = settings.tenancy.base_domains.first();
    match (domains.next(), base) {
        (Some(domain), _) => domain.domain.clone(),
        (None, Some(base)) => format!("{}.{base}", details.record.slug()),
        (None, None) => "HOST".to_owned(),
    }
}

fn answer(details: &TenantDetails, bypass: Option<BypassView>, out: &mut Output<'_>) -> Result<(), CliError> {
    if out.is_json() {
        return out.json(&Answer {
            tenant: TenantView::from(details),
            bypass,
        });
    }
    let switch = if details.record.maintenance.is_some() {
        "in"
    } else {
        "out of"
    };
    out.line(format_args!(
        "Tenant {} is {switch} maintenance.",
        details.record.id
    ))?;
    let Some(bypass) = bypass else { return Ok(()) };
    if let Some(secret) = &bypass.secret {
        out.line(format_args!("Secret, shown only now: {secret}"))?;
    }
    out.line(format_args!(
        "Who opens a link such as {} gets a cookie that lets through.",
        bypass.example
    ))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn parsed(arguments: &[&str]) -> MaintenanceArgs {
        let command = MaintenanceArgs::augment_args(Command::new("maintenance").no_binary_name(true));
        MaintenanceArgs::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
    }

    #[test]
    fn a_secret_does_not_come_out_in_debug_form() {
        let args = parsed(&["acme", "on", "--secret", "correct horse battery"]);
        assert!(format!("{args:?}").contains("redacted"));
        assert!(!format!("{args:?}").contains("horse"));
    }

    #[test]
    fn what_is_stored_is_the_key_of_the_secret() {
        let args = parsed(&[
            "acme",
            "on",
            "--secret",
            "correct horse battery",
            "--status",
            "599",
        ]);
        let secret = args.answer.secret().unwrap();
        let maintenance = args.answer.maintenance(secret.as_ref()).unwrap();
        let key = BypassKey::from_secret("correct horse battery").unwrap().to_hex();
        assert_eq!(maintenance.bypass_key.as_deref(), Some(key.as_str()));
        assert_eq!((maintenance.status, maintenance.retry_after), (599, 60));
    }

    #[test]
    fn generated_secrets_are_good_and_differ() {
        let [one, two] = [Secret::generate().unwrap(), Secret::generate().unwrap()];
        assert!(BypassKey::from_secret(&one.text).is_ok());
        assert_ne!(one.text, two.text);
    }
}
