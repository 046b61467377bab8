-- `utf8mb4_bin` takes spaces at the end for nothing, so it is for texts that have none. Others are binary.
CREATE TABLE IF NOT EXISTS tenants (
    id                  VARCHAR(48)  NOT NULL PRIMARY KEY,
    slug                VARCHAR(63)  NOT NULL UNIQUE,
    status              VARCHAR(32)  NOT NULL,
    is_active           TINYINT GENERATED ALWAYS AS (CASE WHEN status = 'active' THEN 1 ELSE 0 END) VIRTUAL,
    tenant_type         VARBINARY(256),
    plan                VARCHAR(64),
    settings            MEDIUMTEXT,
    placement_server    VARCHAR(64),
    placement_database  VARCHAR(64),
    placement_isolation VARCHAR(64),
    maintenance         MEDIUMTEXT,
    epoch               BIGINT NOT NULL,
    incarnation         BIGINT NOT NULL UNIQUE,
    created_at_ms       BIGINT NOT NULL,
    updated_at_ms       BIGINT NOT NULL,
    INDEX tenants_created_at (created_at_ms),
    INDEX tenants_type (tenant_type, incarnation),
    INDEX tenants_type_status (tenant_type, status, incarnation),
    INDEX tenants_status (status, incarnation)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS domains (
    domain        VARCHAR(253) NOT NULL PRIMARY KEY,
    tenant_id     VARCHAR(48)  NOT NULL,
    is_active     TINYINT NOT NULL DEFAULT 1,
    is_primary    TINYINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    INDEX domains_tenant (tenant_id),
    FOREIGN KEY (tenant_id) REFERENCES tenants (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row: the change that committed last, and the oldest one that the log still holds. Its lock is the order of changes.
CREATE TABLE IF NOT EXISTS tenancy_change_head (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    number   BIGINT NOT NULL,
    floor    BIGINT NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS tenancy_changes (
    number    BIGINT NOT NULL PRIMARY KEY,
    stamp     BIGINT NOT NULL,
    tenant_id VARCHAR(48),
    kind      VARCHAR(32) NOT NULL,
    "keys"    MEDIUMTEXT NOT NULL,
    actor     TEXT,
    at_ms     BIGINT NOT NULL,
    INDEX tenancy_changes_tenant (tenant_id, number)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Ids that were ever given. Nothing deletes from it: cutting the log must not make an id free again.
CREATE TABLE IF NOT EXISTS tenancy_used_ids (
    id          VARCHAR(48) NOT NULL PRIMARY KEY,
    incarnation BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
