//! Sigma correlations: rules over what other rules match. They are counted by the same engine as Millrace's own kinds:
//! `event_count` and `value_count` are thresholds, `temporal` and `temporal_ordered` sequences, `value_sum`, `value_avg`,
//! `value_median` and `value_percentile` metrics.
//!
//! The rules that a correlation refers to, by id or by name, make no findings of their own unless it says `generate: true`. It
//! may refer to correlations, and to rules of Millrace's own kinds.
//!
//! What is not understood says so when it is read: windows other than sliding ones, and conditions that ask for less (a rule that
//! notices that something is missing is `kind: flatline`).

use super::parse;
use crate::{
    cases,
    document::Document,
    finding::{Level, digest},
    kinds::{
        Fact, Measure, Metric, RuleKind, Sequence, Step, Threshold,
        read::{MAX_COUNT, MAX_WINDOW},
    },
    matching::{Field, number},
    rule::{Rule, RuleError, derived_id},
};
use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, WindowMode,
};
use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, time::Duration};
use xxhash_rust::xxh3::xxh3_64;

/// The most rules that one correlation refers to: what the steps of a sequence can be.
const MOST_RULES: usize = 64;

/// What a correlation is over.
#[derive(Debug, Clone)]
pub(crate) struct Correlates {
    /// Ids or names of rules.
    pub(crate) references: Vec<String>,
    /// Do they make findings of their own all the same?
    pub(crate) generate: bool,
    /// The fields whose values are counted or measured.
    fields: Vec<String>,
    /// What a field is called in the records of each rule.
    aliases: BTreeMap<String, Vec<Option<String>>>,
}

impl Serialize for Correlates {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(&self.references)
    }
}

impl Correlates {
    /// Every name under which a field may be asked for.
    pub(crate) fn names<'c>(&'c self, rule: &'c Rule) -> impl Iterator<Item = &'c str> {
        let groups = rule.group_by.iter().map(|field| field.name.as_str());
        let aliases = self.aliases.values().flatten().flatten().map(String::as_str);
        groups.chain(self.fields.iter().map(String::as_str)).chain(aliases)
    }

    /// What a match of the rule that is referred to at `input` is to the correlation. `value` finds a field's value in it.
    pub(crate) fn fact(
        &self,
        rule: &Rule,
        input: usize,
        value: &dyn Fn(&str) -> Option<String>,
    ) -> Option<(BTreeMap<String, String>, Fact)> {
        let named = |name: &str| {
            let alias = self.aliases.get(name).and_then(|names| names.get(input)?.as_deref());
            value(alias.unwrap_or(name))
        };
        let fact = match &rule.kind {
            RuleKind::Threshold(_) if !self.fields.is_empty() => {
                let values: Option<Vec<String>> = self.fields.iter().map(|name| named(name)).collect();
                Fact::Value(xxh3_64(values?.join("\0").as_bytes()))
            }
            RuleKind::Metric(_) => Fact::Number(number(&named(self.fields.first()?)?)?),
            RuleKind::Sequence(_) => Fact::Steps(1 << input),
            _ => Fact::There,
        };
        let group = rule.group_by.iter().filter_map(|field| Some((field.name.clone(), named(&field.name)?)));
        Some((group.collect(), fact))
    }
}

/// Ids or names that a document refers to whose correlation could not be read: they are kept quiet all the same.
pub(crate) fn references(document: &Document<'_>) -> Vec<String> {
    let correlation = document.root.get("correlation");
    let generate = [correlation.and_then(|says| says.get("generate")), document.root.get("generate")];
    if generate.into_iter().flatten().any(|value| value.as_bool() == Some(true)) {
        return Vec::new();
    }
    match correlation.and_then(|says| says.get("rules")) {
        Some(serde_yaml_ng::Value::Sequence(rules)) => {
            rules.iter().filter_map(|rule| rule.as_str()).map(str::to_owned).collect()
        }
        Some(serde_yaml_ng::Value::String(rule)) => vec![rule.clone()],
        _ => Vec::new(),
    }
}

