-- Name of the strategy that keeps the tenant's data apart; NULL is the default one.
ALTER TABLE tenants ADD COLUMN placement_isolation TEXT;
