//! Fluent Bit's inputs.

use super::{parsers, plugins};
use crate::{
    convert::Converted,
    emit::Toml,
    query::Query,
    source::{Source, Step},
    tree::Node,
    units, variables,
};

/// Sizes: `k` is 1000.
const KILO: u64 = 1000;

/// A source by its number among [`Converted::sources`], and the tag of its records.
pub(super) type Routes = Vec<String>;

/// Converts all inputs. What comes back are the tags of the sources, in their order.
pub(super) fn convert(root: &Node, converted: &mut Converted) -> Routes {
    let mut tags = Vec::new();
    for (number, input) in plugins(root, "input").into_iter().enumerate() {
        let Some(kind) = input.get("name").and_then(Node::plain).map(|name| name.to_lowercase()) else {
            input.leave("an input without a name");
            converted.absent(input.at());
            continue;
        };
        let tag = input.get("tag").and_then(Node::text);
        let label = input.get("alias").and_then(Node::text).or_else(|| tag.clone());
        let label = label.filter(|label| label.chars().any(char::is_alphanumeric));
        let mut name = label.unwrap_or_else(|| format!("{kind}-{}", number + 1));
        name = name.replace('*', "");
        match one(root, input, &kind, &name, converted) {
            Some(source) => {
                converted.add(source);
                tags.push(tag.unwrap_or_else(|| format!("{kind}.{number}")));
            }
            None => converted.absent(input.at()),
        }
    }
    tags
}

fn one(root: &Node, input: &Node, kind: &str, name: &str, converted: &mut Converted) -> Option<Source> {
    match kind {
        "tail" => {
            let source = tail(root, input, name)?;
            database(input, converted);
            Some(source)
        }
        "systemd" => Some(systemd(input, name)),
        "syslog" | "tcp" | "udp" => listener(root, input, kind, name),
        "http" => web(input, Source::new("http", name, input.at()), "listen", 9880),
        "opentelemetry" => web(input, Source::new("otlp", name, input.at()), "http", 4318),
        "stdin" if converted.reads_stdin() => {
            input.leave("there is one standard input, and a source reads it already");
            None
        }
        "stdin" => {
            let mut source = Source::new("stdin", name, input.at());
            input.get("parser").into_iter().for_each(|parser| parsers::apply(root, parser, &mut source));
            Some(source)
        }
        other => {
            input.leave(format!("Millrace has no source like {other:?}"));
            None
        }
    }
}

/// The globs of a list with commas.
fn globs(node: &Node) -> Vec<String> {
    node.texts().iter().flat_map(|text| variables::parts(text, ',')).collect()
}

fn tail(root: &Node, input: &Node, name: &str) -> Option<Source> {
    let mut source = Source::new("file", name, input.at());
    for (key, theirs) in [("include", "path"), ("exclude", "exclude_path")] {
        if let Some(node) = input.get(theirs) {
            source.globs(key, node, globs(node), true);
        }
    }
    if !source.has("include") {
        input.leave("it names no files that Millrace could read");
        return None;
    }
    if let Some(interval) = input.get("refresh_interval") {
        source.duration("rescan", interval);
    }
    if let Some(wait) = input.get("rotate_wait") {
        source.duration("rotate_wait", wait);
    }
    if let Some(size) = input.get("buffer_max_size") {
        source.max_line(size, KILO);
    }
    reading(input);
    if let Some(mode) = input.get("docker_mode")
        && mode.flag() == Some(true)
    {
        source.envelope(mode);
    }
    lines(root, input, &mut source);
    for key in ["unicode.encoding", "generic.encoding"] {
        input.get(key).into_iter().for_each(|node| source.charset(node));
    }
    Some(source)
}

