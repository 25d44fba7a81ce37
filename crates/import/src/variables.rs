//! Variables in texts: each tool's `${VAR}` becomes ours, and what only looks like one stays what it is.
//!
//! While a configuration is converted a variable stands between two characters that no text has, so that nothing takes it for a
//! part of a pattern. The last step, [`ours`], writes it as Millrace reads it.

/// What stands for `${`: Unicode keeps it free for use within a program.
const OPEN: char = '\u{fdd0}';
/// What stands for the `}` after it.
const CLOSE: char = '\u{fdd1}';

/// How variables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `${VAR}`, `${VAR:default}`, `${VAR:?message}`; also for Promtail, which knows `:-`, too.
    Braces,
    /// `${VAR}` alone.
    Plain,
    /// `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR:?message}`; `$$` is a `$`.
    Shell,
}

/// A text with its variables marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    /// The text.
    pub(super) text: String,
    /// Why it cannot be said in Millrace's configuration, if so.
    pub(super) odd: Option<String>,
}

/// Marks the variables of a text. `known` are those that the configuration itself sets: their values are put in.
pub(super) fn mark(text: &str, dialect: Dialect, known: &[(String, String)]) -> Marked {
    let text = text.replace([OPEN, CLOSE], "\u{fffd}");
    let mut marked = Marked { text: String::with_capacity(text.len()), odd: None };
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        marked.text.push_str(&rest[..at]);
        rest = variable(&rest[at..], dialect, known, &mut marked);
    }
    marked.text.push_str(rest);
    marked
}

/// Reads what begins with a `$`, and returns what follows it.
fn variable<'a>(text: &'a str, dialect: Dialect, known: &[(String, String)], marked: &mut Marked) -> &'a str {
    let after = &text[1..];
    if dialect == Dialect::Shell {
        if let Some(rest) = after.strip_prefix('$') {
            marked.text.push('$');
            return rest;
        }
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        if end > 0 && is_name(&after[..end]) {
            insert(&after[..end], None, known, marked);
            return &after[end..];
        }
    }
    let braced = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
    let Some((inside, rest)) = braced else {
        marked.text.push('$');
        return after;
    };
    let (name, default) = split(inside, dialect);
    if is_name(name) && default.is_none_or(|default| !default.contains("${")) {
        insert(name, default, known, marked);
    } else {
        marked.odd.get_or_insert_with(|| {
            format!("${{{inside}}} is not the name of an environment variable: put in what it stands for")
        });
        marked.text.push_str(&text[..inside.len() + 3]);
    }
    rest
}

/// The name and the default of what stands between braces.
fn split(inside: &str, dialect: Dialect) -> (&str, Option<&str>) {
    if dialect == Dialect::Plain {
        return (inside, None);
    }
    let end = inside.find([':', '-', '?']).unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    match rest.strip_prefix(':') {
        Some(rest) if rest.starts_with('?') => (name, None),
        Some(rest) => (name, Some(rest.strip_prefix('-').unwrap_or(rest))),
        None if dialect == Dialect::Shell && rest.starts_with('?') => (name, None),
        None if dialect == Dialect::Shell && rest.starts_with('-') => (name, Some(&rest[1..])),
        None => (inside, None),
    }
}

fn insert(name: &str, default: Option<&str>, known: &[(String, String)], marked: &mut Marked) {
    if let Some((_, value)) = known.iter().find(|(known, _)| known == name) {
        marked.text.push_str(value);
        return;
    }
    if marked.text.ends_with('$') {
        // `$${` would be no variable.
        let odd = "a `$` right before a variable cannot be said: put in what the variable stands for";
        marked.odd.get_or_insert_with(|| odd.to_owned());
    }
    marked.text.push(OPEN);
    marked.text.push_str(name);
    if let Some(default) = default {
        marked.text.push_str(":-");
        marked.text.push_str(default);
    }
    marked.text.push(CLOSE);
}

