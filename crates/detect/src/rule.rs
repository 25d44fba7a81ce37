//! Rules as the rest of Millrace knows them, and sets of them read from files. Which engine tests a rule is known only
//! inside this crate.
//!
//! **Invariant:** a rule that is wrong costs itself and nothing else: every other rule of the same files is in the set.

use crate::{
    cases::Case,
    document::Document,
    finding::{Level, digest},
    kinds::{Fact, RuleKind, as_name_list, as_seconds_or_none, read::ReadFile},
    matching::{Asked, Field, Matches},
    ours,
    sigma::{self, Filter, Matcher, Pipelines, correlations::Correlates},
};
use millrace_model::{Row, StreamName, closest};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    path::Path,
    time::Duration,
};

/// A file of rules: one YAML document a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// What the file is called in errors, and where an id is made from for rules that have none.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Why one rule was not taken, or what to mind about one that was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleError {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// The rule's title, where it has one.
    pub title: Option<String>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.title {
            Some(title) => write!(f, ": {title}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}

/// One rule.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// Its id: the one that it states, else one made from its file and title.
    pub id: String,
    /// The name by which correlations may refer to it, besides its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is called.
    pub title: String,
    /// What it looks for and what to do then.
    pub description: String,
    /// How serious a finding is.
    pub level: Level,
    /// ATT&CK and other tags.
    pub tags: Vec<String>,
    /// The file that it stands in.
    pub file: String,
    /// The line on which it begins.
    pub line: usize,
    /// The streams that it watches; none: all.
    pub streams: Vec<StreamName>,
    /// How it decides.
    #[serde(flatten)]
    pub kind: RuleKind,
    /// Which records it is about, where a query says so.
    #[serde(flatten)]
    pub matches: Option<Matches>,
    /// The rules that it is over, if it is a correlation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlates: Option<Correlates>,
    /// It makes no findings of its own: a correlation counts what it matches.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_silent: bool,
    /// Decided for each combination of these fields' values.
    #[serde(serialize_with = "as_name_list")]
    pub(crate) group_by: Vec<Field>,
    /// Quiet for so long, it is over; `None`: as is usual for its kind.
    #[serde(serialize_with = "as_seconds_or_none", skip_serializing_if = "Option::is_none")]
    pub resolve_after: Option<Duration>,
    /// Lines that must and must not make it fire.
    #[serde(skip)]
    pub(crate) cases: Vec<Case>,
    /// Differs when the rule decides differently.
    #[serde(skip)]
    pub(crate) digest: u128,
}

impl Rule {
    /// Is it of a kind of which every matching record is a finding by itself?
    pub fn is_single(&self) -> bool {
        matches!(self.kind, RuleKind::Sigma | RuleKind::List(_) | RuleKind::Change(_) | RuleKind::NewTerm(_))
    }

    /// The record's group, and what else it is to the rule. `None`: it does not count.
    pub(crate) fn fact(&self, row: &Row) -> Option<(BTreeMap<String, String>, Fact)> {
        let asked = Asked::new(row, self.matches.as_ref().map_or(&[], |matches| &matches.extract));
        let fact = self.kind.fact(&asked)?;
        Some((asked.group(&self.group_by), fact))
    }

    /// Something outside of its own text changes what it decides.
    fn decides_otherwise(&mut self, by: u128) {
        let parts = [self.digest, by].map(|part| format!("{part:032x}"));
        self.digest = digest(parts.iter().map(String::as_str));
    }
}

/// Rules that are ready to be tested against records. Cheap to share, never changed.
#[derive(Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    places: HashMap<String, usize>,
    sigma: Matcher,
    /// The correlations over each rule, and the number under which they refer to it.
    correlations: HashMap<usize, Vec<(usize, usize)>>,
    warnings: Vec<RuleError>,
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl RuleSet {
    /// Reads rules. Whatever is wrong is in the second part, by file and line; every other rule is in the first.
    /// CPU only: about a second for four thousand rules.
    pub fn load(files: Vec<RuleFile>) -> (Self, Vec<RuleError>) {
        Self::load_with(files, &Pipelines::default(), &mut |_| {
            Err("files of lists are not read here".to_owned())
        })
    }

    /// The same. Every Sigma rule goes through the pipelines before it is compiled; `read` gives the text of a file that a list
    /// names, or why not: by the name in the rule, or relative to the rule's own file.
    pub fn load_with(
        files: Vec<RuleFile>,
        pipelines: &Pipelines,
        read: &mut ReadFile<'_>,
    ) -> (Self, Vec<RuleError>) {
        let mut reading = Reading::default();
        for file in files {
            let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
            let mut beside = |name: &str| read(&folder.join(name).display().to_string());
            for document in Document::read_all(&file.path, &file.text, &mut reading.errors) {
                reading.take(&document, &mut beside);
            }
        }
        reading.finish(pipelines)
    }

    /// All of them.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule with this id.
    pub fn get(&self, id: &str) -> Option<&Rule> {
        self.place(id).and_then(|place| self.rules.get(place))
    }

    /// What to mind about rules that were taken: those that can never match as they stand, for one.
    pub fn warnings(&self) -> &[RuleError] {
        &self.warnings
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// The correlations over a rule, and the number under which each refers to it.
    pub(crate) fn over(&self, place: usize) -> &[(usize, usize)] {
        self.correlations.get(&place).map_or(&[], Vec::as_slice)
    }

    /// A field of a record, by our names or Sigma's.
    pub(crate) fn value(&self, row: &Row, name: &str) -> Option<String> {
        Asked::new(row, &[]).text(&Field::new(name)).or_else(|| self.sigma.value(row, name))
    }

    /// Appends the places of the rules that the record satisfies, in the order of the set.
    pub(crate) fn matching(&self, row: &Row, places: &mut Vec<usize>) {
        self.sigma.matching(row, places);
        for (place, rule) in self.rules.iter().enumerate() {
            if let Some(matches) = &rule.matches
                && (rule.streams.is_empty() || rule.streams.contains(&row.stream))
                && matches.query.matches(&row.placed())
            {
                places.push(place);
            }
        }
        places.sort_unstable();
    }
}

/// What each kind of document is read into.
pub(crate) enum Read {
    Ours(Box<Rule>),
    Sigma(Rule, Box<sigma::Source>),
    /// What narrows Sigma rules that stand elsewhere.
    Filter(Box<Filter>),
    /// A correlation that is not understood; the rules that it would have kept quiet.
    Silenced(Vec<String>),
}

#[derive(Default)]
struct Reading {
    rules: Vec<Rule>,
    sources: Vec<(usize, sigma::Source)>,
    filters: Vec<Filter>,
    silenced: HashSet<String>,
    ids: HashMap<String, String>,
    warnings: Vec<RuleError>,
    errors: Vec<RuleError>,
}

impl Reading {
    fn take(&mut self, document: &Document<'_>, files: &mut ReadFile<'_>) {
        let before = self.errors.len();
        let Some(read) = read(document, &mut self.errors, &mut self.warnings, files) else {
            if self.errors.len() == before {
                self.errors.push(document.error(&[], "the rule cannot be read"));
            }
            return;
        };
        let (rule, source) = match read {
            Read::Silenced(references) => return self.silenced.extend(references),
            Read::Ours(rule) => (*rule, None),
            Read::Filter(filter) => return self.filters.push(*filter),
            Read::Sigma(rule, source) => (rule, Some(source)),
        };
        let here = format!("{}:{}", rule.file, rule.line);
        if let Some(there) = self.ids.get(&rule.id) {
            let message = format!("the id {} is taken by the rule at {there}", rule.id);
            return self.errors.push(document.error(&["id"], message));
        }
        self.ids.insert(rule.id.clone(), here);
        if let Some(source) = source {
            self.sources.push((self.rules.len(), *source));
        }
        self.rules.push(rule);
    }

    /// Compiles what Sigma's engine is to test and drops what it refuses.
    fn finish(mut self, pipelines: &Pipelines) -> (RuleSet, Vec<RuleError>) {
        let silenced = std::mem::take(&mut self.silenced);
        let mut sources = Sources { sources: std::mem::take(&mut self.sources), rules: &mut self.rules };
        sigma::narrow(&self.filters, &mut sources, &mut self.errors);
        let refused_by_pipelines = sources.send_through(pipelines);
        let mut sources = sources.sources;
        sources.retain(|(_, source)| !source.referred_to_by(&silenced));
        self.warnings.extend(sources.iter().filter_map(|(_, source)| source.warning()));
        self.warnings.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
        let asked: Vec<String> = self
            .rules
            .iter()
            .filter_map(|rule| {
                Some(rule.correlates.as_ref()?.names(rule).map(str::to_owned).collect::<Vec<_>>())
            })
            .flatten()
            .collect();
        let (matcher, refused) = Matcher::compile(sources, asked.iter().map(String::as_str));
        let mut refused: HashMap<usize, String> = refused.into_iter().chain(refused_by_pipelines).collect();
        let held = matcher.held();
        // What is silenced is not there; the correlation's own error names it.
        let is_there =
            |place: usize, rule: &Rule| !matches!(rule.kind, RuleKind::Sigma) || held.contains(&place);
        let mut inputs = self.inputs(&mut refused, is_there);
        let mut kept = Vec::with_capacity(self.rules.len());
        let mut moved = vec![None; self.rules.len()];
        let mut correlations: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
        for (place, rule) in self.rules.into_iter().enumerate() {
            if let Some(message) = refused.get(&place) {
                let (file, line, title) = (rule.file, Some(rule.line), Some(rule.title));
                self.errors.push(RuleError { file, line, title, message: message.clone() });
                continue;
            }
            if is_there(place, &rule) {
                moved[place] = Some(kept.len());
                kept.push(rule);
            }
        }
        inputs.sort_unstable();
        for (place, number, input) in inputs {
            if let (Some(place), Some(input)) = (moved[place], moved[input]) {
                correlations.entry(input).or_default().push((place, number));
                let generate = kept[place].correlates.as_ref().is_some_and(|over| over.generate);
                kept[input].is_silent |= !generate;
            }
        }
        let places = kept.iter().enumerate().map(|(place, rule)| (rule.id.clone(), place)).collect();
        let sigma = matcher.moved(&moved);
        let set = RuleSet { rules: kept, places, sigma, correlations, warnings: self.warnings };
        (set, self.errors)
    }

    /// Which rules correlations are over: place, number of the reference, place of the rule. One that refers to what is not
    /// there, or to itself, is refused.
    fn inputs(
        &self,
        refused: &mut HashMap<usize, String>,
        is_there: impl Fn(usize, &Rule) -> bool,
    ) -> Vec<(usize, usize, usize)> {
        loop {
            let mut names: HashMap<&str, usize> = HashMap::new();
            for (place, rule) in self.rules.iter().enumerate() {
                if is_there(place, rule) && !refused.contains_key(&place) {
                    names.extend(
                        [Some(&rule.id), rule.name.as_ref()]
                            .into_iter()
                            .flatten()
                            .map(|name| (name.as_str(), place)),
                    );
                }
            }
            let (mut inputs, mut wrong) = (Vec::new(), Vec::new());
            for (place, rule) in self.rules.iter().enumerate() {
                let Some(over) = rule.correlates.as_ref().filter(|_| !refused.contains_key(&place)) else {
                    continue;
                };
                for (number, reference) in over.references.iter().enumerate() {
                    match names.get(reference.as_str()) {
                        Some(input) => inputs.push((place, number, *input)),
                        None => wrong.push((
                            place,
                            format!("there is no rule {reference:?}, by id or name, for it to refer to"),
                        )),
                    }
                }
            }
            // What is over nothing, then what is only over that, and so on; what is left goes in circles.
            let mut left: Vec<(usize, usize, usize)> = inputs.clone();
            loop {
                let waiting: HashSet<usize> = left.iter().map(|(place, ..)| *place).collect();
                let before = left.len();
                left.retain(|(_, _, input)| waiting.contains(input));
                if left.len() == before {
                    break;
                }
            }
            wrong.extend(
                left.iter().map(|(place, ..)| {
                    (*place, "it refers to itself, over other rules or at once".to_owned())
                }),
            );
            if wrong.is_empty() {
                return inputs;
            }
            refused.extend(wrong);
        }
    }
}

/// Sigma detections before they are compiled, and the rules that they are.
pub(crate) struct Sources<'r> {
    sources: Vec<(usize, sigma::Source)>,
    rules: &'r mut [Rule],
}

impl Sources<'_> {
    /// Every name by which a rule can be referred to.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().flat_map(|(_, source)| source.names())
    }

    /// Changes the detections that `is_meant`; `change` says by what they decide otherwise then.
    pub(crate) fn each(
        &mut self,
        is_meant: impl Fn(&sigma::Source) -> bool,
        mut change: impl FnMut(&mut sigma::Source) -> u128,
    ) {
        for (place, source) in self.sources.iter_mut().filter(|(_, source)| is_meant(source)) {
            let by = change(source);
            self.rules[*place].decides_otherwise(by);
        }
    }

    /// Sends all of them through the pipelines. Those that one refuses are taken out and come back with why.
    fn send_through(&mut self, pipelines: &Pipelines) -> Vec<(usize, String)> {
        let mut refused = Vec::new();
        self.sources.retain_mut(|(place, source)| match pipelines.apply(source) {
            Ok(by) => {
                by.into_iter().for_each(|by| self.rules[*place].decides_otherwise(by));
                true
            }
            Err(problem) => {
                refused.push((*place, problem));
                false
            }
        });
        refused
    }
}

