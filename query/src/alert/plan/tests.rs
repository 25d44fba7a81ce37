//! Who is told of what, step by step, over made-up alerts and times.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::alert::{
    matcher::Matcher,
    routes::{Gathering, Inhibition, Route},
    silence::Wanted,
};
use millrace_catalogue::{Act, Alert, Triage, VerdictKind, VerdictScope};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp(1_700_000_000 * SECOND + seconds * SECOND)
}

fn alert(id: &str, group: &[(&str, &str)]) -> KeptAlert {
    let alert = Alert {
        id: id.to_owned(),
        fingerprint: format!("f{id}"),
        rule_id: "ssh".to_owned(),
        title: "SSH brute force".to_owned(),
        level: "high".to_owned(),
        state: AlertState::Firing,
        group: group.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        first: at(0),
        last: at(0),
        count: 8,
        evidence: Vec::new(),
        resolved_at: None,
    };
    KeptAlert { alert, marks: millrace_catalogue::Marks::default(), triage: Triage::default(), revision: 1 }
}

#[test]
fn what_an_earlier_version_wanted_to_send_is_sent() {
    let told = serde_json::to_value(AlertTold::from(&alert("a", &[]))).unwrap();
    let body = serde_json::json!({ "version": "1", "status": "firing", "receiver": "ops", "alert": told })
        .to_string();
    let notification = Notification {
        id: "a/ops/firing".to_owned(),
        alert_id: "a".to_owned(),
        receiver: "ops".to_owned(),
        body,
        created: at(0),
        about: String::new(),
        sequence: 0,
    };
    let message = Message::read(&notification).unwrap();
    assert_eq!((message.id.as_str(), message.alerts.len()), ("a/ops/firing", 1));
}

/// What the catalogue holds, and what receivers were sent.
struct World {
    routing: Routing,
    alerts: BTreeMap<String, KeptAlert>,
    settled: BTreeSet<String>,
    silences: Vec<Silence>,
    verdicts: Vec<Verdict>,
    groups: BTreeMap<String, (u64, Group)>,
    sent: Vec<Message>,
}

