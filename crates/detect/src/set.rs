//! Sets of rules, read from files: which rules a record satisfies, and which correlations are over which rules.
//!
//! **Invariant:** a rule that is wrong costs itself and nothing else: every other rule of the same files is in the set.

use crate::{
    across::Meeting,
    document::Document,
    kinds::{RuleKind, read::ReadFile},
    matching::{Asked, Field},
    needles::Needles,
    ours,
    rule::{Rule, RuleError, RuleFile},
    sigma::{self, Filter, Matcher, Pipelines},
};
use millrace_model::{Row, StreamName, closest};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    path::Path,
    time::{Duration, Instant},
};

/// Rules that are ready to be tested against records. Cheap to share, never changed.
#[derive(Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    places: HashMap<String, usize>,
    sigma: Matcher,
    /// The correlations over each rule, and the number under which they refer to it.
    correlations: HashMap<usize, Vec<(usize, usize)>>,
    /// What leads to the others.
    needles: Needles,
    /// Where the groups of each come together.
    meeting: Meeting,
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
        Reading::read(files, read).finish(pipelines)
    }

    /// The same of one rule, by its id, and of those that it refers to.
    pub fn load_one(
        files: Vec<RuleFile>,
        pipelines: &Pipelines,
        read: &mut ReadFile<'_>,
        id: &str,
    ) -> Option<Self> {
        let mut reading = Reading::read(files, read);
        reading.keep_only(id);
        let (set, _) = reading.finish(pipelines);
        set.get(id).is_some().then_some(set)
    }

    /// Of rules that ask records by a query, and refer to no others.
    pub(crate) fn of(rules: Vec<Rule>) -> Self {
        Self::made_of(rules, Matcher::default(), HashMap::new(), Vec::new())
    }

    fn made_of(
        rules: Vec<Rule>,
        sigma: Matcher,
        correlations: HashMap<usize, Vec<(usize, usize)>>,
        warnings: Vec<RuleError>,
    ) -> Self {
        let places = rules.iter().enumerate().map(|(place, rule)| (rule.id.clone(), place)).collect();
        let queries = rules.iter().enumerate();
        let queries = queries.filter_map(|(place, rule)| Some((place, &rule.matches.as_ref()?.query)));
        let (needles, meeting) = (Needles::of(queries), Meeting::of(&rules, &correlations));
        Self { rules, places, sigma, correlations, needles, meeting, warnings }
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

    /// The slice, of so many, in which a group of a rule is decided; `None`: within its partition.
    pub(crate) fn slice(&self, place: usize, values: &BTreeMap<String, String>, of: u32) -> Option<u32> {
        self.meeting.slice(place, &self.rules[place], values, of)
    }

    /// Are its groups decided within partitions, but for records that no host sent?
    pub(crate) fn within(&self, place: usize) -> bool {
        self.meeting.within(place, &self.rules[place])
    }

    /// What gives the fields of a record, by our names or Sigma's.
    pub(crate) fn values<'a>(&'a self, row: &'a Row) -> impl Fn(&str) -> Option<String> + use<'a> {
        let (asked, seen) = (Asked::new(row, &[]), self.sigma.see(row));
        move |name| asked.text(&Field::new(name)).or_else(|| seen.text(name))
    }

    /// Appends the places of the rules that the record satisfies, in the order of the set. What tells of alerts is watched by rules
    /// that name its stream alone: others would raise alerts of alerts, without an end.
    pub(crate) fn matching(&self, row: &Row, places: &mut Vec<usize>) {
        let tells_of_alerts = row.stream.as_str() == StreamName::ALERTS;
        if !tells_of_alerts {
            self.sigma.matching(row, places);
        }
        let led_to = self.needles.lead_to(&row.record.body);
        places.extend(led_to.into_iter().filter(|place| self.rules[*place].asks_for(row)));
        places.sort_unstable();
    }

    /// Tries the rules whose query a record may match, one after the other, and tells how long each took, by a clock. Sigma's
    /// detections are tried all at once, and none of them has a time of its own.
    pub fn time(&self, row: &Row, clock: impl Fn() -> Instant, mut tell: impl FnMut(&Rule, Duration)) {
        for rule in self.needles.lead_to(&row.record.body).into_iter().map(|place| &self.rules[place]) {
            let began = clock();
            let asked = rule.asks_for(row).then(|| rule.fact(row));
            let took = clock().duration_since(began);
            std::hint::black_box(asked);
            tell(rule, took);
        }
    }
}

/// What each kind of document is read into.
pub(crate) enum Read {
    Ours(Box<Rule>),
    Sigma(Box<Rule>, Box<sigma::Source>),
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
    fn read(files: Vec<RuleFile>, read: &mut ReadFile<'_>) -> Self {
        let mut reading = Self::default();
        for file in files {
            let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
            let mut beside = |name: &str| read(&folder.join(name).display().to_string());
            for document in Document::read_all(&file.path, &file.text, &mut reading.errors) {
                reading.take(&document, &mut beside);
            }
        }
        reading
    }

    /// Forgets all but one rule, and those that it refers to.
    fn keep_only(&mut self, id: &str) {
        let mut wanted: HashSet<String> = HashSet::from([id.to_owned()]);
        loop {
            let is_wanted = |rule: &&Rule| rule.names().any(|name| wanted.contains(name));
            let over = self.rules.iter().filter(is_wanted).filter_map(|rule| rule.correlates.as_ref());
            let more: Vec<String> = over.flat_map(|over| over.references.iter().cloned()).collect();
            let before = wanted.len();
            wanted.extend(more);
            if wanted.len() == before {
                break;
            }
        }
        let mut moved = HashMap::new();
        let mut kept = Vec::new();
        for (place, rule) in std::mem::take(&mut self.rules).into_iter().enumerate() {
            if rule.names().any(|name| wanted.contains(name)) {
                moved.insert(place, kept.len());
                kept.push(rule);
            }
        }
        self.rules = kept;
        self.sources = std::mem::take(&mut self.sources)
            .into_iter()
            .filter_map(|(place, source)| Some((*moved.get(&place)?, source)))
            .collect();
    }

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
            Read::Sigma(rule, source) => (*rule, Some(source)),
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
        let set = RuleSet::made_of(kept, matcher.moved(&moved), correlations, self.warnings);
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
                    names.extend(rule.names().map(|name| (name, place)));
                }
            }
            let (mut inputs, mut wrong) = (Vec::new(), Vec::new());
            for (place, rule) in self.rules.iter().enumerate() {
                let Some(over) = rule.correlates.as_ref().filter(|_| !refused.contains_key(&place)) else {
                    continue;
                };
                for (number, reference) in over.references.iter().enumerate() {
                    match names.get(reference.as_str()) {
                        Some(input) if self.rules[*input].scheduled().is_some() => wrong.push((
                            place,
                            format!("{reference:?} is a scheduled query: it matches no records that could be counted"),
                        )),
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

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests;
