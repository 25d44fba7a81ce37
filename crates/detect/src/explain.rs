//! Rules in words: what they look for, when they fire, and when that is over.

use crate::{
    kinds::{Measure, RuleKind},
    matching::Field,
    rule::Rule,
};
use std::time::Duration;

impl Rule {
    /// What it looks for, in a few lines of words.
    pub fn explain(&self) -> String {
        let mut lines = vec![format!("{} ({}, {})", self.title, self.kind.name(), self.level)];
        let about = match (&self.matches, &self.correlates) {
            (Some(matches), _) if *matches.query.root() == millrace_filter::Expr::All => {
                "all records".to_owned()
            }
            (Some(matches), _) => format!("records that match {}", matches.query),
            (None, Some(over)) => format!("records that the rules {} match", over.references.join(", ")),
            (None, None) => match self.scheduled() {
                Some(scheduled) => {
                    format!("what is made of the last {} by {}", span(scheduled.range), scheduled.text)
                }
                None => "records of its logsource that its detection matches".to_owned(),
            },
        };
        let streams: Vec<&str> = self.streams.iter().map(millrace_model::StreamName::as_str).collect();
        let streams = if streams.is_empty() {
            String::new()
        } else {
            format!(" in the streams {}", streams.join(", "))
        };
        lines.push(format!("  looks at     {about}{streams}"));
        lines.push(format!("  fires when   {}", self.condition()));
        let names: Vec<&str> = self.group_by.iter().map(|field| field.name.as_str()).collect();
        let each = if names.is_empty() {
            "all of them together".to_owned()
        } else {
            format!("each {}", names.join(", "))
        };
        lines.push(format!("  counts for   {each}"));
        if self.scheduled().is_some() && self.resolve_after.is_none() {
            lines.push("  is over      when a run finds no such row".to_owned());
        }
        if let Some(quiet) = self.resolve_after {
            lines.push(format!("  is over      when that has not been so for {}", span(quiet)));
        }
        for pattern in self.matches.iter().flat_map(|matches| &matches.extract) {
            lines.push(format!("  reads        {}", pattern.as_str()));
        }
        if self.is_silent {
            lines.push("  is silent    a correlation counts what it finds".to_owned());
        }
        if !self.tags.is_empty() {
            lines.push(format!("  tags         {}", self.tags.join(", ")));
        }
        lines.extend(self.description.lines().map(|line| format!("  {line}")));
        lines.push(String::new());
        lines.join("\n")
    }

