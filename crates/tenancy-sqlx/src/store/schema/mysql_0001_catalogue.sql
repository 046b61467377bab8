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

-- What tenants say is theirs and have not proven. Leads nowhere, and holds no name.
CREATE TABLE IF NOT EXISTS tenancy_domain_claims (
    tenant_id       VARCHAR(48)   NOT NULL,
    domain          VARCHAR(253)  NOT NULL,
    token           VARBINARY(128) NOT NULL,
    made_by         TEXT,
    made_at_ms      BIGINT NOT NULL,
    expires_at_ms   BIGINT NOT NULL,
    last_checked_ms BIGINT,
    last_error      TEXT,
    PRIMARY KEY (tenant_id, domain),
    INDEX tenancy_domain_claims_domain (domain, token),
    INDEX tenancy_domain_claims_expiry (expires_at_ms),
    FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What verified domains were proven by. One that an operator gave has no row.
CREATE TABLE IF NOT EXISTS tenancy_domain_proofs (
    domain          VARCHAR(253) NOT NULL PRIMARY KEY,
    tenant_id       VARCHAR(48)  NOT NULL,
    token           VARBINARY(128) NOT NULL,
    verified_at_ms  BIGINT NOT NULL,
    last_checked_ms BIGINT,
    last_error      TEXT,
    failures        INTEGER NOT NULL DEFAULT 0,
    INDEX tenancy_domain_proofs_tenant (tenant_id, domain),
    FOREIGN KEY (domain) REFERENCES domains (domain) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Whose domains were: a name that still leads here must not go to whoever claims it next without better proof.
CREATE TABLE IF NOT EXISTS tenancy_former_domains (
    domain    VARCHAR(253) NOT NULL PRIMARY KEY,
    tenant_id VARCHAR(48)  NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
