//! What kind of values a field has, and how they are kept.

use crate::date::Format;
use millrace_model::{FieldRef, declared::FieldType};

/// How times of a field are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The record's own time.
    Time,
    /// A number of milliseconds.
    Millis,
    /// A number of nanoseconds.
    Nanos,
}

impl Stored {
    /// How many nanoseconds one is.
    pub const fn unit(self) -> i64 {
        match self {
            Self::Millis => 1_000_000,
            Self::Time | Self::Nanos => 1,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Analysed text: searched by its words.
    Text,
    /// A text that is matched whole.
    Keyword {
        /// Case is ignored: it has a normaliser that makes it small.
        folded: bool,
    },
    /// Whole numbers.
    Long,
    /// Numbers.
    Double,
    /// True or false.
    Boolean,
    /// A time.
    Date {
        /// How it is kept.
        stored: Stored,
        /// How it is written.
        format: Format,
    },
    /// An address.
    Ip,
    /// Holds other fields.
    Object,
    /// The line of a record.
    Line,
    /// The level of a record.
    Level,
    /// The id of a record.
    Id,
    /// The stream of a record.
    Index,
    /// Not declared: of a document, a text is searched by its words.
    Dynamic,
    /// Not declared: of a record, matched whole.
    Unknown,
}

impl Kind {
    /// The record's own time.
    pub fn time() -> Self {
        Self::Date { stored: Stored::Time, format: Format::standard() }
    }

    /// Is it searched by words?
    pub fn is_words(&self) -> bool {
        matches!(self, Self::Text | Self::Line | Self::Dynamic)
    }

    /// Elasticsearch's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text | Self::Line | Self::Dynamic => "text",
            Self::Keyword { .. } | Self::Level | Self::Unknown => "keyword",
            Self::Long => "long",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Date { stored: Stored::Nanos, .. } => "date_nanos",
            Self::Date { .. } => "date",
            Self::Ip => "ip",
            Self::Object => "object",
            Self::Id => "_id",
            Self::Index => "_index",
        }
    }

    /// What the stream's settings declare for it.
    pub fn declared(&self) -> Option<FieldType> {
        match self {
            Self::Text => Some(FieldType::Text),
            Self::Keyword { .. } => Some(FieldType::Keyword),
            Self::Long | Self::Double | Self::Date { stored: Stored::Millis | Stored::Nanos, .. } => {
                Some(FieldType::Number)
            }
            Self::Ip => Some(FieldType::Ip),
            _ => None,
        }
    }

    /// What a declaration of a stream's settings is here.
    pub fn of_declared(kind: FieldType) -> Self {
        match kind {
            FieldType::Text => Self::Text,
            FieldType::Keyword => Self::Keyword { folded: false },
            FieldType::Number => Self::Double,
            FieldType::Ip => Self::Ip,
        }
    }
}

/// What a name finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The name in the query language, and of the column in pipes.
    pub path: String,
    /// What is there.
    pub kind: Kind,
    /// Is it known that there is such a field?
    pub is_known: bool,
}

impl Resolved {
    pub(crate) fn new(path: impl Into<String>, kind: Kind, is_known: bool) -> Self {
        Self { path: path.into(), kind, is_known }
    }

    /// What a name finds in an ordinary record.
    pub(crate) fn of_record(name: &str) -> Self {
        let known = |kind| Self::new(name, kind, true);
        match FieldRef::resolve(name) {
            FieldRef::Body => Self::new("body", Kind::Line, true),
            FieldRef::Level => known(Kind::Level),
            FieldRef::Timestamp | FieldRef::ObservedTimestamp => known(Kind::time()),
            FieldRef::SeverityNumber | FieldRef::Position => known(Kind::Long),
            FieldRef::TraceId | FieldRef::SpanId | FieldRef::Source => known(Kind::Keyword { folded: true }),
            FieldRef::Id => known(Kind::Id),
            FieldRef::Stream => Self::new("_stream", Kind::Index, true),
            _ => Self::new(name, Kind::Unknown, false),
        }
    }
}
