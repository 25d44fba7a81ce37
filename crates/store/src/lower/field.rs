//! Tests on fields. Ids and times are columns; levels, attributes and the resource are read from the dictionary of
//! terms, value by distinct value.

use super::{Lowered, Lowering, Result};
use crate::terms::{self, LEVEL, SPAN_ID, Scope, Spelled, TRACE_ID};
use millrace_filter::{Expr, FieldTest, Filter, Predicate};
use millrace_model::{FieldRef, Fields, RecordId, Severity, Value, ValueRef};

/// A test that can be put to a single value.
pub(super) struct Asked {
    filter: Filter,
}

impl Asked {
    fn new(test: &FieldTest) -> Self {
        Self { filter: Filter::new(Expr::Field(Box::new(test.clone()))) }
    }

    /// What the predicate says of a record whose field has this value.
    pub(super) fn of(&self, value: ValueRef<'_>) -> bool {
        self.filter.matches(&Only(value))
    }

    pub(super) fn of_text(&self, text: String) -> bool {
        self.of(ValueRef::Value(&Value::String(text)))
    }
}

/// A record with one value, whatever field is asked for.
struct Only<'a>(ValueRef<'a>);

impl Fields for Only<'_> {
    fn field(&self, _field: &FieldRef) -> Option<ValueRef<'_>> {
        Some(self.0.clone())
    }

    fn body(&self) -> &Value {
        &Value::Null
    }
}

impl Lowering<'_> {
    pub(super) fn field(&self, test: &FieldTest) -> Result<Lowered> {
        let asked = Asked::new(test);
        let (columns, tables) = (self.shard.columns, self.shard.tables);
        match &test.field {
            FieldRef::Body => self.body_field(&test.predicate),
            FieldRef::Level => self.levels(|text, severity| {
                let there = !text.is_empty() || severity != Severity::UNKNOWN;
                there && asked.of(ValueRef::Level { text, severity })
            }),
            FieldRef::SeverityNumber => Ok(self.each(|document| {
                let number = columns.severity(document);
                number > 0 && asked.of(ValueRef::Int(number as i64))
            })),
            FieldRef::Timestamp => Ok(self.each(|document| asked.of(ValueRef::Time(columns.time(document))))),
            FieldRef::ObservedTimestamp => {
                Ok(self.each(|document| asked.of(ValueRef::Time(columns.observed(document)))))
            }
            FieldRef::TraceId => self.value(TRACE_ID, &test.predicate, &asked),
            FieldRef::SpanId => self.value(SPAN_ID, &test.predicate, &asked),
            FieldRef::Id => Ok(self.id(&test.predicate, &asked)),
            FieldRef::Source => {
                let matching: Vec<bool> =
                    tables.sources().map(|source| asked.of_text(source.to_string())).collect();
                Ok(self
                    .each(|document| matching.get(columns.source(document) as usize).is_some_and(|yes| *yes)))
            }
            FieldRef::Position => {
                Ok(self.each(|document| asked.of(ValueRef::Int(columns.position(document) as i64))))
            }
            FieldRef::Stream => {
                let all = asked.of_text(self.shard.stream.to_string());
                Ok(Lowered::exactly(if all { self.index.all() } else { self.index.none() }))
            }
            FieldRef::Attribute(_) | FieldRef::Resource(_) | FieldRef::Any { .. } => self.named(test, &asked),
        }
    }

    fn body_field(&self, predicate: &Predicate) -> Result<Lowered> {
        let there = self.index.with(self.shard.layout.terms, terms::BODY)?;
        Ok(if *predicate == Predicate::Exists { Lowered::exactly(there) } else { Lowered::open(there) })
    }

    fn levels(&self, test: impl Fn(&str, Severity) -> bool) -> Result<Lowered> {
        self.index
            .scan(self.shard.layout.terms, &terms::term(LEVEL, b's', ""), |rest| {
                let (number, text) = std::str::from_utf8(rest).ok()?.split_at_checked(2)?;
                Some(test(text, Severity::from_number(number.parse().ok()?)))
            })
            .and_then(|whole| {
                let cut =
                    self.index.scan(self.shard.layout.terms, &terms::term(LEVEL, b'c', ""), |_| None)?;
                Ok(whole.or(&cut))
            })
    }

    fn id(&self, predicate: &Predicate, asked: &Asked) -> Lowered {
        let (columns, tables) = (self.shard.columns, self.shard.tables);
        let of_document =
            |document| columns.id(document, tables).is_some_and(|id| asked.of_text(id.to_string()));
        match predicate {
            // Only a record at that position can have the id, and none if the text is no id.
            Predicate::Equals(literal) => match literal.folded.parse::<RecordId>() {
                Ok(id) => {
                    self.each(|document| columns.position(document) == id.position && of_document(document))
                }
                Err(_) => Lowered::exactly(self.index.none()),
            },
            _ => self.each(of_document),
        }
    }

    /// A field by its path. The first of its places that holds anything is the one that counts.
    fn named(&self, test: &FieldTest, asked: &Asked) -> Result<Lowered> {
        let scopes: &[Scope] = match test.field {
            FieldRef::Attribute(_) => &[Scope::Attributes],
            FieldRef::Resource(_) => &[Scope::Resource],
            _ => &[Scope::Attributes, Scope::Resource],
        };
        let places =
            test.field.paths().flat_map(|path| scopes.iter().map(move |scope| terms::key(*scope, path)));
        let Some(places) = places.collect::<Option<Vec<_>>>() else {
            return Ok(Lowered::open(self.index.all()));
        };
        let mut answer = Lowered::exactly(self.index.none());
        for key in places.iter().rev() {
            let there = self.index.with(self.shard.layout.terms, key)?;
            answer = answer.without(&there).or(&self.value(key, &test.predicate, asked)?);
        }
        Ok(answer)
    }

    /// The documents whose value under `key` passes.
    pub(super) fn value(&self, key: &[u8], predicate: &Predicate, asked: &Asked) -> Result<Lowered> {
        let field = self.shard.layout.terms;
        match predicate {
            Predicate::Exists => {
                let null = self.index.with(field, &terms::term(key, b'n', ""))?;
                Ok(Lowered::exactly(self.index.with(field, key)?.without(&null)))
            }
            Predicate::Equals(literal) if literal.folded.len() <= terms::MAX_TEXT => self.equal(key, literal),
            _ => self.index.scan(field, &[key, &[0]].concat(), |rest| match terms::parse(rest) {
                Spelled::Value(value) => Some(asked.of(ValueRef::Value(&value))),
                Spelled::Helper => Some(false),
                Spelled::Open => None,
            }),
        }
    }
}
