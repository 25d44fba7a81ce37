//! Who is told of which alerts, how they are gathered and how often they are repeated: `[[query.alerts.routes]]` and
//! `[[query.alerts.inhibit]]`.

use super::matcher::{Matcher, problem};
use millrace_catalogue::KeptAlert;
use millrace_config::{Age, Section};
use millrace_model::LogRecord;
use std::{collections::BTreeMap, time::Duration};
use xxhash_rust::xxh3::xxh3_64;

/// A route's table.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    /// Tried in their order.
    pub routes: Vec<Route>,
    /// What makes other alerts needless.
    pub inhibitions: Vec<Inhibition>,
    /// All receivers, and how often those must be told that an alert goes on which would forget it otherwise.
    pub receivers: BTreeMap<String, Option<Duration>>,
}

/// A way from alerts to receivers.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which alerts: `match`; `None`: all.
    pub matcher: Option<Matcher>,
    /// Who is told: `receivers`; nobody, if there are none.
    pub receivers: Vec<String>,
    /// Other routes are tried, too: `continue`, default false.
    pub goes_on: bool,
    /// How alerts are gathered.
    pub gathering: Gathering,
}

/// How alerts are gathered into notifications, and when those are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathering {
    /// Alerts with the same values of these are told of together: `group_by`; `None`: each is told of alone.
    pub by: Option<Vec<String>>,
    /// How long others are waited for before a group is first told of: `group_wait`.
    pub wait: Duration,
    /// How long until what changes in a group is told of: `group_interval`.
    pub interval: Duration,
    /// After how long what goes on is told of again: `repeat_interval`; `None`: never.
    pub repeat: Option<Duration>,
    /// Each repetition waits so many times as long as the one before: `repeat_factor`.
    pub factor: u32,
    /// but never longer than this: `repeat_max`.
    pub longest: Duration,
}

/// Alerts that others make needless.
#[derive(Debug, Clone)]
pub struct Inhibition {
    /// The alerts that say it already: `source`.
    pub source: Matcher,
    /// The alerts that need not be told of then: `target`.
    pub target: Matcher,
    /// Where both have the same values of these: `equal`.
    pub equal: Vec<String>,
}

/// What alerts are told of together: one receiver, and what they have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its key: the same wherever and whenever it is made.
    pub key: String,
    /// Who is told.
    pub receiver: &'a str,
    /// What they have in common.
    pub labels: BTreeMap<String, String>,
    /// How they are gathered.
    pub gathering: &'a Gathering,
    /// The receiver forgets what it is not told of again so soon.
    pub refresh: Option<Duration>,
}

impl Gathering {
    /// Each alone, at once, never again.
    pub const ALONE: Self = Self {
        by: None,
        wait: Duration::ZERO,
        interval: Duration::ZERO,
        repeat: None,
        factor: 1,
        longest: Duration::MAX,
    };

    /// How long to wait for the next repetition, after so many; `None`: for ever.
    pub fn repetition(&self, repeated: u32) -> Option<Duration> {
        let factor = self.factor.checked_pow(repeated.min(64)).unwrap_or(u32::MAX);
        self.repeat.map(|first| first.saturating_mul(factor).min(self.longest.max(first)))
    }
}

/// A field of an alert by which alerts are gathered or compared: one of its rule's group, or one that every alert has.
fn field<'a>(kept: &'a KeptAlert, name: &str) -> Option<&'a str> {
    match name {
        "rule.id" | "rule_id" => Some(&kept.alert.rule_id),
        "rule.title" | "title" => Some(&kept.alert.title),
        "level" => Some(kept.level()),
        _ => kept.alert.group.get(name).map(String::as_str),
    }
}

impl Inhibition {
    /// What a source and a target must have the same values of.
    pub fn compared<'a>(&self, kept: &'a KeptAlert) -> Vec<Option<&'a str>> {
        self.equal.iter().map(|name| field(kept, name)).collect()
    }
}

