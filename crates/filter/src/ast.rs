//! What a filter is once it is read. Groups of field values are already spread out, nested conjunctions flattened, and
//! tests on the body told apart from tests on fields, so that each evaluator has few cases.

use crate::{Glob, Literal};
use millrace_model::{FieldRef, text};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, ops::Range};

/// The longest regular expression, in characters.
const MAX_PATTERN: usize = 1000;
/// The largest compiled regular expression, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// A predicate over records. Two are equal when they say the same, wherever it stood.
#[derive(Debug, Clone)]
pub struct Filter {
    pub(crate) root: Expr,
    pub(crate) spans: Vec<Range<usize>>,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Filter {
    /// Matches every record.
    pub const ALL: Self = Self { root: Expr::All, spans: Vec::new() };

    /// Out of an expression, flattened.
    pub fn new(root: Expr) -> Self {
        Self { root: root.flattened(), spans: Vec::new() }
    }

    /// Where each of its leaves (everything but `And`, `Or` and `Not`), in the order in which they stand, was in the query
    /// that it was read from, in bytes. Empty for a filter that was built.
    pub fn spans(&self) -> &[Range<usize>] {
        &self.spans
    }

    /// The expression.
    pub fn root(&self) -> &Expr {
        &self.root
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// Everything.
    All,
    /// All of these: at least two, none of them an `And`.
    And(Vec<Expr>),
    /// Any of these: at least two, none of them an `Or`.
    Or(Vec<Expr>),
    /// Not this.
    Not(Box<Expr>),
    /// A test on the body's text.
    Text(Text),
    /// A test on a field.
    Field(Box<FieldTest>),
}

impl Expr {
    /// All of `terms`; `All` where there are none.
    pub fn all_of(terms: Vec<Self>) -> Self {
        Self::joined(terms, Self::And, |expr| match expr {
            Self::And(inner) => Ok(inner),
            other => Err(other),
        })
    }

    /// Any of `terms`; not `All` where there are none.
    pub fn any_of(terms: Vec<Self>) -> Self {
        if terms.is_empty() {
            return Self::Not(Box::new(Self::All));
        }
        Self::joined(terms, Self::Or, |expr| match expr {
            Self::Or(inner) => Ok(inner),
            other => Err(other),
        })
    }

    fn joined(
        terms: Vec<Self>,
        join: fn(Vec<Self>) -> Self,
        open: fn(Self) -> Result<Vec<Self>, Self>,
    ) -> Self {
        let mut flat = Vec::with_capacity(terms.len());
        for term in terms {
            match open(term) {
                Ok(inner) => flat.extend(inner),
                Err(other) => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::All,
            1 => flat.remove(0),
            _ => join(flat),
        }
    }

    fn flattened(self) -> Self {
        match self {
            Self::And(terms) => Self::all_of(terms.into_iter().map(Self::flattened).collect()),
            Self::Or(terms) => Self::any_of(terms.into_iter().map(Self::flattened).collect()),
            Self::Not(inner) => Self::Not(Box::new(inner.flattened())),
            leaf => leaf,
        }
    }
}

/// A test on the body.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// These tokens side by side.
    Phrase {
        /// As written.
        text: String,
        /// Folded; at least one.
        tokens: Vec<String>,
    },
    /// This as a part, folded; it holds no token.
    Substring(String),
    /// A single token that matches whole; the pattern holds only word characters.
    Token(Glob),
    /// A part that matches, folded.
    Part(Glob),
    /// A part that matches.
    Regex(Pattern),
}

impl Text {
    /// A word or phrase.
    pub fn phrase(text: &str) -> Self {
        let tokens = text::tokens(text);
        if tokens.is_empty() {
            Self::Substring(text::fold(text))
        } else {
            Self::Phrase { text: text.to_owned(), tokens }
        }
    }

    /// A word as [`text::tokens`] gives it. Cutting it again could give others: `İ` folds to `i` and a mark that is no
    /// part of a word.
    pub fn token(folded: &str) -> Self {
        Self::Phrase { text: folded.to_owned(), tokens: vec![folded.to_owned()] }
    }

    /// A word with wildcards.
    pub fn glob(glob: Glob) -> Self {
        if glob.is_word() { Self::Token(glob) } else { Self::Part(glob) }
    }
}

/// A test on a field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldTest {
    /// As written.
    pub name: String,
    /// What it refers to.
    pub field: FieldRef,
    /// What its value must be.
    pub predicate: Predicate,
}

impl FieldTest {
    /// A test of the field that `name` refers to.
    pub fn new(name: &str, predicate: Predicate) -> Self {
        Self { name: name.to_owned(), field: FieldRef::resolve(name), predicate }
    }
}

/// What a field's value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// Equal to this.
    Equals(Literal),
    /// Like this, whole.
    Glob(Glob),
    /// With a part like this.
    Regex(Pattern),
    /// On this side of a bound.
    Compare(Comparison, Literal),
    /// Between two bounds, each with whether it is inside; `None` is open.
    Range {
        /// The lower bound.
        low: Option<(Literal, bool)>,
        /// The upper bound.
        high: Option<(Literal, bool)>,
    },
    /// An address in this network.
    Cidr(Cidr),
    /// There at all.
    Exists,
}

/// A comparison's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl Comparison {
    /// Is a value that compares so with the bound on this side?
    pub fn admits(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }

    /// As written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }
}

/// A regular expression, compiled.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles `text`; the error says why not.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_PATTERN {
            return Err(format!("the regular expression is longer than {MAX_PATTERN} characters"));
        }
        Ok(Self { text: text.to_owned(), regex: compile(text)? })
    }

    /// As written between the slashes, without the escapes of slashes.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Does any part of `text` match?
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Compiles a regular expression, within the bound on what comes of it; the error says why not.
pub fn compile(text: &str) -> Result<Regex, String> {
    match RegexBuilder::new(text).size_limit(MAX_COMPILED).build() {
        Ok(regex) => Ok(regex),
        Err(regex::Error::Syntax(_)) => {
            // The message shows the pattern with a caret over several lines; its last line is the reason.
            let full = Regex::new(text).err().map(|e| e.to_string()).unwrap_or_default();
            Err(full.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A network: an address and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// From `address/bits`; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, bits })
    }

    /// Is `text` an address inside?
    pub fn contains(&self, text: &str) -> bool {
        let Ok(address) = text.trim().parse::<IpAddr>() else { return false };
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for Filter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        crate::parse_kept(&text).map_err(|error| serde::de::Error::custom(error.message))
    }
}
