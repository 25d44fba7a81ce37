//! From what is asked for to pipelines, and to the tree that their tables are joined by.

use super::{
    MAX_PIPELINES,
    branches::{self, Branches},
    keys::Key,
    metric::Measured,
    needs::{call, column},
    spec::{Bucket, Composite, DateHistogram, Entry, Histogram, PartKind, Piped, Source, Terms, What},
};
use crate::{
    Error, Zone,
    date::{self, Format},
    fields::Mapping,
    json::{Object, Style as Words, scalar},
    request::Search,
};
use millrace_model::{TimeRange, Timestamp};
use millrace_pipes::{Aggregate, AggregateKind, Expr, Function, Named, Pipe};
use serde_json::Value as Json;

/// The column of how many records there are.
pub(super) const COUNT: &str = "_agg_count";

/// Pipes whose table is a part of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// What is done, up to one `Stats` at the end.
    pub pipes: Vec<Pipe>,
    /// It is about all records of the indices, not only about those that were found.
    pub is_global: bool,
}

/// What is answered for each bucket of one level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scope {
    /// The pipeline that counts its records.
    pub(super) table: Option<usize>,
    /// By how many keys that does.
    pub(super) width: usize,
    pub(super) children: Vec<Child>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) meta: Option<Json>,
    pub(super) kind: ChildKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ChildKind {
    Metric(Measured),
    Keyed(Box<Keyed>),
    Branches(Box<Branches>),
    Piped(Piped),
    TopHits(Box<Search>),
}

/// Buckets by keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Keyed {
    pub(super) keys: Vec<Key>,
    pub(super) style: Style,
    pub(super) scope: Scope,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Style {
    Terms(Terms),
    Composite(Composite),
    Times { given: DateHistogram, extended: Ends, hard: Ends },
    Numbers(Histogram),
}

/// A first and a last instant.
pub(super) type Ends = Option<(Option<i64>, Option<i64>)>;

/// The way to a scope: what holds of its records, and what they are counted by.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    pub(super) steps: Vec<Pipe>,
    keys: Vec<Named<Expr>>,
    is_global: bool,
}

/// See the module.
pub(super) struct Planner<'m> {
    pub(super) mapping: &'m Mapping,
    pub(super) now: i64,
    range: TimeRange,
    pub(super) pipelines: Vec<Pipeline>,
}

impl<'m> Planner<'m> {
    pub(super) fn new(mapping: &'m Mapping, now: Timestamp, range: TimeRange) -> Self {
        Self { mapping, now: now.0, range, pipelines: Vec::new() }
    }

    pub(super) fn root(&mut self, entries: &[Entry]) -> Result<Scope, Error> {
        let has_metrics = entries.iter().any(|entry| matches!(entry.what, What::Metric(_)));
        self.scope(entries, &Path::default(), has_metrics)
    }

