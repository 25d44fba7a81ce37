//! Scheduled queries: what a query with pipes makes of the records of a while, looked at again and again. Each of its rows says
//! that its group fires; a group without a row is over.

use super::as_seconds;
use crate::{
    finding::{Finding, FindingKind, fingerprint},
    keys::Keys,
    kinds::read,
    matching::bounded,
    rule::Rule,
    schedule::Schedule,
};
use chrono_tz::Tz;
use millrace_model::{TimeRange, Timestamp, Value};
use millrace_pipes::{Query, Table};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// The most groups that a run may find; what is beyond is cut off.
pub const MAX_ROWS: usize = 1_000;
/// What was written a moment ago may not be found yet.
const DELAY: Duration = Duration::from_secs(10);
/// The longest that may be waited for it.
const MAX_DELAY: Duration = Duration::from_hours(24);
/// No schedule is closer than this.
const CLOSEST: Duration = Duration::from_secs(1);

/// What is asked, when, and of which records.
#[derive(Debug, Clone, Serialize)]
pub struct Scheduled {
    /// The query, as the rule writes it.
    #[serde(rename = "query")]
    pub text: String,
    /// The same, read.
    #[serde(skip)]
    pub query: Query,
    /// When.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// Over the records of so much time up to then.
    #[serde(serialize_with = "as_seconds")]
    pub range: Duration,
    /// It is asked so long after that.
    #[serde(serialize_with = "as_seconds")]
    pub delay: Duration,
}

/// A group that fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiringGroup {
    /// Its values.
    pub group: BTreeMap<String, String>,
    /// For which time the run was that found it first.
    pub first: Timestamp,
    /// For which time the run was that found it last.
    pub last: Timestamp,
    /// How many runs have found it.
    pub count: u64,
}

/// The groups of a rule that fire, by fingerprint.
pub type Firing = BTreeMap<String, FiringGroup>;

impl Scheduled {
    /// The time whose records a run looks at, that is due at `at`.
    pub fn range(&self, at: Timestamp) -> TimeRange {
        TimeRange { from: at.minus(self.range), to: at }
    }

    /// For which time a run is the latest that can be carried out now.
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule.latest(now.minus(self.delay))
    }
}

impl Rule {
    /// What the run for the time `at` has found: `rows` are what the query gave, all of them if `is_whole`. What fires is
    /// brought up to date. Of a group that was cut off nothing is said.
    pub fn found_by_run(
        &self,
        at: Timestamp,
        rows: &Table,
        is_whole: bool,
        firing: &mut Firing,
    ) -> Vec<Finding> {
        let mut groups: BTreeMap<String, (BTreeMap<String, String>, Option<f64>)> = BTreeMap::new();
        for row in 0..rows.rows {
            let group = self.group_of(rows, row);
            let id = format!("{:032x}", fingerprint(&self.id, &group));
            groups.entry(id).or_insert_with(|| (group, self.value_of(rows, row)));
        }
        let mut findings = Vec::new();
        for (id, (group, value)) in groups {
            let begun = !firing.contains_key(&id);
            let held =
                firing.entry(id.clone()).or_insert(FiringGroup { group, first: at, last: at, count: 0 });
            held.last = held.last.max(at);
            held.count += 1;
            let kind = if begun { FindingKind::Fired } else { FindingKind::Updated };
            findings.push(Finding { value, ..self.finding(kind, id, held) });
        }
        let quiet = self.resolve_after.unwrap_or_default();
        firing.retain(|id, held| {
            let is_over = is_whole && held.last < at && at.since(held.last) >= quiet;
            if is_over {
                findings.push(self.finding(FindingKind::Resolved, id.clone(), held));
            }
            !is_over
        });
        findings
    }

