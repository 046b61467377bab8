use std::time::Duration;

use bb8_redis::redis::{ServerError, Value, parse_redis_value};
use proptest::prelude::*;
use tenancy::cache::shared::{Answer, EntryName, Fetched, ScopeName};
use tokio::{sync::oneshot, time::Instant};

use super::{
    batch::{self, Group, Want},
    queue::{Call, Queue, Taken},
};
use crate::{failure::Failure, keys::Keys};

type Answered = oneshot::Receiver<Result<Fetched, Failure>>;

fn scope(id: &str) -> ScopeName {
    ScopeName::for_tests(&format!("{id}:1"))
}

/// Wants so many entries; its number tells it from others.
fn call(number: u64, entries: usize) -> (Call, Answered) {
    let (reply, answered) = oneshot::channel();
    let call = Call {
        seen: number,
        names: vec![EntryName::for_tests(b"a"); entries],
        since: Instant::now(),
        reply,
    };
    (call, answered)
}

/// Adds calls whose callers wait for ever.
fn add(queue: &Queue, id: &str, calls: u64) -> Vec<Answered> {
    let add = |number| {
        let (call, answered) = call(number, 1);
        queue.add(&scope(id), call);
        answered
    };
    (0..calls).map(add).collect()
}

/// Of each scope, which calls.
fn numbers(taken: &[Taken]) -> Vec<(String, Vec<u64>)> {
    let numbers = |taken: &Taken| taken.calls.iter().map(|call| call.seen).collect();
    taken
        .iter()
        .map(|taken| (taken.scope().to_string(), numbers(taken)))
        .collect()
}

fn count(taken: &[Taken], id: &str) -> usize {
    let of_it = taken.iter().filter(|taken| *taken.scope() == scope(id));
    of_it.map(|taken| taken.calls.len()).sum()
}

#[test]
fn what_waits_goes_together_in_the_order_in_which_it_was_asked_for() {
    let queue = Queue::new();
    let _waiting = [add(&queue, "acme", 3), add(&queue, "beta", 2)];
    let taken = queue.take().unwrap();
    let expected = [("acme:1", vec![0, 1, 2]), ("beta:1", vec![0, 1])];
    assert_eq!(
        numbers(&taken),
        expected.map(|(scope, calls)| (scope.to_owned(), calls))
    );
    assert!(queue.take().is_none());
}

#[test]
fn who_asks_for_much_does_not_hold_up_who_asks_for_little() {
    let queue = Queue::new();
    let _many = add(&queue, "loud", 10_000);
    let _few = add(&queue, "quiet", 3);
    let taken = queue.take().unwrap();
    assert_eq!((count(&taken, "loud"), count(&taken, "quiet")), (29, 3));
    // Each in its turn, also where there are more scopes than room.
    let _others: Vec<_> = (0..100)
        .map(|other| add(&queue, &format!("other-{other}"), 2))
        .collect();
    let mut batches = 0;
    let mut seen = 0;
    while seen < 100 {
        let taken = queue.take().unwrap();
        assert!(count(&taken, "loud") <= 1);
        seen += taken
            .iter()
            .filter(|taken| taken.scope().as_str().starts_with("other"))
            .count();
        batches += 1;
    }
    assert_eq!(batches, 4);
}

#[test]
fn a_batch_has_so_many_entries_and_fewer_where_they_are_large() {
    let queue = Queue::new();
    let _waiting = add(&queue, "acme", 100_000);
    let batch = || count(&queue.take().unwrap(), "acme");
    assert_eq!(batch(), 32);
    for more in [64, 128, 128] {
        queue.note_size((usize::MAX, 1_000));
        assert_eq!(batch(), more);
    }
    // Neither small nor large; not full.
    queue.note_size((128, 200 << 10));
    queue.note_size((1, 1_000));
    assert_eq!(batch(), 128);
    for fewer in [64, 32, 16, 8, 4, 4] {
        queue.note_size((batch(), 1 << 20));
        assert_eq!(batch(), fewer);
    }
    queue.note_size((4, 1_000));
    assert_eq!(batch(), 8);
    queue.note_silence(8);
    assert_eq!(batch(), 4);
}

#[test]
fn who_waits_fails_with_a_small_batch_that_is_not_answered_and_not_with_a_large_one() {
    let queue = Queue::new();
    let mut waiting = add(&queue, "acme", 40);
    queue.take().unwrap();
    // It may have been too much.
    assert!(queue.note_silence(32).is_empty());
    assert_eq!(count(&queue.take().unwrap(), "acme"), 4);
    assert!(
        waiting[36..]
            .iter_mut()
            .all(|waiting| { waiting.try_recv().unwrap_err() == oneshot::error::TryRecvError::Empty })
    );
    // Four are not: nobody is there.
    assert_eq!(queue.note_silence(4).len(), 4);
    assert!(queue.take().is_none());
}