/// Which kind of rule a document is, by its keys.
fn read(
    document: &Document<'_>,
    errors: &mut Vec<RuleError>,
    warnings: &mut Vec<RuleError>,
    files: &mut ReadFile<'_>,
) -> Option<Read> {
    let has = |key: &str| document.root.contains_key(key);
    if ours::is_ours(document) {
        return ours::read(document, errors, files).map(|rule| Read::Ours(Box::new(rule)));
    }
    if ["detection", "correlation", "filter", "logsource", "action"].into_iter().any(has) {
        return sigma::read(document, errors, warnings);
    }
    let marks = ["kind", "detection", "threshold", "query", "correlation"];
    let guess =
        document.root.keys().filter_map(|key| key.as_str()).find_map(|key| Some((key, closest(key, marks)?)));
    errors.push(match guess {
        Some((key, meant)) => document.error(&[key], format!("unknown key {key:?}; did you mean {meant:?}?")),
        None => document
            .error(&[], "a rule has `detection` (Sigma) or `kind: threshold`; this document has neither"),
    });
    None
}

/// The id of a rule that states none: a UUID (version 8) made from its file and title, the same at every start.
pub(crate) fn derived_id(file: &str, title: &str) -> String {
    let bits = digest(["millrace rule", file, title].into_iter());
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
