//! What can not be moved, or not there, stays and is served.

use sqlx::{MySql, Postgres, Sqlite};
use tenancy_core::TenantRecord;
use tenancy_sqlx::{
    NewTenant,
    database::Login,
    isolation::Isolation,
    lifecycle::{Lifecycle, LifecycleAction, LifecycleError, Moment, MoveTo},
};
use tenancy_test::servers;

use super::{
    super::fixture::{Kind, Tested, World},
    scene::{Scene, inserts, is_empty, on_every_home, to_two},
};
use crate::support::Place;

async fn fails<DB: Tested>(
    scene: &Scene<DB>,
    lifecycle: &Lifecycle<DB>,
    record: &TenantRecord,
    to: MoveTo,
) -> LifecycleError {
    let error = lifecycle.move_home(&record.id, to).await.unwrap_err();
    let now = scene.newest(&record.id).await;
    assert_eq!(
        (&now.placement, &now.maintenance),
        (&record.placement, &None),
        "{error:?}"
    );
    assert_eq!(scene.stages("made").await, 1, "{error:?}");
    assert!(is_empty(&scene.through()));
    let mut connection = scene
        .homes
        .connect(&now, Login::Application, false)
        .await
        .unwrap();
    for insert in inserts("served") {
        DB::try_run(&mut connection, &insert).await.unwrap();
    }
    error
}

async fn a_tenant_stays_where_it_is_when_it_can_not_be_moved<DB: Tested>(scene: Scene<DB>) {
    use LifecycleAction::{Export, Fence, Import, Migrate, Move};
    let lifecycle = scene.lifecycle().await;
    let record = scene.tenant(&lifecycle).await;
    let nowhere = fails(&scene, &lifecycle, &record, MoveTo::server("three")).await;
    assert!(nowhere.is_misplaced(), "{nowhere:?}");
    let gone = fails(&scene, &lifecycle, &record, MoveTo::server("gone")).await;
    assert!(gone.is_server(), "{gone:?}");
    let here = record.placement.clone().unwrap();
    let to_itself = MoveTo::server("one").named(&here.database);
    let occupied = fails(&scene, &lifecycle, &record, to_itself).await;
    assert!(occupied.is_occupied(), "{occupied:?}");
    for stopped in [Move, Migrate, Fence, Export, Import] {
        let lifecycle = scene.builder().await.hook(move |step| async move {
            match step.moment {
                Moment::Before if step.action == stopped => Err("not today".into()),
                _ => Ok(()),
            }
        });
        let lifecycle = lifecycle.build().await.unwrap();
        let error = fails(&scene, &lifecycle, &record, to_two()).await;
        assert!(error.is_hook(), "{stopped}: {error:?}");
        let known = scene.catalogue.ask("SELECT count(*) FROM tenancy_homes").await;
        assert_eq!(known, 1, "{stopped}: nothing is left of the new one");
    }
    // Behind the migrations that the new home has.
    let more = scene.folder.path().join("migrations/2_more.sql");
    std::fs::write(more, "CREATE TABLE more (id INTEGER PRIMARY KEY)").unwrap();
    let newer = scene.lifecycle().await;
    let error = fails(&scene, &newer, &record, to_two()).await;
    assert!(error.is_transfer(), "{error:?}");
    newer.make_home(&record.id).await.unwrap();
    newer.move_home(&record.id, to_two()).await.unwrap();

    lifecycle.store().delete(&record.id).await.unwrap();
    let deleted = newer
        .move_home(&record.id, MoveTo::server("one"))
        .await
        .unwrap_err();
    assert!(deleted.is_not_movable(), "{deleted:?}");
}

async fn two_do_not_move_one_tenant_at_once<DB: Tested>(scene: Scene<DB>) {
    let (first, second) = (scene.lifecycle().await, scene.lifecycle().await);
    let record = scene.tenant(&first).await;
    let outcomes = tokio::join!(
        first.move_home(&record.id, to_two()),
        second.move_home(&record.id, to_two())
    );
    let outcomes = [outcomes.0, outcomes.1];
    let moved: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().ok())
        .collect();
    assert!(!moved.is_empty(), "{outcomes:?}");
    let now = scene.newest(&record.id).await;
    assert_eq!(scene.stages("made").await, 1);
    let known = scene.catalogue.ask("SELECT count(*) FROM tenancy_homes").await;
    assert_eq!(known, 1 + moved.len() as i64, "one that it has, and what it left");
    let mut connection = scene
        .homes
        .connect(&now, Login::Application, false)
        .await
        .unwrap();
    DB::try_run(&mut connection, &inserts("served")[0]).await.unwrap();
}

