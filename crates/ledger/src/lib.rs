//! What of every source has been seen: message in, new ranges and records out
