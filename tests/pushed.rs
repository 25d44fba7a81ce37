//! Input that others push, from real senders to hits with their fields, with the real binary: util-linux's `logger`, Debian's
//! rsyslog in clear and over TLS, OpenTelemetry's Python SDK over gRPC and HTTP, and a pipe. What was acknowledged is there once,
//! however the agent ends.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{
    Server, Site, certificates, http, ports,
    process::{self, Process},
    pusher::{self, Pusher},
    wait,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

/// A program and its arguments, to its end.
#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let outcome = process::run(Command::new(program).args(arguments).stdin(Stdio::null()), DEADLINE);
    assert_eq!(outcome.code, Some(0), "{program} {arguments:?}: {}{}", outcome.stdout, outcome.stderr);
}

/// The one hit, once it is there.
#[track_caller]
fn one(server: &Server, query: &str) -> Value {
    server.wait_for_total(query, 1, DEADLINE);
    server.hits(query).remove(0)
}

#[test]
fn what_logger_sends_is_found_with_its_fields() {
    let site = Site::new(BINARY);
    let (udp, tcp) = (ports::free().to_string(), ports::free().to_string());
    let up = site
        .up(&format!(
            "[agent.sources.net]\ntype = \"syslog\"\nlisten = [\"udp://127.0.0.1:{udp}\", \"tcp://127.0.0.1:{tcp}\"]\nstream = \"net\"\n"
        ))
        .started();
    let logger = |port: &str, arguments: &[&str]| {
        run("logger", &[&["--server", "127.0.0.1", "--port", port], arguments].concat());
    };
    logger(&udp, &["--udp", "--rfc3164", "-t", "door", "-p", "auth.err", "opened by datagram"]);
    logger(&tcp, &["--tcp", "--rfc3164", "-t", "door", "-p", "local3.info", "opened by line"]);
    logger(&tcp, &["--tcp", "--octet-count", "--rfc5424", "-t", "gate", "-i", "opened by count"]);
    let structured = [
        "--sd-id",
        "zoo@123",
        "--sd-param",
        "tiger=\"hungry\"",
        "--sd-param",
        "zebra=\"running\"",
        "--msgid",
        "FED",
    ];
    let more = ["--udp", "--rfc5424=notq", "-t", "keeper", "-p", "daemon.warning", "fed with structure"];
    logger(&udp, &[&structured[..], &more].concat());

    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (query, transport) in [
        ("service:door level:err syslog.facility:auth \"opened by datagram\"", "udp"),
        ("service:door level:info syslog.facility:local3 \"opened by line\"", "tcp"),
        ("service:gate pid:>0 \"opened by count\"", "tcp"),
        (
            "service:keeper syslog.zoo@123.tiger:hungry syslog.zoo@123.zebra:running syslog.msgid:FED level:warning",
            "udp",
        ),
    ] {
        let hit = one(&up.server, query);
        assert_eq!(hit["_stream"], "net");
        assert_eq!(hit["attributes"]["network.peer.address"], "127.0.0.1", "{query}");
        assert_eq!(hit["attributes"]["network.transport"], transport, "{query}");
        assert_eq!(hit["resource"]["host.name"], host.trim(), "{query}");
        assert!(hit["timestamp"].as_str().unwrap().starts_with("20"), "{hit}");
    }
    up.server.wait_for_total("*", 4, DEADLINE);
    up.assert_audit_is_complete(4);
}

/// rsyslog, as a process of its own, in a folder of its own: it follows a file and forwards each line.
fn rsyslog(site: &Site, forwards: &str) -> Process {
    let folder = site.path("rsyslog");
    std::fs::create_dir(&folder).unwrap();
    let path = |name: &str| site.path(name).display().to_string();
    let config = format!(
        "global(workDirectory=\"{}\" DefaultNetstreamDriverCAFile=\"{}\"\n\
         DefaultNetstreamDriverCertFile=\"{}\" DefaultNetstreamDriverKeyFile=\"{}\")\n\
         module(load=\"imfile\" mode=\"polling\" PollingInterval=\"1\")\n\
         input(type=\"imfile\" File=\"{}\" Tag=\"shop\" Severity=\"warning\" Facility=\"local3\")\n{forwards}\n",
        path("rsyslog"),
        path("tls/ca.pem"),
        path("tls/sender.pem"),
        path("tls/sender.key"),
        path("logs/shop.txt"),
    );
    let (config, pid) = (site.write("rsyslog.conf", &config), path("rsyslog/pid"));
    let arguments = ["-n", "-f", &config, "-i", &pid];
    Process::start(Command::new("/usr/sbin/rsyslogd").args(arguments), &site.path("rsyslog.log"))
}

