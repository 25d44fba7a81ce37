//! Consumes the topic, owns hot shards, seals and publishes
