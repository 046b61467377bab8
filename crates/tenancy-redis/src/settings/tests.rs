use std::time::Duration;

use super::{RedisSettings, RedisSettingsError};
use crate::RedisLevel;

#[test]
fn all_mistakes_are_told_at_once_and_no_password() {
    let error = RedisSettings::cluster([
        "redis://:secret@10.0.0.1/3",
        "redis+unix:///socket?pass=secret",
        "http://:secret@10.0.0.1",
        "redis://:secret@10.0.0.1/secret",
    ])
    .prefix("a{b}")
    .connections(0)
    .response_timeout(Duration::ZERO)
    .connect_timeout(Duration::from_secs(61))
    .build()
    .unwrap_err();
    assert_eq!(error.mistakes().count(), 8, "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}

#[test]
fn no_servers_are_no_servers() {
    let none: [&str; 0] = [];
    let mistakes = |outcome: Result<RedisLevel, RedisSettingsError>| outcome.unwrap_err().mistakes().count();
    assert_eq!(mistakes(RedisSettings::cluster(none).build()), 1);
    assert_eq!(
        mistakes(RedisSettings::sentinel(none, "redis://master").build()),
        1
    );
    assert_eq!(
        mistakes(RedisSettings::sentinel(["redis://a"], "unix:///a").build()),
        1
    );
    assert_eq!(mistakes(RedisLevel::connect("")), 1);
}

#[test]
fn a_level_is_made_without_a_server_or_a_runtime_and_shows_no_password() {
    for settings in [
        RedisSettings::single("redis://user:secret@127.0.0.1:1/7"),
        RedisSettings::single("redis+unix:///nowhere?pass=secret"),
        RedisSettings::sentinel(["redis://:secret@127.0.0.1:1"], "redis://:secret@my-master_1/2"),
        RedisSettings::cluster(["redis://:secret@127.0.0.1:1"]),
    ] {
        let shown = format!("{settings:?} {:?}", settings.clone().build().unwrap());
        assert!(shown.contains("tenancy:") && !shown.contains("secret"), "{shown}");
    }
}

#[test]
fn tls_takes_its_feature_and_is_always_checked() {
    let outcome = RedisLevel::connect("rediss://10.0.0.1");
    assert_eq!(outcome.is_ok(), cfg!(feature = "tls"));
    assert!(RedisLevel::connect("rediss://10.0.0.1#insecure").is_err());
}