impl World {
    fn new(receivers: &[&str], routes: Vec<Route>) -> Self {
        let receivers = receivers.iter().map(|name| ((*name).to_owned(), None)).collect();
        Self {
            routing: Routing { routes, inhibitions: Vec::new(), receivers },
            alerts: BTreeMap::new(),
            settled: BTreeSet::new(),
            silences: Vec::new(),
            verdicts: Vec::new(),
            groups: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    fn put(&mut self, kept: KeptAlert) {
        self.alerts.insert(kept.alert.id.clone(), kept);
    }

    fn resolve(&mut self, id: &str, now: Timestamp) {
        let alert = &mut self.alerts.get_mut(id).unwrap().alert;
        alert.state = AlertState::Resolved;
        alert.resolved_at = Some(now);
    }

    /// Looks once, and carries out what was decided. What was sent is (receiver, status, ids).
    fn look(&mut self, seconds: i64) -> Vec<(String, String, String)> {
        let open: Vec<KeptAlert> =
            self.alerts.values().filter(|kept| !self.settled.contains(&kept.alert.id)).cloned().collect();
        let view = View {
            routing: &self.routing,
            open: &open,
            silences: &self.silences,
            false_positives: &self.verdicts,
            groups: &self.groups,
        };
        let (dispatch, _) = plan(&view, at(seconds));
        for (id, marks) in dispatch.marks {
            self.alerts.get_mut(&id).unwrap().marks = marks;
        }
        for write in dispatch.documents {
            assert_eq!(self.groups.get(&write.key).map(|(version, _)| *version), write.expected_version);
            let version = write.expected_version.unwrap_or(0) + 1;
            self.groups.insert(write.key, (version, serde_json::from_str(&write.body).unwrap()));
        }
        for (kind, key, version) in dispatch.ended {
            assert_eq!((kind.as_str(), self.groups.remove(&key).unwrap().0), (KIND, version));
        }
        self.settled.extend(dispatch.settled);
        let sent: Vec<Message> =
            dispatch.notifications.iter().map(|sent| serde_json::from_str(&sent.body).unwrap()).collect();
        let told = sent.iter().map(|message| {
            let ids: Vec<&str> = message.alerts.iter().map(|told| told.alert.id.as_str()).collect();
            (message.receiver.clone(), message.status.to_string(), ids.join(" "))
        });
        let told = told.collect();
        self.sent.extend(sent);
        told
    }
}

fn told(receiver: &str, status: &str, ids: &str) -> (String, String, String) {
    (receiver.to_owned(), status.to_owned(), ids.to_owned())
}

fn route(matcher: &str, receivers: &[&str], gathering: Gathering) -> Route {
    Route {
        matcher: Some(Matcher::read(matcher).unwrap()),
        receivers: receivers.iter().map(|name| (*name).to_owned()).collect(),
        goes_on: false,
        gathering,
    }
}

fn by_host() -> Gathering {
    Gathering {
        by: Some(vec!["host".to_owned()]),
        wait: Duration::from_secs(10),
        interval: Duration::from_mins(1),
        ..Gathering::ALONE
    }
}

const NOTHING: [(String, String, String); 0] = [];

#[test]
fn without_routes_everybody_is_told_of_each_alert_twice() {
    let mut world = World::new(&["mail", "ops"], Vec::new());
    world.put(alert("a", &[]));
    assert_eq!(world.look(0), [told("mail", "firing", "a"), told("ops", "firing", "a")]);
    assert_eq!(world.look(3_600), NOTHING);
    world.resolve("a", at(3_601));
    assert_eq!(world.look(3_601), [told("mail", "resolved", "a"), told("ops", "resolved", "a")]);
    assert_eq!(world.look(3_602), NOTHING);
    assert!(world.settled.is_empty() && world.groups.len() == 2, "who has read what was before must find it");
    assert_eq!(world.look(3_612), NOTHING);
    assert!(world.settled.contains("a") && world.groups.is_empty());
    let ids: BTreeSet<&str> = world.sent.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.len(), 4);
    // What was over before anybody could be told is told of once.
    world.put(alert("b", &[]));
    world.resolve("b", at(3_613));
    assert_eq!(world.look(3_614), [told("mail", "resolved", "b"), told("ops", "resolved", "b")]);
}

#[test]
fn the_first_route_that_means_an_alert_takes_it() {
    let alone = || Gathering::ALONE;
    let mut both = route("source_ip:10.0.0.0/8", &["net"], alone());
    both.goes_on = true;
    let routes = vec![
        both,
        route("level:>=error rule.id:ssh", &["ops"], alone()),
        route("rule.id:noise", &[], alone()),
        route("alert.state:firing host:web*", &["web", "ops"], alone()),
    ];
    for (rule, level, group, expected) in [
        ("ssh", "high", ("source_ip", "10.1.2.3"), "net ops"),
        ("ssh", "medium", ("source_ip", "10.1.2.3"), "net"),
        ("ssh", "critical", ("source_ip", "192.0.2.1"), "ops"),
        ("ssh", "low", ("host", "web7"), "ops web"),
        ("noise", "critical", ("host", "web7"), ""),
        // Nobody says anything of it: everybody is told.
        ("other", "low", ("host", "db1"), "net ops web"),
    ] {
        let mut world = World::new(&["net", "ops", "web"], routes.clone());
        let mut kept = alert("a", &[group]);
        (kept.alert.rule_id, kept.alert.level) = (rule.to_owned(), level.to_owned());
        world.put(kept);
        let mut found: Vec<String> = world.look(0).into_iter().map(|(receiver, ..)| receiver).collect();
        found.sort();
        assert_eq!(found.join(" "), expected, "{rule} {level} {group:?}");
    }
}

#[test]
fn a_group_is_told_of_together_and_names_all_its_alerts() {
    let mut world = World::new(&["ops"], vec![route("*", &["ops"], by_host())]);
    world.put(alert("a", &[("host", "web1")]));
    assert_eq!(world.look(0), NOTHING, "others are waited for");
    world.put(alert("b", &[("host", "web1"), ("user", "ann")]));
    world.put(alert("c", &[("host", "web2")]));
    assert_eq!(world.look(5), NOTHING);
    assert_eq!(world.look(10), [told("ops", "firing", "a b")]);
    assert_eq!(world.sent[0].group, BTreeMap::from([("host".to_owned(), "web1".to_owned())]));
    assert_eq!(world.look(15), [told("ops", "firing", "c")]);
    // What changes waits for the group's interval, and comes with what goes on.
    world.put(alert("d", &[("host", "web1")]));
    world.resolve("a", at(20));
    assert_eq!(world.look(20), NOTHING);
    assert_eq!(world.look(69), NOTHING);
    assert_eq!(world.look(70), [told("ops", "firing", "a d b")]);
    assert_eq!(world.sent.last().unwrap().changed, ["a", "d"]);
    world.resolve("b", at(71));
    world.resolve("d", at(71));
    assert_eq!(world.look(130), [told("ops", "resolved", "b d")]);
    for seconds in [140, 141, 200] {
        assert_eq!(world.look(seconds), NOTHING);
    }
    assert_eq!(world.groups.len(), 1, "web2's");
    // The same again is another notification.
    world.put(alert("e", &[("host", "web1")]));
    world.look(300);
    assert_eq!(world.look(310), [told("ops", "firing", "e")]);
    let ids: BTreeSet<&str> = world.sent.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.len(), world.sent.len());
}

