//! From tables to the answer.

use super::{
    Aggregated, MAX_BUCKETS,
    branches::{Branches, Shape},
    calendar::Rounding,
    hits::{self, TopHits},
    keys::{self, Key, KeyKind, compare},
    order::{by_metric, check, needs_inside},
    pipeline,
    plan::{Child, ChildKind, Ends, Keyed, Scope, Style},
    spec::{Choice, Composite, DateHistogram, Histogram, OrderKey, Piped, Terms},
    table::{Indexed, push},
};
use crate::{Error, query};
use millrace_filter::Expr as Filter;
use millrace_model::Value;
use millrace_pipes::Table;
use serde_json::{Map, Value as Json, json};
use std::{cmp::Ordering, collections::BTreeMap};

/// The most buckets that are made to find those that are shown.
const MAX_MADE: usize = 20 * MAX_BUCKETS;

/// An answer, and the searches that it still needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Responded {
    /// The value of `aggregations`.
    pub aggregations: Json,
    /// What is still to be searched for; each answer is handed to [`Responded::fill`].
    pub top_hits: Vec<TopHits>,
}

impl Responded {
    /// Puts hits where they belong: `{"total":…,"max_score":…,"hits":[…]}`.
    pub fn fill(&mut self, number: usize, found: &Json) {
        hits::fill(&mut self.aggregations, &mut |place| (place == number).then(|| json!({ "hits": found })));
    }
}

pub(super) fn respond(plan: &Aggregated, tables: &[Table]) -> Result<Responded, Error> {
    if tables.len() != plan.pipelines.len() {
        return Err(Error::internal(format!(
            "{} tables of {} pipelines",
            tables.len(),
            plan.pipelines.len()
        )));
    }
    let mut own = vec![(0, 0); tables.len()];
    widths(&plan.root, 0, &mut own);
    let indexed =
        tables.iter().zip(own).map(|(table, (width, own))| Indexed::new(table, width, own)).collect();
    let mut responder = Responder {
        tables: indexed,
        buckets: 0,
        made: 0,
        hits: Vec::new(),
        filters: Vec::new(),
        is_global: false,
    };
    let row = plan.root.table.map(|_| 0);
    let entries = responder.scope(&plan.root, "", row)?;
    let aggregations = Json::Object(entries);
    let mut used = Vec::new();
    hits::places(&aggregations, &mut used);
    let mut top_hits = responder.hits;
    top_hits.retain(|hits| used.contains(&hits.number));
    Ok(Responded { aggregations, top_hits })
}

/// Of each table, by how many keys it counts, and how many of them are not those of the buckets around.
fn widths(scope: &Scope, own: usize, into: &mut [(usize, usize)]) {
    if let Some(table) = scope.table.and_then(|table| into.get_mut(table)) {
        *table = (scope.width, own);
    }
    for child in &scope.children {
        match &child.kind {
            ChildKind::Keyed(keyed) => widths(&keyed.scope, keyed.keys.len(), into),
            ChildKind::Branches(branches) => {
                branches.branches.iter().for_each(|branch| widths(&branch.scope, 0, into));
            }
            _ => {}
        }
    }
}

struct Responder<'t> {
    tables: Vec<Indexed<'t>>,
    /// How many buckets are shown so far, and how many were made.
    buckets: usize,
    made: usize,
    hits: Vec<TopHits>,
    /// What holds of the records of the bucket that is being answered.
    filters: Vec<Filter>,
    is_global: bool,
}

type Bucket = Map<String, Json>;

/// A bucket before it is shown.
struct Group<'t> {
    /// Its own keys.
    keys: Vec<Option<&'t Value>>,
    /// Its row; `None`: it is empty.
    row: Option<usize>,
    count: u64,
}

/// The pipeline aggregations among children.
fn piped(children: &[Child]) -> Vec<(&str, &Piped)> {
    let mut all = Vec::new();
    for child in children {
        if let ChildKind::Piped(piped) = &child.kind {
            all.push((child.name.as_str(), piped));
        }
    }
    all
}

