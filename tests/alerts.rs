//! The life of an alert from outside: silenced, told of, seen, judged, closed; what receivers hear of it, and what its history keeps.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_model::{Partition, SystemClock};
use millrace_test_support::{
    Site, Up,
    http::{self, Webhook},
    kafka, wait,
};
use millrace_transport::{KafkaSettings, Metrics, Topic, TopicSettings};
use serde_json::{Value, json};
use std::{fs, sync::Arc, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
/// Longer than anything that would send another notification takes to do so.
const QUIET: Duration = Duration::from_secs(3);

/// A rule that fires on a word, by user.
fn rule(title: &str, id: u32, word: &str, level: &str) -> String {
    format!(
        "title: {title}\nid: 00000000-0000-4000-8000-{id:012}\nkind: threshold\nlevel: {level}\nquery: '{word}'\n\
         extract: ['user=(?P<user>\\w+)']\nthreshold:\n  count: 1\n  window: 10m\n  group_by: [user]\n\
         tests:\n  positive: ['{word} user=ann']\n  negative: ['nothing']\n"
    )
}

fn settings(site: &Site, receivers: &str, more: &str) -> String {
    fs::create_dir_all(site.path("rules")).unwrap();
    site.write("rules/alpha.yml", &rule("Alpha", 1, "alpha", "high"));
    site.write("rules/beta.yml", &rule("Beta", 2, "beta", "critical"));
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}/*\"]\n[query.alerts]\nstarter = false\nrules = [\"{}\"]\n{receivers}{more}",
        site.path("logs").display(),
        site.path("rules").display(),
    )
}

fn hook(name: &str, webhook: &Webhook) -> String {
    format!("[query.alerts.receivers.{name}]\ntype = \"webhook\"\nurl = \"{}\"\n", webhook.url())
}

/// Asks; the status and the answer.
fn ask(up: &Up<'_>, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if method == "DELETE" { String::new() } else { body.to_string() };
    let headers = [("content-type", "application/json")];
    let answer = http::send(&up.server.address, method, path, &headers, &body).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// What was posted: status, and the users of its alerts.
fn told(webhook: &Webhook) -> Vec<(String, String)> {
    let one = |body: Value| {
        let users = body["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| alert["group"]["user"].as_str().unwrap_or("-"));
        (body["status"].as_str().unwrap().to_owned(), users.collect::<Vec<_>>().join(" "))
    };
    webhook.posts().into_iter().map(|post| one(serde_json::from_str(&post.body).unwrap())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(status, users)| ((*status).to_owned(), (*users).to_owned())).collect()
}

#[track_caller]
fn wait_for_alert(up: &Up<'_>, user: &str) -> Value {
    wait::until(&format!("an alert of {user}"), DEADLINE, || {
        up.server.alerts().into_iter().find(|alert| alert["group"]["user"] == json!(user))
    })
}

#[test]
fn an_alert_is_silenced_told_seen_judged_and_closed() {
    let site = Site::new(BINARY);
    let webhook = Webhook::start();
    let up = site.up(&settings(&site, &hook("ops", &webhook), "")).started();
    let wanted =
        json!({ "match": "rule.title:Alpha user:ann", "ends": "2100-01-01T00:00:00Z", "comment": "a test" });
    let (status, silence) = ask(&up, "POST", "/api/v1/silences", &wanted);
    assert_eq!((status, &silence["state"]), (201, &json!("active")), "{silence}");
    for (wrong, parameter) in [
        (json!({ "match": "((", "ends": "2100-01-01T00:00:00Z" }), "match"),
        (json!({ "match": "a", "ends": "2000-01-01T00:00:00Z" }), "ends"),
        (json!({ "match": "a" }), "ends"),
    ] {
        let (status, answer) = ask(&up, "POST", "/api/v1/silences", &wrong);
        assert_eq!((status, &answer["error"]["parameter"]), (400, &json!(parameter)), "{answer}");
    }

    // It is kept and marked, and nobody is told.
    site.append("app.log", "alpha user=ann\nalpha user=bob\n");
    let alert = wait_for_alert(&up, "ann");
    let id = alert["id"].as_str().unwrap().to_owned();
    let at = |what: &str| format!("/api/v1/alerts/{id}{what}");
    wait::until_true("it is marked", DEADLINE, || {
        up.server.get(&at(""))["alert"]["hushed"] == json!("silenced")
    });
    assert_eq!(up.server.get(&at(""))["alert"]["silences"], json!([silence["id"]]));
    wait::until_true("bob's is told", DEADLINE, || told(&webhook) == pairs(&[("firing", "bob")]));
    let (_, covered) = ask(&up, "POST", "/api/v1/silences/preview", &json!({ "match": "user:ann" }));
    assert_eq!((covered["alerts"].as_array().unwrap().len(), &covered["alerts"][0]["id"]), (1, &json!(id)));
    wait::stays("ann's is not told", QUIET, || webhook.posts().len() == 1);

    // The silence ends while it fires.
    let silence = format!("/api/v1/silences/{}", silence["id"].as_str().unwrap());
    assert_eq!(ask(&up, "DELETE", &silence, &Value::Null).1["state"], json!("expired"));
    assert_eq!(ask(&up, "DELETE", &silence, &Value::Null).0, 409);
    assert_eq!(ask(&up, "DELETE", "/api/v1/silences/none", &Value::Null).0, 404);
    wait::until_true("ann's is told", DEADLINE, || {
        told(&webhook) == pairs(&[("firing", "bob"), ("firing", "ann")])
    });
    assert_eq!(up.server.get("/api/v1/silences")["silences"][0]["state"], json!("expired"));

    // People.
    let (status, seen) = ask(&up, "POST", &at("/ack"), &json!({ "note": "on it" }));
    assert_eq!((status, &seen["alert"]["acknowledged"]["note"]), (200, &json!("on it")), "{seen}");
    let (_, assigned) = ask(&up, "POST", &at("/assign"), &json!({ "to": "ann" }));
    assert_eq!(assigned["alert"]["assignee"], json!("ann"));
    assert_eq!(ask(&up, "POST", "/api/v1/alerts/none/ack", &json!({})).0, 404);
    assert_eq!(ask(&up, "POST", &at("/verdict"), &json!({ "verdict": "so so" })).0, 400);
    let verdict = json!({ "verdict": "false_positive", "reason": "a drill", "scope": "fingerprint" });
    let (_, judged) = ask(&up, "POST", &at("/verdict"), &verdict);
    assert_eq!(judged["verdict"]["reason"], json!("a drill"), "{judged}");
    let of_rule = |title: &str| {
        let rules = up.server.get("/api/v1/rules");
        let rule =
            rules["rules"].as_array().unwrap().iter().find(|rule| rule["title"] == json!(title)).cloned();
        rule.unwrap()["verdicts"].clone()
    };
    assert_eq!(
        (&of_rule("Alpha")["false_positive"], &of_rule("Beta")["precision"]),
        (&json!(1), &json!(0.5))
    );
    wait::until_true("it is suppressed", DEADLINE, || {
        up.server.get(&at(""))["alert"]["suppressed_by"] == json!(id)
    });
    assert_eq!(ask(&up, "DELETE", &at("/verdict"), &Value::Null).0, 200);
    assert_eq!(ask(&up, "DELETE", &at("/verdict"), &Value::Null).0, 404);
    wait::until_true("the verdict is undone", DEADLINE, || {
        let now = up.server.get(&at(""));
        now["verdict"] == Value::Null && now["alert"].get("hushed").is_none()
    });
    let (_, closed) = ask(&up, "POST", &at("/close"), &json!({ "note": "done" }));
    assert_eq!(
        (&closed["alert"]["state"], &closed["alert"]["closed"]["note"]),
        (&json!("resolved"), &json!("done"))
    );
    assert_eq!(ask(&up, "POST", &at("/close"), &json!({})).0, 409);
    wait::until_true("it is told to be over", DEADLINE, || {
        told(&webhook).last() == pairs(&[("resolved", "ann")]).last()
    });
    site.append("app.log", "alpha user=ann again\n");
    wait::until_true("it is counted", DEADLINE, || up.server.get(&at(""))["alert"]["count"] == json!(2));
    let firing = up.server.get("/api/v1/alerts?state=firing");
    assert_eq!(firing["alerts"].as_array().unwrap().len(), 1, "bob's: {firing}");
    let ids = webhook
        .posts()
        .into_iter()
        .map(|post| serde_json::from_str::<Value>(&post.body).unwrap()["id"].to_string());
    let ids: std::collections::BTreeSet<String> = ids.collect();
    assert_eq!(ids.len(), webhook.posts().len(), "each once");

    // All of it is history, which rules do not look at.
    for (query, least) in [
        ("alert.hushed:silenced user:ann", 1),
        ("alert.verdict:false_positive", 1),
        ("alert.closed_by:* alert.state:resolved", 1),
        ("rule.title:Alpha level:>=error", 4),
    ] {
        wait::until_true(query, DEADLINE, || {
            let found = up.server.search(&json!({ "q": query, "stream": "alerts", "limit": 0 }));
            found["total"].as_u64().unwrap() >= least
        });
    }
    assert_eq!(up.server.alerts().len(), 2);
}

#[test]
fn routes_gather_and_one_receiver_that_hangs_holds_up_no_other() {
    let site = Site::new(BINARY);
    let (ops, pager) = (Webhook::start(), Webhook::start());
    // Takes connections, and never answers.
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hung = format!(
        "[query.alerts.receivers.hung]\ntype = \"webhook\"\nurl = \"http://{}/\"\n",
        hangs.local_addr().unwrap()
    );
    let file = site.path("said").display().to_string();
    let command = format!(
        "[query.alerts.receivers.script]\ntype = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {file}; echo >> {file}\"]\n"
    );
    let routes = "[[query.alerts.routes]]\nreceivers = [\"hung\"]\ncontinue = true\n\
                  [[query.alerts.routes]]\nmatch = \"level:critical\"\nreceivers = [\"pager\", \"script\"]\n\
                  [[query.alerts.routes]]\nreceivers = [\"ops\"]\ngroup_by = [\"rule.title\"]\ngroup_wait = \"2s\"\ngroup_interval = \"2s\"\n";
    let receivers = hook("ops", &ops) + &hook("pager", &pager) + &hung + &command;
    let up = site.up(&settings(&site, &receivers, routes)).started();
    site.append("app.log", "alpha user=ann\nalpha user=bob\nbeta user=eve\n");
    wait::until_true("the pager", DEADLINE, || told(&pager) == pairs(&[("firing", "eve")]));
    wait::until_true("one for both", DEADLINE, || told(&ops).len() == 1);
    let (status, users) = told(&ops).remove(0);
    let mut users: Vec<&str> = users.split(' ').collect();
    users.sort_unstable();
    assert_eq!((status.as_str(), users), ("firing", vec!["ann", "bob"]));
    let body: Value = serde_json::from_str(&ops.posts()[0].body).unwrap();
    assert_eq!(body["group"], json!({ "rule.title": "Alpha" }));
    wait::until_true("the command", DEADLINE, || {
        let said = fs::read_to_string(&file).unwrap_or_default();
        said.lines().any(|line| {
            serde_json::from_str::<Value>(line).is_ok_and(|said| said["alert"]["group"]["user"] == "eve")
        })
    });
    let (_, test) = ask(&up, "POST", "/api/v1/receivers/pager/test", &json!({}));
    assert_eq!((&test["delivered"], &test["problem"]), (&json!(true), &Value::Null), "{test}");
    assert_eq!(ask(&up, "POST", "/api/v1/receivers/none/test", &json!({})).0, 404);
    wait::stays("each once, and the test", QUIET, || (ops.posts().len(), pager.posts().len()) == (1, 3));
    let delivered =
        up.server.metric("millrace_query_notifications_total{receiver=\"ops\",outcome=\"delivered\"}");
    assert_eq!(delivered, Some(1.0));
}

#[test]
fn a_topic_gets_each_notification_under_its_key() {
    let site = Site::new(BINARY);
    let broker = kafka::shared();
    let receiver = format!(
        "[query.alerts.receivers.topic]\ntype = \"kafka\"\nbrokers = [\"{}\"]\nname = \"told\"\npartitions = 1\nreplication = 1\n",
        broker.bootstrap
    );
    let up = site.up(&settings(&site, &receiver, "")).started();
    site.append("app.log", "alpha user=ann\n");
    let id = wait_for_alert(&up, "ann")["id"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let messages = || {
        runtime.block_on(async {
            let settings = KafkaSettings::new(vec![broker.bootstrap.clone()], "told");
            let clock = Arc::new(SystemClock);
            let topic =
                Topic::open(&TopicSettings::Kafka(settings), clock, &Metrics::default()).await.unwrap();
            let page = topic.page(Partition(0), 0, 100).await.unwrap();
            page.messages.into_iter().filter(|message| !message.value.is_empty()).collect::<Vec<_>>()
        })
    };
    wait::until_true("it is delivered", DEADLINE, || {
        up.server.metric("millrace_query_notifications_total{receiver=\"topic\",outcome=\"delivered\"}")
            == Some(1.0)
    });
    let (status, _) = ask(&up, "POST", &format!("/api/v1/alerts/{id}/close"), &json!({}));
    assert_eq!(status, 200);
    let both = wait::until("both", DEADLINE, || Some(messages()).filter(|messages| messages.len() == 2));
    for (message, status) in both.iter().zip(["firing", "resolved"]) {
        let body: Value = serde_json::from_slice(&message.value).unwrap();
        assert_eq!((&body["status"], &body["alert"]["id"]), (&json!(status), &json!(id)));
        assert_eq!(message.key, format!("{id}/topic"));
        let key = message.headers.iter().find(|(name, _)| name == "idempotency-key").unwrap();
        assert_eq!(key.1, body["id"].as_str().unwrap());
    }
}
