//! The cache that servers share.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use clap::{Command, FromArgMatches as _, Subcommand as _};
use serde_json::Value;
use tenancy::{
    Tenancy, Tenant,
    cache::{CacheSettings, EntryOptions, Keys, Recipe, TenantCache},
    resolve::Header,
};
use tenancy_cli::{CliContext, CliError, TenancyCommand};
use tenancy_redis::RedisLevel;
use tenancy_server::settings::Sources;
use tenancy_sqlx::store::{SqlStore, SqlStoreOptions};
use tenancy_test::servers::{Redis, RedisDatabase};

use crate::support::Workplace;

const NOTES: Keys<(u32, &str), Vec<String>> = Keys::new("notes", 1);

struct Place {
    workplace: Workplace,
    redis: RedisDatabase,
}

impl Place {
    async fn new() -> Self {
        let redis = Redis::shared().await.database().await;
        let mut workplace = Workplace::with_tenants();
        workplace.set("TENANCY__CACHE__REDIS_URL", redis.url());
        Self { workplace, redis }
    }

    /// A server, that has acme as the catalogue has it.
    async fn server(&self) -> (Tenancy, TenantCache) {
        let store = SqlStore::open(SqlStoreOptions::new(self.workplace.catalogue()).read_only())
            .await
            .unwrap();
        let tenancy = Tenancy::builder(Header::named("x-tenant").unwrap(), store)
            .cache(CacheSettings::new().shared(RedisLevel::connect(&self.redis.url()).unwrap()))
            .build()
            .unwrap();
        let acme = tenancy.enter(&"acme".parse().unwrap()).await.unwrap();
        let cache = tenancy.cache_of(&acme);
        (tenancy, cache)
    }
}