/// Reads a document that has the key `correlation`.
pub(crate) fn read(document: &Document<'_>, errors: &mut Vec<RuleError>) -> Option<Rule> {
    let before = errors.len();
    if document.root.contains_key("detection") {
        let message = "a correlation refers to rules, it has no `detection`";
        errors.push(document.error(&["detection"], message));
    }
    let cases = cases::read(document, errors);
    let parsed = parse(document, errors)?;
    let Some(rule) = parsed.correlations.into_iter().next() else {
        errors.push(document.error(&["correlation"], "this document holds no correlation"));
        return None;
    };
    let mut wrong = |key: &str, message: String| errors.push(document.error(&["correlation", key], message));
    if rule.rules.is_empty() || rule.rules.len() > MOST_RULES {
        wrong("rules", format!("correlation.rules: 1 to {MOST_RULES} ids or names of rules expected"));
    }
    if rule.window != WindowMode::Sliding {
        let message = "correlation.window: only sliding windows are understood";
        wrong("window", message.to_owned());
    }
    let window = Duration::from_secs(rule.timespan.seconds);
    if window.is_zero() || window > MAX_WINDOW {
        wrong("timespan", "correlation.timespan: more than nothing, and 30d at most expected".to_owned());
    }
    let has_condition = document.root.get("correlation").is_some_and(|says| says.get("condition").is_some());
    let kind = kind(&rule, window, has_condition).map_err(|message| wrong("condition", message)).ok();
    let aliases = rule.aliases.iter().map(|alias| {
        let of = |reference: &String| alias.mapping.get(reference).cloned();
        (alias.alias.clone(), rule.rules.iter().map(of).collect())
    });
    let (kind, fields) = kind.filter(|_| errors.len() == before)?;
    let says = document.root.get("correlation").map(|value| format!("{value:?}")).unwrap_or_default();
    Some(Rule {
        id: rule.id.clone().unwrap_or_else(|| derived_id(document.file, &rule.title)),
        name: rule.name.clone(),
        title: rule.title.clone(),
        description: rule.description.clone().unwrap_or_default(),
        level: rule.level.and_then(|level| level.as_str().parse().ok()).unwrap_or(Level::Medium),
        tags: rule.tags.clone(),
        file: document.file.to_owned(),
        line: document.line,
        streams: Vec::new(),
        kind,
        matches: None,
        correlates: Some(Correlates {
            aliases: aliases.collect(),
            references: rule.rules,
            generate: rule.generate,
            fields,
        }),
        is_silent: false,
        group_by: rule.group_by.iter().map(|name| Field::new(name)).collect(),
        resolve_after: None,
        cases,
        digest: digest(["correlation", says.as_str()].into_iter()),
    })
}