#[test]
fn a_call_for_more_entries_than_a_batch_has_is_sent_as_a_whole_and_alone() {
    let queue = Queue::new();
    let large = |number| call(number, 33);
    let ((first, _first), (second, _second)) = (large(7), large(8));
    let _before = add(&queue, "acme", 1);
    queue.add(&scope("acme"), first);
    let _after = add(&queue, "acme", 1);
    queue.add(&scope("beta"), second);
    let _last = add(&queue, "beta", 1);
    let batches: Vec<_> = std::iter::from_fn(|| queue.take())
        .map(|taken| numbers(&taken))
        .collect();
    let of = |id: &str, number| (format!("{id}:1"), vec![number]);
    let expected = [
        vec![of("acme", 0)],
        vec![of("beta", 8)],
        vec![of("acme", 7)],
        vec![of("beta", 0), of("acme", 0)],
    ];
    assert_eq!(batches, expected);
}

#[test]
fn a_call_that_fits_takes_the_room_of_its_entries() {
    let queue = Queue::new();
    let (many, _many) = call(7, 31);
    queue.add(&scope("acme"), many);
    let _after = add(&queue, "acme", 3);
    assert_eq!(
        numbers(&queue.take().unwrap()),
        [("acme:1".to_owned(), vec![7, 0])]
    );
    assert_eq!(
        numbers(&queue.take().unwrap()),
        [("acme:1".to_owned(), vec![1, 2])]
    );
}

#[test]
fn two_send_at_most_and_one_that_has_yet_to_take_is_enough() {
    let queue = Queue::new();
    let acme = scope("acme");
    let add = || {
        let (call, answered) = call(0, 1);
        drop(answered);
        queue.add(&acme, call)
    };
    assert!(add());
    assert!(!add() && !queue.begin_another());
    assert_eq!(count(&queue.take().unwrap(), "acme"), 2);
    assert!(!queue.begin_another());
    assert!(add());
    queue.take().unwrap();
    assert!(!add() && !queue.begin_another());
    // One is back, and takes it.
    queue.gather();
    assert!(!add());
    assert_eq!(count(&queue.take().unwrap(), "acme"), 2);
    assert!(queue.take().is_none());
    assert!(add());
}

#[test]
fn who_waits_is_told_when_the_last_sender_has_ended() {
    let queue = Queue::new();
    let (first, mut first_answer) = call(0, 1);
    assert!(queue.add(&scope("acme"), first));
    let taken = queue.take().unwrap();
    let (second, mut second_answer) = call(1, 1);
    assert!(queue.add(&scope("acme"), second));
    // The other one lives.
    drop(taken);
    queue.abandon();
    assert!(first_answer.try_recv().is_err());
    assert_eq!(
        second_answer.try_recv().unwrap_err(),
        oneshot::error::TryRecvError::Empty
    );
    queue.abandon();
    assert_eq!(
        second_answer.try_recv().unwrap_err(),
        oneshot::error::TryRecvError::Closed
    );
    let (third, _third_answer) = call(2, 1);
    assert!(queue.add(&scope("acme"), third));
}

#[test]
fn who_is_gone_is_not_asked_for_and_who_has_waited_too_long_neither() {
    let queue = Queue::new();
    let (mut late, _late) = call(1, 1);
    late.since = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    queue.add(&scope("acme"), late);
    let (gone, answered) = call(2, 1);
    drop(answered);
    queue.add(&scope("acme"), gone);
    let (here, _here) = call(3, 1);
    queue.add(&scope("acme"), here);
    let mut taken = queue.take().unwrap();
    let late = taken[0].remove_late(Duration::from_secs(30));
    assert_eq!(late.iter().map(|call| call.seen).collect::<Vec<_>>(), [1]);
    assert_eq!(numbers(&taken), [("acme:1".to_owned(), vec![3])]);
    assert!(taken[0].group().is_some());
    taken[0].calls.clear();
    assert!(taken[0].group().is_none());
}

#[test]
fn one_at_a_time_is_sent_alone() {
    let queue = Queue::new();
    let alone = queue.begin_alone();
    // Who is refused takes nothing from the one who is not.
    for _ in 0..3 {
        assert!(alone.is_some() && queue.begin_alone().is_none());
    }
    drop(alone);
    assert!(queue.begin_alone().is_some());
}

