-- What merges have hidden stays hidden: the first version takes it for expired.
DROP INDEX shards_mergeable;
ALTER TABLE shards DROP COLUMN replaced;
ALTER TABLE shards DROP COLUMN bucket_ns;
ALTER TABLE shards DROP COLUMN rewrites;
DROP TABLE template_aliases;
DROP TABLE leases;