/// Where files are read from, and what becomes of long lines.
fn reading(input: &Node) {
    match input.get("read_from_head") {
        Some(head) if head.flag() == Some(false) => {
            head.leave("files are read from their beginning; import the read positions to go on where Fluent Bit was");
        }
        _ => {}
    }
    if let Some(skip) = input.get("skip_long_lines")
        && skip.flag() == Some(true)
    {
        skip.leave("a line that is longer than max_line is cut and marked, not passed over");
    }
    if let Some(key) = input.get("path_key")
        && key.text().is_some_and(|key| key != "log.file.path")
    {
        key.leave("a file's path is log.file.path in each record's resource");
    }
    if let Some(key) = input.get("key")
        && key.text().is_some_and(|key| key != "log")
    {
        key.leave("the line is each record's body");
    }
    for key in ["skip_empty_lines", "truncate_long_lines", "keep_file_handle"] {
        input.get(key).into_iter().for_each(Node::take);
    }
}

/// Parsers, and lines that belong together.
fn lines(root: &Node, input: &Node, source: &mut Source) {
    if let Some(node) = input.get("multiline.parser") {
        multiline(node, source);
    }
    for key in ["parser", "parser_firstline"] {
        let of_old = input.get("multiline").and_then(Node::flag) == Some(true);
        match (input.get(key), key) {
            (Some(node), "parser") => parsers::apply(root, node, source),
            (Some(node), _) if of_old => first_line(root, node, source),
            _ => {}
        }
    }
    if let Some(flush) = input.get("multiline_flush") {
        if source.has("multiline") {
            source.duration("multiline_wait", flush);
        } else {
            flush.leave("no lines are put together");
        }
    }
}

/// Fluent Bit's own names for what belongs together.
pub(super) fn multiline(node: &Node, source: &mut Source) {
    for name in globs(node) {
        match name.to_lowercase().as_str() {
            "docker" | "cri" => source.envelope(node),
            preset @ ("java" | "python" | "go" | "ruby") => source.multiline(node, Toml::text(preset)),
            other => node.leave(format!(
                "the parser {other:?} is not among Millrace's: multiline = {{ start = \"…\" }} takes an expression for a \
                 record's first line"
            )),
        }
    }
}

/// The old way: a parser whose expression matches a record's first line.
fn first_line(root: &Node, node: &Node, source: &mut Source) {
    let Some(name) = node.plain() else { return };
    match parsers::named(root, &name).and_then(|parser| parser.get("regex")).and_then(Node::text) {
        Some(text) => {
            source.starts_with(node, &parsers::undelimited(&text));
            parsers::apply(root, node, source);
        }
        None => node.leave("no parser of this name, with an expression, is in this file"),
    }
}

fn database(input: &Node, converted: &mut Converted) {
    let Some(node) = input.get("db") else { return };
    match node.text() {
        Some(path) if variables::are_in(&path) => {
            node.leave("a variable stands here: name the database of the read positions by hand");
        }
        Some(path) => converted.registries.push(path.into()),
        None => {}
    }
}

fn systemd(input: &Node, name: &str) -> Source {
    let mut source = Source::new("journald", name, input.at());
    if let Some(path) = input.get("path")
        && let Some(text) = path.text()
    {
        source.set("directory", Toml::Text(text));
    }
    if let Some(db) = input.get("db") {
        db.leave("the positions of journals are not taken over: they are read from their beginning");
    }
    for key in ["strip_underscores", "lowercase"] {
        if let Some(node) = input.get(key)
            && node.flag() == Some(true)
        {
            node.leave("a journal's fields have the names that systemd gives them");
        }
    }
    let all = input.get("systemd_filter_type").and_then(Node::plain);
    let all = all.is_some_and(|kind| kind.eq_ignore_ascii_case("and"));
    let filters = input.all("systemd_filter").flat_map(Node::items);
    let queries = filters.filter_map(|filter| {
        let text = filter.text()?;
        let (field, value) =
            filter.ok(text.split_once('=').ok_or_else(|| "FIELD=value was expected".to_owned()))?;
        filter.ok(Query::equals(field, value))
    });
    let queries: Vec<Query> = queries.collect();
    let query = if all { Query::all(queries) } else { Query::any(queries) };
    source.steps.extend(query.map(|query| Step::keep(&query)));
    source
}