async fn notes(cache: &TenantCache) -> Vec<String> {
    let options = EntryOptions::new().tag("notes");
    let load = async || Ok::<_, Infallible>(vec!["loaded".to_owned()]);
    cache
        .remember(&NOTES.key((7, "open")), &options, load)
        .await
        .unwrap()
        .to_vec()
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_flush_reaches_servers_and_is_explained() {
    let place = Place::new().await;
    let (_tenancy, cache) = place.server().await;
    notes(&cache).await;
    let key = r#"notes@1(7, "open")"#;
    let explain = || {
        place
            .workplace
            .done(&["cache", "explain", "acme", key, "--tag", "notes"])
    };
    until("stored", async || explain().contains(": found\n").then_some(())).await;
    let flushed = place
        .workplace
        .json(&["cache", "flush", "acme", "--tag", "notes"]);
    assert_eq!(
        (&flushed["tenant"], &flushed["tags"][0]),
        (&Value::from("acme"), &Value::from("notes"))
    );
    assert!(flushed["everywhere_within_ms"].as_u64().unwrap() <= 2000);
    let explained = explain();
    assert!(
        explained.contains("because what the shared level has was flushed by the tag notes"),
        "{explained}"
    );
    until("heard of", async || {
        let explanation = cache.explain(&NOTES.key((7, "open")), &[]).await;
        (!explanation.verdict.is_hit()).then_some(())
    })
    .await;
    let tags = place.workplace.json(&["cache", "tags", "acme", "notes", "other"]);
    assert_eq!(tags["tags"][0]["number"], flushed["number"]);
    assert_eq!(tags["tags"][1]["number"], 0);
    let table = place.workplace.done(&["cache", "tags", "acme", "notes", "other"]);
    assert!(table.contains("hard") && table.contains("everything"), "{table}");

    let waited = place
        .workplace
        .done(&["cache", "flush", "acme", "--soft", "--wait"]);
    assert!(
        waited.starts_with("Flushed everything of tenant acme softly: number "),
        "{waited}"
    );
    assert!(waited.ends_with(", in effect everywhere now.\n"), "{waited}");
    let central = place.workplace.done(&["cache", "flush", ":central"]);
    assert!(
        central.contains("of what is no tenant's: number") && central.contains("everywhere by 20"),
        "{central}"
    );
    // One that is not served has a cache all the same.
    place.workplace.done(&["cache", "flush", "initech"]);
}

#[tokio::test]
async fn what_servers_count_is_added_up() {
    let place = Place::new().await;
    let nothing = place.workplace.json(&["cache", "stats", "acme"]);
    assert_eq!(
        (&nothing["processes"], &nothing["sum"]["hits"]),
        (&Value::from(0), &Value::from(0))
    );
    let (_tenancy, cache) = place.server().await;
    notes(&cache).await;
    notes(&cache).await;
    let stats = until("reported", async || {
        let stats = place.workplace.json(&["cache", "stats", "acme"]);
        (stats["processes"] == 1).then_some(stats)
    })
    .await;
    assert_eq!(
        (&stats["sum"]["loads"], &stats["each"][0]["loads"]),
        (&Value::from(1), &Value::from(1))
    );
    let text = place.workplace.done(&["cache", "stats", "acme"]);
    assert!(
        text.starts_with("Counted of tenant acme by 1 process,") && text.contains("loads"),
        "{text}"
    );
}

#[tokio::test]
async fn what_can_not_be_done_is_said() {
    let place = Place::new().await;
    let missing = place.workplace.fails(&["cache", "flush", "nobody"], 3);
    assert_eq!(missing["message"], "there is no tenant nobody");
    let recipes = place.workplace.fails(&["cache", "warm", "--all"], 5);
    assert!(
        recipes["message"].as_str().unwrap().contains("no recipes"),
        "{recipes}"
    );
    let key = place.workplace.run(&["cache", "explain", "acme", "notes(7)"]);
    assert_eq!(key.code, 2);
    assert!(key.err.contains("at byte 5 of the key"), "{}", key.err);

    let alone = Workplace::with_tenants();
    let none = alone.fails(&["cache", "flush", "acme"], 5);
    assert!(
        none["advice"]
            .as_str()
            .unwrap()
            .contains("TENANCY__CACHE__REDIS_URL"),
        "{none}"
    );
    let mut away = Workplace::with_tenants();
    away.set("TENANCY__CACHE__REDIS_URL", "redis://127.0.0.1:1");
    for command in [
        &["cache", "flush", "acme"][..],
        &["cache", "tags", "acme", "a"],
        &["cache", "stats", "acme"],
        &["cache", "explain", "acme", "a@1()"],
    ] {
        let error = away.fails(command, 1);
        assert!(
            error["message"].as_str().unwrap().contains("does not answer"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_application_warms_by_its_own_recipes() {
    let place = Place::new().await;
    let settings = Sources::new()
        .set(
            "test",
            "catalogue.data_dir",
            place.workplace.path("tenancy-data").to_str().unwrap(),
        )
        .set("test", "cache.redis_url", place.redis.url().as_str())
        .load()
        .unwrap()
        .settings;
    let context = CliContext::new(settings).json(true).stack(|settings, store| {
        let notes = Recipe::new("notes", async |_: Tenant, cache: TenantCache| {
            notes(&cache).await;
            Ok::<_, Infallible>(())
        });
        let fails = Recipe::new("fails", async |tenant: Tenant, _: TenantCache| {
            match tenant.id().as_str() {
                "globex" => Err("on purpose"),
                _ => Ok(()),
            }
        });
        Ok(settings.stack(store)?.warm(notes).warm(fails))
    });
    let context = context.recipes(async |_: Tenancy| {
        let more = async |_: Tenant, _: TenantCache| Ok::<_, Infallible>(());
        Ok(vec![Recipe::new("more", more)])
    });
    let run = async |arguments: &[&str]| -> (Result<(), CliError>, HashMap<String, Value>) {
        let parser = TenancyCommand::augment_subcommands(Command::new("tenancy").no_binary_name(true));
        let command = TenancyCommand::from_arg_matches(&parser.get_matches_from(arguments)).unwrap();
        let mut out = Vec::new();
        let ended = command.run(&context, &mut out).await;
        (ended, serde_json::from_slice(&out).unwrap_or_default())
    };
    let (ended, out) = run(&["cache", "warm", "acme"]).await;
    ended.unwrap();
    assert_eq!((&out["total"], &out["done"]), (&Value::from(1), &Value::from(1)));
    let explained = place
        .workplace
        .done(&["cache", "explain", "acme", r#"notes@1(7, "open")"#]);
    assert!(explained.contains(": found\n"), "{explained}");
    // The pending one is left alone, and one fails.
    let (ended, out) = run(&["cache", "warm", "--all"]).await;
    assert_eq!(ended.unwrap_err().exit_code(), 1);
    assert_eq!(
        (&out["total"], &out["done"], &out["failed"]),
        (&2.into(), &1.into(), &1.into())
    );
}
