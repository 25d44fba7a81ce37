//! Filebeat's inputs.

use super::{fields, peek, processors};
use crate::{
    convert::Converted,
    emit::Toml,
    query::Query,
    source::{Source, Step},
    tree::Node,
    units,
};

mod lines;

/// Converts a list of inputs. `general` are the fields that all of them get.
pub(super) fn convert(list: &Node, general: &[(String, Toml)], converted: &mut Converted) {
    list.ok(if list.is_list() { Ok(()) } else { Err("a list of inputs was expected".to_owned()) });
    for (number, input) in list.items().iter().enumerate() {
        match one(input, number, general, converted) {
            Some(source) => converted.add(source),
            None => converted.absent(input.at()),
        }
    }
}

fn one(input: &Node, number: usize, fields: &[(String, Toml)], converted: &Converted) -> Option<Source> {
    if input.get("enabled").is_some_and(|enabled| enabled.flag() == Some(false)) {
        input.leave("it is switched off: enabled is false");
        return None;
    }
    let Some(kind_node) = input.get("type").or_else(|| input.get("input_type")) else {
        input.leave("an input without a type");
        return None;
    };
    let kind = kind_node.plain()?;
    let id = input.get("id").and_then(Node::text);
    let name = id.unwrap_or_else(|| format!("{kind}-{}", number + 1));
    let mut source = match kind.as_str() {
        "log" | "filestream" | "container" | "docker" => files(input, &kind, &name)?,
        "journald" => journald(input, &name),
        "syslog" | "udp" | "tcp" => network(input, &kind, &name)?,
        "stdin" if converted.reads_stdin() => {
            input.leave("there is one standard input, and a source reads it already");
            return None;
        }
        "stdin" => Source::new("stdin", &name, input.at()),
        other => {
            input.leave(advice(other));
            return None;
        }
    };
    general(input, fields, &mut source);
    Some(source)
}

fn advice(kind: &str) -> String {
    match kind {
        "http_endpoint" => {
            "a source of type \"http\" takes a JSON object a line at POST /: set it up by hand".to_owned()
        }
        "unix" => "Millrace listens on UDP, TCP and TLS, not on sockets in the file system".to_owned(),
        _ => format!("Millrace has no source like {kind:?}"),
    }
}

/// What every input may say.
fn general(input: &Node, all: &[(String, Toml)], source: &mut Source) {
    lines::convert(input, source);
    if let Some(size) = input.get("max_bytes").or_else(|| input.get("message_max_bytes")) {
        source.max_line(size, 1000);
    }
    if let Some(encoding) = input.get("encoding") {
        source.charset(encoding);
    }
    let own = fields(input);
    // Fields of an input win; tags come together.
    let both = all.iter().chain(&own).map(|(name, value)| match (value, tags_of(all)) {
        (Toml::Text(tags), Some(others)) if name == "tags" && tags != others => {
            (name.clone(), Toml::Text(format!("{others},{tags}")))
        }
        _ => (name.clone(), value.clone()),
    });
    source.add(both.collect());
    if let Some(list) = input.get("processors") {
        processors::convert(list, source);
    }
}

fn tags_of(fields: &[(String, Toml)]) -> Option<&str> {
    fields.iter().find_map(|(name, value)| match value {
        Toml::Text(tags) if name == "tags" => Some(tags.as_str()),
        _ => None,
    })
}

fn files(input: &Node, kind: &str, name: &str) -> Option<Source> {
    let mut source = Source::new("file", name, input.at());
    match input.get("paths") {
        Some(paths) => {
            paths.take();
            for path in paths.items() {
                if let Some(glob) = path.text() {
                    source.globs("include", path, vec![glob], true);
                }
            }
        }
        None if kind == "docker" => docker(input, &mut source),
        None => {}
    }
    if !source.has("include") {
        input.leave("it names no files that Millrace could read");
        return None;
    }
    scanning(input, &mut source);
    if kind == "docker" || kind == "container" {
        container(input, &mut source);
    }
    Some(source)
}

