//! What follows from verdicts: what was found to be a false positive is not told of again, its like is taken less
//! seriously, and each rule has a precision. Pure.
//!
//! **Invariant:** a critical alert is never suppressed, only demoted.

use millrace_catalogue::{Alert, Demoted, Marks, Verdict, VerdictKind, VerdictScope};
use millrace_detect::Level;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// Groups with so many values in common, of those of either, are alike.
const ALIKE: f64 = 0.8;

/// Notes in `marks` what the false positives that hold now say of an alert.
pub fn judge(alert: &Alert, false_positives: &[Verdict], marks: &mut Marks) {
    marks.suppressed_by = None;
    marks.demoted = None;
    let of_rule = || false_positives.iter().filter(|verdict| verdict.rule_id == alert.rule_id);
    let exact = of_rule().find(|verdict| match verdict.scope {
        VerdictScope::This => false,
        VerdictScope::Fingerprint => verdict.fingerprint == alert.fingerprint,
        VerdictScope::Rule => true,
    });
    let critical = alert.level == Level::Critical.name();
    match exact {
        Some(verdict) if !critical => marks.suppressed_by = Some(verdict.alert_id.clone()),
        Some(verdict) => marks.demoted = demoted(alert, verdict),
        None => {
            let alike = of_rule().find(|verdict| likeness(&verdict.group, &alert.group) >= ALIKE);
            marks.demoted = alike.and_then(|verdict| demoted(alert, verdict));
        }
    }
}

fn demoted(alert: &Alert, verdict: &Verdict) -> Option<Demoted> {
    let level: Level = alert.level.parse().ok()?;
    let below = Level::ALL.iter().rev().find(|below| **below < level)?;
    Some(Demoted { from: alert.level.clone(), to: below.to_string(), similar_to: verdict.alert_id.clone() })
}

/// Jaccard's index of two groups, each taken as a set of values of fields. Two that have none are not alike: nothing says so.
fn likeness(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> f64 {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (a.iter().collect(), b.iter().collect());
    let all = a.union(&b).count();
    if all == 0 { 0.0 } else { a.intersection(&b).count() as f64 / all as f64 }
}

/// How often a rule was right, as far as people have said.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Precision {
    /// Alerts that were what it looks for.
    pub true_positive: u64,
    /// Those that were not.
    pub false_positive: u64,
    /// Those that were, and did no harm; they are not in its precision.
    pub benign: u64,
    /// The expected share of its alerts that are what it looks for; 0.5 where nobody has said anything.
    pub precision: f64,
    /// That share is at least this, with a probability of 90 %.
    pub at_least: f64,
}

impl Precision {
    /// By what people have said.
    pub fn of(counts: &BTreeMap<VerdictKind, u64>) -> Self {
        let count = |kind| counts.get(&kind).copied().unwrap_or(0);
        let (right, wrong) = (count(VerdictKind::TruePositive), count(VerdictKind::FalsePositive));
        Self {
            true_positive: right,
            false_positive: wrong,
            benign: count(VerdictKind::Benign),
            precision: (right + 1) as f64 / (right + wrong + 2) as f64,
            at_least: quantile(0.1, right + 1, wrong + 1),
        }
    }
}

/// The point below which Beta(a, b) has the share `q`.
fn quantile(q: f64, a: u64, b: u64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if below(middle, a, b) < q { low = middle } else { high = middle }
    }
    low
}

