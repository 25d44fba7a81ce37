-- Only where no deletion is under way and nothing is on hold (`open/back.rs`).
DROP INDEX shards_by_stream;
ALTER TABLE shards DROP COLUMN deletions;
DROP TABLE holds;
DROP TABLE deletions;
