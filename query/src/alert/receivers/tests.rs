//! What each kind of receiver hears: against a server in the test, and what becomes of its answers.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use millrace_catalogue::Demoted;
use millrace_config::Secret;
use millrace_model::ManualClock;
use serde_json::{Value, json};
use std::sync::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);

fn firing(id: &str, host: &str) -> AlertTold {
    let mut told = sample("x", NOW, AlertState::Firing).alert;
    let alert = &mut told.alert;
    id.clone_into(&mut alert.id);
    (alert.rule_id, alert.title, alert.level) = ("ssh".into(), "SSH <brute> force".into(), "high".into());
    alert.group = BTreeMap::from([("host.name".to_owned(), host.to_owned())]);
    told
}

fn message(alerts: Vec<AlertTold>) -> Message {
    Message {
        version: "1".to_owned(),
        id: "group-1/ops/5-1".to_owned(),
        status: if alerts.iter().all(AlertTold::is_over) { AlertState::Resolved } else { AlertState::Firing },
        receiver: "ops".to_owned(),
        group: BTreeMap::new(),
        repeated: false,
        changed: alerts.iter().map(|told| told.alert.id.clone()).collect(),
        alert: alerts[0].clone(),
        alerts,
    }
}

fn over(mut alert: AlertTold) -> AlertTold {
    alert.alert.state = AlertState::Resolved;
    alert.alert.resolved_at = Some(NOW.plus(Duration::from_secs(30)));
    alert
}

/// What was asked: the first line and headers, then the body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers each request with the next of these, and the last one for ever.
async fn server(answers: &'static [&'static str]) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(answer(stream, kept, answers));
        }
    });
    (url, asked)
}

async fn answer(stream: TcpStream, asked: Asked, answers: &[&str]) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let number = {
            let mut asked = asked.lock().unwrap();
            asked.push((head, serde_json::from_slice(&body).unwrap_or_default()));
            asked.len()
        };
        let answer = answers[(number - 1).min(answers.len() - 1)];
        let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        stream.get_mut().write_all(text.as_bytes()).await.ok()?;
    }
}

fn receiver(kind: Kind, title: Option<&str>, body: Option<&str>) -> Arc<Receiver> {
    let templates = template::Templates::read(title.map(str::to_owned), body.map(str::to_owned)).unwrap();
    let settings = ReceiverSettings {
        kind,
        templates,
        has_templates: title.is_some() || body.is_some(),
        timeout: Duration::from_secs(10),
        give_up_after: Duration::from_hours(24),
        per_minute: 60,
    };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
    open(BTreeMap::from([("ops".to_owned(), settings)]), &clock).unwrap().remove("ops").unwrap()
}

#[tokio::test]
async fn a_webhook_hears_everything_as_json() {
    let (url, asked) = server(&["200 OK"]).await;
    let told = message(vec![firing("a", "web1"), over(firing("b", "web2"))]);
    let plain = receiver(Kind::Webhook { url: url.clone(), token: None }, None, None);
    assert_eq!(plain.tell(&told, "g").await, Outcome::Delivered);
    let token = Some(Secret::new("s3cret"));
    let worded = receiver(Kind::Webhook { url, token }, Some("{{ alerts|length }} alerts"), None);
    assert_eq!(worded.tell(&told, "g").await, Outcome::Delivered);
    let asked = asked.lock().unwrap();
    assert!(asked[0].0.starts_with("POST / "), "{}", asked[0].0);
    assert!(asked[0].0.contains("idempotency-key: group-1/ops/5-1"), "{}", asked[0].0);
    assert_eq!(asked[0].1, serde_json::to_value(&told).unwrap());
    assert_eq!(asked[0].1["alerts"][1]["state"], "resolved");
    assert!(asked[1].0.contains("authorization: Bearer s3cret"), "{}", asked[1].0);
    assert_eq!(asked[1].1["title"], "2 alerts");
}

#[tokio::test]
async fn what_an_answer_means_is_understood() {
    let (url, asked) = server(&[
        "500 Oh",
        "429 Slowly\r\nretry-after: 77",
        "404 Gone",
        "302 Found\r\nlocation: http://127.0.0.1:1/",
        "204 Well",
    ])
    .await;
    let hook = receiver(Kind::Webhook { url, token: None }, None, None);
    let told = message(vec![firing("a", "web1")]);
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        outcomes.push(hook.tell(&told, "g").await);
    }
    let later = |outcome: &Outcome, wait: Option<u64>| matches!(outcome, Outcome::Later { after, .. } if *after == wait.map(Duration::from_secs));
    assert!(later(&outcomes[0], None) && later(&outcomes[1], Some(77)), "{outcomes:?}");
    assert!(matches!(outcomes[2], Outcome::Never { .. }), "{outcomes:?}");
    assert!(later(&outcomes[3], None), "nobody is followed: {outcomes:?}");
    assert_eq!(outcomes[4], Outcome::Delivered);
    assert_eq!(asked.lock().unwrap().len(), 5);
    let nobody = receiver(Kind::Slack { url: Secret::new("http://127.0.0.1:1/T0/secret") }, None, None);
    let Outcome::Later { problem, .. } = nobody.tell(&told, "g").await else { panic!("nobody is there") };
    assert!(!problem.contains("secret"), "{problem}");
}

