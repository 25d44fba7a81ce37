//! What the store of bundles counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What was asked of the store, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Asked {
    /// `put`, `read`, `look`, `list` or `delete`.
    pub action: &'static str,
    /// `ok`, `missing` or `failed`.
    pub outcome: &'static str,
}

/// All counters of a store; cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// What was asked of S3-compatible storage, tries of one request counted once.
    pub requests: Family<Asked, Counter>,
    /// Bytes that were fetched from there.
    pub fetched_bytes: Counter,
    /// Bytes of copies on the local disk.
    pub cache_bytes: Gauge,
    /// Copies that went for others.
    pub evictions: Counter,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("millrace_storage");
        registry.register(
            "requests",
            "Requests to S3-compatible storage, by what came of them",
            self.requests.clone(),
        );
        registry.register(
            "fetched_bytes",
            "Bytes of bundles fetched from S3-compatible storage",
            self.fetched_bytes.clone(),
        );
        registry.register(
            "cache_bytes",
            "Bytes of copies of bundles on the local disk",
            self.cache_bytes.clone(),
        );
        registry.register(
            "cache_evictions",
            "Copies of bundles that went for others",
            self.evictions.clone(),
        );
    }

    pub(crate) fn asked<T>(&self, action: &'static str, outcome: &Result<T, crate::Error>) {
        let outcome = match outcome {
            Ok(_) => "ok",
            Err(crate::Error::Missing { .. }) => "missing",
            Err(_) => "failed",
        };
        self.requests.get_or_create(&Asked { action, outcome }).inc();
    }
}
