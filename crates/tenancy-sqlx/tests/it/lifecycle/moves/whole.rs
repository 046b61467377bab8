//! All that a tenant has goes with it, and nothing else is left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::Postgres;
use tenancy_core::{Maintenance, Placement};
use tenancy_sqlx::{
    NewTenant, TenantPatch,
    database::Login,
    isolation::Isolation,
    lifecycle::{HomeState, KnownHome, LifecycleAction, Moment, MoveTo},
};

use super::{
    super::fixture::Tested,
    scene::{Scene, inserts, is_empty, on_every_home, to_two, until_known},
};

async fn a_tenant_moves_with_all_that_it_has_and_back_again<DB: Tested>(scene: Scene<DB>) {
    let near = scene.near().await;
    // Else a server waits for what is idle there before it drops a database.
    let lifecycle = scene.builder().await.serving(&near.databases);
    let lifecycle = lifecycle.build().await.unwrap();
    let at_one = scene.tenant(&lifecycle).await;
    let tenant = near.enter(&at_one.id).await;
    for text in ["a", "b", "c"] {
        near.write(&tenant, text).await.unwrap();
    }
    let mut connection = scene.homes.connect(&at_one, Login::Owner, false).await.unwrap();
    DB::try_run(&mut connection, "DELETE FROM notes WHERE text = 'c'")
        .await
        .unwrap();

    let seen = Arc::new(AtomicBool::new(false));
    let sees = Arc::clone(&seen);
    let to = to_two().observe(move |progress| {
        sees.fetch_or(progress.table == "notes" && progress.rows == 2, Ordering::Relaxed);
    });
    let moved = lifecycle.move_home(&at_one.id, to).await.unwrap();
    assert_eq!((moved.tables, moved.rows), (2, 5));
    assert!(seen.load(Ordering::Relaxed));
    let at_two = moved.tenant.record;
    let placement = at_two.placement.clone().unwrap();
    assert_eq!(&*placement.server, "two");
    assert_eq!(placement.isolation, at_one.placement.clone().unwrap().isolation);
    assert!(at_two.epoch > at_one.epoch);
    assert_eq!(at_two.maintenance, None);
    assert!(is_empty(&scene.through()));

    until_known(&tenant, &at_two).await;
    assert_eq!(
        near.texts(&tenant, "SELECT text FROM notes ORDER BY id").await,
        ["a", "b"]
    );
    near.write(&tenant, "d").await.unwrap();
    let number = "SELECT text FROM notes WHERE id = 4";
    assert_eq!(near.texts(&tenant, number).await, ["d"], "numbers go on");

    // Who writes where it was is refused, whoever it is.
    for insert in inserts("too late") {
        let refused = DB::try_run(&mut connection, &insert).await.unwrap_err();
        assert!(refused.to_string().contains("the tenant moves"), "{refused}");
    }
    for change in ["UPDATE notes SET text = 'x'", "DELETE FROM likes"] {
        assert!(DB::try_run(&mut connection, change).await.is_err(), "{change}");
    }
    drop(connection);
    assert_eq!(scene.texts_at(&at_one, "notes").await, ["a", "b"]);
    let known = KnownHome::all(lifecycle.store()).await.unwrap();
    let left = known.iter().find(|home| home.state == HomeState::Left).unwrap();
    assert_eq!((&*left.server, &left.tenant), ("one", &None));

    let back = MoveTo::server("one").let_end(Duration::ZERO).drop_left();
    let back = lifecycle.move_home(&at_one.id, back).await.unwrap();
    assert_eq!(back.rows, 7);
    assert!(scene.is_gone(&at_two).await);
    assert_eq!(scene.stages("left").await, 1);
    assert_eq!(lifecycle.recover().await.unwrap(), 1, "the first one");
    assert!(scene.is_gone(&at_one).await);
    until_known(&tenant, &back.tenant.record).await;
    near.write(&tenant, "e").await.unwrap();
    let home = back.tenant.record;
    assert_eq!(scene.texts_at(&home, "notes").await, ["a", "b", "d", "e"]);
    assert_eq!((scene.stages("made").await, scene.stages("left").await), (1, 0));
}