/// What Millrace takes for a variable's name.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Is there a variable in it?
pub(super) fn are_in(text: &str) -> bool {
    text.contains(OPEN)
}

/// As Millrace's configuration has it: `${` that is no variable is escaped.
pub(super) fn ours(text: &str) -> String {
    shown(&text.replace("${", "$${"))
}

/// For people.
pub(super) fn shown(text: &str) -> String {
    text.replace(OPEN, "${").replace(CLOSE, "}")
}

/// The text with `stand_in` for each variable, for checks of what surrounds them.
pub(super) fn replaced(text: &str, stand_in: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        out.push_str(before);
        out.push_str(stand_in);
        rest = after.split_once(CLOSE).map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out
}

/// The parts between separators; one within a variable's default is none.
pub(super) fn parts(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    for (variable, stretch) in stretches(text) {
        let pieces: Vec<&str> = if variable { vec![stretch] } else { stretch.split(separator).collect() };
        for (number, piece) in pieces.into_iter().enumerate() {
            if number > 0 {
                parts.push(String::new());
            }
            if let Some(last) = parts.last_mut() {
                last.push_str(piece);
            }
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Cuts a text into stretches: whether each is a variable, and what it is, marks included.
pub(super) fn stretches(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let variable = rest.starts_with(OPEN);
        let end = if variable { rest.find(CLOSE).map(|at| at + CLOSE.len_utf8()) } else { rest.find(OPEN) };
        let (stretch, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        (!stretch.is_empty()).then_some((variable, stretch))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_ours_and_what_looks_like_one_does_not() {
        for (dialect, text, expected) in [
            (Dialect::Braces, "/var/${APP}/x", "/var/${APP}/x"),
            (Dialect::Braces, "${A:b}-${C:-d}", "${A:-b}-${C:-d}"),
            (Dialect::Braces, "${A:}", "${A:-}"),
            (Dialect::Braces, "${A:?must be set}", "${A}"),
            (Dialect::Braces, "costs $5, ends$", "costs $5, ends$"),
            (Dialect::Braces, "^a${open", "^a$${open"),
            (Dialect::Plain, "${A:b}", "$${A:b}"),
            (Dialect::Shell, "$HOME/${A-b}/$$x/${C:?no}", "${HOME}/${A:-b}/$x/${C}"),
            (Dialect::Shell, "^x$", "^x$"),
            (Dialect::Shell, "$${A}", "$${A}"),
        ] {
            assert_eq!(ours(&mark(text, dialect, &[]).text), expected, "{text}");
        }
        assert!(mark("${path.config}/x", Dialect::Braces, &[]).odd.is_some());
        assert!(mark("${A:${B}}", Dialect::Braces, &[]).odd.is_some());
        assert!(mark("$${A}", Dialect::Braces, &[]).odd.is_some());
        assert!(
            mark("$$$A", Dialect::Shell, &[]).odd.is_some() && mark("$$A", Dialect::Shell, &[]).odd.is_none()
        );
        let known = [("A".to_owned(), "value".to_owned())];
        assert_eq!(mark("x${A}", Dialect::Plain, &known).text, "xvalue");
    }

    #[test]
    fn marks_that_are_in_a_text_already_are_nothing_special() {
        let marked = mark("a\u{fdd0}b\u{fdd1}${C}", Dialect::Braces, &[]);
        assert_eq!(ours(&marked.text), "a\u{fffd}b\u{fffd}${C}");
        assert_eq!(replaced(&marked.text, "x"), "a\u{fffd}b\u{fffd}x");
        let hosts = mark("a, ${B:c,d},,e", Dialect::Braces, &[]).text;
        assert_eq!(
            parts(&hosts, ',').iter().map(|part| ours(part)).collect::<Vec<_>>(),
            ["a", "${B:-c,d}", "e"]
        );
        assert_eq!(stretches(&marked.text).filter(|(variable, _)| *variable).count(), 1);
    }
}
