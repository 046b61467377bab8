//! The numbers of scopes.

use tenancy::cache::shared::{Answer, Ask, Cell, FlushMode, Level, ScopeName, SharedLevel};
use tenancy_redis::RedisLevel;

use crate::place::{ask, hard, newest, on_all_servers, raise, raise_of, scope, whole};

on_all_servers! {
    a_scope_that_is_not_there_is_made_with_a_fresh_base
    what_was_raised_is_told_with_its_present_numbers
    a_number_is_above_what_its_asker_knows
    who_is_too_far_behind_must_teach
    teaching_lifts_what_is_lower_with_one_new_number
    a_soft_level_is_taught_as_soft
    many_scopes_are_answered_in_their_order
    processes_that_raise_at_once_get_numbers_of_their_own
    numbers_that_redis_can_not_have_given_are_refused
}

async fn a_scope_that_is_not_there_is_made_with_a_fresh_base(level: &RedisLevel) {
    for scope in [scope("acme"), ScopeName::parse(":central").unwrap()] {
        let (number, levels) = whole(ask(level, &scope, 0).await);
        assert_eq!(levels, [hard(Cell::Base, number)]);
        // The clock's milliseconds are in it: a later history is above this one.
        assert!(number / 1_024 > 1_700_000_000_000, "{number}");
        assert_eq!(ask(level, &scope, number).await, Answer::Same);
        assert_eq!(whole(ask(level, &scope, 0).await).0, number);
        assert_eq!(ask(level, &scope, number + 1).await, Answer::Behind);
        assert_eq!(ask(level, &scope, 1).await, Answer::Behind);
    }
    let other_incarnation = ScopeName::for_tests("acme:2");
    assert_ne!(
        newest(level, &other_incarnation).await,
        newest(level, &scope("acme")).await
    );
}

async fn what_was_raised_is_told_with_its_present_numbers(level: &RedisLevel) {
    let acme = scope("acme");
    let first = newest(level, &acme).await;
    let a = raise(level, &acme, 7).await;
    assert!(a.number > first && a.previous == first, "{a:?}");
    assert_eq!(
        ask(level, &acme, first).await,
        Answer::Changed {
            number: a.number,
            levels: vec![hard(Cell::Slot(7), a.number)],
        }
    );

    let soft = raise_of(&acme, &[Cell::Slot(7), Cell::Slot(4_095)], FlushMode::Soft);
    let b = level.raise(&soft).await.unwrap();
    assert_eq!(b.previous, a.number);
    let seven = Level {
        cell: Cell::Slot(7),
        any: b.number,
        hard: a.number,
    };
    let last = Level {
        cell: Cell::Slot(4_095),
        any: b.number,
        hard: 0,
    };
    let changed = Answer::Changed {
        number: b.number,
        levels: vec![seven, last],
    };
    // What was raised before, of a cell that changed, is among its present numbers.
    assert_eq!(ask(level, &acme, a.number).await, changed);
    assert_eq!(ask(level, &acme, first).await, changed);

    let c = level
        .raise(&raise_of(&acme, &[Cell::Base], FlushMode::Hard))
        .await
        .unwrap();
    let (number, levels) = whole(ask(level, &acme, 0).await);
    assert_eq!(number, c.number);
    assert_eq!(levels, [hard(Cell::Base, c.number), seven, last]);
    assert_eq!(
        ask(level, &acme, b.number).await,
        Answer::Changed {
            number,
            levels: vec![hard(Cell::Base, number)],
        }
    );
}

async fn a_number_is_above_what_its_asker_knows(level: &RedisLevel) {
    let acme = scope("acme");
    let first = newest(level, &acme).await;
    let known = first + (1 << 40);
    let raise = tenancy::cache::shared::Raise {
        known,
        ..raise_of(&acme, &[Cell::Slot(1)], FlushMode::Hard)
    };
    let raised = level.raise(&raise).await.unwrap();
    assert!(raised.number > known);
    let next = crate::place::raise(level, &acme, 2).await;
    assert!(next.number > raised.number);
    // Also where the scope has to be made.
    let far = raised.number + (1 << 40);
    let raise = tenancy::cache::shared::Raise {
        known: far,
        ..raise_of(&scope("globex"), &[Cell::Slot(1)], FlushMode::Soft)
    };
    let raised = level.raise(&raise).await.unwrap();
    assert!(raised.number > far && raised.previous == 0);
    assert_eq!(
        whole(ask(level, &scope("globex"), 0).await),
        (
            raised.number,
            vec![
                hard(Cell::Base, raised.number),
                hard(Cell::Slot(1), raised.number)
            ]
        )
    );
}

async fn who_is_too_far_behind_must_teach(level: &RedisLevel) {
    let acme = scope("acme");
    let mut numbers = vec![newest(level, &acme).await];
    // At most 160 are kept, and never fewer than 128.
    for slot in 0..160 {
        numbers.push(raise(level, &acme, slot).await.number);
    }
    assert_eq!(ask(level, &acme, numbers[32]).await, Answer::Behind);
    match ask(level, &acme, numbers[33]).await {
        Answer::Changed { number, levels } => {
            assert_eq!(number, numbers[160]);
            assert_eq!(levels.len(), 127);
        }
        other => panic!("{other:?}"),
    }
    let known = hard(Cell::Base, numbers[0]);
    let (number, levels) = whole(level.teach(&acme, &[known]).await.unwrap());
    assert_eq!((number, levels.len()), (numbers[160], 161));
}