    fn finding(&self, kind: FindingKind, fingerprint: String, held: &FiringGroup) -> Finding {
        Finding {
            rule_id: self.id.clone(),
            rule_title: self.title.clone(),
            level: self.level,
            kind,
            group: held.group.clone(),
            fingerprint,
            first: held.first,
            last: held.last,
            count: held.count,
            evidence: Vec::new(),
            value: None,
        }
    }

    fn group_of(&self, rows: &Table, row: usize) -> BTreeMap<String, String> {
        let columns =
            rows.columns.iter().filter(|column| self.group_by.iter().any(|by| by.name == column.name));
        let text = |value: Value| match value {
            Value::Null => None,
            Value::String(text) | Value::Text(text) => Some(bounded(&text)),
            other => Some(bounded(&other.to_string())),
        };
        columns.filter_map(|column| Some((column.name.clone(), text(column.shown(row))?))).collect()
    }

    /// The number that a row says, if it says one.
    fn value_of(&self, rows: &Table, row: usize) -> Option<f64> {
        let others = rows
            .columns
            .iter()
            .filter(|column| !column.is_time && self.group_by.iter().all(|by| by.name != column.name));
        let mut numbers = others.filter_map(|column| match column.cells.get(row) {
            Some(Value::Int(number)) => Some(*number as f64),
            Some(Value::Double(number)) => Some(*number),
            _ => None,
        });
        let number = numbers.next();
        number.filter(|_| numbers.next().is_none())
    }
}

/// A query with pipes.
pub(crate) fn query(text: &str) -> Result<Query, String> {
    let query = millrace_pipes::parse(text).map_err(|error| read::parse_problem(&error))?;
    if query.pipes.is_empty() {
        return Err("a query with pipes expected, such as `level:error | stats count() as n by host | where n > 10`; \
                    single records are what other kinds look at"
            .to_owned());
    }
    Ok(query)
}

/// Reads the mapping, for a query that was read. Grouped is by what the query groups by, where the rule does not say by what.
pub(crate) fn terms(
    keys: &mut Keys<'_, '_>,
    text: &str,
    query: Query,
    group_by: Vec<String>,
) -> Option<read::Terms> {
    keys.known(&["cron", "zone", "every", "range", "delay", "group_by"]);
    let zone = keys.parsed("zone", |name| {
        name.parse::<Tz>()
            .map_err(|_| format!("no zone is called {name:?}; one such as Europe/Berlin expected"))
    });
    let has = |key: &str| keys.map.contains_key(key);
    let (has_cron, has_every, has_zone) = (has("cron"), has("every"), has("zone"));
    let schedule = match (has_cron, has_every) {
        (true, false) => keys.parsed("cron", |text| Schedule::cron(text, zone.unwrap_or(Tz::UTC))),
        (false, true) => {
            if has_zone {
                keys.wrong("zone", "only with cron: `every` is the same in all zones");
            }
            keys.parsed("every", |text| match read::span(read::MAX_WINDOW)(text)? {
                span if span < CLOSEST => Err("1s or more expected".to_owned()),
                span => Ok(Schedule::every(span)),
            })
        }
        _ => {
            keys.missing("cron", "it (`\"*/5 * * * *\"`) or every (`5m`), and not both,");
            None
        }
    };
    let range = keys.required("range", "a span such as \"1h\"", read::span(read::MAX_WINDOW));
    let delay = keys.parsed("delay", read::any_span(MAX_DELAY)).unwrap_or(DELAY);
    let columns = query.columns();
    if let Some(unknown) = group_by.iter().find(|name| !columns.contains(name)) {
        keys.wrong(
            "group_by",
            format!("the query's answer has no column {unknown:?}; it has {}", columns.join(", ")),
        );
    }
    let group_by = if keys.map.contains_key("group_by") { group_by } else { query.keys() };
    let kind = super::RuleKind::Scheduled(Box::new(Scheduled {
        text: text.trim().to_owned(),
        query,
        schedule: schedule?,
        range: range?,
        delay,
    }));
    Some(read::Terms { kind, group_by })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
