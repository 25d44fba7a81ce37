//! How types of the rooms below look in answers: those that are answered as they are. No room below knows of the API's description;
//! that these are true of what they describe is tested here.
#![expect(dead_code, reason = "they are described, and never made")]

use std::collections::BTreeMap;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, RefOr, SchemaFormat, Type,
        schema::{OneOfBuilder, Schema},
    },
};

/// A time in an answer.
pub(crate) struct Time;

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let time = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339 in UTC, to the nanosecond"));
        Schema::Object(time.build()).into()
    }
}

impl ToSchema for Time {
    fn name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
}

/// A time in a question.
pub(super) struct When;

impl PartialSchema for When {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("RFC 3339, epoch milliseconds, `now`, or an age before now: `15m`, `now-1h`"));
        let number = ObjectBuilder::new().schema_type(Type::Integer).description(Some("epoch milliseconds"));
        Schema::OneOf(OneOfBuilder::new().item(text).item(number).build()).into()
    }
}

impl ToSchema for When {}

/// What somebody may do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Role {
    /// Search in granted streams.
    Read,
    /// Hand records in to granted streams.
    Write,
    /// All of it, in all streams.
    Admin,
    /// See what is hidden from others.
    Unmask,
}

/// How somebody is known.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum KnownBy {
    /// Nobody has to say who they are.
    Nothing,
    Token,
    /// Somebody has logged in.
    Session,
}

/// A stretch of time; its end lies outside.
#[derive(ToSchema)]
pub(super) struct Range {
    #[schema(value_type = Time)]
    from: String,
    #[schema(value_type = Time)]
    to: String,
}

/// Where an alert is in its life.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum AlertState {
    /// Its condition holds, but not for long enough yet.
    Pending,
    /// It holds.
    Firing,
    /// It has ended.
    Resolved,
}

/// How serious it is, by Sigma's names.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Level {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// What a rule found, over time.
#[derive(ToSchema)]
pub(super) struct Alert {
    id: String,
    /// What makes two findings one alert.
    fingerprint: String,
    rule_id: String,
    title: String,
    level: Level,
    state: AlertState,
    /// The values that the rule groups by.
    group: BTreeMap<String, String>,
    /// The first finding's time.
    #[schema(value_type = Time)]
    first: String,
    /// The latest finding's time.
    #[schema(value_type = Time)]
    last: String,
    /// How many findings.
    count: u64,
    /// The ids of some of the records that it rests on.
    evidence: Vec<String>,
    /// When it ended.
    #[schema(value_type = Option<Time>, required)]
    resolved_at: Option<String>,
    /// Why nobody is told of it now, if so.
    #[schema(nullable = false)]
    hushed: Option<Hushed>,
    /// The silences that have covered it, by their ids; absent: none.
    #[schema(required = false)]
    silences: Vec<String>,
    /// The alert that inhibits it.
    #[schema(nullable = false)]
    inhibited_by: Option<String>,
    /// The alert whose verdict suppresses it.
    #[schema(nullable = false)]
    suppressed_by: Option<String>,
    /// It has a lower level than its rule gives it.
    #[schema(nullable = false)]
    demoted: Option<Demoted>,
    /// Somebody has seen it.
    #[schema(nullable = false)]
    acknowledged: Option<Act>,
    /// Whose it is.
    #[schema(nullable = false)]
    assignee: Option<String>,
    /// Somebody said that it is over.
    #[schema(nullable = false)]
    closed: Option<Act>,
}

/// Why nobody is told of an alert.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Hushed {
    /// A silence covers it.
    Silenced,
    /// Another alert says it already.
    Inhibited,
    /// Its like was found to be a false positive.
    Suppressed,
}

/// An alert is like one that was found to be a false positive.
#[derive(ToSchema)]
pub(super) struct Demoted {
    /// The level that the rule gives it.
    from: Level,
    /// The level that it has now.
    to: Level,
    /// The alert that it is like.
    similar_to: String,
}

