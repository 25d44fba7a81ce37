//! Who is to be told of what now: alerts, silences, verdicts and what receivers know already, made into notifications.
//! Pure: the same view gives the same plan, whoever makes it.
//!
//! **Invariant:** a receiver is told once that an alert fires and once that it is over, but for repetitions that its route
//! asks for; what nobody was told of is not told to be over, but an alert that was over before anybody could be told of it is.

use super::{
    judge::judge,
    matcher::Matcher,
    routes::{Routing, Target},
    silence::Silence,
    told::{AlertTold, record},
};
use millrace_catalogue::{AlertState, Dispatch, DocumentWrite, Hushed, KeptAlert, Notification, Verdict};
use millrace_model::{LogRecord, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The kind of the documents that say how far receivers have been told.
pub const KIND: &str = "alert-group";
/// The most alerts that one notification names; where there are more, another one names those.
const AT_ONCE: usize = 100;
/// What everybody knows is kept for so long, so that nobody decides anything who has read what was before.
const SETTLES: Duration = Duration::from_secs(10);

/// What a receiver knows of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Knows {
    /// It fires.
    Firing,
    /// It fires; nobody is to be told of it any more.
    Hushed,
    /// It is over.
    Over,
}

/// How far one receiver has been told of alerts that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// When it began.
    pub begun: Timestamp,
    /// What is known of each alert.
    pub members: BTreeMap<String, Knows>,
    /// How many notifications there were.
    pub sequence: u64,
    /// Since when there is something to tell.
    pub waits_since: Option<Timestamp>,
    /// When it was last told of.
    pub told: Option<Timestamp>,
    /// How often the same was repeated since.
    pub repeated: u32,
}

impl Group {
    /// Nobody has been told of anything yet.
    pub fn begun(now: Timestamp) -> Self {
        Self { begun: now, members: BTreeMap::new(), sequence: 0, waits_since: None, told: None, repeated: 0 }
    }
}

/// All that is looked at.
pub struct View<'a> {
    /// Whoever is told.
    pub routing: &'a Routing,
    /// The alerts of which somebody may have to be told.
    pub open: &'a [KeptAlert],
    /// The silences that are kept.
    pub silences: &'a [Silence],
    /// The false positives that hold.
    pub false_positives: &'a [Verdict],
    /// How far receivers have been told, by key, with versions. Read before the alerts.
    pub groups: &'a BTreeMap<String, (u64, Group)>,
}

/// What a notification says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Of this shape: "1".
    pub version: String,
    /// The same each time that it is sent.
    #[serde(default)]
    pub id: String,
    /// `firing`, if any of its alerts fires; else `resolved`.
    pub status: AlertState,
    /// To whom.
    pub receiver: String,
    /// What its alerts have in common, where they are gathered.
    #[serde(default)]
    pub group: BTreeMap<String, String>,
    /// It was told before, and goes on.
    #[serde(default)]
    pub repeated: bool,
    /// The first of its alerts.
    pub alert: AlertTold,
    /// All of them.
    #[serde(default)]
    pub alerts: Vec<AlertTold>,
    /// The ids of those that were not told of like that before.
    #[serde(default)]
    pub changed: Vec<String>,
}

impl Message {
    /// Reads what was put into the outbox; what an earlier version put there named one alert, and not itself.
    ///
    /// # Errors
    /// It is no message.
    pub fn read(notification: &Notification) -> serde_json::Result<Self> {
        let mut message: Self = serde_json::from_str(&notification.body)?;
        if message.id.is_empty() {
            message.id.clone_from(&notification.id);
        }
        if message.alerts.is_empty() {
            message.alerts.push(message.alert.clone());
        }
        Ok(message)
    }
}

