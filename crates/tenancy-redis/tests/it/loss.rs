//! What Redis loses: nothing that was flushed may come back.

use tenancy::cache::shared::{Answer, Ask, Cell, FlushMode, SharedLevel};
use tenancy_redis::RedisLevel;
use tenancy_test::servers::RedisDatabase;

use crate::place::{ask, database, entry, hard, level, name, newest, raise, raise_of, scope, whole};

async fn command(database: &RedisDatabase, commands: &str) -> Vec<String> {
    let select = format!("SELECT {}", database.number());
    database.server().command(format!("{select}\n{commands}")).await
}

const V: &str = "tenancy:{acme:1}:v";
const N: &str = "tenancy:{acme:1}:n";

async fn has_entry(level: &RedisLevel) -> bool {
    let ask = Ask {
        scope: scope("acme"),
        seen: 0,
    };
    level.fetch(&ask, &[name(b"a")]).await.unwrap().entries[0].is_some()
}

#[tokio::test]
async fn whatever_part_of_a_scope_is_missing_its_base_is_new_and_everybody_must_teach() {
    for (loss, keeps_entries) in [
        ("FLUSHDB".to_owned(), false),
        (format!("DEL {V}"), true),
        (format!("DEL {N}"), true),
        (format!("ZREM {V} hb"), true),
        (format!("DEL {V} {N}"), true),
    ] {
        for raises in [false, true] {
            let database = database().await;
            let (level, acme) = (level(&database.url()), scope("acme"));
            newest(&level, &acme).await;
            // Above the clock, as after many flushes in a millisecond.
            let ahead = tenancy::cache::shared::Raise {
                known: newest(&level, &acme).await + (1 << 30),
                ..raise_of(&acme, &[Cell::Slot(7)], FlushMode::Hard)
            };
            let seven = level.raise(&ahead).await.unwrap().number;
            level.store(&acme, &[entry(b"a", b"1")]).await.unwrap();
            command(&database, &loss).await;

            if raises {
                let raise = tenancy::cache::shared::Raise {
                    known: seven,
                    ..raise_of(&acme, &[Cell::Slot(8)], FlushMode::Soft)
                };
                assert_eq!(level.raise(&raise).await.unwrap().previous, 0, "{loss}");
            }
            // The entry may be there, and its stamp has another base.
            assert_eq!(ask(&level, &acme, seven).await, Answer::Behind, "{loss}");
            assert_eq!(has_entry(&level).await, keeps_entries, "{loss}");
            let (number, levels) = whole(ask(&level, &acme, 0).await);
            assert_eq!(levels[0], hard(Cell::Base, number), "{loss}");
            assert!(number > seven, "{loss}: {number} is not above {seven}");

            // Whoever knows of the flush teaches it, once.
            let known = [hard(Cell::Base, seven - 1), hard(Cell::Slot(7), seven)];
            let (taught, levels) = whole(level.teach(&acme, &known).await.unwrap());
            assert!(
                levels
                    .iter()
                    .any(|level| level.cell == Cell::Slot(7) && level.hard >= seven)
            );
            assert_eq!(whole(level.teach(&acme, &known).await.unwrap()).0, taught);
            assert_eq!(ask(&level, &acme, taught).await, Answer::Same);
        }
    }
}

#[tokio::test]
async fn the_new_base_is_above_what_is_left_also_for_who_knows_nothing() {
    for loss in [format!("DEL {V}"), format!("DEL {N}"), format!("ZREM {V} hb")] {
        let database = database().await;
        let (level, acme) = (level(&database.url()), scope("acme"));
        let ahead = tenancy::cache::shared::Raise {
            known: newest(&level, &acme).await + (1 << 30),
            ..raise_of(&acme, &[Cell::Slot(7)], FlushMode::Hard)
        };
        let seven = level.raise(&ahead).await.unwrap().number;
        command(&database, &loss).await;
        assert!(newest(&level, &acme).await > seven, "{loss}");
    }
}

#[tokio::test]
async fn a_flush_that_a_failover_lost_is_taught_by_who_knows_it() {
    let database = database().await;
    let (knows, does_not) = (level(&database.url()), level(&database.url()));
    let acme = scope("acme");
    newest(&knows, &acme).await;
    let before = raise(&knows, &acme, 1).await.number;
    command(&database, &format!("COPY {V} saved-v\nCOPY {N} saved-n")).await;
    let lost = raise(&knows, &acme, 7).await.number;
    command(
        &database,
        &format!("COPY saved-v {V} REPLACE\nCOPY saved-n {N} REPLACE"),
    )
    .await;

    // The new master does not know, and goes on.
    assert_eq!(ask(&does_not, &acme, before).await, Answer::Same);
    let other = raise(&does_not, &acme, 2).await;
    assert_eq!(other.previous, before);
    assert_ne!(other.number, lost);
    assert_eq!(ask(&knows, &acme, lost).await, Answer::Behind);
    assert_eq!(ask(&knows, &acme, lost).await, Answer::Behind);
    let known = [hard(Cell::Slot(1), before), hard(Cell::Slot(7), lost)];
    let (number, _) = whole(knows.teach(&acme, &known).await.unwrap());
    assert!(number > lost && number > other.number);
    // A new number: who asks what has changed is told.
    let seven = hard(Cell::Slot(7), number);
    match ask(&does_not, &acme, other.number).await {
        Answer::Changed { levels, .. } => assert_eq!(levels, [seven]),
        answer => panic!("{answer:?}"),
    }
    assert!(whole(ask(&does_not, &acme, 0).await).1.contains(&seven));
    // Two who know it take one number.
    assert_eq!(whole(does_not.teach(&acme, &known).await.unwrap()).0, number);
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let database = database().await;
    let (level, acme) = (level(&database.url()), scope("acme"));
    for _ in 0..3 {
        command(&database, "SCRIPT FLUSH").await;
        let asks: Vec<Ask> = (0..20)
            .map(|number| Ask {
                scope: scope(&format!("tenant-{number}")),
                seen: 0,
            })
            .collect();
        assert_eq!(level.renew(&asks).await.unwrap().len(), 20);
        command(&database, "SCRIPT FLUSH").await;
        raise(&level, &acme, 1).await;
    }
}

#[tokio::test]
async fn what_somebody_else_put_in_the_place_of_a_scope_is_an_error() {
    let database = database().await;
    let (level, acme) = (level(&database.url()), scope("acme"));
    for keys in [
        format!("SET {V} 1"),
        format!("DEL {V}\nSET {N} 1"),
        format!("DEL {N}\nRPUSH {N} x\nZADD {V} 1 hb"),
    ] {
        command(&database, &keys).await;
        let ask = Ask {
            scope: acme.clone(),
            seen: 0,
        };
        assert!(level.renew(&[ask]).await.is_err(), "{keys}");
        let raise = raise_of(&acme, &[Cell::Base], FlushMode::Hard);
        assert!(level.raise(&raise).await.is_err(), "{keys}");
    }
}
