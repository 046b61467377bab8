//! What a server says that the keys of commands are, and what is sent.

use tenancy_redis::{RedisCommand, RedisSettings, command, redis};
use tenancy_test::servers::FaultProxy;

use super::redis_of;
use crate::place::{database, patient};

/// What makes commands look for keys in other places.
const SIGNS: [&str; 8] = ["1", "2", "STORE", "GET", "BY", "STREAMS", "KEYS", "x"];

/// Ways to mark keys: k is one, another letter is an argument.
const SHAPES: [&str; 22] = [
    "k", "ka", "kaa", "kaaa", "kaaaa", "kaaaaa", "kk", "kkk", "kka", "kkaa", "kkaaaa", "kaka", "kakaka",
    "ak", "akk", "akkk", "aka", "akka", "kak", "kakk", "kakka", "kakaa",
];

fn shapes_of(name: &str) -> Vec<RedisCommand> {
    let mut commands = Vec::new();
    for shape in SHAPES {
        for (turn, _) in SIGNS.iter().enumerate() {
            let mut signs = SIGNS.iter().cycle().skip(turn);
            let written = shape.bytes().fold(command(name), |command, word| match word {
                b'k' => command.key("name"),
                _ => command.arg(*signs.next().unwrap()),
            });
            commands.push(written);
        }
    }
    commands
}

/// The words of each command in what was sent.
fn words(mut sent: &[u8]) -> Vec<Vec<Vec<u8>>> {
    fn number(sent: &mut &[u8]) -> usize {
        let end = sent.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let number = std::str::from_utf8(&sent[1..end]).unwrap().parse().unwrap();
        *sent = &sent[end + 2..];
        number
    }
    let mut commands = Vec::new();
    while !sent.is_empty() {
        let mut words = Vec::new();
        for _ in 0..number(&mut sent) {
            let length = number(&mut sent);
            words.push(sent[..length].to_vec());
            sent = &sent[length + 2..];
        }
        commands.push(words);
    }
    commands
}

/// Some thousand round trips: about two seconds.
#[tokio::test]
async fn of_all_commands_that_a_server_has_those_are_sent_whose_keys_are_the_ones_that_were_marked() {
    const KEY: &[u8] = b"tenancy:{acme:1}:a:name";
    let database = database().await;
    let proxy = FaultProxy::start(database.server().address()).await.unwrap();
    let settings = RedisSettings::single(proxy.url(&database.url())).connections(1);
    let level = patient(settings).build().unwrap();
    let acme = redis_of(&level, "acme").await;
    acme.exists("").await.unwrap();
    let client = redis::Client::open(database.url()).unwrap();
    let mut direct = client.get_multiplexed_async_connection().await.unwrap();
    let names: Vec<String> = redis::cmd("COMMAND")
        .arg("LIST")
        .query_async(&mut direct)
        .await
        .unwrap();
    assert!(names.len() > 200, "{}", names.len());

    let (mut allowed, mut compared) = (Vec::new(), 0);
    for name in &names {
        let before = compared;
        for written in shapes_of(name) {
            proxy.record();
            match acme.run::<redis::Value>(written).await {
                Err(error) if error.is_not_allowed() => {
                    assert!(proxy.take_recorded().is_empty(), "{name}");
                    continue;
                }
                Err(error) => assert!(error.is_refused(), "{name}: {error}"),
                Ok(_) => {}
            }
            let sent: Vec<u8> = proxy
                .take_recorded()
                .into_iter()
                .flat_map(|burst| burst.bytes)
                .collect();
            let sent = words(&sent);
            assert_eq!(sent.len(), 1, "{name}");
            let marked = sent[0].iter().filter(|word| *word == KEY).count();
            let ask = redis::cmd("COMMAND").arg("GETKEYS").arg(&sent[0]).take();
            // Where it says none, the command has no meaning at all.
            if let Ok(keys) = ask.query_async::<Vec<Vec<u8>>>(&mut direct).await {
                assert_eq!(keys, vec![KEY.to_vec(); marked], "{:?}", sent[0]);
                compared += 1;
            }
        }
        if compared > before {
            allowed.push(name.to_ascii_uppercase());
        }
    }
    // Version 7.0 has not all of them.
    assert!(allowed.len() > 140, "{}: {allowed:?}", allowed.len());

    let mut ask = redis::cmd("COMMAND");
    ask.arg("INFO").arg(&allowed);
    let infos: Vec<Vec<redis::Value>> = ask.query_async(&mut direct).await.unwrap();
    for (name, info) in allowed.iter().zip(infos) {
        let flags: Vec<String> = redis::from_redis_value(info[2].clone()).unwrap();
        for flag in [
            "admin",
            "blocking",
            "pubsub",
            "noscript",
            "no_multi",
            "no_mandatory_keys",
        ] {
            assert!(!flags.contains(&flag.to_owned()), "{name}: {flags:?}");
        }
    }
}
