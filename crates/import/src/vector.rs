//! Vector's configuration: TOML, YAML or JSON.

mod condition;
mod remap;
mod sinks;
mod sources;
mod transforms;

use super::{
    ImportError,
    convert::Converted,
    tree::{self, Builder, Node, Reasons},
    variables,
    variables::Dialect,
};
use std::path::Path;

/// Where Vector's packages keep its data.
const DATA: &str = "/var/lib/vector";

const REASONS: Reasons = &[
    ("api", "[agent] listen serves /healthz, /readyz and /metrics"),
    ("tests", "[[test]] holds tests of sources: write them anew (docs/intake.md)"),
    ("enrichment_tables", "a step such as enrich = { csv = \"…\", by = \"host\" } reads a table"),
    ("secret", "secrets come from the environment or { file = \"path\" }"),
    ("log_schema", "names of fields are OpenTelemetry's"),
    ("acknowledgements", "what the topic has not acknowledged is read or kept until it has"),
    ("healthchecks", "/readyz says whether the topic is reached"),
    ("schema", "names of fields are OpenTelemetry's"),
    ("proxy", "the topic is reached directly"),
    ("expire_metrics_secs", "Millrace's metrics do not expire"),
    ("ignore_older_secs", "all files that the globs name are read, however old"),
    ("ignore_older", "all files that the globs name are read, however old"),
    ("max_read_bytes", "files are read in turn"),
    ("oldest_first", "files are read in turn"),
    ("fingerprint", "a file is known by device, inode and its head"),
    ("file_key", "a file's path is log.file.path in each record's resource"),
    ("host_key", "this host's name is host.name in each record's resource"),
    ("host_metadata_file_path", "this host's name is host.name in each record's resource"),
    ("offset_key", "each record has a _position"),
    ("remove_after_secs", "Millrace removes no files"),
    ("remove_after", "Millrace removes no files"),
    ("ignore_checkpoints", "Millrace goes by its own checkpoints"),
    ("ignore_not_found", "a file that is gone is nothing to report"),
    ("internal_metrics", "metrics are named by source, not by file"),
    ("current_boot_only", "journals are read from their beginning"),
    ("since_now", "journals are read from their beginning"),
    ("batch_size", "journals are read as fast as they can be shipped"),
    ("remap_priority", "a journal's priority is the record's level"),
    ("extra_label_selector", "labels are not known: `exclude` and `keep` steps choose among pods"),
    ("extra_field_selector", "labels are not known: `exclude` and `keep` steps choose among pods"),
    ("extra_namespace_label_selector", "labels are not known: `exclude` and `keep` steps choose among pods"),
    ("pod_annotation_fields", "namespace, pod and container are in each record; labels are not added"),
    ("namespace_annotation_fields", "namespace, pod and container are in each record; labels are not added"),
    ("node_annotation_fields", "namespace, pod and container are in each record; labels are not added"),
    ("self_node_name", "Kubernetes is not asked: the paths tell"),
    ("kube_config_file", "Kubernetes is not asked: the paths tell"),
    ("use_apiserver_cache", "Kubernetes is not asked: the paths tell"),
    ("delay_deletion_ms", "Kubernetes is not asked: the paths tell"),
    ("port_key", "network.peer.address is in each record"),
    ("shutdown_timeout_secs", "what was not acknowledged is read again after a restart"),
    ("auth", "a `token` proves who sends: { file = \"/etc/millrace/push.token\" }"),
    ("headers", "headers of requests are not kept"),
    ("query_parameters", "parameters of requests are not kept"),
    ("strict_path", "lines are taken at / and /api/v1/ingest"),
    ("path_key", "paths of requests are not kept"),
    ("response_code", "http answers 200 with what was accepted"),
];

/// Converts.
pub(super) fn convert(
    text: &str,
    file: &Path,
    converted: &mut Converted,
) -> Result<(Node, Reasons), ImportError> {
    let builder = Builder::new(Dialect::Shell);
    let ending = file.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    let root = match ending.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("yaml" | "yml") => tree::yaml(text, file, &builder)?,
        Some("json") => tree::json(text, file, &builder)?,
        _ => tree::toml(text, file, &builder)?,
    };
    if !root.is_map() {
        return Err(ImportError::whole(file, "it is no configuration of Vector: a map was expected"));
    }
    let data = root.get("data_dir").map_or_else(|| Some(DATA.to_owned()), |node| fixed(node, node.text()?));
    converted.registries.extend(data.map(Into::into));
    let names = sources::convert(&root, converted);
    if let Some(zone) = root.get("timezone") {
        for source in converted.sources_mut().filter(|source| !["journald", "otlp"].contains(&source.kind)) {
            source.timezone(zone);
        }
    }
    transforms::convert(&root, &names, converted);
    sinks::convert(&root, &mut converted.topic);
    Ok((root, REASONS))
}

/// A path that does not depend on the environment.
fn fixed(node: &Node, path: String) -> Option<String> {
    if variables::are_in(&path) {
        node.leave("a variable stands here: name the folder of the read positions by hand");
        return None;
    }
    Some(path)
}

/// Names and tables below a key.
fn components<'a>(root: &'a Node, kind: &str) -> &'a [(String, Node)] {
    root.get(kind).map(Node::entries).unwrap_or_default()
}

#[cfg(test)]
mod tests;