/// As after a process stood still for so long that others took it for dead.
async fn who_was_taken_for_dead_does_not_lead_a_tenant_away<DB: Tested>(scene: Scene<DB>) {
    use LifecycleAction::{Fence, Import};
    let (first, second) = (scene.lifecycle().await, scene.lifecycle().await);
    let record = scene.tenant(&first).await;
    for (at, moment) in [
        (Fence, Moment::Before),
        (Fence, Moment::After),
        (Import, Moment::After),
    ] {
        let others = second.clone();
        let slow = scene.builder().await.hook(move |step| {
            let others = others.clone();
            async move {
                if (step.action, step.moment) == (at, moment) {
                    // The old home is given back, and the new one is dropped; who is at it says so in between, and is alive then.
                    let mut recovered = 0;
                    while recovered < 2 {
                        recovered += others.recover().await?;
                    }
                }
                Ok(())
            }
        });
        let slow = slow.build().await.unwrap();
        fails(&scene, &slow, &record, to_two()).await;
        let known = scene.catalogue.ask("SELECT count(*) FROM tenancy_homes").await;
        assert_eq!(known, 1, "{moment:?} {at}");
    }
}

on_every_home!(
    who_was_taken_for_dead_does_not_lead_a_tenant_away,
    a_tenant_stays_where_it_is_when_it_can_not_be_moved,
    two_do_not_move_one_tenant_at_once,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_while_it_takes_the_data_in_changes_nothing() {
    let mortal = servers::Postgres::start(servers::PostgresOptions::default())
        .await
        .unwrap();
    let there = mortal.database("there").await;
    let scene = Scene::<Postgres>::postgres(Isolation::database()).await;
    let scene = scene.with_server("mortal", &there);
    let dies = mortal.clone();
    let lifecycle = scene.builder().await.hook(move |step| {
        let dies = dies.clone();
        async move {
            if (step.moment, step.action) == (Moment::Before, LifecycleAction::Import) {
                dies.kill().await;
            }
            Ok(())
        }
    });
    let lifecycle = lifecycle.build().await.unwrap();
    let record = scene.tenant(&lifecycle).await;
    let error = fails(&scene, &lifecycle, &record, MoveTo::server("mortal")).await;
    assert!(error.is_transfer(), "{error:?}");
    assert_eq!(
        scene.stages("dropping").await,
        1,
        "it is dropped when the server is there again"
    );
    mortal.restart().await.unwrap();
    assert_eq!(lifecycle.recover().await.unwrap(), 1);
    assert_eq!(scene.stages("dropping").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_export_leaves_behind_keeps_a_tenant_from_moving() {
    let scene = Scene::<Postgres>::postgres(Isolation::database()).await;
    let lifecycle = scene.lifecycle().await;
    let record = scene.tenant(&lifecycle).await;
    for (make, unmake) in [
        ("SELECT lo_create(4711)", "SELECT lo_unlink(4711)"),
        (
            "CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM notes",
            "DROP MATERIALIZED VIEW counts",
        ),
    ] {
        let mut owner = scene.homes.connect(&record, Login::Owner, false).await.unwrap();
        Postgres::try_run(&mut owner, make).await.unwrap();
        let error = fails(&scene, &lifecycle, &record, to_two()).await;
        assert!(error.is_not_movable(), "{error:?}");
        Postgres::try_run(&mut owner, unmake).await.unwrap();
    }
    lifecycle.move_home(&record.id, to_two()).await.unwrap();

    let scene = Scene::<MySql>::mariadb().await;
    let lifecycle = scene.lifecycle().await;
    let record = scene.tenant(&lifecycle).await;
    for make in [
        "CREATE TRIGGER of_their_own BEFORE INSERT ON notes FOR EACH ROW SET NEW.text = upper(NEW.text)",
        "DROP TRIGGER of_their_own; CREATE SEQUENCE numbers",
    ] {
        let mut owner = scene.homes.connect(&record, Login::Owner, false).await.unwrap();
        MySql::try_run(&mut owner, make).await.unwrap();
        let error = fails(&scene, &lifecycle, &record, to_two()).await;
        assert!(error.is_not_movable(), "{error:?}");
    }

    let scene = Scene::<Sqlite>::sqlite().await;
    let lifecycle = scene.lifecycle().await;
    let record = scene.tenant(&lifecycle).await;
    let mut owner = scene.homes.connect(&record, Login::Owner, false).await.unwrap();
    let make = "CREATE VIRTUAL TABLE words USING fts5(text)";
    Sqlite::try_run(&mut owner, make).await.unwrap();
    let error = fails(&scene, &lifecycle, &record, to_two()).await;
    assert!(error.is_not_movable(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_shares_its_tables_is_not_moved() {
    let world = World::postgres(Place::new(), Kind::Rows).await;
    let lifecycle = world.lifecycle().await;
    let made = lifecycle.create(NewTenant::new("acme")).await.unwrap();
    let error = lifecycle
        .move_home(&made.record.id, MoveTo::server("main"))
        .await
        .unwrap_err();
    assert!(error.is_not_movable(), "{error:?}");
    assert!(
        lifecycle
            .move_home(&"nobody".parse().unwrap(), to_two())
            .await
            .unwrap_err()
            .is_no_tenant()
    );
}
