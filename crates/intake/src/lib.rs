//! What turns input into batches: parse, redact, batch
