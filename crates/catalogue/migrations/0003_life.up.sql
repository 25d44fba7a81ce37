-- How long records live: deletions by query, and holds.

-- What is to be deleted, numbered in the order of commits. The filter goes once nothing is left that it could match: it may
-- name a person itself; its hash stays. purged_ns says since when nothing is left.
CREATE TABLE deletions (
    number         BIGINT NOT NULL PRIMARY KEY,
    consumer_group TEXT NOT NULL,
    stream         TEXT NOT NULL,
    filter         TEXT,
    filter_sha256  TEXT NOT NULL,
    from_ns        BIGINT NOT NULL,
    to_ns          BIGINT NOT NULL,
    reason         TEXT NOT NULL,
    requested_ns   BIGINT NOT NULL,
    records        BIGINT NOT NULL,
    purged_ns      BIGINT
);

-- Streams of which nothing may end.
CREATE TABLE holds (
    consumer_group TEXT NOT NULL,
    stream         TEXT NOT NULL,
    reason         TEXT NOT NULL,
    since_ns       BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, stream)
);

-- The number of the last deletion that a shard's records have been through, or that was there before they came.
ALTER TABLE shards ADD COLUMN deletions BIGINT NOT NULL DEFAULT 0;
CREATE INDEX shards_by_stream ON shards (consumer_group, stream, last_ns) WHERE expired_ns IS NULL;
