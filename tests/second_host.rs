//! A host without a topic of its own: its agent ships to another host's `millrace up`, over TLS, with a token and a certificate. What
//! happens to either of them, each line is there once, and the audit says so.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_model::{
    AgentId, BootId, Clock, InstanceId, LogRecord, Partition, SourceId, StreamName, SystemClock,
    wire::{self, Envelope, Extent, Payload, Run, RunKind, Sender, SkipReason, SourceOpen},
};
use millrace_test_support::{
    Site, certificates, http,
    numbers::{self, Writer},
    ports,
    process::Process,
    server, wait,
};
use millrace_transport::{HttpSettings, Metrics, Producer, Topic, TopicSettings};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
/// Far more than anything here takes, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// Where other hosts' agents are received, over TLS with certificates and a token.
fn receive(site: &Site, port: u16) -> String {
    let path = |name: &str| site.path("tls").join(name).display().to_string();
    format!(
        "[agent.sources]\n[receive]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"a-token-of-ours\"\n\
         [receive.tls]\ncertificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
        path("localhost.pem"),
        path("localhost.key"),
        path("ca.pem"),
    )
}

/// The agent of the second host.
struct Second<'a> {
    site: &'a Site,
    config: String,
    /// Where it serves its own probes.
    address: String,
    process: Option<Process>,
}

impl<'a> Second<'a> {
    fn new(site: &'a Site, port: u16, token: &str) -> Self {
        let path = |name: &str| site.path("tls").join(name).display().to_string();
        let address = format!("127.0.0.1:{}", ports::free());
        let text = format!(
            "[agent]\nstate_dir = \"{}\"\nlisten = \"{address}\"\n\
             [agent.sources.app]\ntype = \"file\"\ninclude = [\"{}\"]\n\
             [topic]\ntype = \"http\"\nurl = \"https://localhost:{port}\"\ntoken = \"{token}\"\n\
             [topic.tls]\nca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            site.path("second").display(),
            site.log("*").display(),
            path("ca.pem"),
            path("sender.pem"),
            path("sender.key"),
        );
        let config = site.write(&format!("agent-{token}.toml"), &text);
        Self { site, config, address, process: None }
    }

    fn start(&mut self) {
        self.process = Some(self.site.start("second", &["agent", "--config", &self.config]));
    }

    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// What it says it is not ready for.
    fn problems(&self) -> String {
        http::get(&self.address, "/readyz").map(|answer| answer.text()).unwrap_or_default()
    }
}

#[test]
fn each_line_of_a_second_host_is_there_once_whoever_is_killed() {
    let site = Site::new(BINARY);
    certificates::make(&site.path("tls"));
    let port = ports::free();
    let mut up = site.up(&receive(&site, port));
    let mut second = Second::new(&site, port, "a-token-of-ours");
    let mut writer = Writer::new(&site.path("logs"), 3, 1500);

    // The other host is not there yet.
    second.start();
    writer.write_until(1000);
    wait::until_true("the agent says what it waits for", DEADLINE, || {
        second.problems().contains(&format!("https://localhost:{port}"))
            || second.problems().contains("topic: ")
    });
    up.start();
    up.server.wait_for_total(numbers::QUERY, 1000, DEADLINE);

    let mut lines = 1000;
    for round in 0..6 {
        lines += 1500;
        writer.write_until(lines);
        if round % 2 == 0 {
            up.kill();
            writer.write_until(lines + 200);
            up.start();
        } else {
            second.kill();
            writer.write_until(lines + 200);
            second.start();
        }
        lines += 200;
    }
    up.server.wait_for_total(numbers::QUERY, lines, DEADLINE);
    numbers::assert_each_once(&up.server, lines);
    up.assert_audit_is_complete(lines);
    let audit = up.server.get("/api/v1/audit");
    let sources = audit["sources"].as_array().unwrap();
    assert!(sources.len() >= 3 && sources.iter().all(|source| source["open"]["kind"] == "file"), "{audit}");
    let url = format!("https://localhost:{port}");
    let sent = server::metric(
        &second.address,
        &format!("millrace_transport_sent_messages_total{{topic=\"{url}\"}}"),
    );
    assert!(sent.is_some_and(|sent| sent > 0.0));
    // Both agents say how they are, and so does who asks.
    wait::until_true("both hosts are up", DEADLINE, || {
        let hosts = up.server.get("/api/v1/hosts");
        let hosts = hosts["hosts"].as_array().unwrap();
        hosts.len() == 2 && hosts.iter().all(|host| host["state"] == "up" && host["problem"].is_null())
    });
    let hosts = up.run(&["hosts"]);
    assert_eq!((hosts.code, hosts.stdout.lines().count()), (Some(0), 3), "{}{}", hosts.stdout, hosts.stderr);
    second.process.take().unwrap().terminate(DEADLINE);
    let hosts = up.run(&["hosts", "--output", "ndjson"]);
    assert!(hosts.stdout.contains("\"state\":\"stopped\""), "{}", hosts.stdout);
    up.stop();
}

