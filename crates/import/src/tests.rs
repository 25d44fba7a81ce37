#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use millrace_transport::LIBRDKAFKA_OURS as REFUSED;

/// Imports, and checks what must hold of every import: it is TOML, and all that was left out stands in it.
pub(super) fn imported(tool: Tool, name: &str, text: &str) -> Imported {
    let imported = import(tool, text, Path::new(name), REFUSED).unwrap_or_else(|error| panic!("{error}"));
    let parsed = toml::from_str::<toml::Table>(&imported.toml);
    let table = parsed.unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    assert!(table.contains_key("agent") && table.contains_key("topic"), "{}", imported.toml);
    let comments: String = imported.toml.lines().filter_map(|line| line.strip_prefix('#')).collect();
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let comments = squeezed(&comments);
    for LeftOut { at, why } in &imported.left_out {
        assert!(comments.contains(&squeezed(&format!("{at}: {why}"))), "{at}: {why}\n{}", imported.toml);
    }
    imported
}

/// The lines of an import that are no comments.
pub(super) fn settings(imported: &Imported) -> Vec<&str> {
    imported.toml.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

/// The lines of a source or a table, up to the next that is not one of its steps.
pub(super) fn section<'a>(imported: &'a Imported, name: &str) -> Vec<&'a str> {
    let lines = settings(imported);
    let start = lines.iter().position(|line| *line == format!("[{name}]"));
    let start = start.unwrap_or_else(|| panic!("no [{name}] in\n{}", imported.toml));
    let steps = format!("[[{name}.process]]");
    let rest = lines[start + 1..].iter().take_while(|line| !line.starts_with('[') || **line == steps);
    rest.copied().filter(|line| *line != steps).collect()
}

/// Why something was left out.
pub(super) fn why<'a>(imported: &'a Imported, at: &str) -> &'a str {
    let found = imported.left_out.iter().find(|left| left.at == at);
    found.map_or_else(|| panic!("{at} is not among {:#?}", imported.left_out), |left| left.why.as_str())
}

/// The paths of all places in a configuration.
fn paths(tool: Tool, name: &str, text: &str) -> Option<Vec<String>> {
    let file = Path::new(name);
    let read = convert(tool, text, file, &mut Converted::new(REFUSED));
    read.ok().map(|(root, ..)| root.paths())
}

/// After each line that `stranger` has one for, a setting `xstranger` is put that nobody knows: it must be told, by itself or with
/// what is around it, or become a setting.
pub(super) fn strangers_are_told(
    tool: Tool,
    name: &str,
    text: &str,
    stranger: impl Fn(&str) -> Option<String>,
) {
    let mut tried = 0;
    let lines: Vec<&str> = text.lines().collect();
    for at in 0..lines.len() {
        let Some(line) = stranger(lines[at]) else { continue };
        let mut changed = lines.clone();
        changed.insert(at + 1, &line);
        let changed = changed.join("\n");
        let Some(paths) = paths(tool, name, &changed) else { continue };
        let is_stranger = |path: &&String| path.to_lowercase().ends_with("xstranger");
        let path = paths.iter().find(is_stranger).unwrap_or_else(|| panic!("no stranger in\n{changed}"));
        tried += 1;
        let imported = imported(tool, name, &changed);
        let is_around = |left: &LeftOut| {
            path.strip_prefix(&left.at).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let is_set = || settings(&imported).iter().any(|line| line.contains("xstranger"));
        assert!(imported.left_out.iter().any(is_around) || is_set(), "{path}\n{}", imported.toml);
    }
    assert!(tried > 5, "{tried}");
}

#[test]
fn errors_name_file_line_and_column() {
    for (tool, name, text, place) in [
        (Tool::Filebeat, "a.yml", "a: 1\nb: [", "a.yml:"),
        (Tool::Promtail, "a.yaml", "x: {", "a.yaml:"),
        (
            Tool::FluentBit,
            "a.conf",
            "[INPUT]\n  Name tail\n  [BROKEN\n",
            "a.conf:3:3: the section's bracket is not closed",
        ),
        (Tool::FluentBit, "a.yaml", "a: [", "a.yaml:"),
        (Tool::Vector, "a.toml", "[sources.a]\ntype = \n", "a.toml:2:"),
        (Tool::Vector, "a.json", "{\n  \"a\": }", "a.json:2:8:"),
        (Tool::Vector, "a.yaml", "a: [", "a.yaml:"),
        (Tool::Filebeat, "text.yml", "just text", "text.yml: it is no configuration of Filebeat"),
        (Tool::Promtail, "list.yml", "- a", "list.yml: it is no configuration of Promtail"),
    ] {
        let error = import(tool, text, Path::new(name), REFUSED).unwrap_err().to_string();
        assert!(error.starts_with(place), "{error}");
    }
}

#[test]
fn nothing_is_converted_to_nothing() {
    for (tool, name, text) in [
        (Tool::Filebeat, "a.yml", "{}"),
        (Tool::Promtail, "a.yaml", "scrape_configs: []"),
        (Tool::FluentBit, "a.conf", "# nothing\n"),
        (Tool::FluentBit, "a.yaml", "pipeline: {}"),
        (Tool::Vector, "a.toml", ""),
    ] {
        let imported = imported(tool, name, text);
        assert!(imported.toml.contains("There is no source"), "{name}");
        assert!(imported.toml.contains("brokers = [\"127.0.0.1:9092\"]"));
    }
}

#[test]
fn odd_texts_do_no_harm() {
    let deep = format!("{}: 1", vec!["a"; 500].join("."));
    let nested = format!("filebeat.inputs: {}1{}", "[".repeat(100), "]".repeat(100));
    let odd = "filebeat.inputs:\n- type: log\n  id: \"\\u0007 \\\"quotes\\\" ''' \\n[x]\"\n  paths: [\"/a\\n\\u0001/'b'\"]\n  \
               fields: {\"a\\nb\": \"c\\u0000\", \"\": 1, \"x\\\"y\": [1, {z: 2}]}\n  \"new\\nline\": 1\n";
    let merged = "a: &a {type: log, paths: [/x]}\nfilebeat.inputs:\n- <<: *a\n  id: m\n- !tag {type: log, paths: [/y]}\n- 7\n- ~\n";
    for text in [
        &deep,
        &nested,
        odd,
        merged,
        "filebeat.inputs: 7",
        "filebeat: [1]",
        "? [a]\n: b",
        "output.kafka: text",
    ] {
        imported(Tool::Filebeat, "a.yml", text);
    }
    imported(
        Tool::FluentBit,
        "a.conf",
        "@SET\n@\n[]\n[INPUT]\nName\n[INPUT]\nName tail\nPath ,,\n[FILTER]\n[OUTPUT]\nName kafka",
    );
    imported(Tool::Vector, "a.toml", "sources = 1\ntransforms = [1]\nsinks.a.type = 7\n");
    imported(
        Tool::Promtail,
        "a.yaml",
        "scrape_configs: [1, {job_name: [x], static_configs: [{labels: 7}, 3]}]\nclients: ~",
    );
}
