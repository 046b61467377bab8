use std::sync::Arc;

use proptest::prelude::*;
use tenancy::cache::shared::{EntryName, ScopeName};

use super::{
    allowed::{self, ALLOWED},
    command,
    handles::{Kind, ScopedRedis},
    pages::pattern_of,
};
use crate::{RedisSettings, keys::slot_of};

fn scoped(scope: &str, prefix: &str) -> ScopedRedis {
    let level = RedisSettings::single("redis://127.0.0.1:1")
        .prefix(prefix)
        .build()
        .unwrap();
    level.redis().scoped_for_tests(&ScopeName::for_tests(scope))
}

fn keys_of(scope: &str, name: &[u8]) -> Vec<Vec<u8>> {
    let redis = scoped(scope, "tenancy:");
    let kinds = [Kind::Value, Kind::Lock];
    kinds.map(|kind| redis.key(kind, name).unwrap()).into()
}

/// As Redis hashes a key: what stands between the first brace and the next one that closes, if anything does.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else {
        return key;
    };
    match key[open + 1..].iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(length) => &key[open + 1..open + 1 + length],
    }
}

/// What could break out of something.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"".to_vec()),
        Just(b"{".to_vec()),
        Just(b"}".to_vec()),
        Just(b"}:v".to_vec()),
        Just(b":n".to_vec()),
        Just(b"{globex:1}:a:".to_vec()),
        Just(b"\r\nFLUSHALL\r\n".to_vec()),
        Just(b"\0".to_vec()),
        // What other kinds of things are called.
        proptest::sample::select(vec!["v", "n", "f", "e:", "s:", "a:", "l:", "p:"]).prop_map(Vec::from),
        Just(b"*".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

fn scope_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(":central".to_owned()),
        ("[a-z][a-z0-9]{0,2}", 0_u64..12).prop_map(|(id, incarnation)| format!("{id}:{incarnation}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keys_of_two_scopes_never_meet_and_no_two_names_have_one_key(
        a in (scope_name(), name()),
        b in (scope_name(), name()),
    ) {
        let (keys_of_a, keys_of_b) = (keys_of(&a.0, &a.1), keys_of(&b.0, &b.1));
        for (place, key) in keys_of_a.iter().enumerate() {
            for (other_place, other) in keys_of_b.iter().enumerate() {
                prop_assert_eq!(key == other, a == b && place == other_place);
            }
        }
        prop_assert_ne!(scoped(&a.0, "tenancy:").fence(), keys_of_b[0].clone());
        prop_assert_ne!(scoped(&a.0, "tenancy:").fence(), keys_of_b[1].clone());
    }

    #[test]
    fn no_name_leads_out_of_its_scope_or_into_the_caches_part_of_it(scope in scope_name(), name in name()) {
        let redis = scoped(&scope, "tenancy:");
        let link = &redis.link.keys;
        let scope = ScopeName::for_tests(&scope);
        for key in keys_of(scope.as_str(), &name) {
            prop_assert_eq!(hash_tag(&key), scope.as_str().as_bytes());
            prop_assert!(key.starts_with(&link.beginning(&scope)));
            let is_the_caches = key == link.versions(&scope)
                || key == link.history(&scope)
                || key.starts_with(&link.entry(&scope, &EntryName::for_tests(b"")))
                || key.starts_with(&[&link.beginning(&scope)[..], b"s:"].concat());
            prop_assert!(!is_the_caches);
        }
        prop_assert_eq!(redis.slot, slot_of(&scope));
    }

    #[test]
    fn what_all_keys_of_a_scope_begin_with_no_other_scopes_key_begins_with(
        a in scope_name(),
        b in (scope_name(), name()),
    ) {
        let beginning = scoped(&a, "tenancy:").link.keys.beginning(&ScopeName::for_tests(&a));
        for key in keys_of(&b.0, &b.1) {
            prop_assert_eq!(key.starts_with(&beginning), a == b.0);
        }
    }
}

#[test]
fn names_of_the_caches_own_parts_are_names_like_others() {
    let redis = scoped("acme:1", "tenancy:");
    for name in ["v", "n", "f", "e:a", "s:a", "l:a", "a:a", "p:a", ""] {
        let key = |kind| String::from_utf8(redis.key(kind, name.as_bytes()).unwrap()).unwrap();
        assert_eq!(key(Kind::Value), format!("tenancy:{{acme:1}}:a:{name}"));
        assert_eq!(key(Kind::Lock), format!("tenancy:{{acme:1}}:l:{name}"));
        let channel = redis.channel(name.as_bytes()).unwrap();
        assert_eq!(channel, format!("tenancy:{{acme:1}}:p:{name}").into_bytes());
    }
    assert_eq!(redis.fence(), b"tenancy:{acme:1}:f");
}

#[test]
fn a_name_that_is_too_long_is_not_allowed() {
    let redis = scoped("acme:1", "tenancy:");
    assert!(redis.key(Kind::Value, &[7; 65_536]).is_ok());
    assert!(redis.key(Kind::Lock, &[7; 65_537]).unwrap_err().is_not_allowed());
}

#[test]
fn a_prefix_with_signs_of_a_glob_means_itself() {
    assert_eq!(pattern_of(b"a*[b]?\\:{c:1}:"), b"a\\*\\[b\\]\\?\\\\:{c:1}:*");
}

#[test]
fn allowed_commands_are_found_by_their_names() {
    assert!(ALLOWED.is_sorted_by_key(|allowed| allowed.name));
    for allowed in ALLOWED {
        assert_eq!(allowed::find(allowed.name).unwrap().name, allowed.name);
        assert_eq!(allowed.name.to_ascii_uppercase(), allowed.name);
    }
}

#[test]
fn what_can_not_be_kept_to_one_scope_is_not_allowed() {
    let redis = scoped("acme:1", "tenancy:");
    for name in [
        "FLUSHALL",
        "flushdb",
        "KEYS",
        "SCAN",
        "RANDOMKEY",
        "DBSIZE",
        "EVAL",
        "EVALSHA",
        "EVAL_RO",
        "FCALL",
        "SCRIPT",
        "CONFIG",
        "SELECT",
        "SWAPDB",
        "MOVE",
        "MIGRATE",
        "COPY",
        "SORT",
        "SORT_RO",
        "GEORADIUS",
        "GEORADIUSBYMEMBER",
        "BLPOP",
        "BRPOP",
        "BLMOVE",
        "BLMPOP",
        "BRPOPLPUSH",
        "BZPOPMIN",
        "BZPOPMAX",
        "BZMPOP",
        "WAIT",
        "XREAD",
        "XREADGROUP",
        "XGROUP",
        "MULTI",
        "EXEC",
        "WATCH",
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "PUBLISH",
        "SPUBLISH",
        "MONITOR",
        "CLIENT",
        "ACL",
        "DEBUG",
        "SHUTDOWN",
        "REPLICAOF",
        "CLUSTER",
        "OBJECT",
        "MEMORY",
        "DUMP",
        "RESTORE",
        "AUTH",
        "HELLO",
        "RESET",
        "QUIT",
        "ASKING",
        "INFO",
        "COMMAND",
        "LATENCY",
        "MODULE",
        "SAVE",
        "",
        "GET ",
        "GET\r\n",
        "G\0ET",
        "GÉT",
    ] {
        let error = command(name).key("a").into_command(&redis).unwrap_err();
        assert!(error.is_not_allowed(), "{name}");
        let long = command(&name.repeat(1_000))
            .key("a")
            .into_command(&redis)
            .unwrap_err();
        assert!(long.is_not_allowed() && long.to_string().len() < 200, "{name}");
    }
}

#[test]
fn a_key_that_is_not_marked_and_one_that_is_none_are_not_allowed() {
    let redis = scoped("acme:1", "tenancy:");
    let key = |name| command(name).key("a");
    for (wrong, what) in [
        (command("GET"), "no key"),
        (command("GET").arg("a"), "an argument in the place of the key"),
        (key("GET").key("b"), "one too many"),
        (key("LPUSH").arg("x").key("b"), "a key after arguments"),
        (key("RENAME").arg("b"), "one too few"),
        (
            key("LMOVE").arg("b").arg("LEFT").arg("RIGHT"),
            "an argument in the place of the second",
        ),
        (key("DEL").arg("b"), "an argument among keys"),
        (command("DEL"), "nothing"),
        (key("MSET"), "no value"),
        (key("MSET").key("b"), "a key in the place of the value"),
        (
            key("MSET").arg(1).arg("b").arg(2),
            "an argument in the place of a key",
        ),
        (key("MSET").arg(&["1", "b", "2"]), "a list in the place of one"),
        (
            command("ZDIFF").arg(1).arg("b"),
            "an argument in the place of the key",
        ),
        (command("ZDIFF").arg(0), "no keys"),
        (command("ZDIFF").arg(2).key("b"), "a number that is too large"),
        (
            command("ZDIFF").arg(1).key("b").key("c"),
            "a number that is too small",
        ),
        (command("ZDIFF").arg("01").key("b"), "another spelling"),
        (key("ZUNIONSTORE").key("b"), "no number"),
        (command("ZUNIONSTORE").arg(1).key("b"), "nowhere to put it"),
        (command("BITOP").key("a").key("b"), "nothing to do"),
        (
            command("BITOP").arg("AND").key("a").arg("b"),
            "an argument among keys",
        ),
    ] {
        assert!(wrong.into_command(&redis).unwrap_err().is_not_allowed(), "{what}");
    }
}

#[test]
fn errors_do_not_repeat_names_and_values() {
    let redis = scoped("acme:1", "tenancy:");
    let wrong = command("GET").key("hunter2").arg("hunter2").key("hunter2");
    let error = wrong.into_command(&redis).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn handles_are_cheap_and_may_go_anywhere() {
    fn may_go_anywhere<T: Send + Sync + Clone + 'static>(_: &T) {}
    let redis = scoped("acme:1", "tenancy:");
    may_go_anywhere(&redis);
    may_go_anywhere(&redis.counter("a"));
    assert!(Arc::strong_count(&redis.link) > 0);
}
