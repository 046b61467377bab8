CREATE TABLE IF NOT EXISTS customers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: sessions and jobs hold it
    subdomain TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'live' -- live, locked
);
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    name TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    item TEXT NOT NULL,
    confirmed INTEGER NOT NULL DEFAULT 0
);
INSERT OR IGNORE INTO customers (id, subdomain, name) VALUES (1, 'acme', 'Acme Ltd'), (2, 'globex', 'Globex Inc');
INSERT OR IGNORE INTO users (id, customer_id, name, token) VALUES (1, 1, 'Ann', 'token-of-ann'), (2, 2, 'Bob', 'token-of-bob');