async fn whoever_wrote_before_the_fence_is_waited_for<DB: Tested>(scene: Scene<DB>) {
    let near = scene.near().await;
    let (reached, fence) = tokio::sync::oneshot::channel();
    let (reached, committed) = (
        std::sync::Mutex::new(Some(reached)),
        Arc::new(AtomicBool::new(false)),
    );
    let has_committed = Arc::clone(&committed);
    let lifecycle = scene.builder().await.hook(move |step| {
        match (step.moment, step.action) {
            (Moment::Before, LifecycleAction::Fence) => {
                reached.lock().unwrap().take().unwrap().send(()).unwrap();
            }
            (Moment::After, LifecycleAction::Fence) => {
                assert!(has_committed.load(Ordering::SeqCst), "the fence came in between");
            }
            _ => {}
        }
        async { Ok(()) }
    });
    let lifecycle = lifecycle.build().await.unwrap();
    let record = scene.tenant(&lifecycle).await;
    let tenant = near.enter(&record.id).await;
    let mut held = near.databases.of(&tenant).begin().await.unwrap();
    let [first, second] = inserts("held");
    DB::try_run(&mut held, &first).await.unwrap();
    let (moved, ()) = tokio::join!(lifecycle.move_home(&record.id, to_two()), async {
        fence.await.unwrap();
        // The fence is tried meanwhile.
        tokio::time::sleep(Duration::from_millis(700)).await;
        // Where tables are fenced one after the other, what comes too late takes all of it back.
        let wrote = DB::try_run(&mut held, &second).await;
        committed.store(true, Ordering::SeqCst);
        match wrote {
            Ok(()) => held.commit().await.unwrap(),
            Err(error) => {
                assert!(error.to_string().contains("the tenant moves"), "{error}");
                held.rollback().await.unwrap();
            }
        }
    });
    let moved = moved.unwrap().tenant.record;
    let (notes, likes) = (
        scene.texts_at(&moved, "notes").await,
        scene.texts_at(&moved, "likes").await,
    );
    assert_eq!(notes, likes, "all of it or nothing");
    assert_eq!(scene.texts_at(&record, "notes").await, notes);
}

async fn a_tenant_that_was_in_maintenance_stays_so<DB: Tested>(scene: Scene<DB>) {
    let lifecycle = scene.lifecycle().await;
    let record = scene.tenant(&lifecycle).await;
    let mut own = Maintenance::default();
    own.page = Some("back on Monday".into());
    let set = lifecycle.store().set_maintenance(&record.id, Some(own.clone()));
    set.await.unwrap();
    let moved = lifecycle.move_home(&record.id, to_two()).await.unwrap();
    assert_eq!(moved.tenant.record.maintenance.as_deref(), Some(&own));
}

async fn a_move_that_is_named_leads_to_that_name<DB: Tested>(scene: Scene<DB>) {
    let lifecycle = scene.lifecycle().await;
    let record = scene.tenant(&lifecycle).await;
    let first = record.placement.clone().unwrap().database;
    let name = format!("n{}", &first[first.len() - 16..]);
    let moved = lifecycle
        .move_home(&record.id, to_two().named(&name))
        .await
        .unwrap();
    assert_eq!(*moved.tenant.record.placement.unwrap().database, *name);
    lifecycle.remove(&record.id).await.unwrap();
    assert_eq!(lifecycle.recover().await.unwrap(), 1);
    assert_eq!(scene.catalogue.ask("SELECT count(*) FROM tenancy_homes").await, 0);
}

