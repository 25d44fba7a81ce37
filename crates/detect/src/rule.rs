//! Rules as the rest of Millrace knows them, and sets of them read from files. Which engine tests a rule is known only
//! inside this crate.
//!
//! **Invariant:** a rule that is wrong costs itself and nothing else: every other rule of the same files is in the set.

use crate::{
    cases::Case,
    document::Document,
    finding::{Level, digest},
    sigma::{self, Filter, Matcher, Pipelines},
    threshold::{self, Threshold},
};
use millrace_model::{FieldRef, Row, StreamName, closest};
use serde::Serialize;
use std::{
    collections::{HashMap, HashSet},
    fmt,
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

/// How a rule decides.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RuleKind {
    /// A Sigma detection: each record that it matches is a finding, folded by host.
    Sigma,
    /// Records that a query matches, counted.
    Threshold(Threshold),
}

/// One rule.
#[derive(Debug, Clone, Serialize)]
pub struct Rule {
    /// Its id: the one that it states, else one made from its file and title.
    pub id: String,
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
    /// Lines that must and must not make it fire.
    #[serde(skip)]
    pub(crate) cases: Vec<Case>,
    /// The fields that findings are grouped by.
    #[serde(skip)]
    pub(crate) grouping: Vec<(String, FieldRef)>,
    /// Differs when the rule decides differently.
    #[serde(skip)]
    pub(crate) digest: u128,
}

impl Rule {
    /// Is it of a kind of which every matching record is a finding by itself?
    pub fn is_single(&self) -> bool {
        matches!(self.kind, RuleKind::Sigma)
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
    /// The places of the others: each of them is asked of every record, so the walk to them is kept short.
    queries: Vec<usize>,
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
        Self::load_through(files, &Pipelines::default())
    }

    /// The same; every Sigma rule goes through the pipelines before it is compiled.
    pub fn load_through(files: Vec<RuleFile>, pipelines: &Pipelines) -> (Self, Vec<RuleError>) {
        let mut reading = Reading::default();
        for file in files {
            for document in Document::read_all(&file.path, &file.text, &mut reading.errors) {
                reading.take(&document);
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

    /// Appends the places of the rules that the record satisfies, in the order of the set.
    pub(crate) fn matching(&self, row: &Row, places: &mut Vec<usize>) {
        self.sigma.matching(row, places);
        for place in self.queries.iter().copied() {
            let rule = &self.rules[place];
            if let RuleKind::Threshold(threshold) = &rule.kind
                && (rule.streams.is_empty() || rule.streams.contains(&row.stream))
                && threshold.query.matches(&row.placed())
            {
                places.push(place);
            }
        }
        places.sort_unstable();
    }
}

/// What each kind of document is read into.
pub(crate) enum Read {
    Threshold(Rule),
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
    fn take(&mut self, document: &Document<'_>) {
        let before = self.errors.len();
        let Some(read) = read(document, &mut self.errors, &mut self.warnings) else {
            if self.errors.len() == before {
                self.errors.push(document.error(&[], "the rule cannot be read"));
            }
            return;
        };
        let (rule, source) = match read {
            Read::Silenced(references) => return self.silenced.extend(references),
            Read::Filter(filter) => return self.filters.push(*filter),
            Read::Threshold(rule) => (rule, None),
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
        let (matcher, refused) = Matcher::compile(sources);
        let refused: HashMap<usize, String> = refused.into_iter().chain(refused_by_pipelines).collect();
        let held = matcher.held();
        let mut kept = Vec::with_capacity(self.rules.len());
        let mut moved = vec![None; self.rules.len()];
        for (place, rule) in self.rules.into_iter().enumerate() {
            if let Some(message) = refused.get(&place) {
                let (file, line, title) = (rule.file, Some(rule.line), Some(rule.title));
                self.errors.push(RuleError { file, line, title, message: message.clone() });
                continue;
            }
            if rule.is_single() && !held.contains(&place) {
                continue; // silenced; the correlation's own error names it
            }
            moved[place] = Some(kept.len());
            kept.push(rule);
        }
        let places = kept.iter().enumerate().map(|(place, rule)| (rule.id.clone(), place)).collect();
        let queries = (0..kept.len()).filter(|place| !kept[*place].is_single()).collect();
        let set =
            RuleSet { rules: kept, places, sigma: matcher.moved(&moved), queries, warnings: self.warnings };
        (set, self.errors)
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
                if let Some(by) = by {
                    self.rules[*place].decides_otherwise(by);
                }
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
fn read(document: &Document<'_>, errors: &mut Vec<RuleError>, warnings: &mut Vec<RuleError>) -> Option<Read> {
    let has = |key: &str| document.root.contains_key(key);
    if has("kind") || has("query") || has("threshold") {
        return threshold::read(document, errors).map(Read::Threshold);
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
