-- What the topic lost, before or after a group had read it.

-- The first offset that was there when the group was first given the partition, of the topic as it is now; NULL: nobody
-- noted it. And the id under which offsets count since the topic was found to end before where the partition stood; NULL: the
-- topic's own.
ALTER TABLE partitions ADD COLUMN first_offset BIGINT;
ALTER TABLE partitions ADD COLUMN incarnation TEXT;

-- Offsets of partitions that are not in the topic any more: 'removed', before the group had read them; 'stepped_back', after
-- they were published: the topic ended at from_offset where the partition stood at to_offset. topic_id is the id under which
-- they count.
CREATE TABLE holes (
    consumer_group TEXT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    sequence       BIGINT NOT NULL,
    kind           TEXT NOT NULL,
    topic_id       TEXT,
    from_offset    BIGINT NOT NULL,
    to_offset      BIGINT NOT NULL,
    noted_ns       BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition, sequence)
);
