//! Fluent Bit's own format: `[SECTION]`, and below it `Key value`.

use crate::{
    ImportError,
    tree::{Builder, Data, Node},
};
use std::path::Path;

/// Is it written in this format? Its first line that is no comment tells.
pub(super) fn is_classic(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().is_none_or(|line| line.starts_with(['[', '@']))
}

struct Section {
    name: String,
    number: usize,
    entries: Vec<(String, Node)>,
}

/// Reads it. Sections of a name become a list under that name, in lower-case.
pub(super) fn read(text: &str, file: &Path, mut builder: Builder) -> Result<Node, ImportError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut commands = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let wrong = |message: &str| ImportError::Syntax {
            file: file.to_owned(),
            place: Some((number + 1, line.chars().take_while(|c| c.is_whitespace()).count() + 1)),
            message: message.to_owned(),
        };
        if let Some(command) = trimmed.strip_prefix('@') {
            commands.push(self::command(command, number + 1, &mut builder));
        } else if let Some(name) = trimmed.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| wrong("the section's bracket is not closed"))?;
            let name = name.trim().to_owned();
            let same = sections.iter().filter(|other| other.name.eq_ignore_ascii_case(&name)).count();
            sections.push(Section { name, number: same, entries: Vec::new() });
        } else {
            let section = sections.last_mut().ok_or_else(|| wrong("a setting before the first [SECTION]"))?;
            let (key, value) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
            let at = format!("{}[{}].{key}", section.name, section.number);
            section.entries.push((key.to_lowercase(), builder.text(at, value.trim())));
        }
    }
    Ok(tree(sections, commands))
}

/// `@SET name=value` gives a variable a value; `@INCLUDE` names another file.
fn command(command: &str, number: usize, builder: &mut Builder) -> (String, Node) {
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let node = builder.text(format!("@{name} (line {number})"), rest.trim());
    if name.eq_ignore_ascii_case("set") {
        match rest.split_once('=') {
            Some((variable, value)) => {
                builder.known.push((variable.trim().to_owned(), value.trim().to_owned()));
                node.take();
            }
            None => node.leave("name=value was expected"),
        }
    } else if name.eq_ignore_ascii_case("include") {
        node.leave("other files are not followed: import each of them by itself");
    }
    (format!("@{name}"), node)
}

fn tree(sections: Vec<Section>, mut entries: Vec<(String, Node)>) -> Node {
    for section in sections {
        let at = format!("{}[{}]", section.name, section.number);
        entries.push((section.name.to_lowercase(), Builder::node(at, Data::Map(section.entries))));
    }
    Builder::node(String::new(), Data::Map(entries))
}
