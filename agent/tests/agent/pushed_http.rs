//! What is pushed over HTTP: answered when it is on the disk, and what is answered well is there once.

use crate::{
    pushed::free,
    support::{Host, attribute, until},
};
use flate2::{Compression, write::GzEncoder};
use millrace_agent::{HttpSettings, OtlpSettings, SourceKind, SourceSettings, SpoolSettings};
use millrace_config::Secret;
use millrace_intake::spool::{Bounds, Overflow};
use millrace_listen::WebSettings;
use millrace_model::{Severity, Timestamp, Value, wire::SkipReason};
use opentelemetry_proto::tonic::{
    collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::time::sleep;

const LARGE: Bounds = Bounds { bytes: 64 << 20, overflow: Overflow::Refuse };

impl Host {
    fn push(&mut self, kind: SourceKind) {
        let (name, stream) = ("net".to_owned(), "net".parse().unwrap());
        self.settings.sources =
            vec![SourceSettings { name, stream, process: millrace_intake::Process::default(), kind }];
    }

    /// Takes lines of JSON over HTTP and reads nothing else; says where.
    fn push_lines(&mut self, bounds: Bounds, web: WebSettings) -> SocketAddr {
        let listen = free();
        let spool = SpoolSettings { bounds, ..SpoolSettings::default() };
        self.push(SourceKind::Http(Box::new(HttpSettings { listen, web, spool, ..HttpSettings::default() })));
        listen
    }

    /// Takes OTLP over HTTP and reads nothing else; says where.
    fn push_otlp(&mut self, bounds: Bounds, web: WebSettings) -> SocketAddr {
        let http = free();
        let spool = SpoolSettings { bounds, ..SpoolSettings::default() };
        self.push(SourceKind::Otlp(OtlpSettings { grpc: None, http: Some(http), web, spool }));
        http
    }
}

/// An answer: its status, headers and body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One request over a connection of its own; `None`: it was not answered.
fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    let mut head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head = format!("{head}{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    // A server that has read enough may close: its answer is there all the same.
    let _broken = stream.write_all(body).is_err();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..split].to_vec()).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head, body: bytes[split + 4..].to_vec() })
}

/// The same, as soon as it listens.
async fn post_once_up(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    until("it listens", || TcpStream::connect(address).is_ok()).await;
    post(address, path, headers, body).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn lines_of_json_are_taken_and_what_is_none_is_kept_with_the_reason() {
    let mut host = Host::new();
    let address = host.push_lines(LARGE, WebSettings::default());
    host.start();
    let lines = "{\"level\":\"error\",\"n\":1}\n\nno json\n{\"n\":2}";
    let answer = post_once_up(address, "/", &[], lines.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), serde_json::json!({ "accepted": 3, "rejected": 0, "unparsed": 1 }));
    let packed = gzip(b"{\"n\":3}\n");
    let answer = post(address, "/api/v1/ingest", &[("content-encoding", "gzip")], &packed).unwrap();
    assert_eq!((answer.status, &answer.json()["accepted"]), (200, &serde_json::json!(1)));
    let shipped =
        host.shipped_bodies(&["{\"level\":\"error\",\"n\":1}", "no json", "{\"n\":2}", "{\"n\":3}"]).await;
    let source = shipped.only();
    assert_eq!((source.open().kind.as_str(), source.end()), ("http", 4));
    let first = source.runs[&0].1.as_ref().unwrap();
    assert_eq!((first.severity, attribute(first, "n")), (Severity::ERROR, Some(&Value::Int(1))));
    assert!(attribute(source.runs[&1].1.as_ref().unwrap(), "log.parse_error").is_some());
    assert_eq!(host.metric("received_records_total"), 4);
    host.stop().await;
}

/// A request's headers, path and body, and the answer's status and code.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [u8], u16, &'a str);