#[tokio::test]
async fn slack_and_teams_hear_a_title_and_a_text() {
    let (url, asked) = server(&["200 OK"]).await;
    let told = message(vec![firing("a", "web1"), over(firing("b", "web2"))]);
    assert_eq!(
        receiver(Kind::Slack { url: Secret::new(&*url) }, None, None).tell(&told, "g").await,
        Outcome::Delivered
    );
    assert_eq!(
        receiver(Kind::Teams { url: Secret::new(&*url) }, None, None).tell(&told, "g").await,
        Outcome::Delivered
    );
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].1["text"], "[FIRING: 1 firing, 1 resolved] SSH &lt;brute&gt; force");
    let text = asked[0].1["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(text.contains("host.name: web1") && text.contains("resolved: SSH &lt;brute&gt; force"), "{text}");
    let attachment = &asked[1].1["attachments"][0];
    assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
    assert_eq!(attachment["content"]["type"], "AdaptiveCard");
    assert_eq!(attachment["content"]["body"][0]["text"], "[FIRING: 1 firing, 1 resolved] SSH <brute> force");
    // A huge group is cut off, not refused.
    let many = message((0..500).map(|number| firing(&format!("a{number}"), &"h".repeat(300))).collect());
    let slack = chat::slack(&template::Templates::read(None, None).unwrap().text(&many));
    assert!(slack["blocks"][1]["text"]["text"].as_str().unwrap().chars().count() <= 3_000);
}

#[tokio::test]
async fn pagerduty_hears_of_each_alert_by_its_id() {
    let (url, asked) = server(&["202 Accepted"]).await;
    let duty = receiver(Kind::PagerDuty { url, routing_key: Secret::new("R0") }, None, None);
    let mut told = message(vec![firing("a", "web1"), over(firing("b", "web2")), firing("c", "web3")]);
    told.changed.pop();
    assert_eq!(duty.tell(&told, "g").await, Outcome::Delivered);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "what is known already is not told again");
    let event = &asked[0].1;
    assert_eq!(
        (&event["routing_key"], &event["event_action"], &event["dedup_key"]),
        (&json!("R0"), &json!("trigger"), &json!("a"))
    );
    assert_eq!(event["payload"]["summary"], "SSH <brute> force: host.name=web1");
    assert_eq!(
        (&event["payload"]["severity"], &event["payload"]["source"]),
        (&json!("error"), &json!("web1"))
    );
    assert_eq!(asked[1].1, json!({ "routing_key": "R0", "event_action": "resolve", "dedup_key": "b" }));
}

#[tokio::test]
async fn alertmanager_hears_when_alerts_end() {
    let (url, asked) = server(&["200 OK"]).await;
    let manager = receiver(Kind::Alertmanager { url: format!("{url}/am/"), token: None }, None, None);
    let mut demoted = over(firing("b", "web2"));
    demoted.alert.level = "medium".to_owned();
    demoted.marks.demoted =
        Some(Demoted { from: "high".into(), to: "medium".into(), similar_to: "z".into() });
    let mut told = message(vec![firing("a", "web1"), demoted]);
    assert_eq!(manager.tell(&told, "g").await, Outcome::Delivered);
    let asked = asked.lock().unwrap();
    assert!(asked[0].0.starts_with("POST /am/api/v2/alerts "), "{}", asked[0].0);
    let alerts = &asked[0].1;
    let labels = json!({ "alertname": "SSH <brute> force", "severity": "high", "rule_id": "ssh", "alert_id": "a", "host_name": "web1" });
    assert_eq!(alerts[0]["labels"], labels);
    assert_eq!(
        (&alerts[0]["startsAt"], &alerts[0]["endsAt"]),
        (&json!(NOW), &json!(NOW.plus(Duration::from_mins(4))))
    );
    assert_eq!(alerts[1]["endsAt"], json!(NOW.plus(Duration::from_secs(30))));
    assert_eq!(
        alerts[1]["labels"]["severity"], "high",
        "it is known by the same labels for as long as it lives"
    );
    told.repeated = true;
    assert!(
        manager.is_stale(&told, Duration::from_mins(2)) && !manager.is_stale(&told, Duration::from_secs(30))
    );
    told.repeated = false;
    assert!(!manager.is_stale(&told, Duration::from_hours(2)), "what is news stays so");
}

