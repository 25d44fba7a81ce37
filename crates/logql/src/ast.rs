//! What a query is once it is read. `print` writes it, `run` carries out a pipeline, `evaluate` what metrics are made of it.

use crate::{
    address::Addresses, expression::Expression, pattern::Pattern, template::Template, units::Duration,
};

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// Lines.
    Log(Pipeline),
    /// Numbers.
    Metric(MetricExpr),
}

/// A stream selector, and what is done to the lines of its streams.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Which streams.
    pub selector: Vec<Matcher>,
    /// What is done, in order.
    pub stages: Vec<Stage>,
}

/// A test of one label.
#[derive(Debug, Clone, PartialEq)]
pub struct Matcher {
    /// The label's name.
    pub label: String,
    /// What its value must be. A label that is not there has the empty value.
    pub test: TextTest,
}

impl Matcher {
    /// Does a label with this value match?
    pub fn is_match(&self, value: &str) -> bool {
        self.test.is_match(value)
    }
}

/// A test of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum TextTest {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`, of the whole value.
    Regex(Expression),
    /// `!~`, of the whole value.
    NotRegex(Expression),
}

impl TextTest {
    /// Does it hold?
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Equal(value) => text == value,
            Self::NotEqual(value) => text != value,
            Self::Regex(expression) => expression.is_match(text),
            Self::NotRegex(expression) => !expression.is_match(text),
        }
    }
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// `|= "…"` and its kin.
    Line(LineFilter),
    /// `| json`, with the labels that are wanted; none: all.
    Json(Vec<JsonField>),
    /// `| logfmt`
    Logfmt(Logfmt),
    /// `| pattern "<a> <_>"`
    Pattern(Pattern),
    /// `| regexp "(?P<a>…)"`
    Regexp(Expression),
    /// `| unpack`
    Unpack,
    /// `| status >= 500`
    Label(LabelFilter),
    /// `| line_format "{{.a}}"`
    LineFormat(Template),
    /// `| label_format a=b, c="{{.d}}"`
    LabelFormat(Vec<LabelFormat>),
    /// `| decolorize`
    Decolorize,
    /// `| drop a, b="c"`
    Drop(Vec<Chosen>),
    /// `| keep a, b="c"`
    Keep(Vec<Chosen>),
    /// `| unwrap a`, in ranges only.
    Unwrap(Unwrap),
}

/// A test of the line.
#[derive(Debug, Clone, PartialEq)]
pub struct LineFilter {
    /// How it is written.
    pub op: LineOp,
    /// Any of these; for the negative signs none of these.
    pub any: Vec<LineTest>,
}

/// The sign of a line filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Regex,
    /// `!~`
    NotRegex,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

impl LineOp {
    /// Must nothing of it be in the line?
    pub const fn is_negative(self) -> bool {
        matches!(self, Self::NotContains | Self::NotRegex | Self::NotPattern)
    }
}

/// What a line filter looks for.
#[derive(Debug, Clone, PartialEq)]
pub enum LineTest {
    /// A part of the line.
    Text(String),
    /// An expression that matches a part.
    Regex(Expression),
    /// An address in it.
    Addresses(Addresses),
    /// A pattern of the whole line.
    Pattern(Pattern),
}

impl LineTest {
    /// Does the line hold it?
    pub fn is_match(&self, line: &str) -> bool {
        match self {
            Self::Text(text) => line.contains(text.as_str()),
            Self::Regex(expression) => expression.is_match(line),
            Self::Addresses(addresses) => addresses.are_in(line),
            Self::Pattern(pattern) => pattern.is_match(line),
        }
    }
}

impl LineFilter {
    /// Is the line kept?
    pub fn is_match(&self, line: &str) -> bool {
        self.any.iter().any(|test| test.is_match(line)) != self.op.is_negative()
    }
}

/// A label and where in the JSON its value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonField {
    /// The label.
    pub label: String,
    /// As written.
    pub text: String,
    /// The way to the value.
    pub path: Vec<JsonStep>,
}

/// A step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonStep {
    /// Into an object.
    Field(String),
    /// Into an array.
    Index(usize),
}

/// How logfmt is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logfmt {
    /// A pair that is none ends the reading, with an error.
    pub strict: bool,
    /// Keys without a value are kept.
    pub keep_empty: bool,
    /// Labels and the keys that they are read from; none: all.
    pub wanted: Vec<(String, String)>,
}

/// A test of labels.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelFilter {
    /// As text.
    Text(Matcher),
    /// As a number, a length of time or an amount of bytes.
    Compare {
        /// The label's name.
        label: String,
        /// The sign.
        op: CompareOp,
        /// What it is compared with.
        value: Quantity,
    },
    /// As an address.
    Addresses {
        /// The label's name.
        label: String,
        /// `=`, rather than `!=`.
        equal: bool,
        /// Which.
        addresses: Addresses,
    },
    /// Both.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// Either.
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