#[tokio::test]
async fn what_cannot_be_taken_is_turned_away_with_a_reason() {
    let mut host = Host::new();
    let web = WebSettings { token: Some(Secret::new("s3cret")), max_body: 10_000, ..WebSettings::default() };
    let address = host.push_lines(LARGE, web);
    host.start();
    let good = ("authorization", "Bearer s3cret");
    let large = vec![b'x'; 10_001];
    let packed = gzip(&vec![b'x'; 1 << 20]);
    assert!(packed.len() < 10_000);
    let cases: [Case<'_>; 8] = [
        (&[], "/", b"{}", 401, "unauthorized"),
        (&[("authorization", "Bearer s3cre")], "/", b"{}", 401, "unauthorized"),
        (&[("authorization", "Basic s3cret")], "/", b"{}", 401, "unauthorized"),
        (&[good], "/", &large, 413, "too_large"),
        (&[good, ("content-encoding", "gzip")], "/", &packed, 413, "too_large"),
        (&[good, ("content-encoding", "gzip")], "/", b"plain", 400, "encoding"),
        (&[good, ("content-encoding", "br")], "/", b"{}", 415, "encoding"),
        (&[good], "/else", b"{}", 404, "not_found"),
    ];
    for (headers, path, body, status, code) in cases {
        let answer = post_once_up(address, path, headers, body).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.json()["error"]["code"], code);
    }
    assert_eq!(post(address, "/", &[good], b"{\"n\":1}").unwrap().status, 200);
    host.shipped_bodies(&["{\"n\":1}"]).await;
    assert_eq!(host.metric("rejected_requests_total"), 7);
    host.stop().await;
}

#[tokio::test]
async fn senders_are_told_to_come_again_while_the_spool_is_full() {
    let mut host = Host::new();
    let bounds = Bounds { bytes: 1 << 20, overflow: Overflow::Refuse };
    let address = host.push_lines(bounds, WebSettings::default());
    host.topic.set_partitions(None);
    host.start();
    let body = format!("{{\"text\":\"{}\"}}\n", "x".repeat(900)).repeat(50);
    until("it listens", || TcpStream::connect(address).is_ok()).await;
    let mut accepted = 0;
    let refused = loop {
        let answer = post(address, "/", &[], body.as_bytes()).unwrap();
        if answer.status != 200 {
            break answer;
        }
        accepted += 50;
    };
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &serde_json::json!("unavailable")));
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    host.topic.set_partitions(Some(2));
    let shipped =
        host.shipped("all that was accepted is shipped", |shipped| shipped.bodies().len() >= accepted).await;
    // A part of what was refused may have been taken before: its sender sends it again.
    assert!(shipped.bodies().len() < accepted + 50);
    until("there is room again", || post(address, "/", &[], b"{\"n\":1}").unwrap().status == 200).await;
    host.stop().await;
}

#[tokio::test]
async fn where_the_newest_are_dropped_the_answer_says_so() {
    let mut host = Host::new();
    let bounds = Bounds { bytes: 1 << 20, overflow: Overflow::DropNewest };
    let address = host.push_otlp(bounds, WebSettings::default());
    host.topic.set_partitions(None);
    host.start();
    let body = request(&"x".repeat(900), 50).encode_to_vec();
    let mut accepted = 0;
    let partial = loop {
        let answer =
            post_once_up(address, "/v1/logs", &[("content-type", "application/x-protobuf")], &body).await;
        assert_eq!(answer.status, 200);
        match ExportLogsServiceResponse::decode(&answer.body[..]).unwrap().partial_success {
            Some(partial) => break partial,
            None => accepted += 50,
        }
    };
    assert_eq!(partial.rejected_log_records, 50);
    assert!(partial.error_message.contains("full"));
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"late"}}]}]}]}"#;
    let long = json.replace("late", &"y".repeat(60_000));
    let answer = post(address, "/v1/logs", &[("content-type", "application/json")], long.as_bytes()).unwrap();
    assert_eq!(answer.json()["partialSuccess"]["rejectedLogRecords"], "1");
    host.topic.set_partitions(Some(2));
    let shipped = host.shipped("all is accounted for", |shipped| {
        shipped.sources.values().any(|source| source.end() == accepted + 51)
    });
    assert_eq!(shipped.await.only().skipped(SkipReason::Lost), 51);
    host.stop().await;
}

