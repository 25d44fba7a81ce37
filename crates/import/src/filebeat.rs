//! Filebeat's configuration: `filebeat.yml`, or a file of inputs alone.

mod conditions;
mod dissect;
mod inputs;
mod kafka;
mod processors;

use super::{
    ImportError,
    convert::Converted,
    emit::Toml,
    source,
    tree::{self, Builder, Data, Node, Reasons},
    variables::{self, Dialect},
};
use std::path::{Path, PathBuf};

/// Where Filebeat's packages keep its data.
const DATA: &str = "/var/lib/filebeat";

const REASONS: Reasons = &[
    ("filebeat.modules", "Millrace has no modules: add the files that they read as sources"),
    ("filebeat.config", "other files are not followed: import each of them by itself"),
    (
        "filebeat.autodiscover",
        "files under /var/log/pods and /var/log/containers are recognised by themselves",
    ),
    ("filebeat.registry.flush", "Millrace's checkpoints need no setting"),
    ("filebeat.shutdown_timeout", "what was not acknowledged is read again after a restart"),
    ("filebeat.overwrite_pipelines", "there are no ingest pipelines"),
    (
        "output.elasticsearch",
        "agents ship to a topic, and indexers write Millrace's own shards: no Elasticsearch is needed",
    ),
    ("output.logstash", "agents ship to a topic: set [topic] to your Kafka"),
    ("output.redis", "agents ship to a topic: set [topic] to your Kafka"),
    ("output.file", "agents ship to a topic; `millrace agent --dry-run FILE` prints records"),
    ("output.console", "agents ship to a topic; `millrace agent --dry-run FILE` prints records"),
    ("output.discard", "agents ship to a topic: set [topic] to your Kafka"),
    ("cloud", "there is no Elastic Cloud to ship to: set [topic] to your Kafka"),
    ("setup", "Millrace sets up nothing in Elasticsearch or Kibana"),
    ("logging", "the agent logs to standard error; RUST_LOG sets its level"),
    ("monitoring", "[agent] listen serves /metrics for Prometheus"),
    ("http", "[agent] listen serves /healthz, /readyz and /metrics"),
    ("queue", "[agent] in_flight bounds what waits for the topic's acknowledgement"),
    ("path.config", "Millrace is told its configuration by --config"),
    ("path.logs", "the agent logs to standard error"),
    ("path.home", "Millrace is one binary"),
    ("max_procs", "there is no such bound; systemd's CPUQuota sets one"),
    ("seccomp", "systemd's SystemCallFilter does this"),
    ("keystore", "secrets come from the environment or { file = \"path\" }"),
    ("harvester_limit", "there is no such bound: files are read in turn"),
    ("harvester_buffer_size", "buffers need no setting"),
    ("buffer_size", "buffers need no setting"),
    ("backoff", "the kernel tells when a file grows"),
    ("backoff_factor", "the kernel tells when a file grows"),
    ("max_backoff", "the kernel tells when a file grows"),
    ("backoff.init", "the kernel tells when a file grows"),
    ("backoff.max", "the kernel tells when a file grows"),
    ("ignore_older", "all files that the globs name are read, however old"),
    ("ignore_inactive", "all files that the globs name are read, however old"),
    (
        "tail_files",
        "files are read from their beginning; import the read positions to go on where Filebeat was",
    ),
    ("seek", "journals are read from their beginning"),
    ("close_inactive", "files are let go by rotate_wait; open ones need no setting"),
    ("close_renamed", "a renamed file is read to its end, and let go after rotate_wait"),
    ("close_removed", "a deleted file is read to its end, and let go after rotate_wait"),
    ("close_eof", "a file is followed as long as it is there"),
    ("close_timeout", "a file is followed as long as it is there"),
    (
        "close",
        "a file is followed as long as it is there, and let go rotate_wait after it was renamed or deleted",
    ),
    ("clean_inactive", "positions are kept as long as the files are there"),
    ("clean_removed", "positions are kept as long as the files are there"),
    ("file_identity", "a file is known by device, inode and its head"),
    ("prospector.scanner.fingerprint", "a file is known by device, inode and its head"),
    (
        "prospector.scanner.resend_on_touch",
        "a file is read again when it has changed, not when it was touched",
    ),
    ("scan.order", "files are read in turn"),
    ("scan.sort", "files are read in turn"),
    ("index", "there are no indices: `stream` says where records go"),
    ("pipeline", "there are no ingest pipelines: `process` has steps"),
    ("include_files", "include takes globs: name there what is to be read"),
    ("prospector.scanner.include_files", "include takes globs: name there what is to be read"),
    ("rotation", "rotated and compressed files are recognised by themselves"),
    ("gzip_experimental", "compressed files are recognised by themselves"),
    ("compression", "compressed files are recognised by themselves"),
];