#[test]
fn a_large_group_takes_several_notifications() {
    let mut world =
        World::new(&["ops"], vec![route("*", &["ops"], Gathering { wait: Duration::ZERO, ..by_host() })]);
    for number in 0..250 {
        world.put(alert(&format!("a{number:03}"), &[("host", "web1")]));
    }
    world.look(0);
    let named: Vec<usize> = world.sent.iter().map(|message| message.alerts.len()).collect();
    assert_eq!(named, [100, 100, 50]);
}

#[test]
fn what_goes_on_is_repeated_less_and_less_often_until_somebody_has_seen_it() {
    let gathering = Gathering {
        repeat: Some(Duration::from_secs(100)),
        factor: 2,
        longest: Duration::from_mins(5),
        ..Gathering::ALONE
    };
    let mut world = World::new(&["ops"], vec![route("*", &["ops"], gathering)]);
    world.put(alert("a", &[]));
    let mut times = Vec::new();
    for seconds in 0..=1_000 {
        let sent = world.look(seconds);
        assert!(sent.is_empty() || sent == [told("ops", "firing", "a")]);
        times.extend((!sent.is_empty()).then_some(seconds));
    }
    assert_eq!(times, [0, 100, 300, 600, 900]);
    assert!(!world.sent[0].repeated && world.sent[1].repeated);
    let by_ann = Act { at: at(1_000), by: "ann".to_owned(), note: String::new() };
    world.alerts.get_mut("a").unwrap().triage.acknowledged = Some(by_ann);
    assert_eq!(world.look(5_000), NOTHING);
    world.resolve("a", at(5_001));
    assert_eq!(world.look(5_001), [told("ops", "resolved", "a")], "that it is over is told all the same");
}

#[test]
fn a_receiver_that_would_forget_is_told_again() {
    let mut world = World::new(&["am"], Vec::new());
    world.routing.receivers.insert("am".to_owned(), Some(Duration::from_mins(1)));
    world.put(alert("a", &[]));
    let times: Vec<i64> = (0..=180).filter(|seconds| !world.look(*seconds).is_empty()).collect();
    assert_eq!(times, [0, 60, 120, 180]);
}

fn silence(id: &str, matcher: &str, starts: i64, ends: i64) -> Silence {
    let wanted = Wanted {
        matcher: matcher.to_owned(),
        starts: Some(at(starts)),
        ends: Some(at(ends)),
        weekly: Vec::new(),
        comment: String::new(),
    };
    wanted.check(id.to_owned(), "ann", at(-1)).unwrap()
}

#[test]
fn what_is_silenced_is_told_of_when_the_silence_ends() {
    let mut world = World::new(&["ops"], Vec::new());
    world.silences.push(silence("s1", "host:web1", 0, 100));
    world.silences.push(silence("s2", "host:db1", 50, 100));
    for (id, host) in [("a", "web1"), ("b", "db1"), ("c", "web1")] {
        world.put(alert(id, &[("host", host)]));
    }
    assert_eq!(world.look(0), [told("ops", "firing", "b")]);
    let marks = &world.alerts["a"].marks;
    assert_eq!((marks.hushed, &marks.silences[..]), (Some(Hushed::Silenced), &["s1".to_owned()][..]));
    // What was over while it was silenced stays untold; what was told of before is told to be over.
    world.resolve("c", at(10));
    assert_eq!(world.look(10), NOTHING);
    assert!(world.settled.contains("c"));
    assert_eq!(world.look(60), NOTHING);
    assert_eq!(world.alerts["b"].marks.silences, ["s2"]);
    assert_eq!(world.look(100), [told("ops", "firing", "a"), told("ops", "firing", "b")]);
    let marks = &world.alerts["a"].marks;
    assert_eq!((marks.hushed, &marks.silences[..]), (None, &["s1".to_owned()][..]), "history keeps by what");
    world.silences.push(silence("s3", "*", 100, 1_000));
    assert_eq!(world.look(101), NOTHING);
    world.resolve("a", at(102));
    assert_eq!(world.look(102), [told("ops", "resolved", "a")]);
}