#[test]
fn who_has_no_token_or_certificate_is_turned_away_and_told_so() {
    let site = Site::new(BINARY);
    certificates::make(&site.path("tls"));
    let port = ports::free();
    let up = site.up(&receive(&site, port)).started();
    site.append("app.log", "from afar\n");
    let mut stranger = Second::new(&site, port, "a-guess");
    stranger.start();
    wait::until_true("the agent says that it is turned away", DEADLINE, || {
        stranger.problems().contains("401 Unauthorized: the request needs the header")
    });
    let rejected = "millrace_receive_rejected_requests_total{reason=\"unauthorized\"}";
    assert!(up.server.metric(rejected).is_some_and(|rejected| rejected > 0.0));
    stranger.kill();
    // The right token alone does not do: who asks for certificates wants one.
    let mut bare = Second::new(&site, port, "a-token-of-ours");
    let text = std::fs::read_to_string(&bare.config).unwrap();
    let without: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("certificate") && !line.starts_with("key")).collect();
    bare.config = site.write("bare.toml", &without.join("\n"));
    bare.start();
    wait::until_true("the agent says that TLS fails", DEADLINE, || {
        bare.problems().contains("certificate required")
    });
    bare.kill();
    assert_eq!(up.server.whole_total("*"), Some(0));
    let mut second = Second::new(&site, port, "a-token-of-ours");
    second.start();
    up.server.wait_for_total("\"from afar\"", 1, DEADLINE);
}

#[test]
fn on_one_machine_an_agent_ships_to_where_people_search() {
    let site = Site::new(BINARY);
    let up = site.up("[agent.sources]\n").started();
    site.append("app.log", "through the front door\n");
    let config = site.write(
        "agent.toml",
        &format!(
            "[agent]\nstate_dir = \"{}\"\nlisten = \"127.0.0.1:{}\"\n[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}\"]\n\
             [topic]\ntype = \"http\"\nurl = \"{}\"\n",
            site.path("second").display(),
            ports::free(),
            site.log("*").display(),
            up.server.url(),
        ),
    );
    let agent = site.start("second", &["agent", "--config", &config]);
    up.server.wait_for_total("\"front door\"", 1, DEADLINE);
    up.assert_audit_is_complete(1);
    let described: Value = up.server.get("/api/v1/topic");
    assert_eq!((&described["version"], &described["partitions"]), (&Value::from(1), &Value::from(4)));
    drop(agent);
}

#[test]
fn who_reads_a_topic_has_it_at_hand() {
    let site = Site::new(BINARY);
    let topic = "[topic]\ntype = \"http\"\nurl = \"https://logs.example.com:7703\"\n";
    let config = site.write("x.toml", topic);
    let outcome = site.run(&["up", "--config", &config]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains("a topic of another host is only sent to"), "{}", outcome.stderr);
    let plain = site.write("plain.toml", &topic.replace("https", "http"));
    let outcome = site.run(&["config", "check", "--config", &plain]);
    assert_eq!(outcome.code, Some(3));
    assert!(outcome.stderr.contains("allow_plaintext"), "{}", outcome.stderr);
}

/// A message of a file, of one line; `refused`: that says instead that the topic takes no such record.
fn line(text: &str, at: u64, refused: bool) -> Payload {
    let length = text.len() as u64 + 1;
    let kind = if refused { RunKind::Skipped(SkipReason::Rejected) } else { RunKind::Record };
    let open = SourceOpen {
        kind: "file".into(),
        path: "/var/log/app.log".into(),
        host: "second".into(),
        start: 0,
        continues: None,
        because: None,
    };
    let envelope = Envelope {
        stream: StreamName::default(),
        sender: Sender { agent: AgentId(1), instance: InstanceId(2), epoch: 1, boot: BootId(3) },
        source: SourceId(4),
        extent: Extent { start: at, end: at + length, crc32c: 0, runs: vec![Run { length, kind }] },
        open: (at == 0).then_some(open),
        close: None,
    };
    // What is older than its stream is kept would be dropped.
    let now = SystemClock.now();
    let record = LogRecord { body: text.into(), observed_timestamp: now, ..LogRecord::default() };
    wire::encode(&envelope, if refused { &[] } else { std::slice::from_ref(&record) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_topic_refused_is_sent_again_when_it_may_be_taken() {
    let site = Site::new(BINARY);
    let up = tokio::task::block_in_place(|| site.up("[agent.sources]\n").started());
    let settings = TopicSettings::Http(HttpSettings::new(&up.server.url()));
    let topic = Topic::open(&settings, Arc::new(SystemClock), &Metrics::default()).await.unwrap();
    let (reports, mut delivered) = mpsc::channel(8);
    let producer = topic.producer(reports).unwrap();
    let at = Partition(2);
    producer.send(at, line("first", 0, false), 0).await.unwrap();
    producer.keep_dead(at, line("unwanted", 6, false), "a rule of the broker's").await.unwrap();
    producer.send(at, line("unwanted", 6, true), 1).await.unwrap();
    producer.send(at, line("last", 15, false), 2).await.unwrap();
    for _ in 0..3 {
        assert!(delivered.recv().await.unwrap().outcome.is_ok());
    }
    tokio::task::block_in_place(|| {
        up.server.wait_for_total("*", 2, DEADLINE);
        let rejected = || up.server.get("/api/v1/audit")["sources"][0]["skipped"]["rejected"].as_u64();
        wait::until_true("the audit knows what is refused", DEADLINE, || rejected() == Some(9));
        let list = up.run(&["dead-letters", "list", "--waiting"]);
        assert!(list.stdout.contains("a rule of the broker's"), "{}{}", list.stdout, list.stderr);
        let replayed = up.run(&["dead-letters", "replay", "--all"]);
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        up.server.wait_for_total("unwanted", 1, DEADLINE);
        wait::until_true("nothing is refused any more", DEADLINE, || rejected().is_none());
        up.assert_audit_is_complete(3);
        let list = up.run(&["dead-letters", "list", "--waiting"]);
        assert!(!list.stdout.contains("a rule of the broker's"), "{}", list.stdout);
    });
}