/// Decides. `next`: when something is due that nobody has to ask for.
pub fn plan(view: &View<'_>, now: Timestamp) -> (Dispatch, Option<Timestamp>) {
    let mut dispatch = Dispatch::default();
    let alerts = marked(view, now, &mut dispatch);
    let mut by_key: BTreeMap<String, (Target<'_>, Vec<&KeptAlert>)> = BTreeMap::new();
    let mut keys_of: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (kept, record) in &alerts {
        for target in view.routing.targets(kept, record) {
            keys_of.entry(&kept.alert.id).or_default().push(target.key.clone());
            by_key.entry(target.key.clone()).or_insert_with(|| (target, Vec::new())).1.push(kept);
        }
    }
    let mut next = None;
    let mut after: BTreeMap<&str, Group> = BTreeMap::new();
    for (key, (target, members)) in &by_key {
        let known = view.groups.get(key).map(|(_, group)| group.clone());
        let mut step = Step { target, now, next: None, notifications: Vec::new() };
        after.insert(key, step.take(known, members));
        next = next.into_iter().chain(step.next).min();
        dispatch.notifications.append(&mut step.notifications);
    }
    settle(&alerts, &keys_of, &mut after, now, &mut dispatch);
    for (key, (version, before)) in view.groups {
        match after.remove(key.as_str()) {
            Some(group) if !group.members.is_empty() || group.waits_since.is_some() => {
                if group != *before {
                    dispatch.documents.push(write(key, Some(*version), &group));
                }
            }
            _ => dispatch.ended.push((KIND.to_owned(), key.clone(), *version)),
        }
    }
    let new = after.into_iter().filter(|(_, group)| !group.members.is_empty() || group.waits_since.is_some());
    dispatch.documents.extend(new.map(|(key, group)| write(key, None, &group)));
    (dispatch, next)
}

fn write(key: &str, expected_version: Option<u64>, group: &Group) -> DocumentWrite {
    let body = serde_json::to_string(group).unwrap_or_default();
    DocumentWrite { kind: KIND.to_owned(), key: key.to_owned(), expected_version, body }
}

/// The alerts with what is found out about them now, each as a record too.
fn marked(view: &View<'_>, now: Timestamp, dispatch: &mut Dispatch) -> Vec<(KeptAlert, LogRecord)> {
    let mut alerts: Vec<(KeptAlert, LogRecord)> = Vec::with_capacity(view.open.len());
    for kept in view.open {
        let mut kept = kept.clone();
        judge(&kept.alert, view.false_positives, &mut kept.marks);
        let record = record(&kept, None, now);
        let silences = view.silences.iter().filter(|silence| silence.holds(now) && silence.means(&record));
        let mut is_silenced = false;
        for silence in silences {
            is_silenced = true;
            if !kept.marks.silences.contains(&silence.kept.id) {
                kept.marks.silences.push(silence.kept.id.clone());
            }
        }
        kept.marks.hushed = match (&kept.marks.suppressed_by, is_silenced) {
            (Some(_), _) => Some(Hushed::Suppressed),
            (None, true) => Some(Hushed::Silenced),
            (None, false) => None,
        };
        alerts.push((kept, record));
    }
    let inhibited = inhibited(view.routing, &alerts);
    for (((kept, _), inhibited_by), before) in alerts.iter_mut().zip(inhibited).zip(view.open) {
        if inhibited_by.is_some() && kept.marks.hushed.is_none() {
            kept.marks.hushed = Some(Hushed::Inhibited);
        }
        kept.marks.inhibited_by = inhibited_by;
        // Nobody was told of it, and nobody has to be told that it is over.
        if kept.state() == AlertState::Resolved && before.marks.hushed.is_some() {
            kept.marks = before.marks.clone();
        }
        if kept.marks != before.marks {
            dispatch.marks.push((kept.alert.id.clone(), kept.marks.clone()));
        }
    }
    alerts
}

/// For each alert the one that makes it needless, if one does.
fn inhibited(routing: &Routing, alerts: &[(KeptAlert, LogRecord)]) -> Vec<Option<String>> {
    let mut inhibited = vec![None; alerts.len()];
    for inhibition in &routing.inhibitions {
        let of =
            |matcher: &Matcher| alerts.iter().map(|(_, record)| matcher.matches(record)).collect::<Vec<_>>();
        let (is_source, is_target) = (of(&inhibition.source), of(&inhibition.target));
        let mut sources: BTreeMap<Vec<Option<&str>>, Vec<usize>> = BTreeMap::new();
        for (at, (kept, _)) in alerts.iter().enumerate().filter(|(at, _)| is_source[*at]) {
            if kept.state() == AlertState::Firing && kept.marks.hushed != Some(Hushed::Suppressed) {
                sources.entry(inhibition.compared(kept)).or_default().push(at);
            }
        }
        for (at, (kept, _)) in alerts.iter().enumerate().filter(|(at, _)| is_target[*at]) {
            // What is a source and a target itself is not made needless by its like.
            let counts = |source: &&usize| **source != at && !(is_source[at] && is_target[**source]);
            let source = sources.get(&inhibition.compared(kept)).and_then(|some| some.iter().find(counts));
            if let (None, Some(source)) = (&inhibited[at], source) {
                inhibited[at] = Some(alerts[*source].0.alert.id.clone());
            }
        }
    }
    inhibited
}

/// Alerts that are over and known to be so by all who had to be told, or of which nobody has to be told, leave.
fn settle(
    alerts: &[(KeptAlert, LogRecord)],
    keys_of: &BTreeMap<&str, Vec<String>>,
    after: &mut BTreeMap<&str, Group>,
    now: Timestamp,
    dispatch: &mut Dispatch,
) {
    for (kept, _) in alerts.iter().filter(|(kept, _)| kept.state() == AlertState::Resolved) {
        let id = kept.alert.id.as_str();
        let keys = keys_of.get(id).map_or(&[][..], Vec::as_slice);
        let is_done = |key: &String| match after.get(key.as_str()) {
            None => true,
            Some(group) => match group.members.get(id) {
                None => kept.marks.hushed.is_some(),
                Some(Knows::Over) => group.told.is_none_or(|told| now.since(told) >= SETTLES),
                Some(Knows::Firing | Knows::Hushed) => false,
            },
        };
        if keys.iter().all(is_done) {
            dispatch.settled.push(id.to_owned());
            for key in keys {
                if let Some(group) = after.get_mut(key.as_str()) {
                    group.members.remove(id);
                }
            }
        }
    }
}

/// One group's step.
struct Step<'a> {
    target: &'a Target<'a>,
    now: Timestamp,
    next: Option<Timestamp>,
    notifications: Vec<Notification>,
}