/// Converts.
pub(super) fn convert(
    text: &str,
    file: &Path,
    converted: &mut Converted,
) -> Result<(Node, Reasons), ImportError> {
    let builder = Builder { dotted: true, ..Builder::new(Dialect::Braces) };
    let root = tree::yaml(text, file, &builder)?;
    if !root.is_map() && !root.is_list() {
        return Err(ImportError::whole(
            file,
            "it is no configuration of Filebeat: neither a map nor a list of inputs",
        ));
    }
    let general_fields = fields(&root);
    if root.is_list() {
        inputs::convert(&root, &general_fields, converted);
    }
    for key in ["filebeat.inputs", "filebeat.prospectors"] {
        if let Some(list) = root.find(key) {
            inputs::convert(list, &general_fields, converted);
        }
    }
    if let Some(name) = root.get("name") {
        converted.host = name.text();
    }
    general(&root, converted);
    if let Some(output) = root.find("output.kafka") {
        kafka::convert(output, &mut converted.topic);
    }
    converted.registries.extend(registry(&root));
    Ok((root, REASONS))
}

/// What is done to the records of all inputs.
fn general(root: &Node, converted: &mut Converted) {
    if converted.sources().next().is_none() {
        for node in
            ["fields", "fields_under_root", "tags", "processors"].iter().filter_map(|key| root.get(key))
        {
            node.leave("there is no source to which this could apply");
        }
        return;
    }
    for source in converted.sources_mut() {
        if let Some(list) = root.get("processors") {
            processors::convert(list, source);
        }
    }
}

/// `fields` and `tags`, of an input or of all.
fn fields(node: &Node) -> Vec<(String, Toml)> {
    let at_root = node.get("fields_under_root").and_then(Node::flag).unwrap_or(false);
    let fields = node.get("fields").map(|fields| {
        fields.ok(if fields.is_map() { Ok(()) } else { Err("names and values were expected".to_owned()) });
        source::attributes(fields, if at_root { "" } else { "fields" })
    });
    let mut all = fields.unwrap_or_default();
    all.extend(node.get("tags").and_then(|tags| tags_value(tags, "tags", None)));
    all
}

/// Tags as one attribute, after those that are there already.
fn tags_value(tags: &Node, name: &str, before: Option<&str>) -> Option<(String, Toml)> {
    let mut texts = tags.texts();
    texts.splice(0..0, before.map(str::to_owned));
    if texts.len() > 1 {
        tags.remark("an attribute that is added is one value: the tags became one text");
    }
    (!texts.is_empty()).then(|| (name.to_owned(), Toml::Text(texts.join(","))))
}

/// The folder of Filebeat's registry.
fn registry(root: &Node) -> Option<PathBuf> {
    let said = |key: &str| root.find(key).map(|node| (node, node.text()));
    let data = said("path.data");
    let data = match data {
        Some((node, Some(path))) => fixed(node, &path)?,
        Some((_, None)) => return None,
        None => match said("path.home") {
            // Filebeat's own default, where it was not installed as a package.
            Some((node, Some(home))) => fixed(node, &home)?.join("data"),
            _ => PathBuf::from(DATA),
        },
    };
    let registry = match said("filebeat.registry.path").or_else(|| said("filebeat.registry_file")) {
        Some((node, Some(path))) => data.join(fixed(node, &path)?),
        Some((_, None)) => return None,
        None => data.join("registry"),
    };
    Some(registry)
}

/// A path that does not depend on the environment.
fn fixed(node: &Node, path: &str) -> Option<PathBuf> {
    if variables::are_in(path) {
        node.leave("a variable stands here: name the folder of the read positions by hand");
        return None;
    }
    Some(path.into())
}

/// Names of fields as Filebeat has them: where Millrace has the same. `line` is the field of the message.
fn field(name: &str, line: &str) -> String {
    let json = line != "body";
    match name {
        "message" => line.to_owned(),
        "json.message" if json => "attributes.message".to_owned(),
        "json.msg" if json => "attributes.msg".to_owned(),
        "log.file.path" => "log.file.path".to_owned(),
        "stream" => "log.iostream".to_owned(),
        "kubernetes.namespace" => "k8s.namespace.name".to_owned(),
        "kubernetes.pod.name" => "k8s.pod.name".to_owned(),
        "kubernetes.pod.uid" => "k8s.pod.uid".to_owned(),
        "kubernetes.container.name" => "k8s.container.name".to_owned(),
        "agent.hostname" | "host.hostname" => "host.name".to_owned(),
        "systemd.unit" => "_SYSTEMD_UNIT".to_owned(),
        "process.pid" | "journald.pid" => "pid".to_owned(),
        name => name.strip_prefix("json.").filter(|_| json).unwrap_or(name).to_owned(),
    }
}

/// A text without a variable, if that is what stands there; marks nothing.
fn peek(node: &Node) -> Option<&str> {
    match node.data() {
        Data::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
