//! What a catalogue may say, and what comes of it.

use tenancy_core::Placement;
use tenancy_sqlx::{
    database::{Server, TenantDatabases},
    isolation::{DatabasePerTenant, Isolation, SchemaPerTenant},
};

use super::fixture::{Kind, World, canary_of, make_schema, notes_in};
use crate::pool::fixture::patient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_are_named_word_for_word_whatever_letters_they_have() {
    let world = World::new(Kind::Schemas, "hostile", 1).await;
    let longest = "x".repeat(63);
    let names = [
        r#"o"brien"#,
        r#"""; DROP TABLE notes; --"#,
        r"back\slash",
        "it's",
        "Acme",
        "acme",
        "ACME",
        "öäü ✓",
        "$users",
        "a, public",
        &longest,
    ];
    for (number, name) in names.iter().enumerate() {
        make_schema(&world.database, name, &number.to_string()).await;
    }
    for (number, name) in names.iter().enumerate() {
        world
            .place(0, |placement| placement.database = (*name).into())
            .await;
        let seen = notes_in(&world.db(0)).await.unwrap();
        assert_eq!(seen, [canary_of(&number.to_string())], "{name:?}");
        let mut connection = world.db(0).acquire().await.unwrap();
        let seen = super::fixture::notes(&mut connection).await.unwrap();
        assert_eq!(seen, [canary_of(&number.to_string())], "{name:?}");
    }
    // What the server would cut to the longest name.
    let cut = "x".repeat(64);
    for name in [cut.as_str(), "a\0b", "public", "pg_catalog", "$user"] {
        world.place(0, |placement| placement.database = name.into()).await;
        let error = world.db(0).begin().await.unwrap_err();
        assert!(error.is_misplaced(), "{name:?}: {error:?}");
        assert_eq!(error.to_string(), "the database is not available");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placement_that_leads_to_another_tenant_is_refused_and_nobody_else_is() {
    for kind in [Kind::Databases, Kind::Schemas] {
        let world = World::new(kind, "intruder", 3).await;
        let name_of = |tenant: usize| format!("tenant_{}", world.tenants[tenant].id());
        let taken = name_of(1);
        // The other one has not been here yet.
        world
            .place(0, |placement| placement.database = taken.as_str().into())
            .await;
        for _ in 0..2 {
            assert!(world.db(0).begin().await.unwrap_err().is_misplaced(), "{kind:?}");
            assert!(
                world.db(0).acquire().await.unwrap_err().is_misplaced(),
                "{kind:?}"
            );
        }
        assert_eq!(
            notes_in(&world.db(1)).await.unwrap(),
            [world.canary(1)],
            "{kind:?}"
        );
        assert!(world.db(0).begin().await.unwrap_err().is_misplaced(), "{kind:?}");

        // Two that are led to one place by name: the older one is right.
        let shared = name_of(2);
        world
            .place(2, |placement| placement.database = "elsewhere".into())
            .await;
        world
            .place(1, |placement| placement.database = shared.as_str().into())
            .await;
        assert_eq!(
            notes_in(&world.db(1)).await.unwrap(),
            [world.canary(2)],
            "{kind:?}"
        );
        world
            .place(0, |placement| placement.database = shared.as_str().into())
            .await;
        assert_eq!(
            notes_in(&world.db(0)).await.unwrap(),
            [world.canary(2)],
            "{kind:?}"
        );
        assert!(world.db(1).begin().await.unwrap_err().is_misplaced(), "{kind:?}");
        // It leaves, and the place is free.
        world
            .place(0, |placement| *placement = Placement::default())
            .await;
        assert_eq!(
            notes_in(&world.db(1)).await.unwrap(),
            [world.canary(2)],
            "{kind:?}"
        );
        assert_eq!(
            notes_in(&world.db(0)).await.unwrap(),
            [world.canary(0)],
            "{kind:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placement_that_leads_to_the_central_database_is_refused() {
    let world = World::new(Kind::Databases, "central", 2).await;
    let central = world.database.name().to_owned();
    for name in [central.as_str(), &central.to_uppercase(), "postgres", "template1"] {
        world.place(0, |placement| placement.database = name.into()).await;
        let error = world.db(0).begin().await.unwrap_err();
        assert!(error.is_misplaced(), "{name}: {error:?}");
    }
    world
        .place(0, |placement| placement.server = "nowhere".into())
        .await;
    assert!(world.db(0).begin().await.unwrap_err().is_unknown_server());
    world
        .place(0, |placement| placement.isolation = "nothing".into())
        .await;
    assert!(world.db(0).begin().await.unwrap_err().is_misplaced());
    world
        .place(0, |placement| placement.database = "missing".into())
        .await;
    assert!(world.db(0).begin().await.unwrap_err().is_missing_database());
    assert_eq!(
        notes_in(&world.db(1)).await.unwrap(),
        [world.canary(1)],
        "nobody else"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_goes_from_a_schema_to_a_database_by_its_placement() {
    let world = World::new(Kind::Schemas, "mixed", 2).await;
    let own = format!("tenant_{}", world.tenants[0].id());
    let server = world.database.server();
    server
        .sql(format!(
            r#"CREATE DATABASE "{own}" OWNER owner STRATEGY file_copy"#
        ))
        .await;
    super::fixture::run(
        &server.url(tenancy_test::servers::Role::Owner, &own),
        "CREATE TABLE notes AS SELECT 'moved' AS text; GRANT SELECT ON notes TO app",
    )
    .await;
    let databases = TenantDatabases::builder(&world.tenancy)
        .server("main", Server::at(world.database.app_url()).settings(patient(4)))
        .isolation(Isolation::of(SchemaPerTenant::new()).or(DatabasePerTenant::new()))
        .build()
        .await
        .unwrap();
    let db = databases.of(&world.tenants[0]);
    assert_eq!(notes_in(&db).await.unwrap(), [world.canary(0)]);
    world
        .place(0, |placement| placement.isolation = "database".into())
        .await;
    assert_eq!(notes_in(&db).await.unwrap(), ["moved"]);
    world
        .place(0, |placement| placement.isolation = "schema".into())
        .await;
    assert_eq!(notes_in(&db).await.unwrap(), [world.canary(0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_can_not_work_are_refused_all_at_once() {
    let world = World::new(Kind::Schemas, "mistakes", 1).await;
    let built = TenantDatabases::<sqlx::Sqlite>::builder(&world.tenancy)
        .server("a", Server::at("sqlite://data"))
        .server("a", Server::at("postgres://app:s3cr3t@db/app"))
        .isolation(Isolation::schema())
        .build()
        .await;
    let error = built.unwrap_err();
    assert!(error.is_mistake());
    let text = error.to_string();
    for part in ["two servers", "\"schema\" does not work on SQLite"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("s3cr3t"), "{text}");
    let none = TenantDatabases::<sqlx::Postgres>::builder(&world.tenancy)
        .build()
        .await;
    assert!(none.unwrap_err().to_string().contains("there is no server"));
    let away = TenantDatabases::<sqlx::Postgres>::builder(&world.tenancy)
        .server("main", Server::at("postgres://app@127.0.0.1:1/app"))
        .build()
        .await;
    assert!(away.unwrap_err().is_unreachable());
}
