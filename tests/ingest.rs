//! What is handed in at the address at which people ask: lines, OTLP, and what Loki's clients push. What was acknowledged is there,
//! once, in the stream that was said.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, http};
use serde_json::{Value, json};
use std::{io::Write, process::Stdio, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// What a server says of what was posted.
#[track_caller]
fn post(address: &str, path: &str, body: &str) -> (u16, Value) {
    let answer = http::post(address, path, body).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

#[test]
fn each_way_in_leads_to_the_stream_that_was_said() {
    let site = Site::new(BINARY);
    let up = site.up("[query.ingest]\nmax_body = \"4KiB\"\n").started();
    let address = &up.server.address;
    let lines = "{\"message\":\"one\",\"level\":\"warn\",\"user\":\"ann\",\"@timestamp\":\"2099-01-01T00:00:00Z\"}\n\nnot json\n";
    let (status, answer) = post(address, "/api/v1/ingest?stream=app", lines);
    assert_eq!((status, &answer["accepted"], &answer["unparsed"]), (200, &json!(2), &json!(1)), "{answer}");
    let (status, answer) = post(address, "/api/v1/ingest?format=logfmt", "a=1 msg=two\n");
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)));
    let otlp = json!({ "resourceLogs": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
        "scopeLogs": [{ "logRecords": [{
            "severityText": "ERROR", "body": { "stringValue": "three" }
        }] }],
    }] });
    assert_eq!(post(address, "/v1/logs?stream=traces", &otlp.to_string()), (200, json!({})));
    let time = "1000000000000000000";
    let loki = json!({ "streams": [{
        "stream": { "host": "h1", "job": "j", "level": "info" },
        "values": [[time, "msg=four k=v"], [time, "five", { "trace_id": "abc" }]],
    }] });
    let (status, _) = post(address, "/loki/api/v1/push?stream=loki", &loki.to_string());
    assert_eq!(status, 204);
    let total = |stream: &str, query: &str| {
        let answer = up.server.search(&json!({ "q": query, "stream": stream, "limit": 10 }));
        answer["hits"].as_array().cloned().unwrap_or_default()
    };
    up.server.wait_for_total("*", 6, DEADLINE);
    let hit = &total("app", "one")[0];
    assert_eq!((&hit["severity_text"], &hit["attributes"]["user"]), (&json!("warn"), &json!("ann")));
    assert_eq!(total("app", "\"not json\"").len(), 1, "what no parser reads is kept");
    assert_eq!(total("logs", "two")[0]["attributes"]["a"], 1);
    assert_eq!(total("traces", "three")[0]["resource"]["service.name"], "shop");
    let hit = &total("loki", "four")[0];
    assert_eq!((&hit["resource"]["host.name"], &hit["resource"]["job"]), (&json!("h1"), &json!("j")));
    assert_eq!((&hit["severity_text"], &hit["attributes"]["k"]), (&json!("info"), &json!("v")));
    let hit = &total("loki", "five")[0];
    assert_eq!(hit["attributes"]["trace_id"], "abc");
    assert_eq!(hit["attributes"]["log.time_adjusted"], "2001-09-09T01:46:40.000000000Z", "beyond retention");
    for hit in total("app", "*").iter().chain(&total("loki", "*")) {
        assert_eq!(hit["attributes"].get("millrace.stream"), None, "{hit}");
    }
    up.assert_audit_is_complete(6);

    for (path, body, status) in [
        ("/api/v1/ingest?format=xml", "a\n", 400),
        ("/api/v1/ingest?stream=A%20B", "a\n", 400),
        ("/api/v1/ingest?unknown=1", "a\n", 400),
        ("/v1/logs", "{", 400),
        ("/loki/api/v1/push", "{\"streams\":[{\"stream\":{},\"values\":[[\"soon\",\"x\"]]}]}", 400),
        ("/loki/api/v1/push", "{\"streams\":1}", 400),
    ] {
        let (found, answer) = post(address, path, body);
        assert_eq!(found, status, "{path}: {answer}");
    }
    let large = "x".repeat(5 << 10);
    assert_eq!(post(address, "/api/v1/ingest", &large).0, 413);
    assert_eq!(http::get(address, "/api/v1/ingest").unwrap().status, 405);
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_is_there_once() {
    let site = Site::new(BINARY);
    let mut up = site.up("").started();
    let mut sent = 0;
    for round in 0..5 {
        for _ in 0..20 {
            let line = |n: u64| format!("{{\"n\":{n}}}\n");
            let lines: String = (sent..sent + 50).map(line).collect();
            let stream = if sent % 100 == 0 { "even" } else { "odd" };
            let (status, answer) =
                post(&up.server.address, &format!("/api/v1/ingest?stream={stream}"), &lines);
            assert_eq!((status, &answer["accepted"]), (200, &json!(50)), "round {round}");
            sent += 50;
        }
        up.kill();
        up.start();
    }
    up.server.wait_for_total("n:*", sent, DEADLINE);
    let answer = up.server.search(&json!({ "q": "* | stats count(), count_distinct(n) by _stream" }));
    assert_eq!(answer["table"]["rows"].as_array().unwrap().len(), 2, "{answer}");
    for stream in ["even", "odd"] {
        let answer = up.server.search(&json!({ "q": "n:*", "stream": stream, "limit": 0 }));
        assert_eq!(answer["total"], json!(sent / 2));
    }
    up.assert_audit_is_complete(sent);
}

#[test]
fn the_command_brings_files_and_pipes() {
    let site = Site::new(BINARY);
    let up = site.up("").started();
    let plain = site.write("plain.log", &"level=info msg=\"of a file\"\n".repeat(3000));
    let outcome = up.run(&["ingest", &plain, "--stream", "old"]);
    assert_eq!((outcome.code, outcome.stderr.trim()), (Some(0), "3000 records are taken in"));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"packed one\npacked two").unwrap();
    std::fs::write(site.path("old.log.1.gz"), packed.finish().unwrap()).unwrap();
    let gz = site.path("old.log.1.gz").display().to_string();
    assert_eq!(up.run(&["ingest", &gz, "--format", "raw"]).code, Some(0));
    let mut command = site.command(&["ingest", "-", "--server", &up.server.url()]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"{\"message\":\"of a pipe\"}\n").unwrap();
    // It is there though the pipe is still open.
    up.server.wait_for_total("\"of a pipe\"", 1, DEADLINE);
    drop(pipe);
    assert!(child.wait().unwrap().success());
    up.server.wait_for_total("*", 3003, DEADLINE);
    assert_eq!(up.server.search(&json!({ "q": "level:info", "stream": "old" }))["total"], 3000);
    for (arguments, code) in [
        (&["ingest", "absent.log"][..], 1),
        (&["ingest", &plain, "--format", "xml"], 2),
        (&["ingest", &plain, "--stream", "A B"], 2),
    ] {
        let outcome = up.run(arguments);
        assert_eq!(outcome.code, Some(code), "{arguments:?}: {}", outcome.stderr);
    }
    assert_eq!(site.run(&["ingest", &plain, "--server", "127.0.0.1:1"]).code, Some(4));
}