impl Routing {
    /// Who is told of an alert, and with which others. What no route means goes to everybody, as it does without routes.
    pub fn targets(&self, kept: &KeptAlert, record: &LogRecord) -> Vec<Target<'_>> {
        let mut targets: Vec<Target<'_>> = Vec::new();
        let mut is_routed = false;
        for route in &self.routes {
            if !route.matcher.as_ref().is_none_or(|matcher| matcher.matches(record)) {
                continue;
            }
            is_routed = true;
            for receiver in &route.receivers {
                let target = self.target(kept, receiver, &route.gathering);
                if targets.iter().all(|other| other.key != target.key) {
                    targets.push(target);
                }
            }
            if !route.goes_on {
                break;
            }
        }
        if !is_routed {
            targets
                .extend(self.receivers.keys().map(|receiver| self.target(kept, receiver, &Gathering::ALONE)));
        }
        targets
    }

    fn target<'a>(&self, kept: &KeptAlert, receiver: &'a str, gathering: &'a Gathering) -> Target<'a> {
        let (subject, labels) = match &gathering.by {
            None => (kept.alert.id.clone(), BTreeMap::new()),
            Some(names) => {
                let labels: BTreeMap<String, String> = names
                    .iter()
                    .filter_map(|name| Some((name.clone(), field(kept, name)?.to_owned())))
                    .collect();
                // Names too: groups by other fields are others, even where nobody has a value of them.
                let identity = serde_json::json!([names, labels]).to_string();
                (format!("group-{:016x}", xxh3_64(identity.as_bytes())), labels)
            }
        };
        let refresh = self.receivers.get(receiver).copied().flatten();
        Target { key: format!("{subject}/{receiver}"), receiver, labels, gathering, refresh }
    }

    /// Reads routes and inhibitions; `receivers` are there to be named.
    pub fn read(section: &mut Section<'_>, receivers: BTreeMap<String, Option<Duration>>) -> Self {
        let mut routing = Self { receivers, ..Self::default() };
        for mut route in section.list("routes") {
            let matcher = matcher(&mut route, "match", false);
            let named: Vec<String> = route.required("receivers").unwrap_or_default();
            for name in named.iter().filter(|name| !routing.receivers.contains_key(*name)) {
                let known: Vec<&str> = routing.receivers.keys().map(String::as_str).collect();
                let help = if known.is_empty() {
                    "add [query.alerts.receivers.NAME]".to_owned()
                } else {
                    format!("there are: {}", known.join(", "))
                };
                route.error_with_help("receivers", format!("no receiver is called {name:?}"), help);
            }
            let goes_on = route.or("continue", false);
            routing.routes.push(Route {
                matcher,
                receivers: named,
                goes_on,
                gathering: gathering(&mut route),
            });
        }
        for mut inhibition in section.list("inhibit") {
            let (source, target) =
                (matcher(&mut inhibition, "source", true), matcher(&mut inhibition, "target", true));
            let equal = inhibition.or("equal", Vec::new());
            if let (Some(source), Some(target)) = (source, target) {
                routing.inhibitions.push(Inhibition { source, target, equal });
            }
        }
        routing
    }
}

fn matcher(section: &mut Section<'_>, key: &str, needed: bool) -> Option<Matcher> {
    let text: String = if needed { section.required(key)? } else { section.optional(key)? };
    Matcher::read(&text).map_err(|error| section.error(key, problem(&error))).ok()
}

fn gathering(route: &mut Section<'_>) -> Gathering {
    let by: Option<Vec<String>> = route.optional("group_by");
    let (wait, interval) = match by {
        None => (Duration::ZERO, Duration::ZERO),
        Some(_) => (Duration::from_secs(10), Duration::from_mins(1)),
    };
    let factor = route.or("repeat_factor", 1u32);
    if factor == 0 {
        route.error("repeat_factor", "must be at least 1");
    }
    let repeat: Option<Age> = route.optional("repeat_interval");
    if repeat.as_ref().is_some_and(|Age(age)| age.is_zero()) {
        route.error_with_help(
            "repeat_interval",
            "must be longer than nothing",
            "leave it out, and nothing is repeated",
        );
    }
    Gathering {
        by,
        wait: route.or("group_wait", Age(wait)).0,
        interval: route.or("group_interval", Age(interval)).0,
        repeat: repeat.map(|Age(age)| age),
        factor: factor.max(1),
        longest: route.or("repeat_max", Age(Duration::from_hours(24))).0,
    }
}