/// Who did something, and when.
#[derive(ToSchema)]
pub(super) struct Act {
    #[schema(value_type = Time)]
    at: String,
    /// Empty: nobody that has a name.
    by: String,
    /// What they said to it.
    #[schema(required = false)]
    note: String,
}

/// What an alert was.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum VerdictKind {
    /// What the rule looks for.
    TruePositive,
    /// Not what the rule looks for.
    FalsePositive,
    /// What the rule looks for, and no harm.
    Benign,
}

/// What a verdict says something of.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum VerdictScope {
    /// This alert alone.
    This,
    /// What the rule finds of the same group, and of groups like it.
    Fingerprint,
    /// Whatever the rule finds.
    Rule,
}

/// What somebody found an alert to be.
#[derive(ToSchema)]
pub(super) struct AlertVerdict {
    alert_id: String,
    rule_id: String,
    fingerprint: String,
    group: BTreeMap<String, String>,
    verdict: VerdictKind,
    reason: String,
    scope: VerdictScope,
    /// Nothing follows from it any more from then on; null: without an end.
    #[schema(value_type = Option<Time>, required)]
    expires: Option<String>,
    #[schema(value_type = Time)]
    given: String,
    /// Empty: nobody that has a name.
    given_by: String,
}

/// A rule in use.
#[derive(ToSchema)]
pub(super) struct Rule {
    id: String,
    title: String,
    description: String,
    level: Level,
    /// ATT&CK's and others.
    tags: Vec<String>,
    /// The file that it stands in, and the line on which it begins.
    file: String,
    line: u64,
    /// The streams that it watches; none: all.
    streams: Vec<String>,
    kind: RuleKind,
    /// Which records it is about.
    #[schema(nullable = false)]
    query: Option<String>,
    /// How many of them, or of distinct values, are a finding.
    #[schema(nullable = false)]
    count: Option<u64>,
    /// Within less than this much event time, in seconds: `300s`.
    #[schema(nullable = false)]
    window: Option<String>,
    /// Quiet for so long, it is over.
    #[schema(nullable = false)]
    resolve_after: Option<String>,
    /// Counted for each combination of these fields' values.
    #[schema(nullable = false)]
    group_by: Option<Vec<String>>,
    /// The field whose different values are counted instead of records.
    distinct: Option<String>,
    /// Patterns whose named groups are fields of this rule alone.
    #[schema(nullable = false)]
    extract: Option<Vec<String>>,
    /// The name by which correlations may refer to it.
    #[schema(nullable = false)]
    name: Option<String>,
    /// The rules that a correlation is over.
    #[schema(nullable = false)]
    correlates: Option<Vec<String>>,
    /// It makes no findings of its own: a correlation counts what it matches.
    #[schema(nullable = false)]
    is_silent: Option<bool>,
    /// Fewer than so many.
    #[schema(nullable = false)]
    fewer_than: Option<u64>,
    /// A group that has been quiet for so long is no group any more.
    #[schema(nullable = false)]
    forget_after: Option<String>,
    /// So many times as much as before.
    #[schema(nullable = false)]
    height: Option<f64>,
    /// Is more told of?
    #[schema(nullable = false)]
    up: Option<bool>,
    /// Is less?
    #[schema(nullable = false)]
    down: Option<bool>,
    /// `count`, `share`, `avg`, `sum`, `min`, `max` or a percentile such as `p95`.
    #[schema(nullable = false)]
    measure: Option<String>,
    /// The field that is looked at.
    #[schema(nullable = false)]
    field: Option<String>,
    /// At least so much before.
    #[schema(nullable = false)]
    min_reference: Option<f64>,
    /// At least so much now.
    #[schema(nullable = false)]
    min_current: Option<f64>,
    /// Are groups told of that were not there before?
    #[schema(nullable = false)]
    new_groups: Option<bool>,
    /// What the share is of.
    #[schema(nullable = false)]
    share_of: Option<String>,
    #[schema(nullable = false)]
    above: Option<f64>,
    #[schema(nullable = false)]
    below: Option<f64>,
    /// Is a bound itself beyond it?
    #[schema(nullable = false)]
    inclusive: Option<bool>,
    /// Of at least so many records.
    #[schema(nullable = false)]
    at_least: Option<u64>,
    /// The fields that are looked at, those together that are one value.
    #[schema(nullable = false)]
    fields: Option<Vec<Vec<String>>>,
    /// What was not there for so long is new again.
    #[schema(nullable = false)]
    history: Option<String>,
    /// For so long values are only gathered.
    #[schema(nullable = false)]
    learn: Option<String>,
    /// What was there so often is new all the same.
    #[schema(nullable = false)]
    seen_at_most: Option<u32>,
    /// Is a field that is not there a finding?
    #[schema(nullable = false)]
    missing: Option<bool>,
    /// All of it within this time.
    #[schema(nullable = false)]
    within: Option<String>,
    /// Is what is on the list what must not be?
    #[schema(nullable = false)]
    deny: Option<bool>,
    /// How many entries the list has.
    #[schema(nullable = false)]
    entries: Option<u64>,
    #[schema(nullable = false)]
    steps: Option<Vec<RuleStep>>,
    /// In that order?
    #[schema(nullable = false)]
    ordered: Option<bool>,
    /// Records are counted by this.
    #[schema(nullable = false)]
    interval: Option<String>,
    /// So many deviations from what is usual.
    #[schema(nullable = false)]
    deviation: Option<f64>,
    /// When a scheduled query is asked: a cron expression,
    #[schema(nullable = false)]
    cron: Option<String>,
    /// by the clocks of this zone;
    #[schema(nullable = false)]
    zone: Option<String>,
    /// or so often.
    #[schema(nullable = false)]
    every: Option<String>,
    /// Over so much time up to then.
    #[schema(nullable = false)]
    range: Option<String>,
    /// It is asked so long after that.
    #[schema(nullable = false)]
    delay: Option<String>,
    /// How its runs go.
    #[schema(nullable = false)]
    runs: Option<crate::alert::schedule::Runs>,
    /// How often it was right, as far as people have said.
    #[schema(nullable = false)]
    verdicts: Option<crate::alert::judge::Precision>,
    /// What it did on this node since the node started.
    activity: crate::metrics::RuleActivity,
    /// Has it been handed what was there before it? Of rules that remember, where rules are evaluated on this node.
    #[schema(nullable = false)]
    past: Option<crate::alert::history::PastState>,
}

