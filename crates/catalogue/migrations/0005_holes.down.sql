-- Only where no hole is known (`open/back.rs`).
DROP TABLE holes;
ALTER TABLE partitions DROP COLUMN incarnation;
ALTER TABLE partitions DROP COLUMN first_offset;