fn listener(root: &Node, input: &Node, kind: &str, name: &str) -> Option<Source> {
    let mut source = Source::new("syslog", name, input.at());
    let mode = input.get("mode").and_then(Node::plain).map(|mode| mode.to_lowercase());
    let (scheme, port) = match (kind, mode.as_deref()) {
        ("tcp", _) => ("tcp://", 5170),
        ("udp", _) => ("udp://", 5170),
        (_, Some("tcp")) => ("tcp://", 5140),
        (_, Some("udp")) => ("udp://", 5140),
        _ => {
            input.leave("Millrace listens on UDP, TCP and TLS, not on sockets in the file system");
            return None;
        }
    };
    let scheme = if tls(input, &mut source)? { "tls://" } else { scheme };
    source.listen("listen", scheme, address(input, port)?);
    buffers(input, kind, &mut source);
    if let Some(parser) = input.get("parser") {
        parsers::apply(root, parser, &mut source);
    }
    if kind != "syslog" {
        let format = input.get("format").and_then(Node::plain);
        if format.as_deref() == Some("none") {
            source.usual_parser = Some("auto");
        } else {
            source.parser = Some(Toml::text("json"));
        }
    }
    if let Some(separator) = input.get("separator")
        && separator.text().is_some_and(|text| !["\\n", "\n", "\\0"].contains(&text.as_str()))
    {
        separator.leave("a message ends with a newline or a zero byte, or is counted");
    }
    Some(source)
}

/// How long a message may be, and how many datagrams wait.
fn buffers(input: &Node, kind: &str, source: &mut Source) {
    if let Some(size) = input.get("buffer_max_size").or_else(|| input.get("buffer_size")) {
        // Their plain numbers are kilobytes with `tcp` and `udp`.
        let plain = size.plain().and_then(|text| text.parse::<u64>().ok()).filter(|_| kind != "syslog");
        match plain {
            Some(kilobytes) => {
                if let Some(size) = size.ok(units::line(kilobytes.saturating_mul(1024))) {
                    source.set("max_line", Toml::Text(size));
                }
            }
            None => source.max_line(size, KILO),
        }
    }
    if let Some(size) = input.get("receive_buffer_size")
        && let Some(bytes) = size.plain().and_then(|text| size.ok(units::size(&text, KILO)))
    {
        source.set("receive_buffer", Toml::Text(units::size_text(bytes)));
    }
}

/// Is TLS spoken? `None`: it is, and with which certificate is not known; then nothing is listened for.
fn tls(input: &Node, source: &mut Source) -> Option<bool> {
    if input.get("tls").and_then(Node::flag) != Some(true) {
        return Some(false);
    }
    if let Some(verify) = input.get("tls.verify") {
        verify.take();
    }
    let asks = input.get("tls.verify_client_cert").and_then(Node::flag) == Some(true);
    let ca = input.get("tls.ca_file").filter(|_| asks);
    if source.certificate(input.get("tls.crt_file"), input.get("tls.key_file"), ca) {
        return Some(true);
    }
    input.leave("TLS needs tls.crt_file and tls.key_file");
    None
}

fn address(input: &Node, port: u16) -> Option<std::net::SocketAddr> {
    let port = match input.get("port") {
        Some(node) => node.ok(u16::try_from(node.count()?).map_err(|_| "no port".to_owned()))?,
        None => port,
    };
    let host = input.get("listen").map_or_else(|| Some("0.0.0.0".to_owned()), Node::plain)?;
    let at = input.get("listen").unwrap_or(input);
    at.ok(units::listen(&host, Some(port)))
}

/// What is pushed over HTTP.
fn web(input: &Node, mut source: Source, key: &'static str, port: u16) -> Option<Source> {
    tls(input, &mut source)?;
    source.listen(key, "", address(input, port)?);
    if source.kind == "http" {
        input.remark("senders must POST a JSON object a line, to / or /api/v1/ingest, where Fluent Bit took any path and lists too");
    }
    if let Some(size) = input.get("buffer_max_size")
        && let Some(bytes) = size.plain().and_then(|text| size.ok(units::size(&text, KILO)))
    {
        if (1 << 10..=256 << 20).contains(&bytes) {
            source.set("max_body", Toml::Text(units::size_text(bytes)));
        } else {
            size.leave("max_body lies between 1KiB and 256MiB");
        }
    }
    Some(source)
}
