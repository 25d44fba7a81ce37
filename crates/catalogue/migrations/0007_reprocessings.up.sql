-- Shards that are made again of what the topic says.

-- What was asked for, numbered in the order of commits. asked: how many shards were live then; shards and records: what was made
-- again so far. finished_ns says since when no shard waits.
CREATE TABLE reprocessings (
    number         BIGINT NOT NULL PRIMARY KEY,
    consumer_group TEXT NOT NULL,
    stream         TEXT,
    from_ns        BIGINT NOT NULL,
    to_ns          BIGINT NOT NULL,
    asked          BIGINT NOT NULL,
    shards         BIGINT NOT NULL,
    records        BIGINT NOT NULL,
    requested_ns   BIGINT NOT NULL,
    finished_ns    BIGINT
);

-- The shards of each that wait (problem is NULL) or were refused. One that is merged or purged hands its place to what it became.
CREATE TABLE reprocessing_shards (
    number  BIGINT NOT NULL,
    shard   TEXT NOT NULL,
    problem TEXT,
    PRIMARY KEY (number, shard)
);
CREATE INDEX reprocessing_waiting ON reprocessing_shards (shard) WHERE problem IS NULL;
