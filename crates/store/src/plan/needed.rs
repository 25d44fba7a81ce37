//! What every text that matches holds: words, and parts of words, that can be looked for without the whole text.

use millrace_filter::{Glob, GlobPart, Text};
use regex_syntax::hir::{Hir, HirKind};

/// The most that is looked for, for a search that names more.
const MOST: usize = 32;

/// Words, and parts of words, that every text that matches holds; not all of them.
pub(super) fn needed(text: &Text) -> Vec<Text> {
    let mut needed: Vec<Text> = match text {
        Text::Phrase { tokens, .. } => tokens.iter().map(|token| Text::token(token)).collect(),
        Text::Part(glob) => glob.literals().flat_map(|literal| parts_of_words(&literal)).collect(),
        Text::Regex(pattern) => {
            let mut literals = Vec::new();
            if let Ok(expression) = regex_syntax::parse(pattern.as_str()) {
                add_literals(&expression, &mut literals);
            }
            literals.iter().flat_map(|literal| parts_of_words(literal)).collect()
        }
        Text::Token(_) | Text::Substring(_) => Vec::new(),
    };
    needed.truncate(MOST);
    needed
}

/// The words in a folded text, as far as it says where they end. Only ASCII counts: there, and only there, a character
/// of a folded text comes from one of the same class.
pub(crate) fn ascii_words(folded: &str) -> impl Iterator<Item = &str> {
    let separates = |c: char| c.is_ascii() && c != '_' && !c.is_ascii_alphanumeric();
    folded.split(separates).filter(|word| !word.is_empty() && word.is_ascii())
}

/// The words that stand whole in a folded part of a text: with a separator before and after.
pub(crate) fn whole_words(part: &str) -> impl Iterator<Item = &str> {
    ascii_words(part).filter(move |word| {
        let at = word.as_ptr() as usize - part.as_ptr() as usize;
        at > 0 && at + word.len() < part.len()
    })
}

/// The parts of words in a folded part of a text, each to be found in some word.
fn parts_of_words(part: &str) -> Vec<Text> {
    let anywhere = |word: &str| vec![GlobPart::Any, GlobPart::Literal(word.to_owned()), GlobPart::Any];
    ascii_words(part).map(|word| Text::glob(Glob::new(anywhere(word)))).collect()
}

/// Adds the literals that stand in every match, folded.
fn add_literals(expression: &Hir, literals: &mut Vec<String>) {
    match expression.kind() {
        HirKind::Literal(literal) => {
            literals.extend(std::str::from_utf8(&literal.0).ok().map(millrace_model::text::fold));
        }
        HirKind::Capture(capture) => add_literals(&capture.sub, literals),
        HirKind::Repetition(repetition) if repetition.min > 0 => add_literals(&repetition.sub, literals),
        HirKind::Concat(parts) => parts.iter().for_each(|part| add_literals(part, literals)),
        _ => {}
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use millrace_filter::{Expr, parse};

    fn needed(query: &str) -> Vec<String> {
        let filter = parse(query).unwrap();
        let Expr::Text(text) = filter.root() else { return Vec::new() };
        let parts = super::needed(text);
        parts.into_iter().map(|text| millrace_filter::Filter::new(Expr::Text(text)).to_string()).collect()
    }

    #[test]
    fn parts_of_words_are_named() {
        for (query, parts) in [
            ("\"Disk full\"", &["disk", "full"][..]),
            ("*foo-b?r*", &["*foo*", "*b*", "*r*"]),
            ("größe/x*", &["*x*"]),
            ("/(Foo|bar) baz=([0-9]+)x+/", &["*baz*", "*x*"]),
            ("foo*", &[]),
        ] {
            assert_eq!(needed(query), parts, "{query}");
        }
    }

    #[test]
    fn separators_mark_words_off() {
        for (literal, words) in [
            ("10.0.", &["0"][..]),
            ("o-b", &[]),
            (" a_b ", &["a_b"]),
            ("größe/x/ß ", &["x"]),
            ("--", &[]),
            ("=error, code=5 ", &["error", "code", "5"]),
        ] {
            assert_eq!(super::whole_words(literal).collect::<Vec<_>>(), words, "{literal}");
        }
    }
}