/// A step of a sequence.
#[derive(ToSchema)]
pub(super) struct RuleStep {
    query: String,
    /// So many records of it.
    count: u32,
    /// It must not come where it stands.
    not: bool,
}

/// How a rule decides; what each asks for besides stands in the rule.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum RuleKind {
    /// Each record that it matches is a finding.
    Sigma,
    /// Records, or different values, counted.
    Threshold,
    /// Too few records, or too few different values.
    Flatline,
    /// Much more, or much less, than just before.
    Spike,
    /// A measure of numbers beyond a bound.
    Metric,
    /// A value that was not there before.
    NewTerm,
    /// A value that is another than before.
    Change,
    /// A value that is on a list, or on none.
    List,
    /// Things that come one after another.
    Sequence,
    /// Another count than is usual at that hour of the week.
    Baseline,
    /// What a query with pipes gives, asked again and again.
    Scheduled,
}

/// Where a partition stands.
#[derive(ToSchema)]
pub(super) struct PartitionRow {
    topic: String,
    /// Which incarnation of the topic, where that is known.
    #[schema(required)]
    topic_id: Option<String>,
    partition: i32,
    /// The first offset that is not published.
    #[schema(required)]
    next_offset: Option<i64>,
    /// The present owner's epoch.
    owner_epoch: u64,
    owner: String,
}

/// What lies in a stream.
#[derive(ToSchema)]
pub(super) struct StreamUsage {
    name: String,
    shards: u64,
    records: u64,
    /// Of their bundles.
    bytes: u64,
    /// The time of the earliest record.
    #[schema(value_type = Time)]
    first: String,
    /// The time of the latest.
    #[schema(value_type = Time)]
    last: String,
}

