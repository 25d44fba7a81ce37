//! Reads hosts, ships batches
