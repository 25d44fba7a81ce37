//! Sigma detections: read and tested by the Sigma crates, which are named in this module and its children only.
//!
//! What is understood: detection rules of Sigma 2, several documents a file, every modifier of the specification. What is
//! not, and says so when it is read: correlations (the detections that one refers to are kept quiet with it, as the
//! specification has it), filters, `action:` collections, and version 3's array selectors. Which records a rule is tested
//! against follows from its logsource; see [`origin`].

mod origin;
mod view;
mod windows;

use crate::{
    cases,
    document::Document,
    finding::{Level, digest},
    kinds::RuleKind,
    matching::Field,
    rule::{Read, Rule, RuleError, derived_id},
};
use millrace_model::{Row, closest};
use origin::{Family, Origin};
use rsigma_eval::Engine;
use rsigma_parser::{SigmaRule, parse_sigma_yaml};
use serde_yaml_ng::Value as Yaml;
use std::collections::{HashMap, HashSet};
use view::{Names, View};

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
    family: Option<Family>,
    /// The names of the fields that it asks for.
    fields: Vec<String>,
}

impl Source {
    /// Is this one of the rules that these ids or names refer to?
    pub(crate) fn referred_to_by(&self, references: &HashSet<String>) -> bool {
        [&self.rule.id, &self.rule.name].into_iter().flatten().any(|name| references.contains(name))
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
    pub(crate) fn compile(sources: Vec<(usize, Source)>) -> (Self, Vec<(usize, String)>) {
        let mut engine = Engine::new();
        let names = Names::of(sources.iter().flat_map(|(_, source)| &source.fields).map(String::as_str));
        let refused = engine.add_rules(sources.iter().map(|(_, source)| &source.rule));
        let refused: HashMap<usize, String> =
            refused.into_iter().map(|(number, problem)| (number, problem.to_string())).collect();
        let mut places = HashMap::new();
        let mut errors = Vec::new();
        for (number, (place, source)) in sources.into_iter().enumerate() {
            match (refused.get(&number), source.rule.id) {
                (Some(problem), _) => errors.push((place, problem.clone())),
                (None, Some(id)) => {
                    places.insert(id, (place, source.family));
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

    /// Appends the places of the rules that the record satisfies.
    pub(crate) fn matching(&self, row: &Row, places: &mut Vec<usize>) {
        if self.places.is_empty() {
            return;
        }
        let view = View::new(row, &self.names);
        let origin = Origin::of(row, &view);
        for result in self.engine.evaluate_pruned(&view, &origin.log_source()) {
            let known = result.header.rule_id.as_ref().and_then(|id| self.places.get(id));
            if let Some((place, family)) = known
                && family.is_none_or(|family| family.may_hold(origin.service()))
            {
                places.push(*place);
            }
        }
    }
}

/// Reads a document that has a key of Sigma's.
pub(crate) fn read(
    document: &Document<'_>,
    errors: &mut Vec<RuleError>,
    warnings: &mut Vec<RuleError>,
) -> Option<Read> {
    if document.root.contains_key("correlation") {
        return Some(silenced(document, errors));
    }
    let before = errors.len();
    for (key, what) in
        [("filter", "Sigma filters are"), ("action", "Sigma's version 1 collections (`action`) are")]
    {
        if document.root.contains_key(key) {
            errors.push(document.error(&[key], format!("{what} not understood yet")));
        }
    }
    if document.root.get("sigma-version").is_some_and(|version| major(version).is_none_or(|major| major > 2))
    {
        errors.push(document.error(&["sigma-version"], "sigma-version: 2 or nothing expected"));
    }
    slips(document, errors);
    let cases = cases::read(document, errors);
    if errors.len() > before {
        return None;
    }
    let mut rule = parse(document, errors)?;
    let id = rule.id.get_or_insert_with(|| derived_id(document.file, &rule.title)).clone();
    let level = rule.level.and_then(|level| level.as_str().parse().ok()).unwrap_or(Level::Medium);
    warn(document, &rule, warnings);
    let family = Family::of(&mut rule.logsource);
    let mut fields = Vec::new();
    document.root.get("detection").into_iter().for_each(|detection| field_names(detection, &mut fields));
    let ours = Rule {
        id,
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
        digest: decides_by(document),
    };
    Some(Read::Sigma(ours, Box::new(Source { rule, family, fields })))
}

/// The one detection of a document, as the Sigma crates read it. Their warnings are errors here: a level that is no
/// level would otherwise become none.
fn parse(document: &Document<'_>, errors: &mut Vec<RuleError>) -> Option<SigmaRule> {
    let parsed = match parse_sigma_yaml(&document.text_in_place()) {
        Ok(parsed) => parsed,
        Err(problem) => {
            errors.push(locate(document, &problem.to_string()));
            return None;
        }
    };
    errors.extend(parsed.errors.iter().map(|problem| locate(document, problem)));
    if !parsed.errors.is_empty() {
        return None;
    }
    let rule = parsed.rules.into_iter().next();
    if rule.is_none() {
        errors.push(document.error(&[], "this document holds no detection"));
    }
    rule
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

/// A correlation is not understood. The detections that it would have counted do not become findings one by one.
fn silenced(document: &Document<'_>, errors: &mut Vec<RuleError>) -> Read {
    let correlation = document.root.get("correlation");
    let says = |key: &str| correlation.and_then(|correlation| correlation.get(key));
    let generate = [says("generate"), document.root.get("generate")]
        .into_iter()
        .flatten()
        .any(|v| v == &Yaml::Bool(true));
    let references: Vec<String> = match says("rules") {
        Some(Yaml::Sequence(rules)) => rules.iter().filter_map(Yaml::as_str).map(str::to_owned).collect(),
        Some(Yaml::String(rule)) => vec![rule.clone()],
        _ => Vec::new(),
    };
    let mut message =
        "correlation rules are not understood yet; `kind: threshold` counts what a query matches".to_owned();
    if !generate && !references.is_empty() {
        message = format!(
            "{message}; the rules that it refers to ({}) are not tested either",
            references.join(", ")
        );
    }
    errors.push(document.error(&["correlation"], message));
    Read::Silenced(if generate { Vec::new() } else { references })
}

/// What loads but does not do what its author may think.
fn warn(document: &Document<'_>, rule: &SigmaRule, warnings: &mut Vec<RuleError>) {
    if let Some(key) = document.root.get("detection").and_then(placeholder) {
        let message = format!("{key}: there are no values for placeholders, so this never matches");
        warnings.push(document.error_near(Some(&key), message));
    }
    if rule.detection.timeframe.is_some() {
        let message = "timeframe has no effect without a correlation";
        warnings.push(document.error(&["detection", "timeframe"], message));
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

/// Every key of a detection, without its modifiers: fields, and names of selections that are no fields.
fn field_names(value: &Yaml, names: &mut Vec<String>) {
    match value {
        Yaml::Mapping(map) => {
            for (key, value) in map {
                names.extend(key.as_str().and_then(|key| key.split('|').next()).map(str::to_owned));
                field_names(value, names);
            }
        }
        Yaml::Sequence(values) => values.iter().for_each(|value| field_names(value, names)),
        _ => {}
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