/// A process that takes part.
#[derive(ToSchema)]
pub(super) struct Node {
    id: String,
    /// `indexer`, `query`, …
    role: String,
    /// Where it answers, if it does.
    #[schema(required)]
    address: Option<String>,
    version: String,
    #[schema(value_type = Time)]
    seen: String,
}

/// What is in the catalogue.
#[derive(ToSchema)]
pub(super) struct Catalogue {
    schema_version: u64,
    partitions: Vec<PartitionRow>,
    /// Those that have live shards.
    streams: Vec<StreamUsage>,
    /// Shards that have ended and whose bundles are still there.
    hidden_shards: u64,
    /// Sources in the ledger.
    sources: u64,
    /// Links of all trails.
    trail_links: u64,
    /// Those that are alive.
    nodes: Vec<Node>,
    /// Null: there is none yet.
    #[schema(required)]
    newest_snapshot: Option<NewestSnapshot>,
}

/// The newest snapshot of the catalogue in storage.
#[derive(ToSchema)]
pub(super) struct NewestSnapshot {
    key: String,
    #[schema(value_type = Time)]
    at: String,
    /// How often there is to be one, in milliseconds.
    every_ms: u64,
}

/// A shard that stayed as it was.
#[derive(ToSchema)]
pub(super) struct Refusal {
    shard: String,
    problem: String,
}

/// What values of a field are declared to be.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum FieldType {
    Ip,
    Keyword,
    Number,
    Text,
}

/// Half-open: the end lies outside.
#[derive(ToSchema)]
pub(super) struct Span {
    start: u64,
    end: u64,
}

/// What can be said of a source.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// Every byte is accounted for, and nothing was destroyed unread.
    Complete,
    /// So far; the source is still open.
    CompleteSoFar,
    /// Some bytes never came.
    Holes,
    /// The source destroyed bytes before they could be read.
    Lost,
    /// Its first message never came.
    Unopened,
}

/// What a source is.
#[derive(ToSchema)]
pub(super) struct SourceOpen {
    /// `file`, `journald`, …
    kind: String,
    path: String,
    host: String,
    /// The first position that is accounted for.
    start: u64,
    /// The source that this one goes on from.
    #[schema(nullable = false)]
    continues: Option<String>,
    /// Why it goes on from another: `instance`, `partition`, `truncated`.
    #[schema(nullable = false)]
    because: Option<String>,
}

/// What became of a source.
#[derive(ToSchema)]
pub(super) struct SourceClose {
    /// The first position that will never come.
    end: u64,
    /// `deleted`, `truncated`, `rotated`, `removed`, …
    reason: String,
    /// So many bytes at least were destroyed unread behind its end.
    #[schema(nullable = false)]
    lost_at_least: Option<u64>,
}

/// Why offsets are not there any more.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum HoleKind {
    /// The topic removed them before they were read.
    Removed,
    /// They were published, and then the topic lost them.
    SteppedBack,
}

/// Offsets of a partition that its topic does not have any more.
#[derive(ToSchema)]
pub(super) struct OffsetHole {
    topic: String,
    #[schema(required)]
    topic_id: Option<String>,
    partition: i32,
    /// The number of the link that tells of it in the partition's trail.
    sequence: u64,
    kind: HoleKind,
    from: i64,
    to: i64,
    #[schema(value_type = Time)]
    noted: String,
}

/// What one fragment of a plan does.
#[derive(ToSchema)]
pub(super) struct FragmentTold {
    /// The columns that it reads.
    reads: Vec<String>,
    /// What it does to each row, in this order.
    steps: Vec<String>,
    /// What it gathers of all.
    gathers: String,
    /// How that is found faster than row by row.
    #[schema(nullable = false)]
    shortcut: Option<String>,
}

/// How many of a shard's chunks are dealt with how.
#[derive(ToSchema)]
pub(crate) struct ChunksTold {
    total: u64,
    /// Outside of the time.
    by_time: u64,
    /// Ruled out by the index and the filters.
    by_terms: u64,
    /// Ruled out by templates and names of attributes.
    by_shape: u64,
    /// Known without a look.
    known: u64,
    /// Looked at.
    open: u64,
}
