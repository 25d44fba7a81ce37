-- Times are nanoseconds since the epoch (*_ns), ids 32 hexadecimal digits, structures JSON.
-- Only what SQLite and PostgreSQL both understand.

-- One row a partition and consumer group: who owns it and where the next record to index lies.
CREATE TABLE partitions (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    topic_id       TEXT,
    next_offset    BIGINT,
    owner_epoch    BIGINT NOT NULL,
    owner          TEXT NOT NULL,
    acquired_ns    BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition)
);

-- What `partitions` said before a topic was found to have been deleted and created again.
CREATE TABLE partition_history (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    topic_id       TEXT NOT NULL,
    next_offset    BIGINT,
    owner_epoch    BIGINT NOT NULL,
    retired_ns     BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition, owner_epoch)
);

CREATE TABLE shards (
    id             TEXT NOT NULL PRIMARY KEY,
    consumer_group TEXT NOT NULL,
    stream         TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    first_ns       BIGINT NOT NULL,
    last_ns        BIGINT NOT NULL,
    records        BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    sha256         TEXT NOT NULL,
    bundle_key     TEXT NOT NULL,
    offsets        TEXT NOT NULL,
    created_ns     BIGINT NOT NULL,
    published_ns   BIGINT NOT NULL,
    expired_ns     BIGINT
);
CREATE INDEX shards_live ON shards (consumer_group, last_ns) WHERE expired_ns IS NULL;
CREATE INDEX shards_expired ON shards (expired_ns) WHERE expired_ns IS NOT NULL;

-- The ledger. kind, path, host and closed repeat what the state says, so that sources can be listed without reading it.
CREATE TABLE sources (
    consumer_group TEXT NOT NULL,
    id             TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    version        BIGINT NOT NULL,
    closed         BOOLEAN NOT NULL,
    kind           TEXT,
    path           TEXT,
    host           TEXT,
    state          TEXT NOT NULL,
    updated_ns     BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, id)
);

-- The hash chain of each partition. `entry` is the JSON that was hashed, byte for byte.
CREATE TABLE trail (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    sequence       BIGINT NOT NULL,
    entry          TEXT NOT NULL,
    hash           TEXT NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition, sequence)
);

CREATE TABLE nodes (
    id      TEXT NOT NULL PRIMARY KEY,
    role    TEXT NOT NULL,
    address TEXT,
    version TEXT NOT NULL,
    seen_ns BIGINT NOT NULL
);

CREATE TABLE alerts (
    id          TEXT NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    rule_id     TEXT NOT NULL,
    title       TEXT NOT NULL,
    level       TEXT NOT NULL,
    state       TEXT NOT NULL,
    grouped_by  TEXT NOT NULL,
    first_ns    BIGINT NOT NULL,
    last_ns     BIGINT NOT NULL,
    occurrences BIGINT NOT NULL,
    evidence    TEXT NOT NULL,
    resolved_ns BIGINT
);
CREATE INDEX alerts_by_state ON alerts (state, last_ns);

-- The outbox: written with the alert, emptied by whoever delivers.
CREATE TABLE notifications (
    id            TEXT NOT NULL PRIMARY KEY,
    alert_id      TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    receiver      TEXT NOT NULL,
    body          TEXT NOT NULL,
    created_ns    BIGINT NOT NULL,
    attempts      BIGINT NOT NULL,
    not_before_ns BIGINT NOT NULL,
    settled_ns    BIGINT,
    problem       TEXT
);
CREATE INDEX notifications_due ON notifications (created_ns, id) WHERE settled_ns IS NULL;
CREATE INDEX notifications_by_alert ON notifications (alert_id);

CREATE TABLE documents (
    kind         TEXT NOT NULL,
    document_key TEXT NOT NULL,
    version      BIGINT NOT NULL,
    body         TEXT NOT NULL,
    updated_ns   BIGINT NOT NULL,
    PRIMARY KEY (kind, document_key)
);
