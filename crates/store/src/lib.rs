//! Shards: hot row buffers, sealed tantivy indexes, and searching both
