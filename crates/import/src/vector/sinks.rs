//! Vector's sinks: the first to Kafka is the topic.

use super::components;
use crate::{emit::Toml, kafka::Topic, tree::Node};

/// Why keys of the sink are not taken over.
const ADVICE: &[(&str, &str)] = &[
    ("encoding", "messages have a format of Millrace's own"),
    ("key_field", "messages have keys of Millrace's own"),
    ("headers_key", "messages have headers of Millrace's own"),
    ("message_timeout_ms", "messages are never given up"),
    ("batch", "batches are sized by themselves; [topic.librdkafka] linger.ms and batch.size bound them"),
    ("buffer", "files wait where they are, and what is pushed waits in a spool on the disk"),
    ("acknowledgements", "a delivered message is acknowledged by all replicas"),
    ("healthcheck", "/readyz says whether the topic is reached"),
    ("healthcheck_topic", "/readyz says whether the topic is reached"),
    ("rate_limit_num", "a step such as rate_limit = \"100/s\" bounds a source"),
    ("rate_limit_duration_secs", "a step such as rate_limit = \"100/s\" bounds a source"),
];

/// Converts all sinks.
pub(super) fn convert(root: &Node, topic: &mut Topic) {
    let mut found = false;
    for (_, sink) in components(root, "sinks") {
        match sink.get("type").and_then(Node::plain).as_deref() {
            Some("kafka") if found => sink.leave("Millrace has one topic, and another sink is it"),
            Some("kafka") => {
                found = true;
                kafka(sink, topic);
            }
            Some("loki") => sink.leave("agents ship to a topic, and Millrace's query role answers Loki's API"),
            Some("elasticsearch") => sink.leave(
                "agents ship to a topic, and indexers write Millrace's own shards: no Elasticsearch is needed",
            ),
            Some("console" | "file") => {
                sink.leave("agents ship to a topic; `millrace agent --dry-run FILE` prints records");
            }
            Some("blackhole") => sink.leave("what should not be kept is dropped by a step"),
            _ => sink.leave("agents ship to a topic: set [topic] to your Kafka"),
        }
    }
}

fn kafka(sink: &Node, topic: &mut Topic) {
    topic.at.push(sink.at().to_owned());
    for (key, why) in ADVICE {
        sink.get(key).into_iter().for_each(|node| node.leave(*why));
    }
    if let Some(inputs) = sink.get("inputs") {
        // All sources ship to the topic.
        inputs.texts();
    }
    sink.get("bootstrap_servers").into_iter().for_each(|servers| topic.brokers(servers));
    sink.get("topic").into_iter().for_each(|name| topic.name(name, "{{"));
    if let Some(codec) = sink.get("compression") {
        match codec.plain().as_deref() {
            Some(codec @ ("none" | "gzip" | "snappy" | "lz4" | "zstd")) => {
                topic.set("compression.codec", Toml::text(codec));
            }
            Some(other) => codec.leave(format!("librdkafka knows no compression {other:?}")),
            None => {}
        }
    }
    if let Some(timeout) = sink.get("socket_timeout_ms")
        && let Some(Ok(millis)) = timeout.count().map(i64::try_from)
    {
        topic.set("socket.timeout.ms", Toml::Integer(millis));
    }
    security(sink, topic);
    for (key, node) in sink.get("librdkafka_options").map(Node::entries).unwrap_or_default() {
        if node.is_map() {
            node.leave("an option's name with its dots stands in quotes: \"client.id\"");
        } else {
            topic.pass(key, node);
        }
    }
}

fn security(sink: &Node, topic: &mut Topic) {
    let on = |key: &str| {
        sink.get(key)
            .filter(|section| section.get("enabled").is_some_and(|enabled| enabled.flag() == Some(true)))
    };
    let (tls, sasl) = (on("tls"), on("sasl"));
    topic.protocol(tls.is_some(), sasl.is_some());
    for (key, section) in [("tls", tls), ("sasl", sasl)] {
        if section.is_none() {
            sink.get(key).into_iter().for_each(|node| node.leave("it is not switched on"));
        }
    }
    if let Some(sasl) = sasl {
        for (theirs, ours) in
            [("mechanism", "sasl.mechanism"), ("username", "sasl.username"), ("password", "sasl.password")]
        {
            topic.text(ours, sasl.get(theirs));
        }
    }
    let Some(tls) = tls else { return };
    let files = [
        ("ca_file", "ssl.ca.location"),
        ("crt_file", "ssl.certificate.location"),
        ("key_file", "ssl.key.location"),
        ("key_pass", "ssl.key.password"),
    ];
    for (theirs, ours) in files {
        topic.text(ours, tls.get(theirs));
    }
    if tls.get("verify_certificate").and_then(Node::flag) == Some(false) {
        topic.set("enable.ssl.certificate.verification", Toml::Bool(false));
    }
    if tls.get("verify_hostname").and_then(Node::flag) == Some(false) {
        topic.set("ssl.endpoint.identification.algorithm", Toml::text("none"));
    }
}