/// What a label is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// `5`
    Number(f64),
    /// `5ms`
    Duration(Duration),
    /// `5KB`
    Bytes(u64),
}

/// The sign of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl CompareOp {
    /// Does it hold between the two?
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
        }
    }
}

/// One assignment of `label_format`.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelFormat {
    /// The label that is set.
    pub label: String,
    /// To what.
    pub value: FormatValue,
}

/// What `label_format` sets a label to.
#[derive(Debug, Clone, PartialEq)]
pub enum FormatValue {
    /// Another label's value; that one is gone afterwards.
    Rename(String),
    /// What a template makes.
    Template(Template),
}

/// A label of `drop` or `keep`.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Its name.
    pub label: String,
    /// Only where its value is so.
    pub test: Option<TextTest>,
}

/// Which label is the sample's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwrap {
    /// Its name.
    pub label: String,
    /// How it is read.
    pub conversion: Conversion,
}

/// How a label becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// As it stands.
    Number,
    /// A length of time, in seconds.
    Duration,
    /// An amount of bytes.
    Bytes,
}

/// An expression whose values are numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricExpr {
    /// A number.
    Literal(f64),
    /// `vector(1)`
    Vector(f64),
    /// `rate({…}[5m])`
    Range(Box<RangeAggregation>),
    /// `sum by (a) (…)`
    Aggregate(Box<Aggregate>),
    /// `… / …`
    Binary(Box<Binary>),
    /// `-…`
    Negate(Box<MetricExpr>),
    /// `label_replace(…)`
    LabelReplace(Box<LabelReplace>),
}

/// A function over the lines of a range of time.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeAggregation {
    /// Which.
    pub function: RangeFunction,
    /// Of `quantile_over_time`: which quantile.
    pub parameter: Option<f64>,
    /// Which lines; it ends with an unwrap and filters where the function needs values.
    pub pipeline: Pipeline,
    /// How long the range is.
    pub range: Duration,
    /// How long before it ends.
    pub offset: Duration,
    /// By which labels the series are told apart; `None`: by all.
    pub grouping: Option<Grouping>,
}

/// A function over a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "LogQL's names")]
pub enum RangeFunction {
    CountOverTime,
    Rate,
    BytesOverTime,
    BytesRate,
    AbsentOverTime,
    SumOverTime,
    AvgOverTime,
    MinOverTime,
    MaxOverTime,
    FirstOverTime,
    LastOverTime,
    StdvarOverTime,
    StddevOverTime,
    QuantileOverTime,
    RateCounter,
}

/// Which labels tell groups apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grouping {
    /// All but these, rather than these.
    pub without: bool,
    /// These.
    pub labels: Vec<String>,
}

/// An aggregation over the series of a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Which.
    pub op: AggregateOp,
    /// How many `topk` and its kin keep.
    pub parameter: Option<usize>,
    /// Its groups; `None`: one.
    pub grouping: Option<Grouping>,
    /// Of what.
    pub inner: MetricExpr,
}

/// An aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "LogQL's names")]
pub enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    ApproxTopk,
    Sort,
    SortDesc,
}

/// An operation on two.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// Which.
    pub op: BinaryOp,
    /// Of a comparison: give 0 or 1 rather than keep or leave out.
    pub bool: bool,
    /// Which series belong together.
    pub matching: Matching,
    /// The left one.
    pub left: MetricExpr,
    /// The right one.
    pub right: MetricExpr,
}

/// An operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "what they are called")]
pub enum BinaryOp {
    Or,
    And,
    Unless,
    Compare(CompareOp),
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

/// Which series of two vectors belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matching {
    /// `on`: by these labels; `ignoring`: by all others. `None`: by all.
    pub labels: Option<(MatchingKind, Vec<String>)>,
    /// Which side may have several for one of the other, and the labels that it takes from that one.
    pub group: Option<(Side, Vec<String>)>,
}

/// How labels are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "LogQL's words")]
pub enum MatchingKind {
    On,
    Ignoring,
}

/// A side of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "there are two")]
pub enum Side {
    Left,
    Right,
}

/// `label_replace(inner, "label", "replacement", "source", "expression")`
#[derive(Debug, Clone, PartialEq)]
pub struct LabelReplace {
    /// Of what.
    pub inner: MetricExpr,
    /// The label that is set.
    pub label: String,
    /// To what; `$1` stands for a group.
    pub replacement: String,
    /// The label that is looked at.
    pub source: String,
    /// What it must match, whole.
    pub expression: Expression,
}
