//! A loader that stops in the middle of a load.

use futures_util::FutureExt;
use tenancy_test::cache::BarrierLoader;

#[tokio::test]
async fn each_load_comes_to_what_the_test_says() {
    let loader = BarrierLoader::new();
    let loads = [0; 4].map(|_| tokio::spawn(loader.load()));
    // In the order in which they have begun.
    loader.entered().await.answer(1);
    loader.entered().await.fail("no database");
    loader.entered().await.panic();
    loader.entered().await.never_end();
    assert_eq!((loader.calls(), loader.waiting()), (4, 0));

    let [answered, failed, panicked, never] = loads;
    assert_eq!(answered.await.unwrap(), Ok(1));
    assert_eq!(failed.await.unwrap().unwrap_err().to_string(), "no database");
    assert!(panicked.await.unwrap_err().is_panic());
    assert!(!never.is_finished());
    never.abort();
    assert!(never.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_load_that_was_given_up_is_passed_over() {
    let loader = BarrierLoader::new();
    let not_begun = loader.load();
    assert_eq!(loader.calls(), 0);
    drop(not_begun);
    assert!(loader.load().now_or_never().is_none(), "given up");
    let loading = tokio::spawn(loader.load());
    let load = loader.entered().await;
    assert!(!load.is_dropped());
    load.answer("second");
    assert_eq!(loading.await.unwrap(), Ok("second"));
    assert_eq!(loader.calls(), 2);

    let mut leaving = Box::pin(loader.load());
    assert!(leaving.as_mut().now_or_never().is_none());
    let load = loader.entered().await;
    drop(leaving);
    assert!(load.is_dropped());
    load.answer("to nobody");
}

#[tokio::test]
async fn an_open_barrier_lets_all_through_until_it_is_shut() {
    let loader = BarrierLoader::new();
    let mut waiting = Box::pin(loader.load());
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(loader.waiting(), 1);
    loader.open_with(7);
    assert_eq!(waiting.await, Ok(7));
    assert_eq!(loader.load().await, Ok(7));
    loader.open_with_error("gone");
    assert_eq!(loader.load().await.unwrap_err().to_string(), "gone");
    loader.open_with_panic();
    assert!(tokio::spawn(loader.load()).await.unwrap_err().is_panic());
    loader.shut();
    assert!(loader.load().now_or_never().is_none());
    assert_eq!(loader.calls(), 5);
}

#[tokio::test]
async fn a_load_that_nobody_can_answer_fails() {
    let loader = BarrierLoader::<u8>::new();
    let mut first = Box::pin(loader.load());
    let second = tokio::spawn(loader.load());
    drop(loader.entered().await);
    assert!(second.await.unwrap().is_err(), "its handle was dropped");
    assert!(first.as_mut().now_or_never().is_none());
    drop(loader);
    assert!(first.await.is_err(), "its loader is gone");
}
