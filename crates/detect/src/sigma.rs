//! Sigma detections: read and tested by the Sigma crates, which are named in this module and its children only.
//!
//! What is understood: detection rules of Sigma 2, several documents a file, every modifier of the specification, filters
//! ([`filters`]), correlations ([`correlations`]) and processing pipelines ([`pipelines`]). What is not, and says so when it is
//! read: `action:` collections, and version 3's array selectors. Which records a rule is tested against follows from its logsource; see [`origin`].

pub(crate) mod correlations;
mod filters;
mod gates;
mod mapping;
mod origin;
mod pipelines;
mod placeholders;
mod view;
mod windows;

use crate::{
    cases,
    document::Document,
    finding::{Level, digest},
    kinds::RuleKind,
    matching::Field,
    rule::{Rule, RuleError, derived_id},
    set::Read,
};
use mapping::Said;
use millrace_model::{Row, closest};
use origin::{Family, Origin};
use rsigma_eval::Engine;
use rsigma_parser::{Detection, DetectionItem, SigmaCollection, SigmaRule, parse_sigma_yaml};
use serde_yaml_ng::Value as Yaml;
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};
use view::{Names, View};

pub(crate) use filters::{Filter, apply as narrow};
pub use pipelines::Pipelines;

/// The keys of Sigma's schema. Others are allowed by it; one that looks like a slip of the pen is not.
const KEYS: &[&str] = &[
    "title",
    "id",
    "name",
    "related",
    "taxonomy",
    "status",
    "description",
    "license",
    "author",
    "references",
    "date",
    "modified",
    "logsource",
    "detection",
    "fields",
    "falsepositives",
    "level",
    "tags",
    "scope",
    "sigma-version",
    "custom_attributes",
    "correlation",
    "filter",
    "tests",
];

/// A detection that the engine has not compiled yet.
pub(crate) struct Source {
    rule: SigmaRule,
    /// Where it asks for values from elsewhere, if it does.
    placeholders: Option<RuleError>,
}

impl Source {
    /// Is this one of the rules that these ids or names refer to?
    pub(crate) fn referred_to_by(&self, references: &HashSet<String>) -> bool {
        self.names().any(|name| references.contains(name))
    }

    /// Its id, and its name if it has one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        [&self.rule.id, &self.rule.name].into_iter().flatten().map(String::as_str)
    }

    /// What there is to mind if a placeholder is left without values.
    pub(crate) fn warning(&self) -> Option<RuleError> {
        let left = placeholders::left(&self.rule);
        let names: Vec<String> = left.iter().map(|name| format!("%{name}%")).collect();
        let place = self.placeholders.clone().filter(|_| !left.is_empty())?;
        let message = format!(
            "{}: there are no values for {}, so this never matches; a pipeline's `vars` with `value_placeholders` gives them",
            place.message,
            names.join(", ")
        );
        Some(RuleError { message, ..place })
    }
}

/// The engine, and which of our rules each of its rules is.
#[derive(Default)]
pub(crate) struct Matcher {
    engine: Engine,
    places: HashMap<String, (usize, Option<Family>)>,
    names: Names,
}