/// A mail server that takes one mail for each of these answers to its text. Returns all that it heard.
async fn mail_server(answers: &'static [&'static str]) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let mut all = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.get_mut().write_all(b"220 ready\r\n").await.unwrap();
            let (mut text, mut in_text) = (String::new(), false);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap() == 0 {
                    break;
                }
                text += &line;
                let reply = match line.trim_end() {
                    "." if in_text => {
                        in_text = false;
                        *answer
                    }
                    _ if in_text => continue,
                    "DATA" => {
                        in_text = true;
                        "354 go on"
                    }
                    "QUIT" => "221 bye",
                    _ => "250 ok",
                };
                stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
            }
            all.push(text);
        }
        all
    });
    (port, heard)
}

#[tokio::test]
async fn mail_goes_to_all_who_are_named() {
    let (port, heard) = mail_server(&["250 taken", "451 not now", "550 never"]).await;
    let text = format!(
        "[query.alerts.receivers.m]\ntype = \"email\"\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\n\
         from = \"Millrace <alerts@example.com>\"\nto = [\"ann@example.com\", \"Bob <bob@example.com>\"]\n"
    );
    let kind = crate::settings::tests::read(&text).unwrap().alerts.receivers.remove("m").unwrap().kind;
    let mail = receiver(kind, None, None);
    let told = message(vec![firing("a", "größe")]);
    assert_eq!(mail.tell(&told, "g").await, Outcome::Delivered);
    assert!(matches!(mail.tell(&told, "g").await, Outcome::Later { .. }));
    assert!(matches!(mail.tell(&told, "g").await, Outcome::Never { .. }));
    let heard = heard.await.unwrap();
    for said in [
        "MAIL FROM:<alerts@example.com>",
        "RCPT TO:<ann@example.com>",
        "RCPT TO:<bob@example.com>",
        "Subject: [FIRING] SSH <brute> force",
        "Message-ID: <group.1.ops.5.1@millrace>",
    ] {
        assert!(heard[0].contains(said), "{said}: {}", heard[0]);
    }
}

#[tokio::test]
async fn a_template_that_does_not_fit_an_alert_is_no_reason_to_be_silent() {
    let (url, asked) = server(&["200 OK"]).await;
    let slack = receiver(Kind::Slack { url: Secret::new(url) }, Some("on {{ alert.group.user }}"), None);
    assert_eq!(slack.tell(&message(vec![firing("a", "web1")]), "g").await, Outcome::Delivered);
    assert_eq!(asked.lock().unwrap()[0].1["text"], "[FIRING] SSH &lt;brute&gt; force");
    let mut of_ann = firing("b", "web1");
    of_ann.alert.group.insert("user".to_owned(), "ann\n\tlee".to_owned());
    slack.tell(&message(vec![of_ann]), "g").await;
    assert_eq!(asked.lock().unwrap()[1].1["text"], "on ann lee", "a title is one line");
}

#[test]
fn templates_are_checked_and_bounded_when_they_are_read() {
    let wrong = |title: &str| template::Templates::read(Some(title.to_owned()), None).unwrap_err();
    for (template, problem) in [
        ("{{ alert.titel }}", "undefined"),
        ("{{ nothing }}", "undefined"),
        ("{{ alert.title", "line 1"),
        ("a\n{% if %}", "line 2"),
        ("{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}", "fuel"),
    ] {
        let (key, told) = wrong(template);
        assert!(key == "title" && told.contains(problem), "{template}: {told}");
    }
    assert!(template::Templates::read(Some("{{ alert.group.whatever }}".to_owned()), None).is_ok());
}

#[tokio::test]
async fn a_test_is_told_that_it_fires_and_is_over() {
    let (url, asked) = server(&["200 OK"]).await;
    let hook = receiver(Kind::Webhook { url, token: None }, None, None);
    assert_eq!(hook.test("ops").await, Outcome::Delivered);
    let asked = asked.lock().unwrap();
    let states: Vec<&Value> = asked.iter().map(|(_, body)| &body["status"]).collect();
    assert_eq!(states, [&json!("firing"), &json!("resolved")]);
    assert_eq!(asked[0].1["alert"]["id"], asked[1].1["alert"]["id"]);
}