/// A request of so many records with this body.
fn request(body: &str, records: usize) -> ExportLogsServiceRequest {
    let text = |text: &str| Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
    let attribute =
        |key: &str, value: &str| KeyValue { key: key.to_owned(), value: text(value), ..KeyValue::default() };
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        severity_number: 17,
        severity_text: "ERROR".to_owned(),
        body: text(body),
        attributes: vec![attribute("k", "v")],
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: vec![record; records], ..ScopeLogs::default() };
    let resource = Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() };
    let resource_logs =
        vec![ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

#[tokio::test]
async fn otlp_is_taken_as_protobuf_and_as_json() {
    let mut host = Host::new();
    let address = host.push_otlp(LARGE, WebSettings::default());
    host.start();
    let protobuf = [("content-type", "application/x-protobuf")];
    let answer = post_once_up(address, "/v1/logs", &protobuf, &request("one", 1).encode_to_vec()).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert!(answer.head.contains("content-type: application/x-protobuf"));
    let packed = gzip(&request("two", 1).encode_to_vec());
    let answer = post(address, "/v1/logs", &[protobuf[0], ("content-encoding", "gzip")], &packed).unwrap();
    assert_eq!(answer.status, 200);
    let json = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
        "scopeLogs":[{"scope":{"name":"lib"},"logRecords":[{"timeUnixNano":"1700000000000000000","severityNumber":9,
        "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","body":{"stringValue":"three"},
        "unknownField":1,"attributes":[{"key":"n","value":{"intValue":"7"}},{"key":"b","value":{"bytesValue":"aGk="}},
        {"key":"list","value":{"arrayValue":{"values":[{"boolValue":true},{"doubleValue":1.5}]}}}]}]}]}]}"#;
    let form = [("content-type", "application/json; charset=utf-8")];
    let answer = post(address, "/v1/logs", &form, json.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({})));

    let shipped = host.shipped_bodies(&["one", "two", "three"]).await;
    let source = shipped.only();
    let record = |number: u64| source.runs[&number].1.as_ref().unwrap();
    assert_eq!(source.open().kind, "otlp");
    assert_eq!(record(0).resource.get("service.name"), Some(&Value::from("shop")));
    assert_eq!((record(0).severity, record(0).severity_text.as_str()), (Severity::ERROR, "ERROR"));
    assert_eq!(record(0).timestamp, Some(Timestamp(1_700_000_000_000_000_000)));
    assert_eq!(attribute(record(0), "k"), Some(&Value::from("v")));
    assert_eq!(attribute(record(2), "n"), Some(&Value::Int(7)));
    assert_eq!(attribute(record(2), "b"), Some(&Value::Bytes(b"hi".to_vec())));
    assert_eq!(attribute(record(2), "otel.scope.name"), Some(&Value::from("lib")));
    assert_eq!(record(2).trace_id.map(|id| id[0]), Some(0x5b));

    for (headers, path, body, status) in [
        (&protobuf[..], "/v1/logs", &b"\xff\xff\xff"[..], 400),
        (&form[..], "/v1/logs", b"{\"resourceLogs\":7}", 400),
        (&[("content-type", "text/plain")], "/v1/logs", b"hello", 415),
        (&protobuf[..], "/v1/traces", b"", 404),
    ] {
        assert_eq!(post(address, path, headers, body).unwrap().status, status, "{path} {headers:?}");
    }
    let answer = post(address, "/v1/logs", &form, b"[").unwrap();
    assert_eq!(answer.json()["code"], 3, "invalid argument, as google.rpc.Status has it");
    host.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_once_however_often_the_agent_is_killed() {
    let mut host = Host::new();
    let address = host.push_lines(LARGE, WebSettings::default());
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                // Each line, and whether its first attempt was answered well.
                let mut sent = Vec::new();
                for number in 0.. {
                    let line = format!("{{\"line\":\"{sender}-{number}\"}}");
                    let mut first = true;
                    while post(address, "/", &[], line.as_bytes()).is_none_or(|answer| answer.status != 200) {
                        first = false;
                        thread::sleep(Duration::from_millis(5));
                    }
                    sent.push((line, first));
                    if stop.load(Ordering::SeqCst) {
                        return sent;
                    }
                }
                sent
            })
        })
        .collect();
    for life in 0..8 {
        if life % 3 > 0 {
            host.topic.hold_after(life * 5);
        }
        host.start();
        sleep(Duration::from_millis(150 + life as u64 * 37)).await;
        host.kill().await;
    }
    host.start();
    stop.store(true, Ordering::SeqCst);
    until("senders are done", || senders.iter().all(thread::JoinHandle::is_finished)).await;
    let sent: Vec<(String, bool)> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    assert!(sent.len() > 200, "{}", sent.len());
    let count = |bodies: Vec<String>| {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for body in bodies {
            *times.entry(body).or_default() += 1;
        }
        times
    };
    let shipped = host
        .shipped("all that was acknowledged is shipped", |shipped| {
            let times = count(shipped.bodies());
            sent.iter().all(|(line, _)| times.contains_key(line))
        })
        .await;
    let times = count(shipped.bodies());
    for (line, first) in &sent {
        assert!(times[line] == 1 || !first, "{line} came {} times", times[line]);
    }
    assert_eq!(times.len(), sent.len(), "nothing is made up");
    assert_eq!(shipped.only().skipped(SkipReason::Lost), 0);
    host.stop().await;
}
