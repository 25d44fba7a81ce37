//! Fluent Bit's outputs: the first to Kafka is the topic.

use super::plugins;
use crate::{kafka::Topic, tree::Node};

/// Why keys of the output are not taken over.
const ADVICE: &[(&str, &str)] = &[
    ("match", "all sources ship to one topic"),
    ("match_regex", "all sources ship to one topic"),
    ("topic_key", "Millrace has one topic for all records; [streams.NAME] topic gives a stream another"),
    ("dynamic_topic", "Millrace has one topic for all records; [streams.NAME] topic gives a stream another"),
    ("format", "messages have a format of Millrace's own"),
    ("message_key", "messages have keys of Millrace's own"),
    ("message_key_field", "messages have keys of Millrace's own"),
    ("timestamp_key", "messages have a format of Millrace's own"),
    ("timestamp_format", "messages have a format of Millrace's own"),
    ("raw_log_key", "messages have a format of Millrace's own"),
    ("queue_full_retries", "messages are never given up"),
    ("retry_limit", "messages are never given up"),
    ("workers", "one client ships all"),
];

/// Converts all outputs.
pub(super) fn convert(root: &Node, topic: &mut Topic) {
    let mut found = false;
    for output in plugins(root, "output") {
        let kind = output.get("name").and_then(Node::plain).map(|name| name.to_lowercase());
        match kind.as_deref() {
            Some("kafka") if found => output.leave("Millrace has one topic, and another output is it"),
            Some("kafka") => {
                found = true;
                kafka(output, topic);
            }
            Some("loki") => output.leave("agents ship to a topic, and Millrace's query role answers Loki's API"),
            Some("es" | "opensearch") => output.leave(
                "agents ship to a topic, and indexers write Millrace's own shards: no Elasticsearch is needed",
            ),
            _ => output.leave("agents ship to a topic: set [topic] to your Kafka"),
        }
    }
}

fn kafka(output: &Node, topic: &mut Topic) {
    topic.at.push(output.at().to_owned());
    for (key, why) in ADVICE {
        output.all(key).filter(|node| !is_all(node)).for_each(|node| node.leave(*why));
    }
    for (key, node) in output.entries() {
        match key.as_str() {
            "brokers" => topic.brokers(node),
            "topics" => topics(node, topic),
            "client_id" => topic.text("client.id", Some(node)),
            key => {
                if let Some(key) = key.strip_prefix("rdkafka.") {
                    topic.pass(key, node);
                }
            }
        }
    }
}

/// Does it match all tags, so that nothing is lost by leaving it out?
fn is_all(node: &Node) -> bool {
    let all = node.at().to_lowercase().ends_with(".match") && node.text().is_some_and(|text| text == "*");
    if all {
        node.take();
    }
    all
}

fn topics(node: &Node, topic: &mut Topic) {
    match node.text() {
        Some(text) if text.contains(',') => {
            node.leave("Millrace has one topic for all records; [streams.NAME] topic gives a stream another");
        }
        Some(_) => topic.name(node, "$"),
        None => {}
    }
}
