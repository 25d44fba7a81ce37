//! Promtail's configuration.

mod stages;

use super::{
    ImportError,
    convert::Converted,
    emit::Toml,
    query::Query,
    source::{self, Source, Step},
    tree::{self, Builder, Node, Reasons},
    units, variables,
    variables::Dialect,
};
use std::path::Path;

/// Promtail's own default, where nothing says where positions are kept.
const POSITIONS: &str = "/var/log/positions.yaml";

const REASONS: Reasons = &[
    (
        "clients",
        "agents ship to a topic, and Millrace's query role answers Loki's API: set [topic] to your Kafka",
    ),
    (
        "client",
        "agents ship to a topic, and Millrace's query role answers Loki's API: set [topic] to your Kafka",
    ),
    ("server", "[agent] listen serves /healthz, /readyz and /metrics"),
    ("positions.sync_period", "Millrace's checkpoints need no setting"),
    ("positions.ignore_invalid_yaml", "Millrace's checkpoints need no setting"),
    ("limits_config", "a step such as rate_limit = \"100/s\" bounds a source"),
    ("target_config.stdin", "a source of type \"stdin\" reads standard input"),
    ("tracing", "Millrace traces itself by OpenTelemetry's environment variables, or not at all"),
    ("global", "Millrace has no such setting"),
    ("wal", "Millrace's checkpoints need no setting"),
    ("options", "Millrace has no labels of streams"),
    (
        "relabel_configs",
        "labels are not made by rules: what the path tells of a pod is in each record; `add` and `rename` steps set the rest",
    ),
    ("file_sd_configs", "name the files in `include`"),
    (
        "docker_sd_configs",
        "files under /var/lib/docker/containers are recognised by themselves: name them in `include`",
    ),
    ("kubernetes_sd_configs.role", "files under /var/log/pods are recognised by themselves"),
    (
        "kubernetes_sd_configs",
        "files under /var/log/pods are recognised by themselves: namespace, pod and container are in each record",
    ),
    (
        "loki_push_api",
        "agents take OpenTelemetry's protocol, syslog and lines of JSON; the query role takes Loki's pushes",
    ),
    ("windows_events", "Millrace reads no event log of Windows"),
    ("gelf", "Millrace does not read GELF"),
    ("gcplog", "Millrace does not read from Google's Pub/Sub"),
    ("kafka", "agents do not read from Kafka"),
    ("cloudflare", "Millrace does not read from Cloudflare"),
    ("heroku_drain", "Millrace does not read Heroku's drains"),
    ("azure_event_hubs", "Millrace does not read from Azure's Event Hubs"),
    ("decompression", "compressed files are recognised by themselves"),
    ("pipeline_stages", "nothing is read to which they could apply"),
    ("idle_timeout", "connections are kept as long as the sender keeps them"),
    ("max_age", "journals are read from their beginning"),
    ("targets", "Millrace reads this host's files"),
];

/// Converts.
pub(super) fn convert(
    text: &str,
    file: &Path,
    converted: &mut Converted,
) -> Result<(Node, Reasons), ImportError> {
    let root = tree::yaml(text, file, &Builder::new(Dialect::Braces))?;
    if !root.is_map() {
        return Err(ImportError::whole(file, "it is no configuration of Promtail: a map was expected"));
    }
    for config in root.get("scrape_configs").map(Node::items).unwrap_or_default() {
        scrape(config, converted);
    }
    if let Some(period) = root.find("target_config.sync_period") {
        for source in converted.sources_mut().filter(|source| source.kind == "file") {
            source.duration("rescan", period);
        }
    }
    match root.find("positions.filename") {
        Some(name) => match name.text() {
            Some(path) if variables::are_in(&path) => {
                name.leave("a variable stands here: name the file of the read positions by hand");
            }
            Some(path) => converted.registries.push(path.into()),
            None => {}
        },
        None => converted.registries.push(POSITIONS.into()),
    }
    Ok((root, REASONS))
}

/// One of `scrape_configs`: a source for each of its targets.
fn scrape(config: &Node, converted: &mut Converted) {
    let name = config.get("job_name").and_then(Node::text).unwrap_or_else(|| "logs".to_owned());
    let mut sources = Vec::new();
    for target in config.get("static_configs").map(Node::items).unwrap_or_default() {
        match files(target, &name) {
            Some(source) => sources.push(source),
            None => converted.absent(target.at()),
        }
    }
    if let Some(node) = config.get("journal") {
        sources.push(journal(node, &name));
    }
    if let Some(node) = config.get("syslog") {
        match syslog(node, &name) {
            Some(source) => sources.push(source),
            None => converted.absent(node.at()),
        }
    }
    if let Some(discovery) = config.get("kubernetes_sd_configs") {
        sources.push(pods(discovery, &name));
    }
    if sources.is_empty() {
        converted.absent(config.at());
        return;
    }
    for (number, mut source) in sources.into_iter().enumerate() {
        if number == 0 {
            // What is said of the whole is told beside its first source.
            source.at.push(config.at().to_owned());
        }
        source.name.clone_from(&name);
        if let Some(encoding) = config.get("encoding") {
            source.charset(encoding);
        }
        if let Some(list) = config.get("pipeline_stages") {
            stages::convert(list, &mut source);
        }
        converted.add(source);
    }
}

