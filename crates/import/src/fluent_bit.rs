//! Fluent Bit's configuration, in its own format or as YAML.

mod classic;
mod filters;
mod inputs;
mod outputs;
mod parsers;
mod routes;

use super::{
    ImportError,
    convert::Converted,
    tree::{self, Builder, Node, Reasons},
    variables::Dialect,
};
use std::path::Path;

const REASONS: Reasons = &[
    ("service.flush", "batches are shipped as they fill"),
    ("service.grace", "what was not acknowledged is read again after a restart"),
    ("service.daemon", "systemd keeps the agent running"),
    ("service.log_level", "the agent logs to standard error; RUST_LOG sets its level"),
    ("service.log_file", "the agent logs to standard error"),
    (
        "service.parsers_file",
        "parsers in other files are not read, but for the well-known ones: put them into this file",
    ),
    ("service.streams_file", "Millrace runs no queries on what it ships; rules do that"),
    ("service.plugins_file", "Millrace loads no plugins"),
    ("service.http_server", "[agent] listen serves /healthz, /readyz and /metrics"),
    ("service.http_listen", "[agent] listen serves /healthz, /readyz and /metrics"),
    ("service.http_port", "[agent] listen serves /healthz, /readyz and /metrics"),
    ("service.health_check", "[agent] listen serves /healthz, /readyz and /metrics"),
    ("storage.path", "files wait where they are, and what is pushed waits under `state_dir`"),
    ("storage.sync", "what is pushed is synced before it is answered"),
    ("storage.checksum", "all that waits in a spool has a checksum"),
    ("storage.backlog.mem_limit", "[agent] in_flight bounds what waits for the topic's acknowledgement"),
    ("storage.metrics", "[agent] listen serves /metrics"),
    ("storage.max_chunks_up", "[agent] in_flight bounds what waits for the topic's acknowledgement"),
    ("db.sync", "Millrace's checkpoints need no setting"),
    ("db.locking", "Millrace's checkpoints need no setting"),
    ("db.journal_mode", "Millrace's checkpoints need no setting"),
    ("db.compare_filename", "a file is known by device, inode and its head"),
    ("mem_buf_limit", "[agent] in_flight bounds what waits for the topic's acknowledgement"),
    ("storage.type", "what is pushed waits in a spool on the disk always; files wait where they are"),
    ("storage.pause_on_chunks_overlimit", "spool_bytes and overflow say what happens"),
    ("buffer_chunk_size", "buffers need no setting"),
    ("inotify_watcher", "files are watched, and looked at each `rescan`"),
    ("static_batch_size", "files are read in turn"),
    ("event_batch_size", "files are read in turn"),
    ("progress_check_interval", "files are read in turn"),
    ("exit_on_eof", "the agent goes on"),
    ("ignore_older", "all files that the globs name are read, however old"),
    ("ignore_active_older_files", "all files that the globs name are read, however old"),
    ("watcher_interval", "files are watched, and looked at each `rescan`"),
    ("offset_key", "each record has a _position"),
    ("threaded", "threads need no setting"),
    ("alias", "sources are called by their table's name"),
    ("log_level", "the agent logs to standard error; RUST_LOG sets its level"),
    ("max_entries", "journals are read as fast as they can be shipped"),
    ("max_fields", "a record keeps up to 1,000 fields"),
    ("read_from_tail", "journals are read from their beginning"),
    ("tag_key", "records have no tags"),
    ("tag_regex", "records have no tags"),
    ("successful_response_code", "http answers 200 with what was accepted"),
    ("success_header", "http answers 200 with what was accepted"),
    ("docker_mode_flush", "parts of a line wait for line_wait"),
    ("docker_mode_parser", "multiline says which lines belong together"),
    ("parsers", "no input uses this parser"),
    ("parser", "no input uses this parser"),
    (
        "multiline_parser",
        "Millrace has multiline = { start = \"…\" }, and \"java\", \"python\", \"go\", \"ruby\", \"node\"",
    ),
    ("custom", "Millrace has no such plugins"),
    ("stream_task", "Millrace runs no queries on what it ships; rules do that"),
    (
        "multiline_parsers",
        "Millrace has multiline = { start = \"…\" }, and \"java\", \"python\", \"go\", \"ruby\", \"node\"",
    ),
    ("includes", "other files are not followed: import each of them by itself"),
    ("customs", "Millrace has no such plugins"),
    ("plugins", "Millrace loads no plugins"),
    ("stream_processor", "Millrace runs no queries on what it ships; rules do that"),
    ("processors", "processors are not taken over: write steps (docs/intake.md)"),
];

/// Converts.
pub(super) fn convert(
    text: &str,
    file: &Path,
    converted: &mut Converted,
) -> Result<(Node, Reasons), ImportError> {
    let builder = Builder { folded: true, ..Builder::new(Dialect::Plain) };
    let named_yaml = file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let root = if named_yaml || !classic::is_classic(text) {
        let root = tree::yaml(text, file, &with_variables(text, file, &builder)?)?;
        if !root.is_map() {
            return Err(ImportError::whole(file, "it is no configuration of Fluent Bit: a map was expected"));
        }
        // Its variables were put in where they stand.
        root.get("env").into_iter().for_each(Node::take_all);
        root
    } else {
        classic::read(text, file, builder)?
    };
    let routes = inputs::convert(&root, converted);
    filters::convert(&root, &routes, converted);
    outputs::convert(&root, &mut converted.topic);
    Ok((root, REASONS))
}

/// YAML's `env` gives variables values: they are put in where the variables stand.
fn with_variables(text: &str, file: &Path, builder: &Builder) -> Result<Builder, ImportError> {
    let first = tree::yaml(text, file, builder)?;
    let variables = first.get("env").map(Node::entries).unwrap_or_default();
    let known = variables.iter().filter_map(|(_, node)| {
        let name = node.at().strip_prefix("env.")?;
        Some((name.to_owned(), node.plain()?))
    });
    Ok(Builder { known: known.collect(), ..builder.clone() })
}

/// The plugins of one kind: `[INPUT]` of old, `pipeline.inputs` in YAML.
fn plugins<'a>(root: &'a Node, kind: &'a str) -> Vec<&'a Node> {
    let classic = root.all(kind);
    let plural = format!("pipeline.{kind}s");
    let lists = root.find(&plural).into_iter().flat_map(Node::items);
    classic.flat_map(Node::items).chain(lists).collect()
}

#[cfg(test)]
mod tests;
