//! From a filter and a shape to a plan.

use super::{Origin, Plan, RowTest, Test, needed::needed};
use crate::{
    shape::{Body, Place, SeverityNumber, SeverityText, Shape, severity_of},
    time_text::TimeFormat,
};
use millrace_filter::{Expr, FieldTest, Filter, Predicate, Text};
use millrace_model::{FieldRef, Severity, StreamName, Value, ValueRef};
use std::sync::{Arc, OnceLock};

/// A filter over the rows of one stream and some origins. What does not depend on the shape is worked out once.
pub(crate) struct Question<'q> {
    root: &'q Expr,
    stream: &'q StreamName,
    origins: &'q [Origin],
    /// What the resources say, for each test of a named field, in the order in which they stand in the filter.
    named: Vec<Option<Named>>,
    /// By leaf: what its text needs.
    needed: Vec<Arc<[Text]>>,
}

/// What a test of a named field finds in the resources.
struct Named {
    /// By path, then by origin.
    found: Vec<Vec<Found>>,
    /// By the number of paths that the attributes do not have: which origins pass, which are still open.
    split: Vec<OnceLock<Split>>,
}

/// The origins that pass, and those that are open: as plans, which cost nothing to take for every shape.
#[derive(Clone)]
struct Split {
    passes: Plan<'static>,
    open: Plan<'static>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Absent,
    Passes,
    Fails,
}

impl<'q> Question<'q> {
    pub(crate) fn new(filter: &'q Filter, stream: &'q StreamName, origins: &'q [Origin]) -> Self {
        let mut question =
            Self { root: filter.root(), stream, origins, named: Vec::new(), needed: Vec::new() };
        question.prepare(filter.root());
        question
    }

    /// How many tests stand in the filter.
    pub(crate) fn leaves(&self) -> usize {
        self.needed.len()
    }