/// The input of old for Docker's own files.
fn docker(input: &Node, source: &mut Source) {
    let path = input.find("containers.path").and_then(Node::text);
    let path = path.unwrap_or_else(|| "/var/lib/docker/containers".to_owned());
    let ids = input.find("containers.ids");
    let globs = ids.map_or_else(|| vec!["*".to_owned()], Node::texts);
    let globs = globs.iter().map(|id| format!("{}/{id}/*.log", path.trim_end_matches('/'))).collect();
    source.globs("include", ids.unwrap_or(input), globs, false);
}

/// Which files are looked for, and when.
fn scanning(input: &Node, source: &mut Source) {
    for key in ["exclude_files", "prospector.scanner.exclude_files"] {
        if let Some(patterns) = input.find(key) {
            source.exclude_regexes(patterns);
        }
    }
    for key in ["scan_frequency", "prospector.scanner.check_interval"] {
        if let Some(interval) = input.find(key) {
            source.duration("rescan", interval);
        }
    }
    for key in ["symlinks", "prospector.scanner.symlinks"] {
        if let Some(links) = input.find(key)
            && links.flag() == Some(false)
        {
            links.leave("symbolic links are followed: exclude what should not be read");
        }
    }
    for key in ["recursive_glob.enabled", "prospector.scanner.recursive_glob"] {
        if let Some(recursive) = input.find(key)
            && recursive.flag() == Some(false)
        {
            recursive.leave("** in a glob stands for any number of folders");
        }
    }
}

/// What a container's runtime writes; of an input, or of a parser.
pub(super) fn container(node: &Node, source: &mut Source) {
    source.enveloped = true;
    if let Some(format) = node.get("format").or_else(|| node.find("containers.format")) {
        // Which of the two it is, is recognised in either case.
        format.take();
    }
    for key in ["cri.parse_flags", "combine_partial", "cri.flags", "containers.cri.parse_flags"] {
        if let Some(flags) = node.find(key)
            && flags.flag() == Some(false)
        {
            flags.leave("parts of a long line are put together");
        }
    }
    let stream = node.get("stream").or_else(|| node.find("containers.stream"));
    let Some(stream) = stream else { return };
    match stream.plain().as_deref() {
        Some("all") | None => {}
        Some(one @ ("stdout" | "stderr")) => {
            let query = stream.ok(Query::equals("log.iostream", one));
            source.steps.extend(query.map(|query| Step::keep(&query)));
        }
        Some(other) => stream.leave(format!("{other:?} is no output of a container")),
    }
}

fn journald(input: &Node, name: &str) -> Source {
    let mut source = Source::new("journald", name, input.at());
    if let Some(paths) = input.get("paths") {
        match paths.items() {
            [one]
                if peek(one)
                    .is_some_and(|path| !path.ends_with(".journal") && path != "LOCAL_SYSTEM_JOURNAL") =>
            {
                source.settings.extend(one.text().map(|path| ("directory", Toml::Text(path), "")));
                paths.take();
            }
            _ => paths.leave("a source reads this system's journal, or one `directory` of journals"),
        }
    }
    let keys = [
        ("units", "_SYSTEMD_UNIT"),
        ("syslog_identifiers", "SYSLOG_IDENTIFIER"),
        ("transports", "_TRANSPORT"),
    ];
    for (key, field) in keys {
        let Some(values) = input.get(key) else { continue };
        let texts = values.texts();
        let queries = texts.iter().filter_map(|value| values.ok(Query::equals(field, value)));
        source.steps.extend(Query::any(queries.collect()).map(|query| Step::keep(&query)));
    }
    if let Some(matches) = input
        .find("include_matches.match")
        .or_else(|| input.get("include_matches").filter(|matches| matches.is_list()))
    {
        let texts = matches.texts();
        let queries = texts.iter().filter_map(|text| match text.split_once('=') {
            Some((field, value)) if !text.contains(' ') => matches.ok(Query::equals(field, value)),
            _ => {
                matches.leave(format!("not of the kind FIELD=value: {text:?}"));
                None
            }
        });
        source.steps.extend(Query::all(queries.collect()).map(|query| Step::keep(&query)));
    }
    source
}

