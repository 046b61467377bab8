//! What a login has to be allowed.

use std::time::Duration;

use futures_util::StreamExt;
use tenancy::cache::shared::{Ask, Claim, Message, ProcessReport, SharedLevel};
use tenancy_test::servers::Redis;

use crate::{
    own::{MINUTE, acme},
    place::{entry, level, name, newest, raise, scope},
};

/// The commands that stand in quotes between these words of the README.
fn rights(first: &str, last: &str) -> String {
    let readme = include_str!("../../README.md");
    let (_, rights) = readme.split_once(first).unwrap();
    let (rights, _) = rights.split_once(last).unwrap();
    let commands: Vec<String> = rights
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|command| format!("+{}", command.to_lowercase()))
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    commands.join(" ")
}

#[tokio::test]
async fn the_commands_that_the_readme_names_for_applications_are_enough() {
    let server = Redis::start(&[]).await.unwrap();
    let commands = rights("For Redis of one's own", "\n- ");
    server
        .command(format!(
            "ACL SETUSER app on >word -@all ~tenancy:* {commands} +eval +evalsha +select +ping"
        ))
        .await;
    let level = level(&format!("redis://app:word@{}/1", server.address()));
    let redis = acme(&level).await;
    redis.set("a", 1, MINUTE).await.unwrap();
    redis.counter("b").lasting(MINUTE).add_up_to(1, 5).await.unwrap();
    redis.time_left("b").await.unwrap().unwrap();
    let guard = redis
        .lock("c", Duration::from_millis(100))
        .acquire(MINUTE)
        .await
        .unwrap();
    // Renewed at least once, or lost.
    let _ = tokio::time::timeout(Duration::from_millis(200), guard.lost()).await;
    guard.release().await.unwrap();
    assert_eq!(redis.names("").count().await, 2);
    let record = redis.tenant().record();
    level.redis().erase(&record).after(Duration::ZERO).await.unwrap();
    assert_eq!(server.command("ACL LOG").await.concat(), "");
}

#[tokio::test]
async fn the_commands_that_the_readme_names_are_enough() {
    let server = Redis::start(&[]).await.unwrap();
    let commands = rights("A login needs the commands", "on keys and channels");
    server
        .command(format!(
            "ACL SETUSER app on >word -@all ~tenancy:* &tenancy:* {commands}"
        ))
        .await;

    let level = level(&format!("redis://app:word@{}/1", server.address()));
    let acme = scope("acme");
    let mut heard = level.listen();
    assert_eq!(heard.next().await, Some(Message::Gap));
    let seen = newest(&level, &acme).await;
    raise(&level, &acme, 1).await;
    assert!(matches!(heard.next().await, Some(Message::Raised { .. })));
    level.store(&acme, &[entry(b"a", b"1")]).await.unwrap();
    let ask = Ask {
        scope: acme.clone(),
        seen,
    };
    let fetched = level.fetch(&ask, &[name(b"a")]).await.unwrap();
    assert!(fetched.entries[0].is_some());
    level
        .teach(
            &acme,
            &[crate::place::hard(tenancy::cache::shared::Cell::Slot(2), seen)],
        )
        .await
        .unwrap();
    level.discard(&acme, &[name(b"a")]).await.unwrap();
    let claim = Claim {
        scope: acme.clone(),
        what: "warm:settings".to_owned(),
        by: 7,
    };
    let minute = Duration::from_secs(60);
    assert!(level.claim(&claim, minute).await.unwrap() && level.claim(&claim, minute).await.unwrap());
    level.release(&claim).await.unwrap();
    level.heat(&[(acme.clone(), 3)]).await.unwrap();
    // As if the last time had been long ago.
    server
        .command("SELECT 1\nSET tenancy:{:central}:cooled 1000000000\nHSET tenancy:{acme:1}:s 8 1000000000")
        .await;
    level.heat(&[(acme.clone(), 3)]).await.unwrap();
    assert_eq!(level.hottest(10).await.unwrap(), std::slice::from_ref(&acme));
    let report = ProcessReport {
        scope: acme.clone(),
        process: 7,
        text: "{}".to_owned(),
    };
    level.report(std::slice::from_ref(&report), minute).await.unwrap();
    assert_eq!(level.reports(&acme).await.unwrap(), [report]);
    // Nothing beyond the prefix.
    assert_eq!(server.command("ACL LOG").await.concat(), "");
}