impl<'t> Responder<'t> {
    fn counted(&mut self, more: usize) -> Result<(), Error> {
        self.buckets = self.buckets.saturating_add(more);
        self.made = self.made.saturating_add(more);
        if self.made > MAX_MADE {
            return Err(Error::too_many_buckets(MAX_MADE, self.made));
        }
        if self.buckets > MAX_BUCKETS {
            Err(Error::too_many_buckets(MAX_BUCKETS, self.buckets))
        } else {
            Ok(())
        }
    }

    /// What is in a bucket whose keys have this code, besides its own.
    fn scope(&mut self, scope: &Scope, code: &str, row: Option<usize>) -> Result<Bucket, Error> {
        let mut shown = Map::new();
        for child in &scope.children {
            let mut value = match &child.kind {
                ChildKind::Metric(measured) => {
                    let table = scope.table.and_then(|table| self.tables.get(table));
                    measured.respond(|name| table?.cell(row?, name))
                }
                ChildKind::Keyed(keyed) => self.keyed(keyed, code)?,
                ChildKind::Branches(branches) => self.branches(branches, code)?,
                ChildKind::TopHits(search) => {
                    let number = self.hits.len();
                    let filter = query::all(self.filters.clone());
                    let (search, is_global) = (search.as_ref().clone(), self.is_global);
                    self.hits.push(TopHits { number, filter, search, is_global });
                    hits::place(number)
                }
                ChildKind::Piped(_) => continue,
            };
            if let (Some(meta), Json::Object(map)) = (&child.meta, &mut value) {
                map.insert("meta".to_owned(), meta.clone());
            }
            shown.insert(child.name.clone(), value);
        }
        pipeline::beside(&piped(&scope.children), &mut shown);
        Ok(shown)
    }

    fn branches(&mut self, branches: &Branches, code: &str) -> Result<Json, Error> {
        if branches.shape != Shape::Single {
            self.counted(branches.branches.len())?;
        }
        let mut all: Vec<(&str, Bucket)> = Vec::new();
        for branch in &branches.branches {
            let table = branch.scope.table.and_then(|table| self.tables.get(table));
            let row = table.and_then(|table| table.row(code).or((branch.scope.width == 0).then_some(0)));
            let count = table.zip(row).map_or(0, |(table, row)| table.count(row));
            let was_global = self.is_global;
            self.is_global |=
                branch.filter == Filter::All && branch.scope.width == 0 && self.filters.is_empty();
            self.filters.push(branch.filter.clone());
            let mut bucket = self.scope(&branch.scope, code, row)?;
            self.filters.pop();
            self.is_global = was_global;
            bucket.extend(branch.head.clone());
            bucket.insert("doc_count".to_owned(), json!(count));
            all.push((&branch.name, bucket));
        }
        Ok(match branches.shape {
            Shape::Single => all.pop().map_or(Json::Null, |(_, bucket)| Json::Object(bucket)),
            Shape::Keyed => {
                let buckets: Bucket =
                    all.into_iter().map(|(name, bucket)| (name.to_owned(), Json::Object(bucket))).collect();
                json!({ "buckets": buckets })
            }
            Shape::List => {
                let named = |(name, mut bucket): (&str, Bucket)| {
                    // Filters without names have none to show.
                    if !name.is_empty() {
                        bucket.insert("key".to_owned(), json!(name));
                    }
                    Json::Object(bucket)
                };
                json!({ "buckets": all.into_iter().map(named).collect::<Vec<_>>() })
            }
        })
    }

    fn keyed(&mut self, keyed: &Keyed, code: &str) -> Result<Json, Error> {
        let groups = self.groups(keyed, code);
        match &keyed.style {
            Style::Terms(terms) => self.terms(keyed, terms, code, groups),
            Style::Composite(composite) => self.composite(keyed, composite, code, groups),
            Style::Times { given, extended, hard } => {
                self.times(keyed, given, *extended, *hard, code, groups)
            }
            Style::Numbers(histogram) => self.numbers(keyed, histogram, code, groups),
        }
    }

