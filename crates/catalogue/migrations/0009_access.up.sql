-- Who may ask: tokens beside those of files, and sessions of people who have logged in.

-- hash is what Argon2id makes of the secret; roles and streams are lists in JSON; expires_ns NULL: without an end.
CREATE TABLE tokens (
    name       TEXT NOT NULL PRIMARY KEY,
    hash       TEXT NOT NULL,
    roles      TEXT NOT NULL,
    streams    TEXT NOT NULL,
    expires_ns BIGINT,
    created_ns BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

-- hash is what SHA-256 makes of what the browser shows, in hexadecimal digits; member_of is a list in JSON.
CREATE TABLE sessions (
    hash       TEXT NOT NULL PRIMARY KEY,
    subject    TEXT NOT NULL,
    name       TEXT NOT NULL,
    member_of  TEXT NOT NULL,
    expires_ns BIGINT NOT NULL,
    created_ns BIGINT NOT NULL
);
CREATE INDEX sessions_of_subject ON sessions (subject, created_ns);

-- One row, once anything was changed: version rises with each change of the tables above.
CREATE TABLE access_version (
    id      BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
