CREATE TABLE tenants (
    id                 TEXT    PRIMARY KEY NOT NULL,
    slug               TEXT    NOT NULL UNIQUE,
    status             TEXT    NOT NULL,
    is_active          INTEGER GENERATED ALWAYS AS (status = 'active') VIRTUAL,
    tenant_type        TEXT,
    plan               TEXT,
    settings           TEXT,
    placement_server   TEXT,
    placement_database TEXT,
    maintenance        TEXT,
    epoch              INTEGER NOT NULL,
    incarnation        INTEGER NOT NULL UNIQUE,
    created_at_ms      INTEGER NOT NULL,
    updated_at_ms      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tenants_created_at ON tenants (created_at_ms);
CREATE INDEX tenants_type ON tenants (tenant_type, incarnation);
CREATE INDEX tenants_type_status ON tenants (tenant_type, status, incarnation);
CREATE INDEX tenants_status ON tenants (status, incarnation);

CREATE TABLE domains (
    domain        TEXT    PRIMARY KEY NOT NULL,
    tenant_id     TEXT    NOT NULL REFERENCES tenants (id),
    is_active     INTEGER NOT NULL DEFAULT 1,
    is_primary    INTEGER NOT NULL DEFAULT 0,
    created_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX domains_active ON domains (domain, is_active);
CREATE INDEX domains_tenant ON domains (tenant_id);

-- One row: the change that committed last, and the oldest one that the log still holds.
CREATE TABLE tenancy_change_head (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    number   INTEGER NOT NULL,
    floor    INTEGER NOT NULL
);

CREATE TABLE tenancy_changes (
    number    INTEGER PRIMARY KEY NOT NULL,
    stamp     INTEGER NOT NULL,
    tenant_id TEXT,
    kind      TEXT    NOT NULL,
    keys      TEXT    NOT NULL,
    actor     TEXT,
    at_ms     INTEGER NOT NULL
);
CREATE INDEX tenancy_changes_tenant ON tenancy_changes (tenant_id, number);

-- Ids that were ever given. Nothing deletes from it: cutting the log must not make an id free again.
CREATE TABLE tenancy_used_ids (
    id          TEXT    PRIMARY KEY NOT NULL,
    incarnation INTEGER NOT NULL
) WITHOUT ROWID;
