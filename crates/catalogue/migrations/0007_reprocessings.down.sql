DROP TABLE reprocessing_shards;
DROP TABLE reprocessings;