async fn a_home_that_is_left_is_not_dropped_while_a_tenant_is_led_there<DB: Tested>(scene: Scene<DB>) {
    let lifecycle = scene.lifecycle().await;
    let (store, id) = (lifecycle.store(), "moves-derived".parse().unwrap());
    // Its home is where its id leads.
    store.create(NewTenant::new("moves-derived")).await.unwrap();
    let record = lifecycle.make_home(&id).await.unwrap().record;
    let derived = scene.homes.locate(&record).unwrap().1;
    let moved = lifecycle.move_home(&id, to_two()).await.unwrap();
    let mut named = moved.tenant.record.placement.as_deref().unwrap().clone();
    named.server = "one".into();
    let path = derived.database_name();
    let own = derived.schema_name().map_or(path, |schema| schema.as_str());
    // A file is named below its directory.
    named.database = own.rsplit('/').next().unwrap().into();
    for back in [None, Some(named)] {
        let mut patch = TenantPatch::default();
        patch.placement = Some(back);
        let led = store.update(&id, patch).await.unwrap().record;
        assert_eq!(scene.homes.locate(&led).unwrap().1, derived);
        let error = lifecycle.recover().await.unwrap_err();
        assert!(error.is_not_ours(), "{error:?}");
        scene.texts_at(&record, "notes").await;
    }
    let mut patch = TenantPatch::default();
    patch.placement = Some(moved.tenant.record.placement.map(|placement| *placement));
    store.update(&id, patch).await.unwrap();
    assert_eq!(lifecycle.recover().await.unwrap(), 1);
    assert!(scene.is_gone(&record).await);
}

on_every_home!(
    a_home_that_is_left_is_not_dropped_while_a_tenant_is_led_there,
    a_tenant_moves_with_all_that_it_has_and_back_again,
    whoever_wrote_before_the_fence_is_waited_for,
    a_tenant_that_was_in_maintenance_stays_so,
    a_move_that_is_named_leads_to_that_name,
);

/// Its home at the derived place was made by others: it is moved, and never dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_was_made_elsewhere_is_left_and_stays_fenced() {
    let scene = Scene::<Postgres>::postgres(Isolation::schema()).await;
    let lifecycle = scene.lifecycle().await;
    let made = scene.tenant(&lifecycle).await;
    // As if there had been no journal.
    scene.catalogue.run("DELETE FROM tenancy_homes").await;
    let moved = lifecycle.move_home(&made.id, to_two().drop_left()).await.unwrap();
    assert_eq!(scene.stages("made").await, 1);
    assert_eq!(lifecycle.recover().await.unwrap(), 0);
    let mut connection = scene.homes.connect(&made, Login::Owner, false).await.unwrap();
    assert!(
        Postgres::try_run(&mut connection, &inserts("x")[0])
            .await
            .is_err()
    );
    for truncate in ["TRUNCATE notes", "COPY notes (text) FROM PROGRAM 'echo x'"] {
        assert!(
            Postgres::try_run(&mut connection, truncate).await.is_err(),
            "{truncate}"
        );
    }
    // A move that fails leaves nothing in the journal of what was made elsewhere.
    scene.catalogue.run("DELETE FROM tenancy_homes").await;
    let stopped = scene.builder().await.hook(|step| async move {
        match (step.moment, step.action) {
            (Moment::Before, LifecycleAction::Import) => Err("not today".into()),
            _ => Ok(()),
        }
    });
    let stopped = stopped.build().await.unwrap();
    assert!(stopped.move_home(&made.id, to_two()).await.unwrap_err().is_hook());
    assert_eq!(scene.catalogue.ask("SELECT count(*) FROM tenancy_homes").await, 0);
    let record = scene.newest(&made.id).await;
    assert_eq!(record.placement, moved.tenant.record.placement);
    assert_eq!(record.maintenance, None);
    let mut connection = scene
        .homes
        .connect(&record, Login::Application, false)
        .await
        .unwrap();
    Postgres::try_run(&mut connection, &inserts("x")[0])
        .await
        .unwrap();
    assert_ne!(record.placement, Some(Box::new(Placement::default())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_application_may_not_see_is_moved_too() {
    let scene = Scene::<Postgres>::postgres(Isolation::schema()).await;
    let lifecycle = scene.lifecycle().await;
    let record = scene.tenant(&lifecycle).await;
    let mut owner = scene.homes.connect(&record, Login::Owner, false).await.unwrap();
    for sql in [&*inserts("hidden")[0], "REVOKE ALL ON notes FROM app"] {
        Postgres::try_run(&mut owner, sql).await.unwrap();
    }
    let moved = lifecycle.move_home(&record.id, to_two()).await.unwrap();
    assert_eq!(scene.texts_at(&moved.tenant.record, "notes").await, ["hidden"]);
}
