use crate::central::Dialect;

/// `tenancy_homes` has what was made for tenants, so that nothing else is ever dropped.
///
/// `tenancy_migrations` says to which state each tenant was brought, and where it was then: a tenant that moved, or was
/// made anew, is not taken for one that is up to date. `is_open` is 1 or null, so that there is one open run at most.
pub(super) fn tables(dialect: Dialect) -> &'static str {
    match dialect {
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => {
            "CREATE TABLE IF NOT EXISTS tenancy_migrations (
                 tenant_id TEXT PRIMARY KEY NOT NULL, incarnation INTEGER NOT NULL, server TEXT NOT NULL,
                 place TEXT NOT NULL, isolation TEXT NOT NULL, version INTEGER NOT NULL, checksum TEXT NOT NULL,
                 at_ms INTEGER NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS tenancy_migration_runs (
                 run TEXT PRIMARY KEY NOT NULL, is_open INTEGER UNIQUE, goal TEXT NOT NULL, state TEXT NOT NULL,
                 total INTEGER NOT NULL, canaries INTEGER NOT NULL, canaries_done INTEGER NOT NULL,
                 done INTEGER NOT NULL, failed INTEGER NOT NULL, started_at_ms INTEGER NOT NULL,
                 ended_at_ms INTEGER) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS tenancy_migration_work (
                 run TEXT NOT NULL, tenant_id TEXT NOT NULL, place_in_line INTEGER NOT NULL, state TEXT NOT NULL,
                 attempts INTEGER NOT NULL, worker TEXT NOT NULL, heartbeat_ms INTEGER NOT NULL, reason TEXT,
                 PRIMARY KEY (run, tenant_id)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS tenancy_migration_line
                 ON tenancy_migration_work (run, state, place_in_line);
             CREATE TABLE IF NOT EXISTS tenancy_homes (
                 server TEXT NOT NULL, isolation TEXT NOT NULL, name TEXT NOT NULL, inside TEXT NOT NULL,
                 slug TEXT NOT NULL, tenant_id TEXT NOT NULL, stage TEXT NOT NULL, version INTEGER NOT NULL,
                 checksum TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (server, isolation, name)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS tenancy_homes_tenant ON tenancy_homes (tenant_id);
             CREATE INDEX IF NOT EXISTS tenancy_homes_stage ON tenancy_homes (stage)"
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            "CREATE TABLE IF NOT EXISTS tenancy_migrations (
                 tenant_id text COLLATE \"C\" PRIMARY KEY, incarnation bigint NOT NULL, server text NOT NULL,
                 place text NOT NULL, isolation text NOT NULL, version bigint NOT NULL, checksum text NOT NULL,
                 at_ms bigint NOT NULL);
             CREATE TABLE IF NOT EXISTS tenancy_migration_runs (
                 run text PRIMARY KEY, is_open bigint UNIQUE, goal text NOT NULL, state text NOT NULL,
                 total bigint NOT NULL, canaries bigint NOT NULL, canaries_done bigint NOT NULL,
                 done bigint NOT NULL, failed bigint NOT NULL, started_at_ms bigint NOT NULL, ended_at_ms bigint);
             CREATE TABLE IF NOT EXISTS tenancy_migration_work (
                 run text NOT NULL, tenant_id text COLLATE \"C\" NOT NULL, place_in_line bigint NOT NULL,
                 state text NOT NULL, attempts bigint NOT NULL, worker text NOT NULL, heartbeat_ms bigint NOT NULL,
                 reason text, PRIMARY KEY (run, tenant_id));
             CREATE INDEX IF NOT EXISTS tenancy_migration_line
                 ON tenancy_migration_work (run, state, place_in_line);
             CREATE TABLE IF NOT EXISTS tenancy_homes (
                 server text NOT NULL, isolation text NOT NULL, name text COLLATE \"C\" NOT NULL, inside text NOT NULL,
                 slug text NOT NULL, tenant_id text COLLATE \"C\" NOT NULL, stage text NOT NULL,
                 version bigint NOT NULL, checksum text NOT NULL, at_ms bigint NOT NULL,
                 PRIMARY KEY (server, isolation, name));
             CREATE INDEX IF NOT EXISTS tenancy_homes_tenant ON tenancy_homes (tenant_id);
             CREATE INDEX IF NOT EXISTS tenancy_homes_stage ON tenancy_homes (stage)"
        }
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            "CREATE TABLE IF NOT EXISTS tenancy_migrations (
                 tenant_id VARCHAR(48) PRIMARY KEY NOT NULL, incarnation BIGINT NOT NULL, server VARCHAR(64) NOT NULL,
                 place VARCHAR(64) NOT NULL, isolation VARCHAR(64) NOT NULL, version BIGINT NOT NULL,
                 checksum VARCHAR(64) NOT NULL, at_ms BIGINT NOT NULL)
                 ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
             CREATE TABLE IF NOT EXISTS tenancy_migration_runs (
                 run VARCHAR(32) PRIMARY KEY NOT NULL, is_open BIGINT UNIQUE, goal VARCHAR(80) NOT NULL,
                 state VARCHAR(32) NOT NULL, total BIGINT NOT NULL, canaries BIGINT NOT NULL,
                 canaries_done BIGINT NOT NULL, done BIGINT NOT NULL, failed BIGINT NOT NULL,
                 started_at_ms BIGINT NOT NULL, ended_at_ms BIGINT)
                 ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
             CREATE TABLE IF NOT EXISTS tenancy_migration_work (
                 run VARCHAR(32) NOT NULL, tenant_id VARCHAR(48) NOT NULL, place_in_line BIGINT NOT NULL,
                 state VARCHAR(16) NOT NULL, attempts BIGINT NOT NULL, worker VARCHAR(32) NOT NULL,
                 heartbeat_ms BIGINT NOT NULL, reason TEXT, PRIMARY KEY (run, tenant_id),
                 INDEX tenancy_migration_line (run, state, place_in_line))
                 ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
             CREATE TABLE IF NOT EXISTS tenancy_homes (
                 server VARCHAR(64) NOT NULL, isolation VARCHAR(64) NOT NULL, name VARCHAR(255) NOT NULL,
                 inside VARCHAR(64) NOT NULL, slug VARCHAR(63) NOT NULL, tenant_id VARCHAR(48) NOT NULL,
                 stage VARCHAR(16) NOT NULL, version BIGINT NOT NULL, checksum VARCHAR(64) NOT NULL,
                 at_ms BIGINT NOT NULL, PRIMARY KEY (server, isolation, name),
                 INDEX tenancy_homes_tenant (tenant_id), INDEX tenancy_homes_stage (stage)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        }
    }
}
