//! Vector's sources.

use super::{components, fixed};
use crate::{
    convert::Converted,
    emit::Toml,
    query::Query,
    source::{Source, Step},
    tree::Node,
    units,
};

/// Expressions for lines that begin with a blank.
const INDENTED: [&str; 6] = [r"^[\s]+", r"^\s+", r"^\s", r"^[\s]", r"^[ \t]", r"^[[:space:]]"];

/// Converts all sources; what comes back are their names in Vector, in the order of the sources.
pub(super) fn convert(root: &Node, converted: &mut Converted) -> Vec<String> {
    let mut names = Vec::new();
    for (name, node) in components(root, "sources") {
        match one(name, node, converted) {
            Some(source) => {
                converted.add(source);
                names.push(name.clone());
            }
            None => converted.absent(node.at()),
        }
    }
    names
}

fn one(name: &str, node: &Node, converted: &mut Converted) -> Option<Source> {
    let Some(kind) = node.get("type").and_then(Node::plain) else {
        node.leave("a source without a type");
        return None;
    };
    match kind.as_str() {
        "file" => files(name, node, converted),
        "kubernetes_logs" => Some(pods(name, node, converted)),
        "journald" => Some(journald(name, node)),
        "syslog" => listener(name, node, "syslog"),
        "socket" => listener(name, node, "auto"),
        "http_server" | "http" => web(name, node),
        "opentelemetry" => otlp(name, node),
        "stdin" if !converted.reads_stdin() => {
            let mut source = Source::new("stdin", name, node.at());
            decoding(node, &mut source);
            Some(source)
        }
        "stdin" => {
            node.leave("there is one standard input, and a source reads it already");
            None
        }
        other => {
            node.leave(advice(other));
            None
        }
    }
}

fn advice(kind: &str) -> String {
    match kind {
        "docker_logs" => "files under /var/lib/docker/containers are recognised by themselves: name them in the `include` of a \
                          source of type \"file\""
            .to_owned(),
        "internal_logs" | "internal_metrics" | "host_metrics" => {
            "the agent logs to standard error, and [agent] listen serves /metrics".to_owned()
        }
        "kafka" | "amqp" | "nats" | "redis" | "pulsar" => "agents do not read from queues".to_owned(),
        other => format!("Millrace has no source like {other:?}"),
    }
}

fn checkpoints(node: &Node, converted: &mut Converted) {
    if let Some(data) = node.get("data_dir")
        && let Some(path) = data.text().and_then(|path| fixed(data, path))
    {
        converted.registries.push(path.into());
    }
}

fn files(name: &str, node: &Node, converted: &mut Converted) -> Option<Source> {
    let mut source = Source::new("file", name, node.at());
    for key in ["include", "exclude"] {
        if let Some(globs) = node.get(key) {
            source.globs(key, globs, globs.texts(), true);
        }
    }
    if !source.has("include") {
        node.leave("it names no files that Millrace could read");
        return None;
    }
    beginning(node);
    lines(node, &mut source);
    if let Some(wait) = node.get("rotate_wait_secs").or_else(|| node.get("rotate_wait")) {
        source.duration("rotate_wait", wait);
    }
    if let Some(encoding) = node.get("encoding").and_then(|encoding| encoding.get("charset")) {
        source.charset(encoding);
    }
    if let Some(delimiter) = node.get("line_delimiter")
        && delimiter.text().is_some_and(|text| text != "\n" && text != "\r\n")
    {
        delimiter.leave("a line ends with a newline");
    }
    checkpoints(node, converted);
    Some(source)
}

/// Where files are read from.
fn beginning(node: &Node) {
    if let Some(from) = node.get("read_from")
        && from.plain().is_some_and(|from| from != "beginning")
    {
        from.leave(
            "files are read from their beginning; import the read positions to go on where Vector was",
        );
    }
    if let Some(head) = node.get("start_at_beginning")
        && head.flag() == Some(false)
    {
        head.leave(
            "files are read from their beginning; import the read positions to go on where Vector was",
        );
    }
}

/// Lines: how long, how often looked for, which belong together.
fn lines(node: &Node, source: &mut Source) {
    if let Some(size) = node.get("max_line_bytes") {
        source.max_line(size, 1000);
    }
    if let Some(wait) = node.get("glob_minimum_cooldown_ms")
        && let Some(millis) = wait.count()
        && let Some(duration) = wait.ok(units::of_millis(millis))
    {
        source.set("rescan", Toml::Text(duration));
    }
    if let Some(multiline) = node.get("multiline") {
        together(multiline, source);
    }
}