#[test]
fn what_rsyslog_forwards_is_found_over_tcp_and_over_tls() {
    let site = Site::new(BINARY);
    certificates::make(&site.path("tls"));
    let (tcp, tls) = (ports::free(), ports::free());
    let path = |name: &str| site.path("tls").join(name).display().to_string();
    let up = site
        .up(&format!(
            "[agent.sources.net]\ntype = \"syslog\"\nlisten = [\"tcp://127.0.0.1:{tcp}\", \"tls://127.0.0.1:{tls}\"]\n\
             [agent.sources.net.tls]\ncertificate = \"{}\"\nkey = \"{}\"\nclient_ca = \"{}\"\n",
            path("localhost.pem"),
            path("localhost.key"),
            path("ca.pem")
        ))
        .started();
    let lines: Vec<String> = (0..500).map(|number| format!("order {number} of a shop\n")).collect();
    site.append("shop.txt", lines.concat());
    let mut rsyslog = rsyslog(
        &site,
        &format!(
            "action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{tcp}\" protocol=\"tcp\" TCP_Framing=\"traditional\"\n\
             template=\"RSYSLOG_TraditionalForwardFormat\")\n\
             action(type=\"omfwd\" target=\"localhost\" port=\"{tls}\" protocol=\"tcp\" TCP_Framing=\"octet-counted\"\n\
             template=\"RSYSLOG_SyslogProtocol23Format\" StreamDriver=\"ossl\" StreamDriverMode=\"1\"\n\
             StreamDriverAuthMode=\"x509/name\" StreamDriverPermittedPeers=\"localhost\")"
        ),
    );
    up.server.wait_for_total("service:shop", 1000, DEADLINE);
    for (query, total) in [
        ("service:shop level:warning syslog.facility:local3 network.transport:tcp", 1000),
        ("tls.protocol.version:1.3 service:shop", 500),
        ("\"order 17 of a shop\"", 2),
    ] {
        up.server.wait_for_total(query, total, DEADLINE);
    }
    up.assert_audit_is_complete(1000);

    // Who has no certificate is told so, and nothing of theirs is taken.
    let mut stranger = Command::new("openssl");
    stranger
        .args(["s_client", "-connect", &format!("127.0.0.1:{tls}"), "-CAfile", &path("ca.pem"), "-quiet"])
        .stdin(Stdio::null());
    process::run(&mut stranger, DEADLINE);
    let rejected = "millrace_agent_rejected_requests_total{kind=\"syslog\",reason=\"tls\"}";
    assert_eq!(up.server.metric(rejected), Some(1.0));
    rsyslog.terminate(DEADLINE);
}

/// One of the programs in Python, to its end; what it says.
#[track_caller]
fn python(program: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/venv/bin/python");
    assert!(python.exists(), "no {}: run `make test`, which makes it", python.display());
    let mut sender = Command::new(python);
    sender.arg(root.join("tests").join(program)).args(arguments).stdin(Stdio::null());
    // Whom this machine trusts otherwise is of no account, and would go before what the program is told.
    sender.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
    let outcome = process::run(&mut sender, DEADLINE);
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
    outcome.stdout.trim().to_owned()
}

#[test]
fn what_opentelemetrys_sdk_sends_is_found_with_its_fields() {
    let site = Site::new(BINARY);
    certificates::make(&site.path("tls"));
    let path = |name: &str| site.path("tls").join(name).display().to_string();
    let ports = [(); 4].map(|()| ports::free());
    let token = site.write("token", "let me in");
    let source = |name: &str, ports: &[u16]| {
        format!(
            "[agent.sources.{name}]\ntype = \"otlp\"\ngrpc = \"127.0.0.1:{}\"\nhttp = \"127.0.0.1:{}\"\n\
             token = {{ file = \"{token}\" }}\nstream = \"{name}\"\n",
            ports[0], ports[1]
        )
    };
    let up = site
        .up(&format!(
            "{}{}[agent.sources.sealed.tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            source("clear", &ports[..2]),
            source("sealed", &ports[2..]),
            path("localhost.pem"),
            path("localhost.key")
        ))
        .started();
    let authority = path("ca.pem");
    for (stream, protocol, endpoint, authority) in [
        ("clear", "grpc", format!("http://127.0.0.1:{}", ports[0]), None),
        ("clear", "http", format!("http://127.0.0.1:{}", ports[1]), None),
        ("sealed", "grpc", format!("https://localhost:{}", ports[2]), Some(&*authority)),
        ("sealed", "http", format!("https://localhost:{}", ports[3]), Some(&*authority)),
    ] {
        let mut arguments = vec![protocol, &endpoint, "700", "let me in"];
        arguments.extend(authority);
        let trace = python("otlp.py", &arguments);
        up.server.wait_for_total(&format!("trace_id:{trace}"), 700, DEADLINE);
        let query = format!(
            "_stream:{stream} service:shop-{protocol} level:warn order.id:17 reason:\"no stock\" \"order 17 was refused\""
        );
        let hit = one(&up.server, &query);
        assert_eq!(hit["body"], "order 17 was refused");
        assert_eq!(hit["resource"]["deployment.environment"], "test");
        assert_eq!(hit["attributes"]["otel.scope.name"], "orders");
        assert_eq!(hit["trace_id"], trace);
        assert!(hit["span_id"].is_string());
    }
    up.assert_audit_is_complete(2800);
    // Without the token nothing is taken.
    let answer = http::post(&format!("127.0.0.1:{}", ports[1]), "/v1/logs", "{}").unwrap();
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
}

