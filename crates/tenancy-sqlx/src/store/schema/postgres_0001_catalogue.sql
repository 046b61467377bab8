-- Texts that are compared or sorted are so byte by byte.
CREATE TABLE IF NOT EXISTS tenants (
    id                  text COLLATE "C" PRIMARY KEY,
    slug                text COLLATE "C" NOT NULL UNIQUE,
    status              text COLLATE "C" NOT NULL,
    is_active           integer GENERATED ALWAYS AS (CASE WHEN status = 'active' THEN 1 ELSE 0 END) STORED,
    tenant_type         text COLLATE "C",
    plan                text,
    settings            text,
    placement_server    text,
    placement_database  text,
    placement_isolation text,
    maintenance         text,
    epoch               bigint NOT NULL,
    incarnation         bigint NOT NULL UNIQUE,
    created_at_ms       bigint NOT NULL,
    updated_at_ms       bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS tenants_created_at ON tenants (created_at_ms);
CREATE INDEX IF NOT EXISTS tenants_type ON tenants (tenant_type, incarnation);
CREATE INDEX IF NOT EXISTS tenants_type_status ON tenants (tenant_type, status, incarnation);
CREATE INDEX IF NOT EXISTS tenants_status ON tenants (status, incarnation);

CREATE TABLE IF NOT EXISTS domains (
    domain        text COLLATE "C" PRIMARY KEY,
    tenant_id     text COLLATE "C" NOT NULL REFERENCES tenants (id),
    is_active     integer NOT NULL DEFAULT 1,
    is_primary    integer NOT NULL DEFAULT 0,
    created_at_ms bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS domains_tenant ON domains (tenant_id);

-- One row: the change that committed last, and the oldest one that the log still holds. Its lock is the order of changes.
CREATE TABLE IF NOT EXISTS tenancy_change_head (
    only_row integer PRIMARY KEY CHECK (only_row = 1),
    number   bigint NOT NULL,
    floor    bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS tenancy_changes (
    number    bigint PRIMARY KEY,
    stamp     bigint NOT NULL,
    tenant_id text COLLATE "C",
    kind      text NOT NULL,
    keys      text NOT NULL,
    actor     text,
    at_ms     bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS tenancy_changes_tenant ON tenancy_changes (tenant_id, number);

-- Ids that were ever given. Nothing deletes from it: cutting the log must not make an id free again.
CREATE TABLE IF NOT EXISTS tenancy_used_ids (
    id          text COLLATE "C" PRIMARY KEY,
    incarnation bigint NOT NULL
);