impl Step<'_> {
    fn take(&mut self, known: Option<Group>, alerts: &[&KeptAlert]) -> Group {
        let mut group = known.unwrap_or_else(|| Group::begun(self.now));
        // Alerts that go elsewhere now, or are settled.
        group.members.retain(|id, _| alerts.iter().any(|kept| kept.alert.id == *id));
        let mut news: Vec<&KeptAlert> = Vec::new();
        let mut standing: Vec<&KeptAlert> = Vec::new();
        for kept in alerts {
            let known = group.members.get(&kept.alert.id).copied();
            let (over, hushed) = (kept.state() == AlertState::Resolved, kept.marks.hushed.is_some());
            match (over, hushed, known) {
                (false, false, Some(Knows::Firing)) => standing.push(kept),
                (false, false, None | Some(Knows::Hushed | Knows::Over))
                | (true, false, None)
                | (true, _, Some(Knows::Firing | Knows::Hushed)) => news.push(kept),
                (false, true, Some(Knows::Firing)) => {
                    group.members.insert(kept.alert.id.clone(), Knows::Hushed);
                }
                (_, true, None | Some(Knows::Over | Knows::Hushed)) | (true, false, Some(Knows::Over)) => {}
            }
        }
        if news.is_empty() {
            group.waits_since = None;
            self.repeat(&mut group, &standing);
        } else {
            self.tell(&mut group, &news, &standing);
        }
        group
    }

    /// What is new is told of when its time has come.
    fn tell(&mut self, group: &mut Group, news: &[&KeptAlert], standing: &[&KeptAlert]) {
        let gathering = self.target.gathering;
        let since = *group.waits_since.get_or_insert(self.now);
        let due = match group.told {
            Some(told) => told.plus(gathering.interval).max(since),
            None => since.plus(gathering.wait),
        };
        if due > self.now {
            return self.wait(due);
        }
        for kept in news {
            let knows = if kept.state() == AlertState::Resolved { Knows::Over } else { Knows::Firing };
            group.members.insert(kept.alert.id.clone(), knows);
        }
        group.waits_since = None;
        group.repeated = 0;
        self.notify(group, news, standing, false);
    }

    /// What goes on is told of again when its time has come.
    fn repeat(&mut self, group: &mut Group, standing: &[&KeptAlert]) {
        let Some(told) = group.told else { return };
        // Whoever has seen it need not be told again; a receiver that would forget it must be.
        let unseen: Vec<&KeptAlert> =
            standing.iter().copied().filter(|kept| kept.triage.acknowledged.is_none()).collect();
        let again = if unseen.is_empty() { None } else { self.target.gathering.repetition(group.repeated) };
        let refresh = if standing.is_empty() { None } else { self.target.refresh };
        let Some(after) = again.into_iter().chain(refresh).min() else { return };
        let due = told.plus(after);
        if due > self.now {
            return self.wait(due);
        }
        group.repeated = group.repeated.saturating_add(1);
        let told_again = if refresh.is_some() { standing } else { &unseen };
        self.notify(group, &[], told_again, true);
    }

    fn wait(&mut self, until: Timestamp) {
        self.next = Some(self.next.map_or(until, |next| next.min(until)));
    }

    fn notify(&mut self, group: &mut Group, news: &[&KeptAlert], standing: &[&KeptAlert], repeated: bool) {
        group.told = Some(self.now);
        let all: Vec<(&KeptAlert, bool)> =
            news.iter().map(|kept| (*kept, true)).chain(standing.iter().map(|kept| (*kept, false))).collect();
        for some in all.chunks(AT_ONCE) {
            let Some((first, _)) = some.first() else { continue };
            group.sequence += 1;
            let id = format!("{}/{:x}-{}", self.target.key, group.begun.0, group.sequence);
            let alerts: Vec<AlertTold> = some.iter().map(|(kept, _)| AlertTold::from(*kept)).collect();
            let fires = alerts.iter().any(|alert| !alert.is_over());
            let message = Message {
                version: "1".to_owned(),
                id: id.clone(),
                status: if fires { AlertState::Firing } else { AlertState::Resolved },
                receiver: self.target.receiver.to_owned(),
                group: self.target.labels.clone(),
                repeated,
                alert: AlertTold::from(*first),
                alerts,
                changed: some
                    .iter()
                    .filter(|(_, is_new)| *is_new)
                    .map(|(kept, _)| kept.alert.id.clone())
                    .collect(),
            };
            self.notifications.push(Notification {
                id,
                alert_id: first.alert.id.clone(),
                receiver: self.target.receiver.to_owned(),
                body: serde_json::to_string(&message).unwrap_or_default(),
                created: self.now,
                about: self.target.key.clone(),
                sequence: group.sequence,
            });
        }
    }
}

#[cfg(test)]
mod tests;
