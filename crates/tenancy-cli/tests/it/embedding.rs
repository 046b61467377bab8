//! The commands as part of another command line, over another stack.

use std::path::Path;

use clap::{CommandFactory, Parser, Subcommand};
use serde_json::Value;
use tenancy::{Tenancy, resolve::Header, stack::Stage};
use tenancy_cli::{CliContext, CliError, CliErrorKind, TenancyArgs, TenancyCommand};
use tenancy_server::settings::{Settings, Sources};

#[derive(Parser)]
#[command(name = "shop")]
struct Shop {
    #[command(flatten)]
    tenancy: TenancyArgs,
    #[command(subcommand)]
    command: ShopCommand,
}

#[derive(Subcommand)]
enum ShopCommand {
    /// Serve the shop
    Serve,
    /// Manage tenants
    #[command(subcommand)]
    Tenancy(TenancyCommand),
}

async fn shop(data_dir: &Path, arguments: &[&str]) -> Result<String, CliError> {
    let data_dir = data_dir.to_str().unwrap();
    let shop = Shop::parse_from([&["shop", "tenancy"], arguments, &["--data-dir", data_dir]].concat());
    let context = shop
        .tenancy
        .context()
        .command(Shop::command())
        .actor("shop")
        .reserve(["billing"])
        .stack(|_settings, store| {
            let layer = tower_layer::layer_fn(|inner| inner);
            Ok(Tenancy::builder(Header::named("x-shop")?, store).insert_after(Stage::Resolve, layer))
        });
    match shop.command {
        ShopCommand::Serve => Ok(String::new()),
        ShopCommand::Tenancy(command) => run(command, &context).await,
    }
}

async fn run(command: TenancyCommand, context: &CliContext) -> Result<String, CliError> {
    let mut out = Vec::new();
    command.run(context, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn the_commands_work_within_another_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    assert_eq!(
        shop(&data, &["tenants", "create", "acme"]).await.unwrap(),
        "Created tenant acme.\n"
    );
    let json: Value =
        serde_json::from_str(&shop(&data, &["tenants", "show", "acme", "--json"]).await.unwrap()).unwrap();
    assert_eq!(json["id"], "acme");

    let missing = shop(&data, &["tenants", "suspend", "nobody"]).await.unwrap_err();
    assert_eq!((missing.kind(), missing.exit_code()), (CliErrorKind::NotFound, 3));
    let reserved = shop(&data, &["tenants", "create", "billing"]).await.unwrap_err();
    assert_eq!(reserved.kind(), CliErrorKind::Invalid, "{reserved:?}");
}

#[tokio::test]
async fn explain_and_order_tell_of_the_application_s_own_stack() {
    let directory = tempfile::tempdir().unwrap();
    shop(directory.path(), &["tenants", "create", "acme"])
        .await
        .unwrap();
    let explained = shop(
        directory.path(),
        &["explain", "--host", "any.example", "--header", "X-Shop: acme"],
    )
    .await
    .unwrap();
    assert!(explained.ends_with("tenant acme\n"), "{explained}");
    let order = shop(directory.path(), &["order"]).await.unwrap();
    assert!(
        order.contains("3  resolve") && order.contains("4  (layer)"),
        "{order}"
    );
}

#[tokio::test]
async fn completions_are_those_of_the_whole_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let script = shop(directory.path(), &["completions", "bash"]).await.unwrap();
    assert!(script.contains("_shop()") && script.contains("serve") && script.contains("maintenance"));
}

#[tokio::test]
async fn given_settings_are_used_and_a_stack_that_can_not_be_built_is_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let settings: Settings = Sources::new()
        .set("test", "catalogue.data_dir", directory.path().to_str().unwrap())
        .load()
        .unwrap()
        .settings;
    let context = CliContext::new(settings).terminal_width(Some(40));
    run(
        parsed(&[
            "tenants",
            "create",
            "acme",
            "--domain",
            "a-rather-long-domain.acme.example",
        ]),
        &context,
    )
    .await
    .unwrap();
    let list = run(parsed(&["tenants", "list"]), &context).await.unwrap();
    assert!(
        list.lines().count() > 2 && list.lines().all(|line| line.len() <= 40),
        "{list}"
    );

    let broken = context.stack(|_, store| Ok(Tenancy::builder(Header::named("no name")?, store)));
    let error = run(parsed(&["order"]), &broken).await.unwrap_err();
    assert_eq!(error.kind(), CliErrorKind::Invalid);
}

fn parsed(arguments: &[&str]) -> TenancyCommand {
    let shop = Shop::parse_from([&["shop", "tenancy"], arguments].concat());
    match shop.command {
        ShopCommand::Tenancy(command) => command,
        ShopCommand::Serve => unreachable!("`tenancy` was given"),
    }
}

#[test]
fn the_command_line_is_sound() {
    Shop::command().debug_assert();
}

#[test]
fn a_command_can_run_on_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    let context = CliContext::new(Settings::default());
    let mut out = Vec::new();
    is_send(&parsed(&["order"]).run(&context, &mut out));
    is_send(&parsed(&["order"]).execute(context.clone()));
}