    fn condition(&self) -> String {
        let names = |fields: &[Field]| {
            fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(" and ")
        };
        match &self.kind {
            RuleKind::Sigma => "there is one; more on the same host within 5m are the same".to_owned(),
            RuleKind::Threshold(threshold) => {
                let what = counted(threshold.distinct.as_ref());
                format!(
                    "{} or more {what} happen within less than {}",
                    threshold.count,
                    span(threshold.window)
                )
            }
            RuleKind::Flatline(flatline) => {
                let what = counted(flatline.distinct.as_ref());
                let time = flatline
                    .window
                    .map_or_else(|| "three times the longest silence that was seen before".to_owned(), span);
                match flatline.fewer_than {
                    1 => format!("none {what} is heard for {time}"),
                    count => format!("fewer than {count} {what} are heard for {time}"),
                }
            }
            RuleKind::Spike(spike) => {
                let what = match &spike.field {
                    Some(field) => format!("{} of {}", measure(spike.measure), field.name),
                    None => "their number".to_owned(),
                };
                let how = match (spike.up, spike.down) {
                    (true, true) => "times as much, or as little,",
                    (false, true) => "times less",
                    _ => "times as much",
                };
                format!(
                    "{what} within {} is {} {how} as in the {} before",
                    span(spike.window),
                    spike.height,
                    span(spike.window)
                )
            }
            RuleKind::Metric(metric) => {
                let what = match (&metric.field, &metric.share_of) {
                    (Some(field), _) => format!("{} of {}", measure(metric.measure), field.name),
                    (None, Some(of)) => format!("the share, in percent, of those that match {of}"),
                    (None, None) => "their number".to_owned(),
                };
                let or = if metric.inclusive { "or equal to " } else { "" };
                let bounds: Vec<String> = metric
                    .above
                    .iter()
                    .map(|bound| format!("above {or}{bound}"))
                    .chain(metric.below.iter().map(|bound| format!("below {or}{bound}")))
                    .collect();
                format!(
                    "{what} is {} within {}, of {} records at least",
                    bounds.join(", or "),
                    span(metric.window),
                    metric.at_least
                )
            }
            RuleKind::NewTerm(term) => {
                let fields: Vec<String> = term.fields.iter().map(|fields| names(fields)).collect();
                let rare = match term.seen_at_most {
                    0 => String::new(),
                    count => format!(" more than {count} times"),
                };
                format!(
                    "a value of {} comes that was not there{rare} in the {} before; the first {} only gather values",
                    fields.join(", or of "),
                    span(term.history),
                    span(term.learn)
                )
            }
            RuleKind::Change(change) => {
                let within =
                    change.within.map_or_else(String::new, |within| format!(" within {}", span(within)));
                format!("{} is another than in the one before{within}", names(&change.fields))
            }
            RuleKind::List(list) => {
                let how = if list.deny { "is" } else { "is not" };
                format!("{} {how} on a list of {} entries", list.field.name, list.count)
            }
            RuleKind::Sequence(sequence) if sequence.steps.is_empty() => {
                let order = if sequence.ordered { "in that order" } else { "in any order" };
                format!("each of those rules matches, {order}, within less than {}", span(sequence.within))
            }
            RuleKind::Sequence(sequence) => {
                let steps = sequence.steps.iter().map(|(query, step)| match (step.not, step.count) {
                    (true, _) => format!("no {query}"),
                    (false, 1) => query.to_string(),
                    (false, count) => format!("{count} times ({query})"),
                });
                let joint = if sequence.ordered { ", then " } else { ", and " };
                format!(
                    "{} within less than {}",
                    steps.collect::<Vec<_>>().join(joint),
                    span(sequence.within)
                )
            }
            RuleKind::Scheduled(scheduled) => format!(
                "there is a row when it is asked, {}, {} late",
                scheduled.schedule,
                span(scheduled.delay)
            ),
            RuleKind::Baseline(baseline) => {
                let how = match (baseline.up, baseline.down) {
                    (true, false) => "more",
                    (false, true) => "fewer",
                    _ => "more, or fewer,",
                };
                format!(
                    "there are {} deviations {how} of them in {} than is usual at that hour of the week, and {} at least",
                    baseline.deviation,
                    span(baseline.interval),
                    baseline.at_least
                )
            }
        }
    }
}

/// What is counted: records, or different values of a field.
fn counted(distinct: Option<&Field>) -> String {
    distinct.map_or_else(|| "of them".to_owned(), |field| format!("different values of {}", field.name))
}

fn measure(measure: Measure) -> String {
    match measure {
        Measure::Count => "the number".to_owned(),
        Measure::Share => "the share".to_owned(),
        Measure::Avg => "the mean".to_owned(),
        Measure::Sum => "the sum".to_owned(),
        Measure::Min => "the least".to_owned(),
        Measure::Max => "the greatest".to_owned(),
        Measure::Percentile(share) => format!("the {}th percentile", (share * 10_000.0).round() / 100.0),
    }
}

/// As rules write it.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let mut parts = Vec::new();
    let mut left = seconds;
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if left >= length {
            parts.push(format!("{}{unit}", left / length));
            left %= length;
        }
    }
    if time.subsec_millis() > 0 || parts.is_empty() {
        parts.push(format!("{}ms", time.subsec_millis()));
    }
    parts.concat()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::{RuleSet, starter};

    #[test]
    fn rules_are_told_in_words() {
        let (rules, _) = RuleSet::load(starter());
        for rule in rules.rules() {
            let text = rule.explain();
            assert!(text.starts_with(&rule.title) && text.contains("fires when"), "{text}");
        }
        let rule = rules.rules().iter().find(|rule| rule.title == "SSH brute force").unwrap();
        let text = rule.explain();
        assert!(text.contains("8 or more of them happen within less than 2m"), "{text}");
        assert!(text.contains("each source_ip") && text.contains("not been so for 10m"), "{text}");
    }

    #[test]
    fn spans_are_written_as_rules_write_them() {
        for (seconds, text) in [(90, "1m30s"), (86_400, "1d"), (7200, "2h"), (0, "0ms")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
