//! What of a rule can be turned so that it finds less: the one number that decides how much is too much.

use crate::{
    document::Document,
    kinds::RuleKind,
    rule::{Rule, RuleFile},
    set::RuleSet,
};
use serde::Serialize;

/// A number of a rule. Turned, the rule finds less: whatever it finds then, it would have found before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dial {
    /// Where it stands in the rule: `threshold.count`.
    pub key: &'static str,
    /// What it is.
    pub value: f64,
    /// It is a whole number.
    pub is_whole: bool,
    /// It is turned upward; else downward.
    pub up: bool,
}

/// One step of a dial that is no whole number is this part of its value.
const STEP: f64 = 0.01;

impl Dial {
    /// The value so many steps on: of whole numbers one each, of others a hundredth each, growing; to four digits.
    #[must_use]
    pub fn turned(&self, steps: u32) -> f64 {
        if self.is_whole {
            return if self.up { self.value + f64::from(steps) } else { self.value - f64::from(steps) };
        }
        let scale = if self.value == 0.0 { 1.0 } else { self.value.abs() };
        let by = scale * ((1.0 + STEP).powi(i32::try_from(steps).unwrap_or(i32::MAX)) - 1.0);
        // Away from where it stood: rounded the other way it could be the value before.
        let unit = 10f64.powf((scale + by).log10().floor() - 3.0);
        if self.up {
            ((self.value + by) / unit).ceil() * unit
        } else {
            ((self.value - by) / unit).floor() * unit
        }
    }