/// Inputs that listen: `syslog` with a protocol below it, `udp` and `tcp`.
fn network(input: &Node, kind: &str, name: &str) -> Option<Source> {
    let mut source = Source::new("syslog", name, input.at());
    let protocols = ["udp", "tcp"].into_iter().filter_map(|protocol| {
        let section = if kind == "syslog" {
            input.get("protocol").and_then(|all| all.get(protocol))
        } else {
            (kind == protocol).then_some(input)
        };
        Some((protocol, section?))
    });
    let found: Vec<_> = protocols.collect();
    for (protocol, section) in &found {
        listener(protocol, section, &mut source);
    }
    if kind == "syslog" {
        if let Some(format) = input.get("format") {
            format.take();
        }
        if let Some(zone) = input.get("timezone") {
            source.timezone(zone);
        }
    } else {
        source.usual_parser = Some("auto");
    }
    if !source.has("listen") {
        input.leave("it names no address on which Millrace could listen");
        return None;
    }
    Some(source)
}

fn listener(protocol: &str, section: &Node, source: &mut Source) {
    let scheme = match tls(section, source) {
        Some(true) => "tls://",
        Some(false) if protocol == "udp" => "udp://",
        Some(false) => "tcp://",
        // Nothing that was encrypted is listened for in clear.
        None => return,
    };
    if let Some(host) = section.get("host")
        && let Some(text) = host.plain()
        && let Some(address) = host.ok(units::listen(&text, None))
    {
        source.listen("listen", scheme, address);
    }
    if let Some(size) = section.get("max_message_size") {
        source.max_line(size, 1000);
    }
    if let Some(size) = section.get("read_buffer")
        && let Some(text) = size.plain()
        && let Some(bytes) = size.ok(units::size(&text, 1000))
    {
        source.set("receive_buffer", Toml::Text(units::size_text(bytes)));
    }
    if let Some(most) = section.get("max_connections") {
        source.max_connections(most);
    }
    if let Some(framing) = section.get("framing") {
        // Counted messages and lines are told apart by themselves.
        framing.take();
    }
    if let Some(delimiter) = section.get("line_delimiter")
        && delimiter.text().is_some_and(|text| !["\n", "\\n", "\0"].contains(&text.as_str()))
    {
        delimiter.leave("a message ends with a newline or a zero byte, or is counted");
    }
}

/// Is it TLS that is spoken? `None`: it is, and nobody knows with which certificate.
fn tls(section: &Node, source: &mut Source) -> Option<bool> {
    let Some(ssl) = section.get("ssl") else { return Some(false) };
    if ssl.get("enabled").is_some_and(|enabled| enabled.flag() == Some(false)) {
        return Some(false);
    }
    let asks = ssl.get("client_authentication");
    let asks = asks.is_none_or(|asks| asks.plain().is_some_and(|asks| asks == "required"));
    let ca = ssl.get("certificate_authorities");
    let ca = match ca.map(Node::items) {
        Some([one]) if asks => {
            ca.into_iter().for_each(Node::take);
            Some(one)
        }
        Some([_, _, ..]) if asks => {
            ssl.leave(
                "client_ca is one file: put the certificates together in one, and set the source up by hand",
            );
            return None;
        }
        _ => None,
    };
    if source.certificate(ssl.get("certificate"), ssl.get("key"), ca) {
        Some(true)
    } else {
        ssl.leave("tls:// needs certificate and key, each a file");
        None
    }
}
