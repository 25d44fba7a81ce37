//! Patterns of names: `*` stands for any characters. Of indices, of fields, of parts of documents.

use millrace_filter::{Glob, GlobPart};

/// A pattern of names, matched whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard(String);

impl Wildcard {
    /// From its text.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Is it a name, without wildcards?
    pub fn is_name(&self) -> bool {
        !self.0.contains('*')
    }

    /// Is `name` one of these?
    pub fn matches(&self, name: &str) -> bool {
        exactly(&self.0, name)
    }
}

/// Greedy with one point of return.
fn exactly(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n, mut retry) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, n));
            p += 1;
        } else if pattern.get(p) == name.get(n) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((after, from)) = retry {
            retry = Some((after, from + 1));
            (p, n) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// A glob out of text in which `\` takes the next character as it is, where `escapes` is said.
pub(crate) fn glob(text: &str, escapes: bool) -> Glob {
    let mut parts = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => GlobPart::Any,
            '?' => GlobPart::One,
            '\\' if escapes => GlobPart::Literal(chars.next().unwrap_or('\\').to_string()),
            c => GlobPart::Literal(c.to_string()),
        });
    }
    Glob::new(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole_and_by_case() {
        for (pattern, name, expected) in [
            ("logs-*", "logs-a", true),
            ("logs-*", "Logs-a", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a?c", "abc", false),
            ("a?c", "a?c", true),
            ("nested.*ponse", "nested.response", true),
            ("*-2", "x-2-2", true),
        ] {
            assert_eq!(Wildcard::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }
}
