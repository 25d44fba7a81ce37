//! Rules over hosts whose records lie in different partitions, watched by two query nodes that share them: what is counted together
//! is counted once, and what one node had counted the other goes on with.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_model::{Clock as _, LogRecord, Partition, SystemClock, Value as Body, wire};
use millrace_test_support::{Plan, Role, Server, Site, kafka, postgres, wait};
use millrace_transport::{KafkaSettings, Metrics, Producer, Topic, TopicSettings};
use serde_json::{Value, json};
use std::{fs, sync::Arc, time::Duration};
use tokio::{runtime::Runtime, sync::mpsc};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(2);
/// Longer than anything that would raise another alert takes to do so.
const QUIET: Duration = Duration::from_secs(3);
/// Hosts, each with a partition of its own.
const HOSTS: i32 = 4;
const TOPIC: &str = "across";

/// Another shipper's messages, each where it is said to go.
struct Hosts {
    runtime: Runtime,
    topic: Topic,
}

impl Hosts {
    fn new(broker: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let settings = KafkaSettings::new(vec![broker.to_owned()], TOPIC);
        let topic = runtime.block_on(async {
            let settings = TopicSettings::Kafka(settings);
            Topic::open(&settings, Arc::new(SystemClock), &Metrics::default()).await.unwrap()
        });
        Self { runtime, topic }
    }

    /// One line of a host.
    fn say(&self, host: i32, line: &str) {
        let mut record =
            LogRecord { timestamp: Some(SystemClock.now()), body: Body::from(line), ..LogRecord::default() };
        Arc::make_mut(&mut record.resource).set("host.name", format!("host{host}"));
        self.runtime.block_on(async {
            let (reports, mut delivered) = mpsc::channel(1);
            let producer = self.topic.producer(reports).unwrap();
            producer.send(Partition(host), wire::plain(None, [&record]), 0).await.unwrap();
            delivered.recv().await.unwrap().outcome.unwrap();
        });
    }

    /// How many messages lie in the topic for matches, but for its markers.
    fn handed_on(&self) -> usize {
        self.runtime.block_on(async {
            let matches = self.topic.matches().await.unwrap();
            let mut count = 0;
            for slice in 0..matches.partitions().await.unwrap() {
                let page = matches.page(Partition(slice as i32), 0, 10_000).await.unwrap();
                count += page.messages.iter().filter(|message| !message.value.is_empty()).count();
            }
            count
        })
    }
}

/// Alerts of a rule: group and count, of all states.
fn alerts(server: &Server, rule: &str) -> Vec<(Value, u64)> {
    let of_rule = |alert: &Value| alert["rule_id"] == json!(rule);
    let mut alerts: Vec<(Value, u64)> = server
        .alerts()
        .iter()
        .filter(|alert| of_rule(alert))
        .map(|alert| (alert["group"].clone(), alert["count"].as_u64().unwrap()))
        .collect();
    alerts.sort_by_key(|(group, _)| group.to_string());
    alerts
}

#[test]
fn what_many_hosts_do_is_counted_together_by_nodes_that_share_the_topic() {
    let broker = kafka::shared();
    let site = Site::new(BINARY);
    fs::create_dir_all(site.path("rules")).unwrap();
    let rule = |id: &str, count: u32, group_by: &str| {
        let text = format!(
            "title: {id}\nid: {id}\nkind: threshold\nlevel: high\nquery: failed\nextract: 'user=(?P<user>\\w+)'\n\
             threshold: {{ count: {count}, window: 10m, group_by: [{group_by}] }}\n"
        );
        site.write(&format!("rules/{id}.yml"), &text);
    };
    rule("of-user", 8, "user");
    rule("of-host", 3, "host");
    rule("of-all", 10, "");
    let catalogue = postgres::shared().database();
    let plan = Plan { catalogue: &catalogue, ..Plan::new(&broker.bootstrap, TOPIC) };
    let more = format!("[query.alerts]\nstarter = false\nrules = [\"{}\"]\n", site.path("rules").display());
    let mut nodes = ["one", "two"].map(|name| Role::query(&site, plan, name, &more));
    for node in &mut nodes {
        node.start();
        node.server().wait_until_ready(DEADLINE);
    }
    let hosts = Hosts::new(&broker.bootstrap);

    // Seven on four hosts: neither is enough anywhere, nor all of them.
    for line in 0..7 {
        hosts.say(line % HOSTS, "failed user=ann");
    }
    wait::until_true("all is handed on", DEADLINE, || hosts.handed_on() >= 7);
    wait::stays("it is not enough", QUIET, || nodes[0].server().alerts().is_empty());

    // Whoever had counted so far is gone; another one more, elsewhere.
    nodes[0].kill();
    hosts.say(3, "failed user=ann");
    let left = nodes[1].server();
    let of_user = || alerts(&left, "of-user");
    wait::until_true("eight are eight", DEADLINE, || of_user() == [(json!({ "user": "ann" }), 8)]);
    nodes[0].start();

    // By another user: of each host, and of all, it is enough.
    for host in 0..HOSTS {
        hosts.say(host, "failed user=bob");
    }
    let of_hosts: Vec<(Value, u64)> =
        (0..HOSTS).map(|host| (json!({ "host": format!("host{host}") }), 3)).collect();
    wait::until_true("each host's three", DEADLINE, || alerts(&left, "of-host") == of_hosts);
    wait::until_true("all twelve are one alert", DEADLINE, || alerts(&left, "of-all") == [(json!({}), 12)]);
    wait::stays("nothing else", QUIET, || left.alerts().len() == 6 && of_user().len() == 1);
    nodes[1].kill();
    nodes[0].server().wait_until_ready(DEADLINE);
    hosts.say(0, "failed user=ann");
    wait::until_true("what fires goes on where another node has begun it", DEADLINE, || {
        alerts(&nodes[0].server(), "of-user") == [(json!({ "user": "ann" }), 9)]
    });
    let unknown = "millrace_query_unknown_matches_total";
    assert!(nodes[0].metric(unknown) < 1.0);
}