    /// The buckets that there are below these keys.
    fn groups(&self, keyed: &Keyed, code: &str) -> Vec<Group<'t>> {
        let Some(table) = keyed.scope.table.and_then(|table| self.tables.get(table)) else {
            return Vec::new();
        };
        let outer = keyed.scope.width - keyed.keys.len();
        let group = |row: &usize| Group {
            keys: (outer..keyed.scope.width).map(|key| table.key(*row, key)).collect(),
            row: Some(*row),
            count: table.count(*row),
        };
        table.rows(code).iter().map(group).collect()
    }

    /// A bucket with what is inside of it.
    fn bucket(
        &mut self,
        keyed: &Keyed,
        code: &str,
        keys: &[Option<&Value>],
        group: &Group<'_>,
    ) -> Result<Bucket, Error> {
        let mut inner = code.to_owned();
        for key in keys {
            push(&mut inner, *key);
        }
        let depth = self.filters.len();
        let own = keyed.keys.iter().zip(keys).map(|(key, cell)| key.filter(*cell));
        if has_hits(&keyed.scope) {
            self.filters.extend(own);
        }
        let bucket = self.scope(&keyed.scope, &inner, group.row);
        self.filters.truncate(depth);
        let mut bucket = bucket?;
        bucket.insert("doc_count".to_owned(), json!(group.count));
        Ok(bucket)
    }

    fn terms(
        &mut self,
        keyed: &Keyed,
        terms: &Terms,
        code: &str,
        mut groups: Vec<Group<'t>>,
    ) -> Result<Json, Error> {
        let names: Vec<&str> = keyed.scope.children.iter().map(|child| child.name.as_str()).collect();
        check(&terms.order, &names)?;
        let first = keyed.keys.first();
        let text = |group: &Group<'_>| {
            first.map_or_else(String::new, |key| key.text(group.keys.first().copied().flatten()))
        };
        if terms.include.is_some() || terms.exclude.is_some() {
            groups.retain(|group| {
                let text = text(group);
                terms.include.as_ref().is_none_or(|choice| chosen(choice, &text))
                    && !terms.exclude.as_ref().is_some_and(|choice| chosen(choice, &text))
            });
        }
        let total: u64 = groups.iter().map(|group| group.count).sum();
        groups.retain(|group| group.count >= terms.min_doc_count);
        let mut buckets = if needs_inside(&terms.order) {
            self.by_metrics(keyed, terms, code, &groups)?
        } else {
            groups.sort_by(|a, b| plain_order(&terms.order, a, b));
            groups.truncate(terms.size);
            self.shown_terms(keyed, terms, code, &groups)?
        };
        let shown: u64 = buckets.iter().filter_map(|bucket| bucket.get("doc_count")?.as_u64()).sum();
        pipeline::inside(&piped(&keyed.scope.children), &mut buckets);
        Ok(json!({
            "doc_count_error_upper_bound": 0,
            "sum_other_doc_count": total.saturating_sub(shown),
            "buckets": buckets,
        }))
    }

    fn shown_terms(
        &mut self,
        keyed: &Keyed,
        terms: &Terms,
        code: &str,
        groups: &[Group<'t>],
    ) -> Result<Vec<Bucket>, Error> {
        self.counted(groups.len())?;
        let mut buckets = Vec::with_capacity(groups.len());
        for group in groups {
            let mut bucket = self.bucket(keyed, code, &group.keys, group)?;
            name(&mut bucket, &keyed.keys, &group.keys, terms.is_multi);
            buckets.push(bucket);
        }
        Ok(buckets)
    }

    /// Ordered by what is inside of them, which must be there before they can be cut.
    fn by_metrics(
        &mut self,
        keyed: &Keyed,
        terms: &Terms,
        code: &str,
        groups: &[Group<'t>],
    ) -> Result<Vec<Bucket>, Error> {
        let before = self.buckets;
        let mut both: Vec<(usize, Bucket)> = Vec::with_capacity(groups.len());
        for (at, group) in groups.iter().enumerate() {
            // Only what is shown counts.
            self.buckets = before;
            both.push((at, self.bucket(keyed, code, &group.keys, group)?));
        }
        both.sort_by(|(a, x), (b, y)| {
            let by = |key: &OrderKey| match key.path.as_str() {
                "_key" | "_count" => plain_order(std::slice::from_ref(key), &groups[*a], &groups[*b]),
                _ => by_metric(key, x, y),
            };
            let order = terms.order.iter().map(by).find(|order| order.is_ne());
            order.unwrap_or_else(|| by_keys(&groups[*a], &groups[*b]))
        });
        both.truncate(terms.size);
        self.buckets = before;
        self.counted(both.len())?;
        let shown = |(at, mut bucket): (usize, Bucket)| {
            name(&mut bucket, &keyed.keys, &groups[at].keys, terms.is_multi);
            bucket
        };
        Ok(both.into_iter().map(shown).collect())
    }

    fn composite(
        &mut self,
        keyed: &Keyed,
        composite: &Composite,
        code: &str,
        mut groups: Vec<Group<'t>>,
    ) -> Result<Json, Error> {
        let by_parts = |a: &[Option<Value>], b: &[Option<Value>]| {
            let parts = composite.sources.iter().zip(a.iter().zip(b)).map(|(part, (a, b))| {
                let order = compare(a.as_ref(), b.as_ref());
                if part.descending { order.reverse() } else { order }
            });
            parts.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        let cells = |group: &Group<'_>| -> Vec<Option<Value>> {
            keyed
                .keys
                .iter()
                .zip(&group.keys)
                .map(|(key, cell)| cell.map(|cell| key.compared(cell)))
                .collect()
        };
        if let Some(after) = &composite.after {
            let after = after_values(keyed, composite, after);
            groups.retain(|group| by_parts(&cells(group), &after).is_gt());
        }
        let mut sorted: Vec<(Vec<Option<Value>>, Group<'t>)> =
            groups.into_iter().map(|group| (cells(&group), group)).collect();
        sorted.sort_by(|a, b| by_parts(&a.0, &b.0));
        sorted.truncate(composite.size);
        self.counted(sorted.len())?;
        let mut buckets = Vec::with_capacity(sorted.len());
        let mut last = None;
        for (_, group) in &sorted {
            let mut bucket = self.bucket(keyed, code, &group.keys, group)?;
            let parts = composite.sources.iter().zip(keyed.keys.iter().zip(&group.keys));
            let key: Bucket =
                parts.map(|(part, (key, cell))| (part.name.clone(), key.show_part(*cell))).collect();
            last = Some(key.clone());
            bucket.insert("key".to_owned(), Json::Object(key));
            buckets.push(bucket);
        }
        pipeline::inside(&piped(&keyed.scope.children), &mut buckets);
        let mut shown = json!({ "buckets": buckets });
        if let Some(last) = last {
            shown["after_key"] = Json::Object(last);
        }
        Ok(shown)
    }

    fn times(
        &mut self,
        keyed: &Keyed,
        given: &DateHistogram,
        extended: Ends,
        hard: Ends,
        code: &str,
        groups: Vec<Group<'t>>,
    ) -> Result<Json, Error> {
        let Some(Key { kind: KeyKind::Interval { rounding, shown, .. }, .. }) = keyed.keys.first() else {
            return Err(Error::internal("a histogram without intervals"));
        };
        // By instant; the key of its row is what is looked up inside.
        let mut all: BTreeMap<i64, (Option<&'t Value>, Group<'t>)> = BTreeMap::new();
        for group in groups {
            let cell = group.keys.first().copied().flatten();
            if let Some(number) = cell.and_then(keys::whole) {
                all.insert(rounding.instant(number), (cell, group));
            }
        }
        if let Some((min, max)) = hard {
            let inside =
                |at: i64| min.is_none_or(|min| rounding.next(at) > min) && max.is_none_or(|max| at < max);
            all.retain(|at, _| inside(*at));
        }
        if given.min_doc_count == 0 {
            self.fill(*rounding, extended, &mut all)?;
        } else {
            all.retain(|_, (_, group)| group.count >= given.min_doc_count);
        }
        self.counted(all.len())?;
        let mut buckets = Vec::with_capacity(all.len());
        for (at, (cell, group)) in &all {
            let mut bucket = if cell.is_some() {
                self.bucket(keyed, code, &[*cell], group)?
            } else {
                let key = Value::Int(*at);
                self.bucket(keyed, code, &[Some(&key)], group)?
            };
            bucket.insert("key".to_owned(), json!(at.div_euclid(1_000_000)));
            bucket.insert("key_as_string".to_owned(), json!(shown.write(*at, rounding.zone)));
            buckets.push(bucket);
        }
        pipeline::inside(&piped(&keyed.scope.children), &mut buckets);
        Ok(histogram(buckets, &given.order, given.keyed, |bucket| {
            bucket.get("key_as_string").and_then(Json::as_str).unwrap_or_default().to_owned()
        }))
    }

    /// Intervals without a record between those that have some, and up to the bounds.
    fn fill(
        &self,
        rounding: Rounding,
        extended: Ends,
        all: &mut BTreeMap<i64, (Option<&'t Value>, Group<'t>)>,
    ) -> Result<(), Error> {
        let (min, max) = extended.unwrap_or((None, None));
        let ends = [all.keys().next().copied(), min.map(|min| rounding.floor(min))];
        let first = ends.into_iter().flatten().min();
        let ends = [all.keys().next_back().copied(), max.map(|max| rounding.floor(max))];
        let last = ends.into_iter().flatten().max();
        let (Some(mut at), Some(last)) = (first, last) else { return Ok(()) };
        let mut count = 0usize;
        while at <= last {
            count += 1;
            if self.buckets + count > MAX_BUCKETS {
                return Err(Error::too_many_buckets(MAX_BUCKETS, self.buckets + count));
            }
            all.entry(at).or_insert_with(|| (None, empty()));
            let next = rounding.next(at);
            if next <= at {
                break;
            }
            at = next;
        }
        Ok(())
    }

    fn numbers(
        &mut self,
        keyed: &Keyed,
        given: &Histogram,
        code: &str,
        groups: Vec<Group<'t>>,
    ) -> Result<Json, Error> {
        // By how many intervals a key is from zero: sums of fractions would not meet again.
        let place = |start: f64| ((start - given.offset) / given.interval).round() as i64;
        let start = |place: i64| place as f64 * given.interval + given.offset;
        let mut all: BTreeMap<i64, (Option<&'t Value>, Group<'t>)> = BTreeMap::new();
        for group in groups {
            let cell = group.keys.first().copied().flatten();
            if let Some(number) = cell.and_then(keys::float) {
                all.insert(place(number), (cell, group));
            }
        }
        if let Some((min, max)) = given.hard {
            all.retain(|at, _| start(*at + 1) > min && start(*at) < max);
        }
        if given.min_doc_count == 0 {
            let floor = |bound: f64| ((bound - given.offset) / given.interval).floor() as i64;
            let (min, max) = given.extended.unwrap_or((f64::NAN, f64::NAN));
            let bound = |bound: f64| bound.is_finite().then(|| floor(bound));
            let first = [all.keys().next().copied(), bound(min)].into_iter().flatten().min();
            let last = [all.keys().next_back().copied(), bound(max)].into_iter().flatten().max();
            if let (Some(first), Some(last)) = (first, last) {
                let count = usize::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(0);
                if self.buckets.saturating_add(count) > MAX_BUCKETS {
                    return Err(Error::too_many_buckets(MAX_BUCKETS, self.buckets.saturating_add(count)));
                }
                (first..=last).for_each(|at| {
                    all.entry(at).or_insert_with(|| (None, empty()));
                });
            }
        } else {
            all.retain(|_, (_, group)| group.count >= given.min_doc_count);
        }
        self.counted(all.len())?;
        let mut buckets = Vec::with_capacity(all.len());
        for (at, (cell, group)) in &all {
            let key = Value::Double(start(*at));
            let mut bucket = self.bucket(keyed, code, &[cell.or(Some(&key))], group)?;
            bucket.insert("key".to_owned(), json!(start(*at)));
            buckets.push(bucket);
        }
        pipeline::inside(&piped(&keyed.scope.children), &mut buckets);
        Ok(histogram(buckets, &given.order, given.keyed, |bucket| {
            bucket.get("key").and_then(Json::as_f64).map(crate::json::float_text).unwrap_or_default()
        }))
    }
}

fn empty<'t>() -> Group<'t> {
    Group { keys: Vec::new(), row: None, count: 0 }
}

/// Are hits asked for anywhere inside?
fn has_hits(scope: &Scope) -> bool {
    scope.children.iter().any(|child| match &child.kind {
        ChildKind::TopHits(_) => true,
        ChildKind::Keyed(keyed) => has_hits(&keyed.scope),
        ChildKind::Branches(branches) => branches.branches.iter().any(|branch| has_hits(&branch.scope)),
        _ => false,
    })
}

fn chosen(choice: &Choice, text: &str) -> bool {
    match choice {
        Choice::Values(values) => values.iter().any(|value| value == text),
        Choice::Regex(pattern) => pattern.is_match(text),
    }
}

fn by_keys(a: &Group<'_>, b: &Group<'_>) -> Ordering {
    let keys = a.keys.iter().zip(&b.keys).map(|(a, b)| compare(*a, *b));
    keys.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// By count and key: the most first where nothing is said, and equal ones by their keys.
fn plain_order(order: &[OrderKey], a: &Group<'_>, b: &Group<'_>) -> Ordering {
    if order.is_empty() {
        return b.count.cmp(&a.count).then_with(|| by_keys(a, b));
    }
    let by = |key: &OrderKey| {
        let ordering = if key.path == "_key" { by_keys(a, b) } else { a.count.cmp(&b.count) };
        if key.descending { ordering.reverse() } else { ordering }
    };
    order.iter().map(by).find(|ordering| ordering.is_ne()).unwrap_or_else(|| by_keys(a, b))
}

/// Puts its keys into a bucket.
fn name(bucket: &mut Bucket, keys: &[Key], cells: &[Option<&Value>], is_multi: bool) {
    let shown: Vec<(Json, Option<String>)> =
        keys.iter().zip(cells).map(|(key, cell)| key.show(*cell)).collect();
    if is_multi {
        let texts: Vec<String> = keys.iter().zip(cells).map(|(key, cell)| key.text(*cell)).collect();
        let part = |(key, text): (Json, Option<String>)| text.map_or(key, Json::String);
        bucket.insert("key_as_string".to_owned(), json!(texts.join("|")));
        bucket.insert("key".to_owned(), Json::Array(shown.into_iter().map(part).collect()));
    } else if let Some((key, text)) = shown.into_iter().next() {
        bucket.insert("key".to_owned(), key);
        bucket.extend(text.map(|text| ("key_as_string".to_owned(), json!(text))));
    }
}

/// The values that a client handed back. Some clients write the type before each: `str:a`, `f64:1`.
fn after_values(keyed: &Keyed, composite: &Composite, after: &Json) -> Vec<Option<Value>> {
    const TYPES: [&str; 5] = ["str:", "f64:", "i64:", "u64:", "bool:"];
    let given = |name: &str| after.get(name).filter(|value| !value.is_null());
    let typed =
        |value: &Json| value.as_str().is_some_and(|text| TYPES.iter().any(|kind| text.starts_with(kind)));
    let named: Vec<&Json> = composite.sources.iter().filter_map(|part| given(&part.name)).collect();
    let strip = named.len() > 1 && named.iter().all(|value| typed(value));
    let value = |(part, key): (&super::spec::Part, &Key)| {
        let value = given(&part.name)?;
        if !strip {
            return key.read(value);
        }
        let (kind, text) = value.as_str()?.split_once(':')?;
        match kind {
            "str" => key.read(&json!(text)),
            _ => key.read(&serde_json::from_str(text).unwrap_or(Json::Null)),
        }
    };
    composite.sources.iter().zip(&keyed.keys).map(value).collect()
}

/// Buckets of intervals, in order, by name or one after the other.
fn histogram(
    mut buckets: Vec<Bucket>,
    order: &[OrderKey],
    keyed: bool,
    name: impl Fn(&Bucket) -> String,
) -> Json {
    if !order.is_empty() {
        buckets.sort_by(|a, b| {
            let by = order.iter().map(|key| by_metric(key, a, b)).find(|order| order.is_ne());
            by.unwrap_or(Ordering::Equal)
        });
    }
    if keyed {
        let named: Bucket = buckets.into_iter().map(|bucket| (name(&bucket), Json::Object(bucket))).collect();
        json!({ "buckets": named })
    } else {
        json!({ "buckets": buckets })
    }
}