    /// As it is written in a rule.
    pub fn written(&self, value: f64) -> String {
        if self.is_whole {
            return format!("{value:.0}");
        }
        let text = format!("{value:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Rule {
    /// What of it can be turned. Correlations over other rules, and rules that decide otherwise than by how much, have none.
    pub fn dials(&self) -> Vec<Dial> {
        if self.is_correlation() {
            return Vec::new();
        }
        let dial = |key, value, up| Dial { key, value, is_whole: false, up };
        match &self.kind {
            RuleKind::Threshold(threshold) => {
                let (key, value) = if threshold.says_more_than {
                    ("cardinality.more_than", threshold.count.saturating_sub(1))
                } else {
                    ("threshold.count", threshold.count)
                };
                vec![Dial { is_whole: true, ..dial(key, value as f64, true) }]
            }
            RuleKind::Spike(spike) => vec![dial("spike.height", spike.height, true)],
            RuleKind::Metric(metric) => {
                let (above, below) = if metric.share_of.is_some() {
                    ("percentage.above", "percentage.below")
                } else {
                    ("metric.above", "metric.below")
                };
                let above = metric.above.map(|value| dial(above, value, true));
                above.into_iter().chain(metric.below.map(|value| dial(below, value, false))).collect()
            }
            RuleKind::Baseline(baseline) => vec![dial("baseline.deviation", baseline.deviation, true)],
            _ => Vec::new(),
        }
    }

    /// The line of its file on which a dial stands, or the mapping that it stands in.
    pub fn line_of(&self, file: &RuleFile, dial: &Dial) -> usize {
        let path: Vec<&str> = dial.key.split('.').collect();
        let documents = Document::read_all(&file.path, &file.text, &mut Vec::new());
        let own = documents.iter().find(|document| document.line == self.line);
        own.and_then(|document| document.error(&path, "").line).unwrap_or(self.line)
    }

    fn turn(&mut self, dial: &Dial, value: f64) {
        match &mut self.kind {
            RuleKind::Threshold(threshold) => {
                threshold.count = value as u64 + u64::from(threshold.says_more_than);
            }
            RuleKind::Spike(spike) => spike.height = value,
            RuleKind::Metric(metric) if dial.up => metric.above = Some(value),
            RuleKind::Metric(metric) => metric.below = Some(value),
            RuleKind::Baseline(baseline) => baseline.deviation = value,
            _ => {}
        }
    }
}

impl RuleSet {
    /// The same rule several times, with a dial at each of these values: the id of each is its place among them. They are tried
    /// together, on one way through the records. `None`: there is no such rule of our own here.
    pub fn turned(&self, id: &str, dial: &Dial, values: &[f64]) -> Option<Self> {
        let rule = self.get(id).filter(|rule| rule.matches.is_some())?;
        let turned = values.iter().enumerate().map(|(place, value)| {
            let mut rule = Rule { id: place.to_string(), ..rule.clone() };
            rule.is_silent = false;
            rule.turn(dial, *value);
            rule
        });
        Some(Self::of(turned.collect()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn load(text: &str) -> RuleSet {
        let (set, errors) = RuleSet::load(vec![RuleFile { path: "a.yml".into(), text: text.into() }]);
        assert!(errors.is_empty(), "{errors:?}");
        set
    }

    /// Key, value and line of the dials of a rule.
    fn dials(text: &str) -> Vec<(&'static str, f64, usize)> {
        let text = format!("# head\ntitle: t\nid: t\nquery: error\n{text}\n");
        let set = load(&text);
        let rule = &set.rules()[0];
        let file = RuleFile { path: "a.yml".into(), text: text.clone() };
        rule.dials().into_iter().map(|dial| (dial.key, dial.value, rule.line_of(&file, &dial))).collect()
    }

    #[test]
    fn each_kind_says_what_can_be_turned() {
        for (text, expected) in [
            ("kind: threshold\nthreshold:\n  window: 1m\n  count: 8", vec![("threshold.count", 8.0, 8)]),
            (
                "kind: cardinality\ncardinality: { field: user, more_than: 4, window: 5m }",
                vec![("cardinality.more_than", 4.0, 6)],
            ),
            ("kind: cardinality\ncardinality: { field: user, fewer_than: 4, window: 5m }", vec![]),
            ("kind: spike\nspike: { window: 5m, height: 3 }", vec![("spike.height", 3.0, 6)]),
            (
                "kind: metric\nmetric: { field: ms, is: p95, above: 100, below: 2, window: 5m }",
                vec![("metric.above", 100.0, 6), ("metric.below", 2.0, 6)],
            ),
            (
                "kind: percentage\npercentage: { of: bad, above: 5, window: 5m }",
                vec![("percentage.above", 5.0, 6)],
            ),
            ("kind: baseline\nbaseline: { interval: 5m }", vec![("baseline.deviation", 6.0, 5)]),
            ("kind: flatline\nflatline: { window: 5m }", vec![]),
        ] {
            let expected: Vec<_> = expected;
            assert_eq!(dials(text).len(), expected.len(), "{text}");
            for (found, expected) in dials(text).into_iter().zip(expected) {
                assert_eq!((found.0, found.1), (expected.0, expected.1));
                assert!(found.2.abs_diff(expected.2) <= 1, "{found:?} {expected:?}");
            }
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the same number, to its last digit")]
    fn a_dial_only_goes_on() {
        let whole = Dial { key: "threshold.count", value: 8.0, is_whole: true, up: true };
        assert_eq!((whole.turned(1), whole.turned(40)), (9.0, 48.0));
        for (value, up) in [
            (3.0, true),
            (0.0, true),
            (-5.0, true),
            (1500.0, true),
            (3.0, false),
            (0.0, false),
            (0.002, false),
        ] {
            let dial = Dial { key: "metric.above", value, is_whole: false, up };
            let mut last = value;
            for steps in 1..700 {
                let turned = dial.turned(steps);
                assert!(if up { turned > last } else { turned < last }, "{dial:?} {steps}: {turned} {last}");
                assert_eq!(dial.written(turned).parse::<f64>().unwrap(), (turned * 1e6).round() / 1e6);
                last = turned;
            }
        }
        let height = Dial { key: "spike.height", value: 3.0, is_whole: false, up: true };
        assert_eq!((height.written(height.turned(1)).as_str(), height.written(3.0).as_str()), ("3.03", "3"));
    }

    #[test]
    fn a_turned_rule_finds_less_of_the_same() {
        let set =
            load("title: t\nid: t\nkind: threshold\nquery: error\nthreshold: { count: 2, window: 1m }\n");
        let dial = set.rules()[0].dials().remove(0);
        let turned = set.turned("t", &dial, &[2.0, 3.0, 9.0]).unwrap();
        let counts: Vec<u64> = turned
            .rules()
            .iter()
            .map(|rule| match &rule.kind {
                RuleKind::Threshold(threshold) => threshold.count,
                _ => 0,
            })
            .collect();
        assert_eq!((counts, turned.get("1").is_some()), (vec![2, 3, 9], true));
        assert!(set.turned("nobody", &dial, &[2.0]).is_none());
    }
}