impl Matcher {
    /// Compiles detections; with each stands the place of its rule. Places that the engine refuses come back with why.
    pub(crate) fn compile<'n>(
        mut sources: Vec<(usize, Source)>,
        asked: impl Iterator<Item = &'n str>,
    ) -> (Self, Vec<(usize, String)>) {
        let mut engine = Engine::new();
        let families: Vec<_> =
            sources.iter_mut().map(|(_, source)| Family::of(&mut source.rule.logsource)).collect();
        for (_, source) in &mut sources {
            origin::mark_requests(&mut source.rule.logsource);
            gates::help(&mut source.rule);
        }
        let mut names = Names::default();
        for detection in sources.iter().flat_map(|(_, source)| source.rule.detection.named.values()) {
            each_item(detection, &mut |item| item.field.name.iter().for_each(|name| names.add(name)));
        }
        asked.for_each(|name| names.add(name));
        let refused = engine.add_rules(sources.iter().map(|(_, source)| &source.rule));
        let refused: HashMap<usize, String> =
            refused.into_iter().map(|(number, problem)| (number, problem.to_string())).collect();
        let mut places = HashMap::new();
        let mut errors = Vec::new();
        for (number, ((place, source), family)) in sources.into_iter().zip(families).enumerate() {
            match (refused.get(&number), source.rule.id) {
                (Some(problem), _) => errors.push((place, problem.clone())),
                (None, Some(id)) => {
                    places.insert(id, (place, family));
                }
                (None, None) => errors.push((place, "the rule has no id".to_owned())),
            }
        }
        (Self { engine, places, names }, errors)
    }

    /// The same with other places; `None` where a rule has none any more.
    pub(crate) fn moved(mut self, places: &[Option<usize>]) -> Self {
        self.places.retain(|_, (place, _)| match places.get(*place).copied().flatten() {
            Some(moved) => {
                *place = moved;
                true
            }
            None => false,
        });
        self
    }

    /// The places of the rules that are tested here.
    pub(crate) fn held(&self) -> HashSet<usize> {
        self.places.values().map(|(place, _)| *place).collect()
    }

    /// A record as Sigma rules see it.
    pub(crate) fn see<'a>(&'a self, row: &'a Row) -> Seen<'a> {
        let mut view = View::new(row, &self.names);
        let mut origin = Origin::of(row, &view);
        let said = Said::of(row, &view, origin.service(), origin.is_web());
        said.category.into_iter().for_each(|category| origin.said(category));
        view.hear(said);
        Seen { view, origin }
    }

    /// Appends the places of the rules that the record satisfies.
    pub(crate) fn matching(&self, row: &Row, places: &mut Vec<usize>) {
        if self.places.is_empty() {
            return;
        }
        let Seen { view, origin } = self.see(row);
        for result in self.engine.evaluate_pruned(&view, &origin.log_source()) {
            let known = result.header.rule_id.as_ref().and_then(|id| self.places.get(id));
            if let Some((place, family)) = known
                && family.is_none_or(|family| family.may_hold(&origin))
            {
                places.push(*place);
            }
        }
    }
}

/// A record, and where it comes from in Sigma's terms.
pub(crate) struct Seen<'a> {
    view: View<'a>,
    origin: Origin<'a>,
}

impl Seen<'_> {
    /// A field by the name that Sigma rules have for it.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        rsigma_eval::Event::get_field(&self.view, name)?.as_str().map(Cow::into_owned)
    }
}

/// Reads a document that has a key of Sigma's.
pub(crate) fn read(
    document: &Document<'_>,
    errors: &mut Vec<RuleError>,
    warnings: &mut Vec<RuleError>,
) -> Option<Read> {
    let before = errors.len();
    if document.root.contains_key("action") {
        let message = "Sigma's version 1 collections (`action`) are not understood yet";
        errors.push(document.error(&["action"], message));
    }
    if document.root.get("sigma-version").is_some_and(|version| major(version).is_none_or(|major| major > 2))
    {
        errors.push(document.error(&["sigma-version"], "sigma-version: 2 or nothing expected"));
    }
    slips(document, errors);
    if document.root.contains_key("correlation") {
        let read = correlations::read(document, errors).filter(|_| errors.len() == before);
        return Some(match read {
            Some(rule) => Read::Ours(Box::new(rule)),
            // The detections that it would have counted do not become findings one by one.
            None => Read::Silenced(correlations::references(document)),
        });
    }
    if document.root.contains_key("filter") {
        let filter = filters::read(document, errors)?;
        return (errors.len() == before).then(|| Read::Filter(Box::new(filter)));
    }
    let cases = cases::read(document, errors);
    if errors.len() > before {
        return None;
    }
    let Some(mut rule) = parse(document, errors)?.rules.into_iter().next() else {
        errors.push(document.error(&[], "this document holds no detection"));
        return None;
    };
    let id = rule.id.get_or_insert_with(|| derived_id(document.file, &rule.title)).clone();
    let level = rule.level.and_then(|level| level.as_str().parse().ok()).unwrap_or(Level::Medium);
    if rule.detection.timeframe.is_some() {
        let message = "timeframe has no effect without a correlation";
        warnings.push(document.error(&["detection", "timeframe"], message));
    }
    let key = document.root.get("detection").and_then(placeholder);
    let placeholders = key.map(|key| document.error_near(Some(&key), key.clone()));
    let ours = Rule {
        id,
        name: rule.name.clone(),
        title: rule.title.clone(),
        description: rule.description.clone().unwrap_or_default(),
        level,
        tags: rule.tags.clone(),
        file: document.file.to_owned(),
        line: document.line,
        streams: Vec::new(),
        kind: RuleKind::Sigma,
        cases,
        group_by: vec![Field::new("host")],
        resolve_after: None,
        matches: None,
        correlates: None,
        is_silent: false,
        digest: decides_by(document),
    };
    Some(Read::Sigma(Box::new(ours), Box::new(Source { rule, placeholders })))
}

