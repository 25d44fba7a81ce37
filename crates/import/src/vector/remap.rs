//! Programs of Vector's remap language that say no more than a parser or an `add` step does.

use super::condition;
use crate::emit::Toml;

/// What a line of a program says.
#[derive(Debug, PartialEq)]
pub(super) enum Statement {
    /// The line is read so.
    Parse(&'static str),
    /// An attribute is set.
    Set(String, Toml),
}

/// Functions that read a message, and Millrace's parsers.
const PARSERS: [(&str, &str); 8] = [
    ("parse_json", "json"),
    ("parse_syslog", "syslog"),
    ("parse_logfmt", "logfmt"),
    ("parse_key_value", "logfmt"),
    ("parse_common_log", "access"),
    ("parse_apache_log", "access"),
    ("parse_nginx_log", "access"),
    ("parse_cef", "cef"),
];

/// The statements, if all of them are simple.
pub(super) fn statements(program: &str) -> Option<Vec<Statement>> {
    let lines = program.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(statement).collect()
}

fn statement(line: &str) -> Option<Statement> {
    let (target, value) = line.split_once('=')?;
    let (target, value) = (target.trim(), value.trim());
    if target == "." {
        return parser(value).map(Statement::Parse);
    }
    let name = target.strip_prefix('.')?;
    let plain = name.split('.').all(|part| {
        !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '@' | '-'))
    });
    if !plain {
        return None;
    }
    let value = match value {
        "true" => Toml::Bool(true),
        "false" => Toml::Bool(false),
        _ => match value.strip_prefix('"') {
            Some(text) => {
                let (text, rest) = condition::quoted(text).ok()?;
                rest.trim().is_empty().then_some(Toml::Text(text))?
            }
            None => value.parse().map(Toml::Integer).ok()?,
        },
    };
    Some(Statement::Set(name.to_owned(), value))
}

/// `parse_json!(.message)`, `parse_json!(string!(.message))`, `object!(parse_json!(.message))`.
fn parser(value: &str) -> Option<&'static str> {
    let value =
        value.strip_prefix("object!(").and_then(|inner| inner.strip_suffix(')')).unwrap_or(value).trim();
    let (function, argument) = value.split_once('(')?;
    let function = function.trim_end_matches('!');
    let argument = argument.strip_suffix(')')?.trim();
    let of_message =
        [".message", "string!(.message)", "string(.message)", "to_string!(.message)"].contains(&argument);
    let known = PARSERS.iter().find(|(name, _)| *name == function);
    known.filter(|_| of_message).map(|(_, parser)| *parser)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_simple_lines_are_understood_and_others_are_not() {
        let set = |name: &str, value| Statement::Set(name.to_owned(), value);
        let program = ". = parse_json!(string!(.message))\n# why\n.env = \"prod\"\n.a.b = 7\n.c = true\n";
        let expected = vec![
            Statement::Parse("json"),
            set("env", Toml::text("prod")),
            set("a.b", Toml::Integer(7)),
            set("c", Toml::Bool(true)),
        ];
        assert_eq!(statements(program), Some(expected));
        for program in
            ["del(.x)", ".a = .b", ". = parse_json!(.x)", ".a == 1", ".a = \"x\" + .b", "x = 1", ".a[0] = 1"]
        {
            assert_eq!(statements(program), None, "{program}");
        }
    }
}
