-- Merges and aliases of templates. Types that both SQLite and PostgreSQL understand; BYTEA is whatever bytes are put in.

-- How often a shard's records were rewritten at most; the start of the time bucket that all of them lie in (NULL: several
-- share the shard, or nobody knows); whether other shards took its place: then expired_ns says when they did.
ALTER TABLE shards ADD COLUMN rewrites INTEGER NOT NULL DEFAULT 0;
ALTER TABLE shards ADD COLUMN bucket_ns BIGINT;
ALTER TABLE shards ADD COLUMN replaced BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX shards_mergeable ON shards (consumer_group, rewrites) WHERE expired_ns IS NULL AND bucket_ns IS NOT NULL;

-- Masks of merged templates. Rows are only ever added; version counts them from 1, without gaps.
CREATE TABLE template_aliases (
    id       TEXT NOT NULL PRIMARY KEY,
    mask     BYTEA NOT NULL,
    version  BIGINT NOT NULL UNIQUE,
    added_ns BIGINT NOT NULL
);

-- Who is at a piece of work that several nodes could do. Spares double work; nothing true depends on it.
CREATE TABLE leases (
    name     TEXT NOT NULL PRIMARY KEY,
    holder   TEXT NOT NULL,
    until_ns BIGINT NOT NULL
);
