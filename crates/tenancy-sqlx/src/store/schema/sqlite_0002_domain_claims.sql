-- Additive: programs that know version 1 alone go on reading and changing the file. What must follow from their changes
-- is done by foreign keys and triggers.

-- What tenants say is theirs and have not proven. Leads nowhere, and holds no name.
CREATE TABLE tenancy_domain_claims (
    tenant_id       TEXT    NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    domain          TEXT    NOT NULL,
    token           TEXT    NOT NULL,
    made_by         TEXT,
    made_at_ms      INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL,
    last_checked_ms INTEGER,
    last_error      TEXT,
    PRIMARY KEY (tenant_id, domain)
) WITHOUT ROWID;
CREATE INDEX tenancy_domain_claims_domain ON tenancy_domain_claims (domain, token);
CREATE INDEX tenancy_domain_claims_expiry ON tenancy_domain_claims (expires_at_ms);

-- What verified domains were proven by. One that an operator gave has no row.
CREATE TABLE tenancy_domain_proofs (
    domain          TEXT    PRIMARY KEY NOT NULL REFERENCES domains (domain) ON DELETE CASCADE,
    tenant_id       TEXT    NOT NULL,
    token           TEXT    NOT NULL,
    verified_at_ms  INTEGER NOT NULL,
    last_checked_ms INTEGER,
    last_error      TEXT,
    failures        INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX tenancy_domain_proofs_tenant ON tenancy_domain_proofs (tenant_id, domain);

-- Whose domains were: a name that still leads here must not go to whoever claims it next without better proof.
CREATE TABLE tenancy_former_domains (
    domain    TEXT PRIMARY KEY NOT NULL,
    tenant_id TEXT NOT NULL
) WITHOUT ROWID;

-- However a domain is given, nobody can prove it any more.
CREATE TRIGGER tenancy_domain_given AFTER INSERT ON domains BEGIN
    DELETE FROM tenancy_domain_claims WHERE domain = NEW.domain;
END;

CREATE TRIGGER tenancy_domain_taken_away AFTER DELETE ON domains BEGIN
    INSERT INTO tenancy_former_domains (domain, tenant_id) VALUES (OLD.domain, OLD.tenant_id)
        ON CONFLICT (domain) DO UPDATE SET tenant_id = excluded.tenant_id;
END;