    pub(crate) fn root(&self) -> &'q Expr {
        self.root
    }

    fn prepare(&mut self, expr: &'q Expr) {
        match expr {
            Expr::And(terms) | Expr::Or(terms) => terms.iter().for_each(|term| self.prepare(term)),
            Expr::Not(inner) => self.prepare(inner),
            Expr::All => self.leaf(None, Vec::new()),
            Expr::Text(text) => self.leaf(None, needed(text)),
            Expr::Field(test) => {
                let named = match test.field {
                    FieldRef::Resource(_) | FieldRef::Any { .. } => Some(self.resources(test)),
                    FieldRef::Source => Some(self.sources(test)),
                    _ => None,
                };
                self.leaf(named, Vec::new());
            }
        }
    }

    fn leaf(&mut self, named: Option<Named>, needed: Vec<Text>) {
        self.named.push(named);
        self.needed.push(needed.into());
    }

    fn sources(&self, test: &FieldTest) -> Named {
        let passes = |origin: &Origin| test.matches(&ValueRef::Text(origin.source.to_string()));
        let found = |origin| if passes(origin) { Found::Passes } else { Found::Fails };
        Named::new(vec![self.origins.iter().map(found).collect()])
    }

    fn resources(&self, test: &FieldTest) -> Named {
        let found = test.field.paths().map(|path| {
            let mut last: Option<(&Origin, Found)> = None;
            self.origins
                .iter()
                .map(|origin| {
                    if let Some((_, found)) =
                        last.filter(|(before, _)| Arc::ptr_eq(&before.resource, &origin.resource))
                    {
                        return found;
                    }
                    let found = match origin.resource.at(path) {
                        None => Found::Absent,
                        Some(value) if test.matches(&ValueRef::Value(value)) => Found::Passes,
                        Some(_) => Found::Fails,
                    };
                    last = Some((origin, found));
                    found
                })
                .collect()
        });
        Named::new(found.collect())
    }

    /// What is left of the filter for the rows of a shape.
    pub(crate) fn plan(&self, shape: &'q Shape) -> Plan<'q> {
        self.expr(self.root, shape, &mut 0)
    }

    fn expr(&self, expr: &'q Expr, shape: &'q Shape, leaf: &mut usize) -> Plan<'q> {
        match expr {
            // All of the terms are gone through, so that leaves keep their numbers.
            Expr::And(terms) => {
                let parts: Vec<_> = terms.iter().map(|term| self.expr(term, shape, leaf)).collect();
                Plan::all(parts)
            }
            Expr::Or(terms) => {
                let parts: Vec<_> = terms.iter().map(|term| self.expr(term, shape, leaf)).collect();
                Plan::any(parts)
            }
            Expr::Not(inner) => Plan::not(self.expr(inner, shape, leaf)),
            Expr::All | Expr::Text(_) | Expr::Field(_) => {
                let number = *leaf;
                *leaf += 1;
                match expr {
                    Expr::Text(text) => self.text(text, shape, number),
                    Expr::Field(test) => self.field(test, shape, number),
                    _ => Plan::Always,
                }
            }
        }
    }

    fn text(&self, text: &'q Text, shape: &'q Shape, leaf: usize) -> Plan<'q> {
        let mask = match &shape.body {
            Body::Absent => return Plan::of(text.matches("")),
            Body::Text(mask) => mask,
            Body::Bytes(_) | Body::Value(_) => return self.body(text, leaf),
        };
        if mask.variables.is_empty() {
            let line = std::str::from_utf8(&mask.text).unwrap_or_default();
            return Plan::of(text.matches(line));
        }
        // Between seams stand whole words, so what a stretch of constant text holds, the line holds.
        let in_constants = || mask.constants().any(|piece| text.matches(piece));
        match text {
            Text::Phrase { .. } | Text::Token(_) if in_constants() => Plan::Always,
            Text::Phrase { tokens, .. } if tokens.len() == 1 => {
                Self::words(text, mask.time, leaf, mask.slots())
            }
            Text::Token(_) => Self::words(text, mask.time, leaf, mask.slots()),
            Text::Substring(_) if mask.constants().any(|piece| !piece.is_empty() && text.matches(piece)) => {
                Plan::Always
            }
            _ => self.body(text, leaf),
        }
    }

    fn body(&self, text: &'q Text, leaf: usize) -> Plan<'q> {
        let needed = self.needed.get(leaf).map_or_else(|| Arc::from([]), Arc::clone);
        Plan::Test(Test::Body { text, needed, leaf })
    }

    fn words(text: &'q Text, time: Option<(usize, TimeFormat)>, leaf: usize, slots: usize) -> Plan<'q> {
        let in_slots = if slots == 0 { Plan::Never } else { Plan::Test(Test::Words { text, leaf }) };
        let in_time = match time {
            Some((_, format)) if format.may_match(text) => {
                Plan::Test(Test::Row(RowTest::TimeWords { text, format }))
            }
            _ => Plan::Never,
        };
        Plan::any([in_slots, in_time])
    }

    fn field(&self, test: &'q FieldTest, shape: &'q Shape, leaf: usize) -> Plan<'q> {
        let exists = test.predicate == Predicate::Exists;
        match &test.field {
            FieldRef::Body => match &shape.body {
                Body::Absent | Body::Value(Place::Null) => Plan::Never,
                _ if exists => Plan::Always,
                _ => Plan::Test(Test::Record { test }),
            },
            FieldRef::Level => match (&shape.severity_text, shape.severity_number) {
                (SeverityText::Constant(text), number) => {
                    let severity = severity_of(number, text);
                    let there = !text.is_empty() || severity != Severity::UNKNOWN;
                    Plan::of(there && test.matches(&ValueRef::Level { text, severity }))
                }
                (SeverityText::At(place), _) => Plan::Test(Test::Value { test, place, leaf }),
            },
            FieldRef::SeverityNumber => match (&shape.severity_text, shape.severity_number) {
                (_, SeverityNumber::Constant(number)) => {
                    Plan::of(number > 0 && test.matches(&ValueRef::Int(number.into())))
                }
                (SeverityText::Constant(text), number) => {
                    let number = severity_of(number, text).number();
                    Plan::of(number > 0 && test.matches(&ValueRef::Int(number.into())))
                }
                (SeverityText::At(place), _) => Plan::Test(Test::Value { test, place, leaf }),
            },
            FieldRef::Timestamp => Plan::Test(Test::Row(RowTest::Time(test))),
            FieldRef::ObservedTimestamp => Plan::Test(Test::Row(RowTest::Observed(test))),
            FieldRef::TraceId => Self::id(shape.trace_id.as_ref(), test, leaf),
            FieldRef::SpanId => Self::id(shape.span_id.as_ref(), test, leaf),
            FieldRef::Id | FieldRef::Position => Plan::Test(Test::Row(RowTest::Id(test))),
            FieldRef::Source => {
                let Some(named) = self.named.get(leaf).and_then(Option::as_ref) else { return Plan::Never };
                named.split(1, self.origins.len()).passes.clone()
            }
            FieldRef::Stream => Plan::of(test.matches(&ValueRef::Text(self.stream.to_string()))),
            FieldRef::AttributeNames => match shape.attribute_names() {
                Some(names) => Plan::of(test.matches(&ValueRef::Text(names))),
                None => Plan::Test(Test::Record { test }),
            },
            FieldRef::ResourceNames => Plan::Test(Test::Record { test }),
            FieldRef::Attribute(_) | FieldRef::Resource(_) | FieldRef::Any { .. } => {
                self.named(test, shape, leaf)
            }
        }
    }

    fn id(place: Option<&'q Place>, test: &'q FieldTest, leaf: usize) -> Plan<'q> {
        match place {
            None => Plan::Never,
            Some(_) if test.predicate == Predicate::Exists => Plan::Always,
            Some(place) => Plan::Test(Test::Value { test, place, leaf }),
        }
    }

    /// A field by its path. The first of its places that holds anything is the one that counts.
    fn named(&self, test: &'q FieldTest, shape: &'q Shape, leaf: usize) -> Plan<'q> {
        let in_attributes = !matches!(test.field, FieldRef::Resource(_));
        let mut found = None;
        let mut absent = 0;
        if in_attributes {
            for path in test.field.paths() {
                match shape.attributes.at(path) {
                    Err(_) => return Plan::Test(Test::Record { test }),
                    Ok(Some(place)) => {
                        found = Some(place);
                        break;
                    }
                    Ok(None) => absent += 1,
                }
            }
        } else {
            absent = test.field.paths().count();
        }
        let here = found.map_or(Plan::Never, |place| match place {
            Place::Null => Plan::Never,
            Place::Map(_) => {
                Plan::of(test.matches(&ValueRef::Value(&Value::Map(millrace_model::Attributes::new()))))
            }
            place => Plan::Test(Test::Value { test, place, leaf }),
        });
        let Some(named) = self.named.get(leaf).and_then(Option::as_ref) else { return here };
        // An attribute comes before the resource under the same path.
        let Split { passes, open } = named.split(absent, self.origins.len()).clone();
        Plan::any([passes, Plan::all([open, here])])
    }
}

fn origin_plan(passes: Arc<[bool]>) -> Plan<'static> {
    if passes.iter().all(|passes| *passes) {
        Plan::Always
    } else if passes.iter().any(|passes| *passes) {
        Plan::Test(Test::Row(RowTest::Origin(passes)))
    } else {
        Plan::Never
    }
}

impl Named {
    fn new(found: Vec<Vec<Found>>) -> Self {
        let split = (0..=found.len()).map(|_| OnceLock::new()).collect();
        Self { found, split }
    }

    /// Which origins pass by one of the first paths, and which have none of them.
    fn split(&self, paths: usize, origins: usize) -> &Split {
        self.split[paths.min(self.found.len())].get_or_init(|| {
            let first = |origin: usize| {
                let here = self.found[..paths.min(self.found.len())].iter().map(|path| path[origin]);
                here.into_iter().find(|found| *found != Found::Absent).unwrap_or(Found::Absent)
            };
            let found = |wanted| origin_plan((0..origins).map(|origin| first(origin) == wanted).collect());
            Split { passes: found(Found::Passes), open: found(Found::Absent) }
        })
    }
}
