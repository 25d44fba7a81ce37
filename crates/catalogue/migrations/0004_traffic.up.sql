-- What each host has brought to each stream, by the day (days since the epoch, UTC) on which it was taken in. bytes are those of
-- the messages before compression; held_bytes of messages beyond a quota, which lie in the dead-letter topic.
CREATE TABLE traffic (
    consumer_group TEXT NOT NULL,
    day            BIGINT NOT NULL,
    topic          TEXT NOT NULL,
    partition      INTEGER NOT NULL,
    stream         TEXT NOT NULL,
    host           TEXT NOT NULL,
    records        BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    held_bytes     BIGINT NOT NULL,
    PRIMARY KEY (consumer_group, day, topic, partition, stream, host)
);
