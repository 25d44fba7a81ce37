//! What aggregations ask for, once they are read.

use crate::request::Search;
use serde_json::Value as Json;

/// Aggregations of one level, with those inside of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregations {
    pub(crate) entries: Vec<Entry>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) what: What,
    pub(crate) inner: Vec<Entry>,
    pub(crate) meta: Option<Json>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Bucket(Bucket),
    Metric(Metric),
    Pipeline(Piped),
    TopHits(Box<Search>),
}

/// Where values come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) field: String,
    /// What stands for those that are lacking.
    pub(crate) missing: Option<Json>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bucket {
    Terms(Terms),
    Composite(Composite),
    DateHistogram(DateHistogram),
    Histogram(Histogram),
    Ranges(Ranges),
    Filter(Json),
    Filters(Filters),
    Missing(String),
    Global,
}

/// `terms` and `multi_terms`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Terms {
    pub(crate) sources: Vec<Source>,
    pub(crate) is_multi: bool,
    pub(crate) size: usize,
    pub(crate) order: Vec<OrderKey>,
    pub(crate) min_doc_count: u64,
    pub(crate) include: Option<Choice>,
    pub(crate) exclude: Option<Choice>,
}

/// What buckets are ordered by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrderKey {
    /// `_count`, `_key`, or a metric inside.
    pub(crate) path: String,
    pub(crate) descending: bool,
}

/// Which terms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Choice {
    Values(Vec<String>),
    Regex(millrace_filter::Pattern),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Composite {
    pub(crate) sources: Vec<Part>,
    pub(crate) size: usize,
    pub(crate) after: Option<Json>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) kind: PartKind,
    pub(crate) descending: bool,
    pub(crate) missing_bucket: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PartKind {
    Terms(Source),
    Histogram(Histogram),
    DateHistogram(DateHistogram),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DateHistogram {
    pub(crate) source: Source,
    pub(crate) every: Every,
    pub(crate) zone: Option<String>,
    /// In nanoseconds.
    pub(crate) offset: i64,
    pub(crate) min_doc_count: u64,
    pub(crate) extended: Option<Json>,
    pub(crate) hard: Option<Json>,
    pub(crate) keyed: bool,
    pub(crate) format: Option<String>,
    pub(crate) order: Vec<OrderKey>,
}

/// How long intervals are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Every {
    /// Nanoseconds.
    Fixed(i64),
    Calendar(crate::zone::Unit),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) source: Source,
    pub(crate) interval: f64,
    pub(crate) offset: f64,
    pub(crate) min_doc_count: u64,
    pub(crate) extended: Option<(f64, f64)>,
    pub(crate) hard: Option<(f64, f64)>,
    pub(crate) keyed: bool,
    pub(crate) order: Vec<OrderKey>,
}

/// `range`, `date_range` and `ip_range`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranges {
    pub(crate) kind: RangeKind,
    pub(crate) source: Source,
    pub(crate) each: Vec<Range>,
    pub(crate) keyed: bool,
    pub(crate) format: Option<String>,
    pub(crate) zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeKind {
    Numbers,
    Dates,
    Addresses,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    pub(crate) key: Option<String>,
    pub(crate) from: Option<Json>,
    pub(crate) to: Option<Json>,
    pub(crate) mask: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filters {
    pub(crate) each: Vec<(String, Json)>,
    /// They have names.
    pub(crate) keyed: bool,
    /// What is in none of them.
    pub(crate) other: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    pub(crate) source: Source,
    pub(crate) kind: MetricKind,
    pub(crate) format: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MetricKind {
    Count,
    Sum,
    Min,
    Max,
    Avg,
    Stats,
    ExtendedStats { sigma: f64 },
    Cardinality,
    Percentiles { percents: Vec<f64>, keyed: bool },
    Ranks { values: Vec<f64>, keyed: bool },
    WeightedAvg { weight: Source },
}

/// A pipeline aggregation: what is made of buckets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piped {
    pub(crate) kind: PipedKind,
    /// Paths of what it reads, by the names that scripts have for them.
    pub(crate) paths: Vec<(String, String)>,
    /// Buckets without a value are taken as 0.
    pub(crate) zeros: bool,
    pub(crate) format: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PipedKind {
    Derivative {
        unit: Option<i64>,
    },
    CumulativeSum,
    SerialDiff {
        lag: usize,
    },
    MovingFn {
        window: usize,
        shift: i64,
        function: super::pipeline::Moving,
    },
    Script(super::script::Script),
    Selector(super::script::Script),
    Sort {
        keys: Vec<OrderKey>,
        from: usize,
        size: Option<usize>,
    },
    /// Of all buckets of an aggregation beside it.
    Sibling(Sibling),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sibling {
    Avg,
    Sum,
    Min,
    Max,
    Stats,
    ExtendedStats { sigma: f64 },
    Percentiles { percents: Vec<f64>, keyed: bool },
}

impl PipedKind {
    /// Does it stand beside the buckets that it reads?
    pub(crate) fn is_sibling(&self) -> bool {
        matches!(self, Self::Sibling(_))
    }
}
