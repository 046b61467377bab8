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

-- What tenants say is theirs and have not proven. Leads nowhere, and holds no name.
CREATE TABLE tenancy_domain_claims (
    tenant_id       text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    domain          text COLLATE "C" NOT NULL,
    token           text COLLATE "C" NOT NULL,
    made_by         text,
    made_at_ms      bigint NOT NULL,
    expires_at_ms   bigint NOT NULL,
    last_checked_ms bigint,
    last_error      text,
    PRIMARY KEY (tenant_id, domain)
);
CREATE INDEX tenancy_domain_claims_domain ON tenancy_domain_claims (domain, token);
CREATE INDEX tenancy_domain_claims_expiry ON tenancy_domain_claims (expires_at_ms);

-- What verified domains were proven by. One that an operator gave has no row.
CREATE TABLE tenancy_domain_proofs (
    domain          text COLLATE "C" PRIMARY KEY REFERENCES domains (domain) ON DELETE CASCADE,
    tenant_id       text COLLATE "C" NOT NULL,
    token           text COLLATE "C" NOT NULL,
    verified_at_ms  bigint NOT NULL,
    last_checked_ms bigint,
    last_error      text,
    failures        integer NOT NULL DEFAULT 0
);
CREATE INDEX tenancy_domain_proofs_tenant ON tenancy_domain_proofs (tenant_id, domain);

-- Whose domains were: a name that still leads here must not go to whoever claims it next without better proof.
CREATE TABLE tenancy_former_domains (
    domain    text COLLATE "C" PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL
);

-- However a domain is given, nobody can prove it any more.
CREATE FUNCTION tenancy_domain_given() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM tenancy_domain_claims WHERE domain = NEW.domain;
    RETURN NULL;
END $$;
CREATE TRIGGER tenancy_domain_given AFTER INSERT ON domains FOR EACH ROW EXECUTE FUNCTION tenancy_domain_given();

CREATE FUNCTION tenancy_domain_taken_away() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO tenancy_former_domains (domain, tenant_id) VALUES (OLD.domain, OLD.tenant_id)
        ON CONFLICT (domain) DO UPDATE SET tenant_id = excluded.tenant_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tenancy_domain_taken_away AFTER DELETE ON domains
    FOR EACH ROW EXECUTE FUNCTION tenancy_domain_taken_away();
