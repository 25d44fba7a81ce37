//! Proposals: the least change of a rule's number that would have silenced what people found to be false positives, and kept all that
//! they found to be true. Each is tried over history by the very engine that watches the stream. Nothing is changed: rules are files,
//! and whoever answers for one turns it.

use super::judge::Precision;
use millrace_catalogue::{Alert, VerdictKind};
use millrace_detect::{Dial, Finding, RuleSet};
use serde::Serialize;
use std::{collections::BTreeMap, future::Future};
use utoipa::ToSchema;

/// So many values are tried on one way through the records.
const AT_ONCE: u32 = 16;
/// A dial is turned so many steps at most: three ways through the records find the least.
const MAX_STEPS: u32 = 4_095;
/// The most for a dial that is no whole number: a thousand times its value.
const MAX_GROWTH: u32 = 700;

/// An alert, and what somebody found it to be.
#[derive(Debug, Clone)]
pub struct Marked {
    /// It.
    pub alert: Alert,
    /// What it was.
    pub verdict: VerdictKind,
}

/// A change that would have done.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Proposal {
    /// What is to be turned: `threshold.count`.
    #[schema(value_type = String)]
    pub key: &'static str,
    /// What it is now.
    pub from: String,
    /// What it would be.
    pub to: String,
    /// The alerts that there would not have been.
    pub silenced: Vec<String>,
    /// The true ones that there would have been all the same.
    pub kept: Vec<String>,
    /// How often the rule would have fired as it is.
    pub findings_before: u64,
    /// How often it would have fired then.
    pub findings_after: u64,
    /// Of the marked alerts, as it is.
    pub precision_before: Precision,
    /// Of those that there would have been.
    pub precision_after: Precision,
}

/// What came of one dial.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It would have done.
    Found(Box<Proposal>),
    /// It would not, and why.
    Nothing(String),
}

/// What is looked for, and what each way through the records says of it.
struct Marks {
    right: Vec<Alert>,
    wrong: Vec<Alert>,
    benign: u64,
}

/// A rule that is turned, and a way through the records.
struct Turning<'r, F> {
    rules: &'r RuleSet,
    id: &'r str,
    dial: &'r Dial,
    replay: F,
}

impl<F> Turning<'_, F> {
    /// What the rule would have found at each of these values. `None`: it cannot be turned.
    async fn found_at<E, Found>(&mut self, values: &[f64]) -> Result<Option<Vec<Vec<Finding>>>, E>
    where
        F: FnMut(RuleSet) -> Found,
        Found: Future<Output = Result<Vec<Finding>, E>>,
    {
        let Some(turned) = self.rules.turned(self.id, self.dial, values) else { return Ok(None) };
        let mut of_each = vec![Vec::new(); values.len()];
        for finding in (self.replay)(turned).await? {
            let place = finding.rule_id.parse::<usize>().ok();
            if let Some(own) = place.and_then(|place| of_each.get_mut(place)) {
                own.push(finding);
            }
        }
        Ok(Some(of_each))
    }
}

/// Turns one dial. `replay` gives all that rules would have found in the time that is looked at.
///
/// # Errors
/// Those of `replay`.
pub async fn propose<E, Found>(
    rules: &RuleSet,
    id: &str,
    dial: &Dial,
    marked: &[Marked],
    replay: impl FnMut(RuleSet) -> Found,
) -> Result<Outcome, E>
where
    Found: Future<Output = Result<Vec<Finding>, E>>,
{
    let mut turning = Turning { rules, id, dial, replay };
    let nothing = |why: &str| Ok(Outcome::Nothing(why.to_owned()));
    let Some(before) = turning.found_at(&[dial.value]).await?.and_then(|mut found| found.pop()) else {
        return nothing("the rule has nothing that could be turned");
    };
    let of = |kind| marked.iter().filter(move |marked| marked.verdict == kind).map(|marked| &marked.alert);
    let again = |alert: &&Alert| tells_of(&before, alert);
    let marks = Marks {
        right: of(VerdictKind::TruePositive).filter(again).cloned().collect(),
        wrong: of(VerdictKind::FalsePositive).filter(again).cloned().collect(),
        benign: of(VerdictKind::Benign).filter(again).count() as u64,
    };
    if marks.wrong.is_empty() {
        return nothing("none of the false positives is found again in the records of that time");
    }
    // The least number of steps lies above `low`, and is `high` at most.
    let (mut low, mut high) = (0, if dial.is_whole { MAX_STEPS } else { MAX_GROWTH });
    let mut best: Option<Vec<Finding>> = None;
    while high - low > u32::from(best.is_some()) {
        let width = (high - low).div_ceil(AT_ONCE);
        let mut steps: Vec<u32> = (1..=AT_ONCE).map(|number| (low + number * width).min(high)).collect();
        steps.dedup();
        let values: Vec<f64> = steps.iter().map(|steps| dial.turned(*steps)).collect();
        let Some(found) = turning.found_at(&values).await? else { break };
        let silent = found.iter().position(|found| !marks.wrong.iter().any(|alert| tells_of(found, alert)));
        let Some(place) = silent else { break };
        if place > 0 {
            low = steps[place - 1];
        }
        high = steps[place];
        best = found.into_iter().nth(place);
    }
    let Some(after) = best else {
        return nothing("no value that is tried silences all false positives");
    };
    let lost = marks.right.iter().filter(|alert| !tells_of(&after, alert)).count();
    if lost > 0 {
        let value = dial.written(dial.turned(high));
        return nothing(&format!(
            "{value} would silence all false positives, and {lost} of the true ones with them"
        ));
    }
    Ok(Outcome::Found(Box::new(marks.proposal(dial, high, &before, &after))))
}

impl Marks {
    fn proposal(&self, dial: &Dial, steps: u32, before: &[Finding], after: &[Finding]) -> Proposal {
        let ids = |alerts: &[Alert]| alerts.iter().map(|alert| alert.id.clone()).collect();
        let precision = |wrong: usize| {
            Precision::of(&BTreeMap::from([
                (VerdictKind::TruePositive, self.right.len() as u64),
                (VerdictKind::FalsePositive, wrong as u64),
                (VerdictKind::Benign, self.benign),
            ]))
        };
        Proposal {
            key: dial.key,
            from: dial.written(dial.value),
            to: dial.written(dial.turned(steps)),
            silenced: ids(&self.wrong),
            kept: ids(&self.right),
            findings_before: before.len() as u64,
            findings_after: after.len() as u64,
            precision_before: precision(self.wrong.len()),
            precision_after: precision(0),
        }
    }
}

/// Is one of these findings what the alert is of: the same group, at the same time?
fn tells_of(found: &[Finding], alert: &Alert) -> bool {
    found.iter().any(|finding| {
        finding.group == alert.group && finding.first <= alert.last && finding.last >= alert.first
    })
}

#[cfg(test)]
mod tests;
