//! Moves payloads over a topic: Kafka or embedded
