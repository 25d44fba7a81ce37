//! Filebeat's output to Kafka.

use crate::{emit::Toml, kafka::Topic, tree::Node, units};

/// Why keys of the output are not taken over.
const ADVICE: &[(&str, &str)] = &[
    (
        "required_acks",
        "messages are acknowledged by all replicas: a delivered one must survive the loss of a broker",
    ),
    ("max_retries", "messages are never given up"),
    ("partition", "the records of one source stay in order, in one partition"),
    ("key", "messages have keys of Millrace's own"),
    ("headers", "messages have headers of Millrace's own"),
    ("codec", "messages have a format of Millrace's own"),
    ("version", "what brokers understand is found out"),
    ("worker", "one client ships all"),
    ("topics", "Millrace has one topic for all records; [streams.NAME] topic gives a stream another"),
    (
        "bulk_max_size",
        "batches are sized by themselves; [topic.librdkafka] linger.ms and batch.size bound them",
    ),
    (
        "bulk_flush_frequency",
        "batches are sized by themselves; [topic.librdkafka] linger.ms bounds their wait",
    ),
    ("channel_buffer_size", "[agent] in_flight bounds what waits for the topic's acknowledgement"),
    ("backoff", "the client waits by itself"),
    ("metadata", "the client finds brokers by itself"),
    ("timeout", "the client waits until brokers answer"),
    ("broker_timeout", "the client waits until brokers answer"),
    ("kerberos", "say it with librdkafka's sasl.kerberos.* under [topic.librdkafka]"),
];

/// Converts the output.
pub(super) fn convert(output: &Node, topic: &mut Topic) {
    topic.at.push(output.at().to_owned());
    if output.get("enabled").is_some_and(|enabled| enabled.flag() == Some(false)) {
        output.leave("it is switched off: enabled is false");
        return;
    }
    for (key, why) in ADVICE {
        output.get(key).into_iter().for_each(|node| node.leave(*why));
    }
    output.get("hosts").into_iter().for_each(|hosts| topic.brokers(hosts));
    output.get("topic").into_iter().for_each(|name| topic.name(name, "%{"));
    security(output, topic);
    compression(output, topic);
    topic.text("client.id", output.get("client_id"));
    if let Some(alive) = output.get("keep_alive")
        && alive.plain().is_some_and(|text| units::some_duration(&text).is_ok())
    {
        topic.set("socket.keepalive.enable", Toml::Bool(true));
    }
    if let Some(most) = output.get("max_message_bytes")
        && let Some(bytes) = most.count()
    {
        match i64::try_from(bytes) {
            Ok(bytes @ 1_000..=1_000_000_000) => topic.set("message.max.bytes", Toml::Integer(bytes)),
            _ => most.leave("message.max.bytes lies between 1000 and 1000000000"),
        }
    }
}

fn security(output: &Node, topic: &mut Topic) {
    let ssl = output.get("ssl");
    let on = ssl.is_some_and(|ssl| ssl.get("enabled").is_none_or(|enabled| enabled.flag() != Some(false)));
    let sasl = output.get("username").is_some();
    topic.protocol(on, sasl);
    if let Some(mechanism) = output.find("sasl.mechanism") {
        topic.text("sasl.mechanism", Some(mechanism));
    } else if sasl {
        topic.set("sasl.mechanism", Toml::text("PLAIN"));
    }
    topic.text("sasl.username", output.get("username"));
    topic.text("sasl.password", output.get("password"));
    if let Some(ssl) = ssl.filter(|_| on) {
        tls(ssl, topic);
    } else if let Some(ssl) = ssl {
        ssl.leave("it is switched off: enabled is false");
    }
}

fn tls(ssl: &Node, topic: &mut Topic) {
    ssl.take();
    if let Some(authorities) = ssl.get("certificate_authorities") {
        match authorities.items() {
            [one] => pem(topic, "ssl.ca", one),
            _ => authorities.leave("ssl.ca.location is one file: put the certificates together in one"),
        }
    }
    for (key, name) in [("certificate", "ssl.certificate"), ("key", "ssl.key")] {
        ssl.get(key).into_iter().for_each(|node| pem(topic, name, node));
    }
    topic.text("ssl.key.password", ssl.get("key_passphrase"));
    if let Some(mode) = ssl.get("verification_mode") {
        match mode.plain().as_deref() {
            Some("none") => topic.set("enable.ssl.certificate.verification", Toml::Bool(false)),
            Some("certificate") => topic.set("ssl.endpoint.identification.algorithm", Toml::text("none")),
            Some("full" | "strict" | "") | None => {}
            Some(other) => mode.leave(format!("no such mode: {other:?}")),
        }
    }
}

/// A file, or the text itself.
fn pem(topic: &mut Topic, name: &str, node: &Node) {
    let Some(text) = node.text() else { return };
    let kind = if text.trim_start().starts_with("-----BEGIN") { "pem" } else { "location" };
    topic.set(&format!("{name}.{kind}"), Toml::Text(text));
}

fn compression(output: &Node, topic: &mut Topic) {
    match output.get("compression") {
        Some(codec) => match codec.plain().as_deref() {
            Some(codec @ ("none" | "gzip" | "snappy" | "lz4" | "zstd")) => {
                topic.set("compression.codec", Toml::text(codec));
            }
            Some(other) => codec.leave(format!("librdkafka knows no compression {other:?}")),
            None => {}
        },
        None => return,
    }
    if let Some(level) = output.get("compression_level")
        && let Some(number) = level.count()
    {
        match i64::try_from(number) {
            Ok(number @ 0..=12) => topic.set("compression.level", Toml::Integer(number)),
            _ => level.leave("compression.level lies between 0 and 12"),
        }
    }
}
