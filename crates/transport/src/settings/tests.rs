#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use millrace_config::{Layers, load};
use std::fs;
use tempfile::TempDir;

/// Reads `[topic]`; the errors as printed.
fn read(text: &str) -> Result<TopicSettings, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("millrace.toml");
    fs::write(&path, text).unwrap();
    let document = load(&Layers { file: Some(path), ..Layers::default() }).unwrap();
    let settings = document.root().section("topic").and_then(|mut section| TopicSettings::read(&mut section));
    document.finish().map_err(|report| format!("{report}"))?;
    Ok(settings.unwrap())
}

#[test]
fn kafka_is_read_with_everything_that_is_passed_through() {
    let settings = read(
        r#"
        [topic]
        type = "kafka"
        brokers = ["a:9092", "b:9092"]
        name = "x.logs"
        partitions = 3
        replication = 2
        [topic.librdkafka]
        "security.protocol" = "SASL_SSL"
        sasl.mechanisms = "SCRAM-SHA-512"
        linger.ms = 50
        "#,
    );
    let librdkafka =
        [("linger.ms", "50"), ("sasl.mechanisms", "SCRAM-SHA-512"), ("security.protocol", "SASL_SSL")];
    let expected = KafkaSettings {
        brokers: vec!["a:9092".to_owned(), "b:9092".to_owned()],
        name: "x.logs".to_owned(),
        partitions: 3,
        replication: Some(2),
        compacted: false,
        librdkafka: librdkafka.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    };
    assert_eq!(settings, Ok(TopicSettings::Kafka(expected)));
}

#[test]
fn defaults_are_filled_in() {
    let kafka = read("[topic]\ntype = \"kafka\"\nbrokers = [\"a:9092\"]");
    assert_eq!(kafka, Ok(TopicSettings::Kafka(KafkaSettings::new(vec!["a:9092".to_owned()], DEFAULT_NAME))));
    let embedded = read("[topic]\ntype = \"embedded\"\ndirectory = \"/data/topic\"");
    let expected = EmbeddedSettings::new(PathBuf::from("/data/topic"), DEFAULT_NAME);
    assert_eq!(embedded, Ok(TopicSettings::Embedded(expected)));
}

#[test]
fn the_embedded_topic_is_read() {
    let settings = read(
        r#"
        [topic]
        type = "embedded"
        directory = "t"
        name = "n"
        partitions = 2
        retention = "1h"
        retention_bytes = "1MiB"
        disk_bytes = "2MiB"
        fsync = "interval"
        max_message_bytes = "1MiB"
        "#,
    );
    let TopicSettings::Embedded(settings) = settings.unwrap() else { panic!("embedded") };
    assert_eq!(settings.retention, Duration::from_hours(1));
    assert_eq!((settings.retention_bytes, settings.disk_bytes), (1 << 20, 2 << 20));
    assert_eq!(
        (settings.fsync, settings.partitions, settings.max_message_bytes),
        (Fsync::Interval, 2, 1 << 20)
    );
}

#[test]
fn every_key_that_holds_a_promise_is_refused_by_name() {
    for (key, _) in LIBRDKAFKA_OURS {
        let text =
            format!("[topic]\ntype = \"kafka\"\nbrokers = [\"a:1\"]\n[topic.librdkafka]\n\"{key}\" = \"1\"");
        let error = read(&text).unwrap_err();
        assert!(error.contains(key) && error.contains("cannot be set here"), "{key}: {error}");
    }
}

#[test]
fn a_topic_of_another_host_is_read() {
    let settings = read(
        r#"
        [topic]
        type = "http"
        url = "https://logs.example.com:7703"
        token = "secret"
        [topic.tls]
        ca = "/etc/ca.pem"
        certificate = "/etc/agent.pem"
        key = "/etc/agent.key"
        "#,
    );
    let mut expected = HttpSettings::new("https://logs.example.com:7703");
    expected.token = Some(Secret::new("secret"));
    expected.tls.ca = Some("/etc/ca.pem".into());
    expected.tls.identity = Some(("/etc/agent.pem".into(), "/etc/agent.key".into()));
    assert_eq!(settings, Ok(TopicSettings::Http(expected)));
    for here in ["http://localhost:7700", "http://127.0.0.1:7700", "http://[::1]:7700/behind/a/proxy"] {
        assert!(read(&format!("[topic]\ntype = \"http\"\nurl = \"{here}\"")).is_ok(), "{here}");
    }
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    let kafka = "[topic]\ntype = \"kafka\"\nbrokers = [\"a:1\"]\n";
    let embedded = "[topic]\ntype = \"embedded\"\ndirectory = \"d\"\n";
    let http = "[topic]\ntype = \"http\"\n";
    let wrong = [
        (kafka, "name = \"a/b\"", "name"),
        (kafka, "name = \"..\"", "name"),
        (kafka, "partitions = 0", "partitions"),
        (kafka, "replication = 0", "replication"),
        (kafka, "directory = \"d\"", "directory"),
        (embedded, "fsync = \"never\"", "fsync"),
        (embedded, "disk_bytes = \"1MiB\"", "disk_bytes"),
        (embedded, "max_message_bytes = \"1GiB\"", "max_message_bytes"),
        (embedded, "brokers = [\"a:1\"]", "brokers"),
        ("[topic]\ntype = \"kafka\"\n", "brokers = []", "brokers"),
        ("[topic]\n", "type = \"rabbit\"", "type"),
        (http, "", "url"),
        (http, "url = \"logs.example.com\"", "url"),
        (http, "url = \"ftp://logs.example.com\"", "url"),
        (http, "url = \"https://a:b@logs.example.com\"", "token"),
        (http, "url = \"http://logs.example.com:7703\"", "allow_plaintext"),
        (http, "url = \"https://h\"\ntoken = \" x\"", "token"),
        (http, "url = \"https://h\"\n[topic.tls]\ncertificate = \"c.pem\"", "key"),
        (http, "url = \"https://h\"\npartitions = 3", "partitions"),
    ];
    for (start, line, key) in wrong {
        let error = read(&format!("{start}{line}")).unwrap_err();
        assert!(error.contains(key), "{line}: {error}");
    }
}

#[test]
fn secrets_are_known_by_their_names() {
    for key in ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"] {
        assert!(is_secret(key), "{key}");
    }
    assert!(!is_secret("sasl.username"));
}
