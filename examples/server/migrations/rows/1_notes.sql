-- One table for all tenants. Each row is its tenant's, by the setting that the transaction has.
CREATE TABLE notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant', true), ''),
    text text NOT NULL
);
CREATE INDEX notes_of_tenant ON notes (tenant_id, id);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
CREATE POLICY of_tenant ON notes
    USING (tenant_id = nullif(current_setting('app.tenant', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), ''));