#[test]
fn what_is_piped_in_is_found_and_its_end_ends_nothing() {
    let site = Site::new(BINARY);
    let port = ports::free();
    let server = Server::at(port);
    let config = site.write("up.toml", "[agent.sources.pipe]\ntype = \"stdin\"\nstream = \"pipe\"\n");
    let (data, lines) = (site.path("data").display().to_string(), site.path("lines"));
    let text: Vec<String> =
        (0..5000).map(|number| format!("{{\"level\":\"info\",\"n\":{number}}}\n")).collect();
    std::fs::write(&lines, text.concat() + "the last has no end").unwrap();
    let listen = format!("127.0.0.1:{port}");
    let mut command = site.command(&["up", "--data", &data, "--listen", &listen, "--config", &config]);
    let mut up =
        Process::start_reading(&mut command, std::fs::File::open(&lines).unwrap(), &site.path("up.log"));
    server.wait_for_total("*", 5001, DEADLINE);
    assert_eq!(
        one(&server, "_stream:pipe n:4321 level:info")["resource"]["host.name"].as_str().map(str::is_empty),
        Some(false)
    );
    one(&server, "\"the last has no end\"");
    assert!(server.is_ready());
    assert!(up.terminate(DEADLINE).success());
}

#[test]
fn what_was_acknowledged_is_there_once_when_the_agent_is_killed_under_load() {
    let site = Site::new(BINARY);
    let port = ports::free();
    let mut up =
        site.up(&format!("[agent.sources.web]\ntype = \"http\"\nlisten = \"127.0.0.1:{port}\"\n")).started();
    let pusher = Pusher::start(&format!("127.0.0.1:{port}"), 4);
    for life in 0..4 {
        thread::sleep(Duration::from_millis(400 + life * 170));
        up.kill();
        up.start();
    }
    let pushed = pusher.finish();
    assert!(pushed.len() > 400 && pushed.iter().any(|line| !line.once), "{}", pushed.len());
    let records = pusher::assert_all_there(&up.server, &pushed, DEADLINE);
    up.assert_audit_is_complete(records);
}

#[test]
fn senders_by_grpc_are_told_what_to_do() {
    let site = Site::new(BINARY);
    let settings = |port: u16, more: &str| {
        format!(
            "[agent.sources.sdk]\ntype = \"otlp\"\ngrpc = \"127.0.0.1:{port}\"\ntoken = \"let me in\"\nmax_body = \"10KiB\"\n{more}"
        )
    };
    let answers = |port: u16| -> BTreeMap<String, Value> {
        let told = python("otlp_status.py", &[&format!("127.0.0.1:{port}"), "let me in"]);
        let lines = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|answer| (answer["call"].as_str().unwrap().to_owned(), answer)).collect()
    };
    let port = ports::free();
    let mut up = site.up(&settings(port, "")).started();
    let told = answers(port);
    for (call, code) in [
        ("good", "OK"),
        ("packed", "OK"),
        ("stranger", "UNAUTHENTICATED"),
        ("traces", "UNIMPLEMENTED"),
        ("no protobuf", "INVALID_ARGUMENT"),
    ] {
        assert_eq!(told[call]["code"], code, "{told:?}");
    }
    for call in ["large", "bomb"] {
        let code = told[call]["code"].as_str().unwrap();
        assert!(["OUT_OF_RANGE", "RESOURCE_EXHAUSTED"].contains(&code), "{told:?}");
    }
    up.server.wait_for_total("\"a line\"", 2, DEADLINE);
    up.stop();

    // No disk has so much room: nothing is taken, and senders are told to come again.
    let port = ports::free();
    let config = site.write("short.toml", &settings(port, "min_free = \"1000000GiB\"\n"));
    let (data, address) = (site.path("short").display().to_string(), format!("127.0.0.1:{}", ports::free()));
    let arguments = ["up", "--data", &data, "--listen", &address, "--config", &config];
    let _short = site.start("short", &arguments);
    wait::until_true("it takes nothing", DEADLINE, || {
        http::get(&address, "/readyz").is_ok_and(|answer| answer.text().contains("min_free"))
    });
    let told = answers(port);
    assert_eq!(
        (&told["good"]["code"], &told["good"]["retry_after"]),
        (&Value::from("UNAVAILABLE"), &Value::from(1))
    );
    assert_eq!(told["good"]["status"], 14);
}