fn together(node: &Node, source: &mut Source) {
    let text = |key: &str| node.get(key).and_then(Node::text);
    let (Some(start), Some(mode), Some(condition)) =
        (text("start_pattern"), text("mode"), text("condition_pattern"))
    else {
        node.leave("start_pattern, mode and condition_pattern were expected");
        return;
    };
    match mode.as_str() {
        "halt_before" if start == condition => source.starts_with(node, &start),
        "halt_before" => {
            node.remark(format!(
                "a record begins where {condition:?} matches; start_pattern ({start:?}) is not asked"
            ));
            source.starts_with(node, &condition);
        }
        "continue_through" if INDENTED.contains(&condition.as_str()) => source.starts_with(node, r"^\S"),
        _ => {
            node.leave(
                "Millrace needs an expression for a record's first line: multiline = { start = \"…\" }, or one of \"java\", \
                 \"python\", \"go\", \"ruby\", \"node\"",
            );
            return;
        }
    }
    if let Some(wait) = node.get("timeout_ms")
        && let Some(millis) = wait.count()
        && let Some(duration) = wait.ok(units::of_millis(millis))
    {
        source.set("multiline_wait", Toml::Text(duration));
    }
}

fn pods(name: &str, node: &Node, converted: &mut Converted) -> Source {
    let mut source = Source::new("file", name, node.at());
    source.set("include", Toml::List(vec![Toml::text("/var/log/pods/*/*/*.log")]));
    for key in ["exclude_paths_glob_patterns", "include_paths_glob_patterns"] {
        let Some(globs) = node.get(key) else { continue };
        let texts = globs.texts();
        if key.starts_with("include") {
            if texts.iter().any(|glob| !["**/*", "**"].contains(&glob.as_str())) {
                globs.leave(
                    "a path is read if `include` names it: put these globs there, from /var/log/pods on",
                );
            }
            continue;
        }
        // A relative path would begin at the working folder.
        let absolute = |glob: &String| {
            if glob.starts_with('/') || !glob.contains('/') { glob.clone() } else { format!("/{glob}") }
        };
        source.globs("exclude", globs, texts.iter().map(absolute).collect(), true);
    }
    if let Some(from) = node.get("read_from") {
        from.take();
        beginning(node);
    }
    lines(node, &mut source);
    checkpoints(node, converted);
    source
}

fn journald(name: &str, node: &Node) -> Source {
    let mut source = Source::new("journald", name, node.at());
    for (theirs, ours) in [("journal_directory", "directory"), ("journalctl_path", "journalctl")] {
        if let Some(text) = node.get(theirs).and_then(Node::text) {
            source.set(ours, Toml::Text(text));
        }
    }
    for (key, keep) in [("include_units", true), ("exclude_units", false)] {
        let Some(units) = node.get(key) else { continue };
        // A name without a kind is a service's.
        let full = |unit: String| if unit.contains('.') { unit } else { format!("{unit}.service") };
        let units: Vec<_> = units
            .texts()
            .into_iter()
            .map(full)
            .filter_map(|unit| units.ok(Query::equals("_SYSTEMD_UNIT", &unit)))
            .collect();
        let query = Query::any(units);
        source.steps.extend(query.map(|query| if keep { Step::keep(&query) } else { Step::drop(&query) }));
    }
    for (key, keep) in [("include_matches", true), ("exclude_matches", false)] {
        let fields = node.get(key).map(Node::entries).unwrap_or_default();
        let queries = fields.iter().filter_map(|(field, values)| {
            let values =
                values.texts().into_iter().filter_map(|value| values.ok(Query::equals(field, &value)));
            Query::any(values.collect())
        });
        let queries = queries.collect();
        let query = if keep { Query::all(queries) } else { Query::any(queries) };
        source.steps.extend(query.map(|query| if keep { Step::keep(&query) } else { Step::drop(&query) }));
    }
    source
}

/// Where it listens: `address`, or what is left of it.
fn address(node: &Node, default: Option<&str>) -> Option<std::net::SocketAddr> {
    match (node.get("address"), default) {
        (Some(at), _) => at.ok(units::listen(&at.plain()?, None)),
        (None, Some(default)) => units::listen(default, None).ok(),
        (None, None) => {
            node.leave("it names no address on which Millrace could listen");
            None
        }
    }
}