/// What a document holds, as the Sigma crates read it. Their warnings are errors here: a level that is no level would
/// otherwise become none.
fn parse(document: &Document<'_>, errors: &mut Vec<RuleError>) -> Option<SigmaCollection> {
    let parsed = match parse_sigma_yaml(&document.text_in_place()) {
        Ok(parsed) => parsed,
        Err(problem) => {
            errors.push(locate(document, &problem.to_string()));
            return None;
        }
    };
    errors.extend(parsed.errors.iter().map(|problem| locate(document, problem)));
    parsed.errors.is_empty().then_some(parsed)
}

/// Puts an error of the Sigma crates, which know no lines, at the most likely one.
fn locate(document: &Document<'_>, problem: &str) -> RuleError {
    if problem.starts_with("Condition parse error") {
        return document.error(&["detection", "condition"], problem);
    }
    let quoted = problem.split('\'').nth(1).filter(|word| !word.is_empty());
    document.error_near(quoted, problem)
}

fn slips(document: &Document<'_>, errors: &mut Vec<RuleError>) {
    for key in document.root.keys().filter_map(Yaml::as_str).filter(|key| !KEYS.contains(key)) {
        if let Some(meant) =
            closest(key, KEYS.iter().copied()).filter(|meant| !document.root.contains_key(*meant))
        {
            errors.push(document.error(&[key], format!("unknown key {key:?}; did you mean {meant:?}?")));
        }
    }
}

/// The first key with the modifier that asks for values from elsewhere.
fn placeholder(value: &Yaml) -> Option<String> {
    match value {
        Yaml::Mapping(map) => map.iter().find_map(|(key, value)| {
            let key = key.as_str().filter(|key| key.split('|').skip(1).any(|modifier| modifier == "expand"));
            key.map(str::to_owned).or_else(|| placeholder(value))
        }),
        Yaml::Sequence(values) => values.iter().find_map(placeholder),
        _ => None,
    }
}

/// Every item of a detection.
fn each_item(detection: &Detection, visit: &mut impl FnMut(&DetectionItem)) {
    match detection {
        Detection::AllOf(items) => items.iter().for_each(visit),
        Detection::AnyOf(inner) | Detection::And(inner) => {
            for inner in inner {
                each_item(inner, visit);
            }
        }
        Detection::ArrayMatch { body, .. } => each_item(body, visit),
        Detection::Conditional { named, .. } => named.values().for_each(|inner| each_item(inner, visit)),
        Detection::Keywords(_) => {}
    }
}

/// The same, to change them.
fn each_item_mut(detection: &mut Detection, change: &mut impl FnMut(&mut DetectionItem)) {
    match detection {
        Detection::AllOf(items) => items.iter_mut().for_each(change),
        Detection::AnyOf(inner) | Detection::And(inner) => {
            for inner in inner {
                each_item_mut(inner, change);
            }
        }
        Detection::ArrayMatch { body, .. } => each_item_mut(body, change),
        Detection::Conditional { named, .. } => {
            for inner in named.values_mut() {
                each_item_mut(inner, change);
            }
        }
        Detection::Keywords(_) => {}
    }
}

fn major(version: &Yaml) -> Option<u64> {
    match version {
        Yaml::Number(number) => number.as_f64().map(|number| number as u64),
        Yaml::String(text) => text.split('.').next()?.parse().ok(),
        _ => None,
    }
}

/// A digest of the parts that decide.
fn decides_by(document: &Document<'_>) -> u128 {
    let part = |key: &str| document.root.get(key).map(|value| format!("{value:?}")).unwrap_or_default();
    digest([part("logsource").as_str(), part("detection").as_str()].into_iter())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