/// A refusal, as a server says it.
fn refusal() -> Value {
    let error: ServerError = match parse_redis_value(b"-NOPERM no\r\n").unwrap() {
        Value::ServerError(error) => error,
        other => panic!("{other:?}"),
    };
    Value::ServerError(error)
}

fn same() -> Value {
    Value::Array(vec![Value::Int(0)])
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

#[test]
fn what_is_refused_to_one_is_refused_to_no_other() {
    let (acme, beta) = (scope("acme"), scope("beta"));
    let name = [EntryName::for_tests(b"a")];
    let want = |seen| Want { seen, names: &name };
    let groups = [
        Group::new(&acme, vec![want(5), want(3), want(5)]),
        Group::new(&beta, vec![want(0)]),
    ];
    let commands = batch::commands(&Keys::new("t:".to_owned(), 0), &groups).unwrap();
    assert_eq!(commands.len(), 3 * 2 + 2 + 2 + 1);
    let found = || [Value::Int(1_000), text("1")];
    let entries = found()
        .into_iter()
        .chain(found())
        .chain([Value::Int(1_000), refusal()]);
    // The answers to 3 and to 5, then the other scope's.
    let answers = [refusal(), same()];
    let others = [Value::Int(-2), Value::Nil, same()];
    let replies = entries.chain(answers).chain(others).map(Ok).collect();
    let outcomes = batch::read(&groups, replies);
    let is_refused = |at: usize| matches!(outcomes[at], Err(Failure::Refused(_)));
    assert_eq!(outcomes.len(), 4);
    let first = outcomes[0].as_ref().unwrap();
    assert_eq!((&first.answer, first.entries.len()), (&Answer::Same, 1));
    assert!(first.entries[0].is_some());
    assert!(is_refused(1) && is_refused(2));
    assert_eq!(outcomes[3].as_ref().unwrap().entries, [None]);
    assert_eq!(batch::size(&outcomes), (2, 1));
}

#[test]
fn too_few_replies_are_an_error() {
    let acme = scope("acme");
    let name = [EntryName::for_tests(b"a")];
    let group = || {
        [Group::new(
            &acme,
            vec![Want {
                seen: 0,
                names: &name,
            }],
        )]
    };
    for replies in [vec![], vec![Value::Int(5)], vec![Value::Int(5), text("1")]] {
        let replies = replies.into_iter().map(Ok).collect();
        assert!(batch::read(&group(), replies)[0].is_err());
    }
}

#[test]
fn what_fails_for_one_alone_fails_for_no_other() {
    let acme = scope("acme");
    let name = [EntryName::for_tests(b"a")];
    let want = |seen| Want { seen, names: &name };
    let groups = [Group::new(&acme, vec![want(5), want(5), want(3)])];
    let failed = || Err(Failure::TimedOut(None));
    let found = || [Ok(Value::Int(1_000)), Ok(text("1"))];
    let entries = [failed(), failed()].into_iter().chain(found()).chain(found());
    // The answers to 3 and to 5.
    let replies = entries.chain([failed(), Ok(same())]).collect();
    let outcomes = batch::read(&groups, replies);
    let is_failed = |at: usize| matches!(outcomes[at], Err(Failure::TimedOut(None)));
    assert_eq!(outcomes.len(), 3);
    assert!(is_failed(0) && outcomes[1].is_ok() && is_failed(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each call is taken once, those of a scope in their order. No batch is larger than it may be by more than a call, and a call
    /// that is larger by itself goes alone.
    #[test]
    fn all_are_sent_once_and_in_order(calls in prop::collection::vec((0..5_u8, 0..40_usize), 0..200)) {
        let queue = Queue::new();
        let mut waiting = Vec::new();
        for (number, (id, entries)) in (0..).zip(&calls) {
            let (call, answered) = call(number, *entries);
            queue.add(&scope(&format!("t{id}")), call);
            waiting.push(answered);
        }
        let mut last = [None; 5];
        let mut all = 0;
        while let Some(taken) = queue.take() {
            let sizes: Vec<usize> = taken.iter().flat_map(|taken| &taken.calls).map(|call| call.names.len().max(1)).collect();
            prop_assert!(sizes.iter().sum::<usize>() < 32 + 32);
            prop_assert!(sizes.len() == 1 || sizes.iter().all(|size| *size <= 32));
            all += sizes.len();
            for taken in &taken {
                for call in &taken.calls {
                    let id = calls[call.seen as usize].0;
                    prop_assert_eq!(taken.scope(), &scope(&format!("t{id}")));
                    prop_assert!(last[usize::from(id)] < Some(call.seen));
                    last[usize::from(id)] = Some(call.seen);
                }
            }
        }
        prop_assert_eq!(all, calls.len());
    }
}