/// Is TLS spoken? `None`: it is, and with which certificate is not known; then nothing is listened for.
fn tls(node: &Node, source: &mut Source) -> Option<bool> {
    let Some(tls) = node.get("tls") else { return Some(false) };
    if tls.get("enabled").and_then(Node::flag) != Some(true) {
        tls.leave("it is not switched on");
        return Some(false);
    }
    let asks = tls.get("verify_certificate").is_none_or(|verify| verify.flag() == Some(true));
    let ca = tls.get("ca_file").filter(|_| asks);
    if source.certificate(tls.get("crt_file"), tls.get("key_file"), ca) {
        return Some(true);
    }
    node.leave("TLS needs crt_file and key_file");
    None
}

fn listener(name: &str, node: &Node, parser: &'static str) -> Option<Source> {
    let mut source = Source::new("syslog", name, node.at());
    let scheme = match node.get("mode").and_then(Node::plain).as_deref() {
        Some("tcp") => "tcp://",
        Some("udp") => "udp://",
        _ => {
            node.leave("Millrace listens on UDP, TCP and TLS, not on sockets in the file system");
            return None;
        }
    };
    let scheme = if tls(node, &mut source)? { "tls://" } else { scheme };
    source.listen("listen", scheme, address(node, None)?);
    if let Some(size) = node.get("max_length") {
        source.max_line(size, 1000);
    }
    if let Some(size) = node.get("receive_buffer_bytes")
        && let Some(bytes) = size.count()
    {
        source.set("receive_buffer", Toml::Text(units::size_text(bytes)));
    }
    if let Some(limit) = node.get("connection_limit") {
        source.max_connections(limit);
    }
    if parser != "syslog" {
        decoding(node, &mut source);
        source.usual_parser = Some(parser);
    }
    Some(source)
}

/// How what comes is read.
fn decoding(node: &Node, source: &mut Source) {
    if let Some(codec) = node.get("decoding").and_then(|decoding| decoding.get("codec")) {
        match codec.plain().as_deref() {
            Some("bytes") | None => {}
            Some("json") => source.parse(codec, Toml::text("json")),
            Some("syslog") => source.parse(codec, Toml::text("syslog")),
            Some(other) => codec.leave(format!("Millrace does not read {other:?}")),
        }
    }
    if let Some(method) = node.get("framing").and_then(|framing| framing.get("method"))
        && method.plain().is_some_and(|method| {
            !["newline_delimited", "bytes", "octet_counting"].contains(&method.as_str())
        })
    {
        method.leave("a message ends with a newline or a zero byte, or is counted");
    }
}

fn web(name: &str, node: &Node) -> Option<Source> {
    let mut source = Source::new("http", name, node.at());
    tls(node, &mut source)?;
    source.listen("listen", "", address(node, None)?);
    for key in ["path", "method"] {
        if let Some(value) = node.get(key)
            && value.plain().is_some_and(|value| !["/", "POST", "post"].contains(&value.as_str()))
        {
            value.leave("senders must POST to / or /api/v1/ingest");
        }
    }
    let codec = node.get("decoding").and_then(|decoding| decoding.get("codec"));
    if let Some(codec) = codec.or_else(|| node.get("encoding")) {
        match codec.plain().as_deref() {
            Some("json" | "ndjson") | None => {}
            Some("text" | "bytes" | "binary") => source.parse(codec, Toml::text("auto")),
            Some(other) => codec.leave(format!("Millrace does not read {other:?}")),
        }
    }
    if let Some(method) = node.get("framing").and_then(|framing| framing.get("method"))
        && method.plain().is_some_and(|method| method != "newline_delimited")
    {
        method.leave("requests hold a JSON object a line");
    }
    if node.get("auth").is_some() {
        // Nothing that asked for proof is open to all.
        source.settings.retain(|(key, ..)| *key != "allow_unauthenticated");
        node.leave("it asks senders who they are, in a way that Millrace does not: set it up by hand, with a `token`");
        return None;
    }
    Some(source)
}

fn otlp(name: &str, node: &Node) -> Option<Source> {
    let mut source = Source::new("otlp", name, node.at());
    for key in ["grpc", "http"] {
        let Some(section) = node.get(key) else { continue };
        if tls(section, &mut source).is_none() {
            node.leave("TLS needs crt_file and key_file, for gRPC and HTTP alike");
            return None;
        }
        if let Some(address) = address(section, None) {
            source.listen(key, "", address);
        }
    }
    Some(source)
}
