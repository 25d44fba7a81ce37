-- What was declared of the fields of a shard's records, and what did not keep to it: JSON; NULL: nothing to say.
ALTER TABLE shards ADD COLUMN fields TEXT;