#[test]
fn one_alert_makes_others_needless() {
    let mut world = World::new(&["ops"], Vec::new());
    world.routing.inhibitions.push(Inhibition {
        source: Matcher::read("rule.id:down").unwrap(),
        target: Matcher::read("level:<=error").unwrap(),
        equal: vec!["host".to_owned()],
    });
    let of = |id: &str, rule: &str, host: &str| {
        let mut kept = alert(id, &[("host", host)]);
        kept.alert.rule_id = rule.to_owned();
        kept
    };
    for (id, rule, host) in
        [("a", "down", "web1"), ("b", "slow", "web1"), ("c", "slow", "web2"), ("d", "down", "web1")]
    {
        world.put(of(id, rule, host));
    }
    // Both that are down are sources and targets: neither makes the other needless.
    assert_eq!(
        world.look(0),
        [told("ops", "firing", "a"), told("ops", "firing", "c"), told("ops", "firing", "d")]
    );
    let marks = &world.alerts["b"].marks;
    assert_eq!((marks.hushed, marks.inhibited_by.as_deref()), (Some(Hushed::Inhibited), Some("a")));
    world.resolve("a", at(5));
    assert_eq!(world.look(5), [told("ops", "resolved", "a")]);
    assert_eq!(world.alerts["b"].marks.inhibited_by.as_deref(), Some("d"));
    world.resolve("d", at(6));
    assert_eq!(world.look(6), [told("ops", "firing", "b"), told("ops", "resolved", "d")]);
}

#[test]
fn false_positives_are_not_told_of_again_until_the_verdict_goes() {
    let mut world = World::new(
        &["ops"],
        vec![route("level:>=error", &["ops"], Gathering::ALONE), route("*", &[], Gathering::ALONE)],
    );
    let before = alert("a", &[("host", "web1")]);
    world.verdicts.push(Verdict {
        alert_id: "a".to_owned(),
        rule_id: before.alert.rule_id.clone(),
        fingerprint: "fb".to_owned(),
        group: before.alert.group.clone(),
        verdict: VerdictKind::FalsePositive,
        reason: String::new(),
        scope: VerdictScope::Fingerprint,
        expires: None,
        given: at(0),
        given_by: String::new(),
    });
    world.put(alert("b", &[("host", "web1")]));
    world.put(alert("c", &[("host", "web1")]));
    // The same one is suppressed; the one like it is a level lower, which is another route's.
    assert_eq!(world.look(1), NOTHING);
    assert_eq!(world.alerts["b"].marks.suppressed_by.as_deref(), Some("a"));
    assert_eq!(world.alerts["c"].level(), "medium");
    world.verdicts.clear();
    assert_eq!(world.look(2), [told("ops", "firing", "b"), told("ops", "firing", "c")]);
    assert_eq!((world.alerts["c"].level(), &world.alerts["c"].marks.demoted), ("high", &None));
}

#[test]
fn what_is_closed_is_over() {
    let mut world = World::new(&["ops"], Vec::new());
    world.put(alert("a", &[]));
    world.look(0);
    let by_ann = Act { at: at(5), by: "ann".to_owned(), note: "seen to".to_owned() };
    world.alerts.get_mut("a").unwrap().triage.closed = Some(by_ann);
    assert_eq!(world.look(5), [told("ops", "resolved", "a")]);
    assert_eq!(world.look(20), NOTHING);
    assert!(world.settled.contains("a"));
}

proptest! {
    /// Whatever happens when: no id comes twice, no receiver is told twice in a row that one alert fires, and in the end each has been
    /// told that what it was told of is over.
    #[test]
    fn each_is_told_once_whatever_happens(
        steps in vec((0..4usize, 0..5u8, 0..40i64), 1..80),
        grouped in any::<bool>(),
    ) {
        let gathering = if grouped { by_host() } else { Gathering::ALONE };
        let mut world = World::new(&["mail", "ops"], vec![route("*", &["mail", "ops"], gathering)]);
        let mut now = 0;
        for (alert_number, what, pause) in steps {
            now += pause;
            let id = format!("a{alert_number}");
            match what {
                0 | 1 if !world.alerts.contains_key(&id) => world.put(alert(&id, &[("host", if alert_number < 2 { "x" } else { "y" })])),
                2 if world.alerts.contains_key(&id) => world.resolve(&id, at(now)),
                3 => world.silences.push(silence(&format!("s{now}"), &format!("alert.id:{id}"), now, now + 30)),
                _ => {}
            }
            world.look(now);
        }
        for id in world.alerts.keys().cloned().collect::<Vec<_>>() {
            world.resolve(&id, at(now));
        }
        for _ in 0..10 {
            now += 60;
            world.look(now);
        }
        prop_assert!(world.groups.is_empty() && world.settled.len() == world.alerts.len());
        let ids: BTreeSet<&str> = world.sent.iter().map(|message| message.id.as_str()).collect();
        prop_assert_eq!(ids.len(), world.sent.len());
        let mut last: BTreeMap<(&str, &str), bool> = BTreeMap::new();
        for message in &world.sent {
            for told in message.alerts.iter().filter(|told| message.changed.contains(&told.alert.id)) {
                let before = last.insert((&message.receiver, &told.alert.id), told.is_over());
                // That it fires may be told again after a silence; that it is over comes once, and last.
                prop_assert!(before != Some(true), "{} of {}", told.alert.id, message.receiver);
            }
        }
        prop_assert!(last.values().all(|over| *over));
    }
}