/// The share of Beta(a, b) below `x`. For whole a and b that is how likely at least a of a+b-1 throws succeed which do so
/// with the probability x. a is at least 1.
fn below(x: f64, a: u64, b: u64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let throws = a + b - 1;
    let odds = (x / (1.0 - x)).ln();
    // The logarithm of the probability of exactly so many.
    let mut exactly = throws as f64 * (1.0 - x).ln();
    let mut sum = 0.0;
    for successes in 1..=throws {
        exactly += ((throws - successes + 1) as f64 / successes as f64).ln() + odds;
        if successes >= a {
            sum += exactly.exp();
        }
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_catalogue::AlertState;
    use millrace_model::Timestamp;

    fn group(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn alert(level: &str, fingerprint: &str, values: &[(&str, &str)]) -> Alert {
        Alert {
            id: fingerprint.to_owned(),
            fingerprint: fingerprint.to_owned(),
            rule_id: "r".into(),
            title: "R".into(),
            level: level.into(),
            state: AlertState::Firing,
            group: group(values),
            first: Timestamp(0),
            last: Timestamp(0),
            count: 1,
            evidence: Vec::new(),
            resolved_at: None,
        }
    }

    fn false_positive(of: &Alert, scope: VerdictScope) -> Verdict {
        Verdict {
            alert_id: of.id.clone(),
            rule_id: of.rule_id.clone(),
            fingerprint: of.fingerprint.clone(),
            group: of.group.clone(),
            verdict: VerdictKind::FalsePositive,
            reason: String::new(),
            scope,
            expires: None,
            given: Timestamp(0),
            given_by: String::new(),
        }
    }

    fn marks(alert: &Alert, verdicts: &[Verdict]) -> (Option<String>, Option<String>) {
        let mut marks = Marks { suppressed_by: Some("before".into()), ..Marks::default() };
        judge(alert, verdicts, &mut marks);
        (marks.suppressed_by, marks.demoted.map(|demoted| demoted.to))
    }

    #[test]
    fn false_positives_suppress_the_same_and_demote_the_like() {
        let five = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")];
        let said = alert("high", "f", &five[..4]);
        let verdict = [false_positive(&said, VerdictScope::Fingerprint)];
        let nothing = (None, None);
        assert_eq!(marks(&said, &verdict), (Some("f".into()), None));
        assert_eq!(marks(&said, &[]), nothing, "a verdict that is taken back is as if it had never been");
        assert_eq!(marks(&alert("high", "g", &five), &verdict), (None, Some("medium".into())));
        assert_eq!(marks(&alert("high", "g", &five[..3]), &verdict), nothing, "three of four are not enough");
        assert_eq!(marks(&alert("informational", "g", &five), &verdict), nothing, "there is nothing below");
        assert_eq!(
            marks(
                &alert("high", "g", &[]),
                &[false_positive(&alert("high", "h", &[]), VerdictScope::Fingerprint)]
            ),
            nothing
        );
        let other = Alert { rule_id: "other".into(), ..said.clone() };
        assert_eq!(marks(&other, &verdict), nothing);

        let whole = [false_positive(&said, VerdictScope::Rule)];
        assert_eq!(marks(&alert("low", "z", &[]), &whole), (Some("f".into()), None));
        for verdicts in [&verdict, &whole] {
            let critical = alert("critical", "f", &five[..4]);
            assert_eq!(marks(&critical, verdicts), (None, Some("high".into())), "never silent");
        }
    }

    #[test]
    fn precision_is_careful_where_little_was_said() {
        let of = |right, wrong| {
            Precision::of(&BTreeMap::from([
                (VerdictKind::TruePositive, right),
                (VerdictKind::FalsePositive, wrong),
            ]))
        };
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        // Beta(1, 1) is even; of Beta(n, 1) the tenth is at 0.1^(1/n); Beta(2, 2) is 3x²-2x³.
        close(of(0, 0).at_least, 0.1);
        close(of(9, 0).at_least, 0.1f64.powf(0.1));
        close(of(1, 1).at_least, 0.195_800);
        close(of(0, 9).at_least, 1.0 - 0.9f64.powf(0.1));
        close(of(3, 1).precision, 4.0 / 6.0);
        let many = of(9_000, 1_000);
        assert!(many.at_least > 0.895 && many.at_least < many.precision, "{many:?}");
        assert!(of(30, 10).at_least > of(3, 1).at_least);
    }
}