async fn teaching_lifts_what_is_lower_with_one_new_number(level: &RedisLevel) {
    let acme = scope("acme");
    let first = newest(level, &acme).await;
    let a = raise(level, &acme, 1).await.number;
    // Nobody else has heard of what this process knows of 2 and 3.
    let known = [
        hard(Cell::Base, first),
        hard(Cell::Slot(1), a),
        hard(Cell::Slot(2), a + 5),
        hard(Cell::Slot(3), a + 9),
    ];
    let (number, levels) = whole(level.teach(&acme, &known).await.unwrap());
    assert!(number > a + 9);
    assert_eq!(
        levels,
        [
            hard(Cell::Base, first),
            hard(Cell::Slot(1), a),
            hard(Cell::Slot(2), number),
            hard(Cell::Slot(3), number)
        ]
    );
    // Everybody is told as of a flush.
    assert_eq!(
        ask(level, &acme, a).await,
        Answer::Changed {
            number,
            levels: vec![hard(Cell::Slot(2), number), hard(Cell::Slot(3), number)],
        }
    );
    // What is known takes no number.
    for known in [&known[..], &levels, &[]] {
        assert_eq!(
            whole(level.teach(&acme, known).await.unwrap()),
            (number, levels.clone())
        );
    }
    // Where nothing is left, everything is taught.
    let globex = scope("globex");
    let (number, taught) = whole(level.teach(&globex, &levels).await.unwrap());
    assert_eq!(taught[1..], [1, 2, 3].map(|slot| hard(Cell::Slot(slot), number)));
    assert!(taught[0].hard > levels[0].hard && taught[0].any < number);
}

async fn a_soft_level_is_taught_as_soft(level: &RedisLevel) {
    let acme = scope("acme");
    let first = newest(level, &acme).await;
    let soft = Level {
        cell: Cell::Slot(5),
        any: first + 1,
        hard: 0,
    };
    let (number, levels) = whole(level.teach(&acme, &[soft]).await.unwrap());
    assert_eq!(levels, [hard(Cell::Base, first), Level { any: number, ..soft }]);
}

async fn many_scopes_are_answered_in_their_order(level: &RedisLevel) {
    let scopes: Vec<ScopeName> = (0..60).map(|number| scope(&format!("tenant-{number}"))).collect();
    let ask = |scope: &ScopeName, seen| Ask {
        scope: scope.clone(),
        seen,
    };
    let asks: Vec<Ask> = scopes.iter().map(|scope| ask(scope, 0)).collect();
    let mut seen = Vec::new();
    for answer in level.renew(&asks).await.unwrap() {
        seen.push(whole(answer).0);
    }
    for (number, scope) in scopes.iter().enumerate().step_by(3) {
        raise(level, scope, u16::try_from(number).unwrap()).await;
    }
    let asks: Vec<Ask> = scopes
        .iter()
        .zip(&seen)
        .map(|(scope, seen)| ask(scope, *seen))
        .collect();
    let answers = level.renew(&asks).await.unwrap();
    assert_eq!(answers.len(), scopes.len());
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Answer::Changed { levels, .. } => {
                assert_eq!(number % 3, 0);
                assert_eq!(levels[0].cell, Cell::Slot(u16::try_from(number).unwrap()));
            }
            answer => assert!(number % 3 != 0 && *answer == Answer::Same, "{number}: {answer:?}"),
        }
    }
    assert_eq!(level.renew(&[]).await.unwrap(), []);
}

async fn processes_that_raise_at_once_get_numbers_of_their_own(level: &RedisLevel) {
    let acme = scope("acme");
    let raises = (0..100).map(|_| raise(level, &acme, 3));
    let mut raised = futures_util::future::join_all(raises).await;
    raised.sort_by_key(|raised| raised.number);
    assert_eq!(raised[0].previous, 0);
    for pair in raised.windows(2) {
        assert_eq!(pair[1].previous, pair[0].number);
    }
}

async fn numbers_that_redis_can_not_have_given_are_refused(level: &RedisLevel) {
    let acme = scope("acme");
    let ask = Ask {
        scope: acme.clone(),
        seen: 1 << 53,
    };
    assert!(level.renew(&[ask]).await.is_err());
    assert!(level.teach(&acme, &[hard(Cell::Base, u64::MAX)]).await.is_err());
    let raise = tenancy::cache::shared::Raise {
        // Nothing is above it.
        known: (1 << 53) - 1,
        ..raise_of(&acme, &[Cell::Base], FlushMode::Hard)
    };
    assert!(level.raise(&raise).await.is_err());
    assert_eq!(crate::place::raise(level, &acme, 1).await.previous, 0);
}
