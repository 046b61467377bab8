//! A tenant moves while two processes write, one of which hears of nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tenancy_core::TenantId;
use tenancy_test::servers::Fault;
use tokio::task::JoinHandle;

use super::{
    super::fixture::Tested,
    scene::{Process, Scene, on_every_home, set, to_two},
};

/// Somebody who writes, until told to stop.
struct Writer {
    acknowledged: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<String>>,
}

impl Writer {
    fn start<DB: Tested>(process: &Arc<Process<DB>>, id: &TenantId, name: &'static str) -> Self {
        let [acknowledged, refused] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (process, id) = (Arc::clone(process), id.clone());
        let seen = (Arc::clone(&acknowledged), Arc::clone(&refused), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let tenant = process.enter(&id).await;
            let mut done = Vec::new();
            for number in 0.. {
                if seen.2.load(Ordering::SeqCst) {
                    break;
                }
                let text = format!("{name} {number:06}");
                match process.write(&tenant, &text).await {
                    Ok(()) => {
                        done.push(text);
                        seen.0.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(_) => {
                        seen.1.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            done
        });
        Self {
            acknowledged,
            refused,
            stop,
            task,
        }
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

/// Until it is so many more than now.
async fn until_more(count: &AtomicUsize, more: usize) {
    let enough = count.load(Ordering::SeqCst) + more;
    while count.load(Ordering::SeqCst) < enough {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn what_was_acknowledged_is_in_the_new_home_and_nothing_is_in_both<DB: Tested>(scene: Scene<DB>) {
    let (near, far) = (scene.near().await, scene.far().await);
    let lifecycle = scene.lifecycle().await;
    let old = scene.tenant(&lifecycle).await;
    let of_near = Writer::start(&near, &old.id, "near");
    let of_far = [
        Writer::start(&far, &old.id, "far"),
        Writer::start(&far, &old.id, "also far"),
    ];
    for writer in [&of_near, &of_far[0], &of_far[1]] {
        until_more(&writer.acknowledged, 10).await;
    }
    // It goes on to write, and hears of nothing any more.
    scene.proxy.set(Fault::Freeze);
    until_more(&of_far[0].acknowledged, 5).await;
    let moved = lifecycle
        .move_home(&old.id, to_two())
        .await
        .unwrap()
        .tenant
        .record;
    let at_the_switch = of_far
        .each_ref()
        .map(|far| far.acknowledged.load(Ordering::SeqCst));
    until_more(&of_near.acknowledged, 10).await;
    for (far, before) in of_far.iter().zip(at_the_switch) {
        let enough = far.refused.load(Ordering::SeqCst) + 10;
        while far.refused.load(Ordering::SeqCst) < enough {
            let now = far.acknowledged.load(Ordering::SeqCst);
            assert_eq!(now, before, "it wrote to where nobody is");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    scene.proxy.set(Fault::Pass);
    for far in &of_far {
        until_more(&far.acknowledged, 10).await;
    }
    let mut acknowledged = of_near.end().await;
    for far in of_far {
        acknowledged.extend(far.end().await);
    }
    acknowledged.sort_unstable();
    let notes = scene.texts_at(&moved, "notes").await;
    assert_eq!(notes, acknowledged);
    assert_eq!(scene.texts_at(&moved, "likes").await, acknowledged);
    let left = scene.texts_at(&old, "notes").await;
    assert!(
        set(&left).is_subset(&set(&notes)),
        "nothing is in the old home alone"
    );
    assert!(
        left.len() + 20 <= notes.len(),
        "what came after is in the new one alone"
    );
}

on_every_home!(what_was_acknowledged_is_in_the_new_home_and_nothing_is_in_both);