/// What it asks for, as one of our kinds, and the fields that it looks at.
fn kind(
    rule: &CorrelationRule,
    window: Duration,
    has_condition: bool,
) -> Result<(RuleKind, Vec<String>), String> {
    use CorrelationType::{
        EventCount, Temporal, TemporalOrdered, ValueAvg, ValueCount, ValueMedian, ValuePercentile, ValueSum,
    };
    let (predicates, fields, percentile) = match &rule.condition {
        CorrelationCondition::Threshold { predicates, field, percentile } => {
            (predicates.as_slice(), field.clone().unwrap_or_default(), percentile.unwrap_or(50))
        }
        CorrelationCondition::Extended(condition) => {
            if !matches!(rule.correlation_type, Temporal | TemporalOrdered) || !is_all(condition, &rule.rules)
            {
                return Err(
                    "correlation.condition: only `and` over all of its rules is understood as an expression"
                        .to_owned(),
                );
            }
            (&[][..], Vec::new(), 50)
        }
    };
    let needs_field = !matches!(rule.correlation_type, EventCount | Temporal | TemporalOrdered);
    if needs_field && fields.is_empty() {
        return Err("correlation.condition.field: the name of a field expected".to_owned());
    }
    match rule.correlation_type {
        EventCount | ValueCount => {
            let fields = if needs_field { fields } else { Vec::new() };
            let distinct = fields.first().map(|name| Field::new(name));
            let count = at_least(predicates)?;
            Ok((RuleKind::Threshold(Threshold { count, window, distinct, says_more_than: false }), fields))
        }
        Temporal | TemporalOrdered => {
            let all = rule.rules.len() as u64;
            if rule.rules.len() < 2 {
                return Err("correlation.rules: two rules at least expected".to_owned());
            }
            if has_condition && !predicates.is_empty() && at_least(predicates)? != all {
                return Err(format!(
                    "correlation.condition: all of its {all} rules must match; `gte: {all}` or nothing expected"
                ));
            }
            let chain = vec![Step { count: 1, not: false }; rule.rules.len()];
            let ordered = rule.correlation_type == TemporalOrdered;
            Ok((
                RuleKind::Sequence(Sequence { steps: Vec::new(), chain, within: window, ordered }),
                Vec::new(),
            ))
        }
        ValueSum | ValueAvg | ValuePercentile | ValueMedian => {
            let measure = match rule.correlation_type {
                ValueSum => Measure::Sum,
                ValueAvg => Measure::Avg,
                ValueMedian => Measure::Percentile(0.5),
                _ if percentile > 100 => {
                    return Err("correlation.condition.percentile: 0 to 100 expected".to_owned());
                }
                _ => Measure::Percentile(percentile as f64 / 100.0),
            };
            let [(operator, bound)] = predicates else {
                return Err(ONE_BOUND.to_owned());
            };
            let bound = Some(*bound as f64);
            let (above, below) = match operator {
                ConditionOperator::Gt | ConditionOperator::Gte => (bound, None),
                ConditionOperator::Lt | ConditionOperator::Lte => (None, bound),
                ConditionOperator::Eq | ConditionOperator::Neq => return Err(ONE_BOUND.to_owned()),
            };
            let inclusive = matches!(operator, ConditionOperator::Gte | ConditionOperator::Lte);
            let field = fields.first().map(|name| Field::new(name));
            let metric =
                Metric { window, measure, field, share_of: None, above, below, inclusive, at_least: 1 };
            Ok((RuleKind::Metric(metric), fields))
        }
    }
}

const ONE_BOUND: &str = "correlation.condition: one of gt, gte, lt and lte expected";

/// The number that is asked for.
fn at_least(predicates: &[(ConditionOperator, u64)]) -> Result<u64, String> {
    let count = match predicates {
        [(ConditionOperator::Gte, count)] => *count,
        [(ConditionOperator::Gt, count)] => count.saturating_add(1),
        _ => {
            return Err(
                "correlation.condition: one of gt and gte expected; what is missing is noticed by `kind: flatline`"
                    .to_owned(),
            );
        }
    };
    if (1..=MAX_COUNT).contains(&count) {
        Ok(count)
    } else {
        Err("correlation.condition: 1 to 100000 expected".to_owned())
    }
}

/// Is it `a and b and …` over all of these?
fn is_all(condition: &ConditionExpr, rules: &[String]) -> bool {
    fn gather<'c>(condition: &'c ConditionExpr, names: &mut Vec<&'c str>) -> bool {
        match condition {
            ConditionExpr::Identifier(name) => {
                names.push(name);
                true
            }
            ConditionExpr::And(terms) => terms.iter().all(|term| gather(term, names)),
            _ => false,
        }
    }
    let mut names = Vec::new();
    gather(condition, &mut names) && rules.iter().all(|rule| names.contains(&rule.as_str()))
}

#[cfg(test)]
mod tests;