    /// `is_counted`: its records are counted, by its keys.
    pub(super) fn scope(&mut self, entries: &[Entry], path: &Path, is_counted: bool) -> Result<Scope, Error> {
        let count = Aggregate { kind: AggregateKind::Count, of: None };
        let mut aggregates = vec![Named { name: COUNT.to_owned(), what: count }];
        let mut measured = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            if let What::Metric(metric) = &entry.what {
                let (one, named) = Measured::new(metric, self.mapping, &format!("_agg_m{at}"))?;
                aggregates.extend(named);
                measured.push(one);
            }
        }
        let table = if is_counted { Some(self.pipeline(path, aggregates)?) } else { None };
        let mut measured = measured.into_iter();
        let mut children = Vec::with_capacity(entries.len());
        for entry in entries {
            let kind = match &entry.what {
                What::Metric(_) => match measured.next() {
                    Some(one) => ChildKind::Metric(one),
                    None => continue,
                },
                What::Pipeline(piped) => ChildKind::Piped(piped.clone()),
                What::TopHits(search) => ChildKind::TopHits(search.clone()),
                What::Bucket(bucket) => self.bucket(entry, bucket, path)?,
            };
            children.push(Child { name: entry.name.clone(), meta: entry.meta.clone(), kind });
        }
        Ok(Scope { table, width: path.keys.len(), children })
    }

    fn pipeline(&mut self, path: &Path, aggregates: Vec<Named<Aggregate>>) -> Result<usize, Error> {
        if self.pipelines.len() >= MAX_PIPELINES {
            return Err(Error::argument(format!("aggregations come to more than {MAX_PIPELINES} counts")));
        }
        let mut pipes = path.steps.clone();
        pipes.push(Pipe::Stats { aggregates, by: path.keys.clone() });
        self.pipelines.push(Pipeline { pipes, is_global: path.is_global });
        Ok(self.pipelines.len() - 1)
    }

    fn bucket(&mut self, entry: &Entry, bucket: &Bucket, path: &Path) -> Result<ChildKind, Error> {
        let inner = &entry.inner;
        match bucket {
            Bucket::Terms(terms) => self.terms(inner, terms, path),
            Bucket::Composite(composite) => self.composite(inner, composite, path),
            Bucket::DateHistogram(histogram) => self.times(inner, histogram, path),
            Bucket::Histogram(histogram) => {
                let (key, values) = Key::of_numbers(self.mapping, histogram)?;
                let mut path = path.clone();
                path.key(values, true);
                self.keyed(inner, vec![key], Style::Numbers(histogram.clone()), &path)
            }
            Bucket::Global => {
                if !path.steps.is_empty() || !path.keys.is_empty() {
                    return Err(Error::argument(format!(
                        "Aggregator [{}] of type [global] can only be defined as a top level aggregator",
                        entry.name
                    )));
                }
                let path = Path { is_global: true, ..Path::default() };
                branches::whole(self, inner, &path).map(ChildKind::Branches)
            }
            other => branches::plan(self, inner, other, path).map(ChildKind::Branches),
        }
    }

    fn keyed(
        &mut self,
        inner: &[Entry],
        keys: Vec<Key>,
        style: Style,
        path: &Path,
    ) -> Result<ChildKind, Error> {
        let scope = self.scope(inner, path, true)?;
        Ok(ChildKind::Keyed(Box::new(Keyed { keys, style, scope })))
    }

    fn terms(&mut self, inner: &[Entry], terms: &Terms, path: &Path) -> Result<ChildKind, Error> {
        let (mut path, mut keys) = (path.clone(), Vec::new());
        for source in &terms.sources {
            keys.push(path.elements(self.mapping, source, true)?);
        }
        self.keyed(inner, keys, Style::Terms(terms.clone()), &path)
    }

    fn composite(&mut self, inner: &[Entry], composite: &Composite, path: &Path) -> Result<ChildKind, Error> {
        let (mut path, mut keys) = (path.clone(), Vec::new());
        for part in &composite.sources {
            let is_needed = !part.missing_bucket;
            let key = match &part.kind {
                PartKind::Terms(source) => path.elements(self.mapping, source, is_needed)?,
                PartKind::Histogram(histogram) => {
                    let (key, values) = Key::of_numbers(self.mapping, histogram)?;
                    path.key(values, is_needed);
                    key
                }
                PartKind::DateHistogram(histogram) => {
                    let prefix = path.prefix();
                    let (key, steps, values) = Key::of_times(self.mapping, histogram, &prefix, self.range)?;
                    path.steps.extend(steps);
                    path.key(values, is_needed);
                    key
                }
            };
            keys.push(key);
        }
        if let Some(after) = &composite.after {
            let after =
                after.as_object().ok_or_else(|| Error::content("[composite] after must be an object"))?;
            if after.len() != keys.len()
                || composite.sources.iter().any(|part| !after.contains_key(&part.name))
            {
                return Err(Error::argument(format!(
                    "[after] has {} value(s) but [sources] has {}",
                    after.len(),
                    keys.len()
                )));
            }
        }
        self.keyed(inner, keys, Style::Composite(composite.clone()), &path)
    }

    fn times(&mut self, inner: &[Entry], given: &DateHistogram, path: &Path) -> Result<ChildKind, Error> {
        let mut path = path.clone();
        let prefix = path.prefix();
        let (key, steps, values) = Key::of_times(self.mapping, given, &prefix, self.range)?;
        path.steps.extend(steps);
        path.key(values, true);
        let zone = given.zone.as_deref().map_or(Ok(Zone::UTC), Zone::parse)?;
        let format = match given.format.as_deref() {
            Some(text) => Format::new(text)?,
            None => Format::standard(),
        };
        let ends = |bounds: Option<&Json>, name: &str| self.ends(bounds, name, &format, zone);
        let (extended, hard) =
            (ends(given.extended.as_ref(), "extended_bounds")?, ends(given.hard.as_ref(), "hard_bounds")?);
        self.keyed(inner, vec![key], Style::Times { given: given.clone(), extended, hard }, &path)
    }

    fn ends(&self, given: Option<&Json>, name: &str, format: &Format, zone: Zone) -> Result<Ends, Error> {
        let Some(given) = given else { return Ok(None) };
        let mut object = Object::of(given, name, Words::Content)?;
        let mut end = |key: &'static str| match object.value(key) {
            None => Ok(None),
            Some(value) => self.instant(value, format, zone).map(Some),
        };
        let (min, max) = (end("min")?, end("max")?);
        object.finish()?;
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            return Err(Error::argument(format!("[{name}.min] cannot be greater than [{name}.max]")));
        }
        Ok(Some((min, max)))
    }

    /// A time of a request: a number of milliseconds, or a text with date math.
    pub(super) fn instant(&self, given: &Json, format: &Format, zone: Zone) -> Result<i64, Error> {
        let text = scalar(given).ok_or_else(|| Error::content("expected a time"))?;
        let number = crate::json::integer(given).filter(|_| given.is_number());
        match number {
            Some(millis) => Ok(millis.saturating_mul(1_000_000)),
            None => date::math(&text, format, zone, self.now, false).or_else(|error| {
                date::math(&text, &Format::standard(), zone, self.now, false).map_err(|_| error)
            }),
        }
    }
}

impl Path {
    /// What names of columns begin with that are made here.
    fn prefix(&self) -> String {
        format!("_agg_t{}_", self.keys.len())
    }

    /// One key more: the values of a field, of its arrays each element. A record that has one twice is in its bucket once.
    fn elements(&mut self, mapping: &Mapping, source: &Source, is_needed: bool) -> Result<Key, Error> {
        let name = format!("{}element", self.prefix());
        let (key, values) = Key::of_values(mapping, source, &name)?;
        self.steps.push(Pipe::Eval(vec![Named { name: name.clone(), what: column(&key.field.path) }]));
        self.steps.push(Pipe::Expand { of: name, different: true });
        self.key(values, is_needed);
        Ok(key)
    }

    /// One key more. `is_needed`: records without it are in no bucket.
    fn key(&mut self, values: Expr, is_needed: bool) {
        let name = format!("_agg_k{}", self.keys.len());
        self.steps.push(Pipe::Eval(vec![Named { name: name.clone(), what: values }]));
        if is_needed {
            self.steps.push(Pipe::Where(call(Function::Exists, vec![column(&name)])));
        }
        self.keys.push(Named { what: column(&name), name });
    }
}
