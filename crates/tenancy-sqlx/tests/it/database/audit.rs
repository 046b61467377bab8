//! What a server must not be like.

use sqlx::Postgres;
use tenancy::{MemoryStore, Tenancy, resolve::Subdomain};
use tenancy_sqlx::{
    audit::{AuditReport, FindingKind},
    database::{BuildError, Server, TenantDatabases},
    isolation::{Isolation, SchemaPerTenant, SharedRows},
};
use tenancy_test::servers::{self, PgBouncer, PoolMode, Role, TestDatabase};

use super::fixture::{SHARED_NOTES, run};
use crate::pool::fixture::patient;

async fn build(url: String, isolation: Isolation) -> Result<TenantDatabases<Postgres>, BuildError> {
    let tenancy = Tenancy::new(
        Subdomain::of("example.com").unwrap(),
        MemoryStore::of(["acme"]).unwrap(),
    );
    TenantDatabases::builder(&tenancy)
        .server("main", Server::at(url).settings(patient(2)))
        .isolation(isolation)
        .build()
        .await
}

async fn refused(url: String, isolation: Isolation) -> AuditReport {
    let error = build(url, isolation).await.unwrap_err();
    error.audit().cloned().unwrap_or_else(|| panic!("{error}"))
}

fn found(report: &AuditReport) -> Vec<(FindingKind, &str)> {
    let findings = report.findings().iter();
    findings
        .map(|finding| (finding.kind(), finding.subject()))
        .collect()
}

async fn database(test: &str) -> TestDatabase {
    servers::Postgres::shared().await.database(test).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_policies_do_not_bind_is_refused() {
    let database = database("logins").await;
    run(&database.owner_url(), SHARED_NOTES).await;
    let report = refused(database.admin_url(), Isolation::rows()).await;
    assert!(
        found(&report).contains(&(FindingKind::Superuser, "admin")),
        "{report}"
    );
    let report = refused(database.admin_url(), Isolation::database()).await;
    assert_eq!(
        found(&report),
        [(FindingKind::Superuser, "admin")],
        "in every strategy"
    );

    let report = refused(database.owner_url(), Isolation::rows()).await;
    assert_eq!(found(&report), [(FindingKind::OwnsTable, "public.notes")]);

    let server = database.server();
    for (role, is, kind) in [
        ("bypasser", "BYPASSRLS", FindingKind::BypassesPolicies),
        ("climber", "IN ROLE admin", FindingKind::MayBecomeSuperuser),
    ] {
        let password = server.password();
        server
            .sql(format!("CREATE ROLE {role} LOGIN PASSWORD '{password}' {is}"))
            .await;
        let url = database.app_url().replace("//app:", &format!("//{role}:"));
        let report = refused(url, Isolation::database()).await;
        assert_eq!(found(&report), [(kind, role)]);
    }
    build(database.app_url(), Isolation::rows()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_views_and_functions_that_show_other_tenants_are_found_all_at_once() {
    let database = database("lints").await;
    run(&database.owner_url(), SHARED_NOTES).await;
    run(
        &database.owner_url(),
        "CREATE TABLE bare (tenant_id text);
         CREATE TABLE unused (tenant_id text);
         CREATE TABLE countries (name text);
         CREATE TABLE switched_off (tenant_id text);
         CREATE POLICY p ON switched_off USING (tenant_id = current_setting('app.tenant', true));
         CREATE TABLE unforced (tenant_id text);
         ALTER TABLE unforced ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON unforced USING (tenant_id = current_setting('app.tenant', true));
         CREATE TABLE open (tenant_id text);
         ALTER TABLE open ENABLE ROW LEVEL SECURITY; ALTER TABLE open FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON open USING (true);
         CREATE VIEW peeping AS SELECT * FROM notes;
         CREATE VIEW fine WITH (security_invoker = true) AS SELECT * FROM notes;
         CREATE MATERIALIZED VIEW kept AS SELECT * FROM notes;
         CREATE FUNCTION who() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT current_setting('app.tenant', true) $$;
         CREATE FUNCTION stable_who() RETURNS text STABLE LANGUAGE sql AS $$ SELECT current_setting('app.tenant', true) $$;
         GRANT SELECT ON bare, countries, switched_off, unforced, open, peeping, fine, kept TO app;
         GRANT TRUNCATE ON unforced TO app",
    )
    .await;
    let isolation = || Isolation::of(SharedRows::new().common_tables(["countries"]));
    let report = refused(database.app_url(), isolation()).await;
    assert_eq!(
        found(&report),
        [
            (FindingKind::NoPolicies, "public.bare"),
            (FindingKind::OpenPolicy, "public.open"),
            (FindingKind::NoPolicies, "public.switched_off"),
            (FindingKind::NotForced, "public.unforced"),
            (FindingKind::MayTruncate, "public.unforced"),
            (FindingKind::DefinerView, "public.kept"),
            (FindingKind::DefinerView, "public.peeping"),
            (FindingKind::ImmutableHelper, "public.who"),
        ]
    );
    for finding in report.findings() {
        let text = finding.to_string();
        assert!(
            text.contains(finding.kind().remedy()) && text.contains("\"main\""),
            "{text}"
        );
    }
    run(
        &database.owner_url(),
        "ALTER FUNCTION who() STABLE; REVOKE ALL ON bare, switched_off, unforced, open, peeping, kept FROM app",
    )
    .await;
    build(database.app_url(), isolation()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_behind_the_tenants_schemas_must_not_be_taken_for_theirs() {
    let database = database("shadows").await;
    run(
        &database.owner_url(),
        "CREATE SCHEMA tenant_acme; CREATE TABLE tenant_acme.notes (text text);
         CREATE SCHEMA extensions; CREATE TABLE extensions.notes (text text); CREATE TABLE extensions.srs (id int);
         GRANT USAGE, CREATE ON SCHEMA extensions TO app",
    )
    .await;
    let isolation = || {
        let strategy = SchemaPerTenant::new().extra_path(["extensions", "away"]);
        Isolation::of(strategy.unwrap())
    };
    let report = refused(database.app_url(), isolation()).await;
    assert_eq!(
        found(&report),
        [
            (FindingKind::MayCreateInPath, "extensions"),
            (FindingKind::MissingInPath, "away"),
            (FindingKind::Shadowed, "extensions.notes"),
        ]
    );
    run(
        &database.owner_url(),
        "DROP TABLE extensions.notes; REVOKE CREATE ON SCHEMA extensions FROM app",
    )
    .await;
    build(database.app_url(), isolation()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_loses_the_session_is_noticed() {
    let database = database("noticed").await;
    run(&database.owner_url(), SHARED_NOTES).await;
    for (mode, is_found) in [(PoolMode::Transaction, true), (PoolMode::Session, false)] {
        let pooler = PgBouncer::start(database.server(), mode).await.unwrap();
        let url = pooler.url(Role::App, database.name());
        let built = build(url, Isolation::rows()).await;
        let kinds: Vec<_> = match &built {
            Err(error) => found(error.audit().unwrap())
                .iter()
                .map(|found| found.0)
                .collect(),
            Ok(_) => Vec::new(),
        };
        assert_eq!(
            kinds.contains(&FindingKind::PoolerInBetween),
            is_found,
            "{mode:?} {kinds:?}"
        );
    }
}