/// A target with a path.
fn files(target: &Node, name: &str) -> Option<Source> {
    let mut source = Source::new("file", name, target.at());
    let labels = target.get("labels");
    if let Some(targets) = target.get("targets")
        && targets.texts().iter().any(|host| !["localhost", "127.0.0.1", ""].contains(&host.as_str()))
    {
        targets.leave("Millrace reads this host's files");
    }
    for (key, label) in [("include", "__path__"), ("exclude", "__path_exclude__")] {
        if let Some(node) = labels.and_then(|labels| labels.get(label))
            && let Some(glob) = node.text()
        {
            source.globs(key, node, vec![glob], false);
        }
    }
    if !source.has("include") {
        target.leave("it names no files that Millrace could read");
        return None;
    }
    add_labels(labels, &mut source);
    Some(source)
}

/// Labels are attributes, but for those that are Promtail's own.
fn add_labels(labels: Option<&Node>, source: &mut Source) {
    let mut values = Vec::new();
    for (name, node) in labels.map(Node::entries).unwrap_or_default() {
        if name.starts_with("__") {
            continue;
        }
        let named = node.ok(super::query::attribute(name));
        values.extend(named.and_then(|name| Some((name, source::value(node)?))));
    }
    source.add(values);
}

fn journal(node: &Node, name: &str) -> Source {
    let mut source = Source::new("journald", name, node.at());
    node.take();
    if let Some(path) = node.get("path")
        && let Some(path) = path.text()
        && !["", "/var/log/journal"].contains(&path.as_str())
    {
        source.set("directory", Toml::Text(path));
    }
    if let Some(json) = node.get("json")
        && json.flag() == Some(true)
    {
        json.leave("a journal's fields are attributes, and its message is the body");
    }
    if let Some(matches) = node.get("matches")
        && let Some(text) = matches.plain()
    {
        let queries = text.split_whitespace().map(|pair| match pair.split_once('=') {
            Some((field, value)) => Query::equals(field, value),
            None => Err(format!("not of the kind FIELD=value: {pair:?}")),
        });
        let query = matches.ok(queries.collect::<Result<Vec<_>, _>>()).and_then(Query::all);
        source.steps.extend(query.map(|query| Step::keep(&query)));
    }
    add_labels(node.get("labels"), &mut source);
    source
}

fn syslog(node: &Node, name: &str) -> Option<Source> {
    let mut source = Source::new("syslog", name, node.at());
    let protocol = node.get("listen_protocol").and_then(Node::plain);
    let mut scheme = if protocol.as_deref() == Some("udp") { "udp://" } else { "tcp://" };
    if let Some(tls) = node.get("tls_config") {
        if !source.certificate(tls.get("cert_file"), tls.get("key_file"), tls.get("ca_file")) {
            node.leave("tls:// needs cert_file and key_file");
            return None;
        }
        scheme = "tls://";
    }
    let address = node.get("listen_address");
    let address = address.and_then(|at| at.ok(units::listen(&at.plain()?, None)));
    let Some(address) = address else {
        node.leave("it names no address on which Millrace could listen");
        return None;
    };
    source.listen("listen", scheme, address);
    if let Some(size) = node.get("max_message_length") {
        source.max_line(size, 1024);
    }
    for key in ["use_incoming_timestamp", "label_structured_data", "use_rfc5424_message"] {
        if let Some(flag) = node.get(key)
            && flag.flag() == Some(false)
            && key == "use_incoming_timestamp"
        {
            flag.leave("a record's time is the message's; when it came is observed_timestamp");
        }
    }
    add_labels(node.get("labels"), &mut source);
    Some(source)
}

/// Files that Kubernetes' discovery would have found.
fn pods(discovery: &Node, name: &str) -> Source {
    let mut source = Source::new("file", name, discovery.at());
    discovery.remark(
        "files under /var/log/pods are recognised by themselves, and all of them are read: namespace, pod and container are in \
         each record; `exclude` and `keep` steps choose among them",
    );
    source.set("include", Toml::List(vec![Toml::text("/var/log/pods/*/*/*.log")]));
    source
}

#[cfg(test)]
mod tests;
