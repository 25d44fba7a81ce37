//! The one commit point: shards, offsets, ledger, alerts
