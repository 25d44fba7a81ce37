//! Regular expressions as Go reads them, on the engine that cannot hang. Where the two read one spelling differently, it is
//! spelled anew: `\w`, `\d`, `\s` and `\b` mean ASCII, `[[]` and `{` are what they look like.

use regex::Regex;
use std::{fmt, iter::Peekable, str::Chars};

/// The longest one, in characters, as written.
const MAX_TEXT: usize = 1000;

/// A compiled expression. Two are equal when they are written alike.
#[derive(Clone)]
pub struct Expression {
    text: String,
    translated: String,
    regex: Regex,
}

/// Where in a text an expression must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchoring {
    /// Anywhere, and `.` is every character: in lines.
    Line,
    /// The whole value: in labels.
    Whole,
    /// Anywhere: in parsers and templates.
    Part,
}

impl Expression {
    pub(crate) fn new(text: &str, anchoring: Anchoring) -> Result<Self, String> {
        if text.chars().count() > MAX_TEXT {
            return Err(format!("the regular expression is longer than {MAX_TEXT} characters"));
        }
        let inner = translate(text);
        let translated = match anchoring {
            Anchoring::Line => format!("(?s:{inner})"),
            Anchoring::Whole => format!("^(?:{inner})$"),
            Anchoring::Part => inner,
        };
        let wrong = |why| format!("the regular expression is wrong: {why}");
        // Before anything stands around it: `a)(b` is none.
        millrace_filter::compile(&translate(text)).map_err(wrong)?;
        let regex = millrace_filter::compile(&translated).map_err(wrong)?;
        Ok(Self { text: text.to_owned(), translated, regex })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As the engine reads it, with its anchors.
    pub fn translated(&self) -> &str {
        &self.translated
    }

    /// Does it match, where it must?
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    pub(crate) fn regex(&self) -> &Regex {
        &self.regex
    }

    /// Its alternatives, where it is nothing but texts with `|` between them.
    pub(crate) fn alternatives(&self) -> Option<Vec<&str>> {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '|' | ' ' | '/' | ':' | ',');
        self.text.chars().all(plain).then(|| self.text.split('|').collect())
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut out, false),
            '[' => class(&mut chars, &mut out),
            '{' if !is_repetition(&chars) => out.push_str("\\{"),
            c => out.push(c),
        }
    }
    out
}

fn escape(chars: &mut Peekable<Chars<'_>>, out: &mut String, in_class: bool) {
    let Some(c) = chars.next() else {
        out.push('\\');
        return;
    };
    let (open, close) = if in_class { ("", "") } else { ("[", "]") };
    match c {
        'w' | 'W' | 'd' | 'D' => {
            let name = if c.eq_ignore_ascii_case(&'w') { "word" } else { "digit" };
            let not = if c.is_ascii_uppercase() { "^" } else { "" };
            out.extend([open, "[:", not, name, ":]", close]);
        }
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        '<' | '>' => out.push(c),
        // What stands in braces behind them is a name or a code.
        'p' | 'P' | 'x' if chars.peek() == Some(&'{') => {
            out.extend(['\\', c]);
            for c in chars.by_ref() {
                out.push(c);
                if c == '}' {
                    break;
                }
            }
        }
        'Q' => {
            let mut literal = String::new();
            while let Some(c) = chars.next() {
                if c == '\\' && chars.peek() == Some(&'E') {
                    chars.next();
                    break;
                }
                literal.push(c);
            }
            out.push_str(&regex::escape(&literal));
        }
        c => out.extend(['\\', c]),
    }
}

/// Goes on behind the `[`.
fn class(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('[');
    if chars.peek() == Some(&'^') {
        out.extend(chars.next());
    }
    if chars.peek() == Some(&']') {
        chars.next();
        out.push_str("\\]");
    }
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match c {
            ']' => {
                out.push(']');
                return;
            }
            '\\' => escape(chars, out, true),
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                // The name of a class up to its `:]`.
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' => out.push_str("\\["),
            '&' | '~' => out.extend(['\\', c]),
            '-' if before == '-' => out.push_str("\\-"),
            c => out.push(c),
        }
        before = c;
    }
}

/// Does `{` begin `{2}`, `{2,}` or `{2,3}`?
fn is_repetition(behind: &Peekable<Chars<'_>>) -> bool {
    let inner: String = behind.clone().take(12).take_while(|c| *c != '}').collect();
    let closed = behind.clone().nth(inner.chars().count()) == Some('}');
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let (low, high) = inner.split_once(',').unwrap_or((&inner, ""));
    closed && !low.is_empty() && digits(low) && digits(high)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(expression: &str, text: &str) -> bool {
        Expression::new(expression, Anchoring::Part).unwrap().is_match(text)
    }

    #[test]
    fn spellings_mean_what_they_mean_in_go() {
        for (expression, text, expected) in [
            (r"^\w+$", "größe", false),
            (r"^\w+$", "a_1", true),
            (r"\d", "٣", false),
            (r"^[\w-]+$", "a-b", true),
            (r"^[^\d]+$", "abc", true),
            (r"[[]x", "[x", true),
            (r"{app=.x}", "{app=\"x}", true),
            (r"a{2}", "aa", true),
            (r"a{,2}", "a{,2}", true),
            (r"\<b\>", "<b>", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"[a&&b]", "&", true),
            (r"[[:alpha:]]+", "abc", true),
            (r"[]a]", "]", true),
            (r"[\S]", "x", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^\p{Greek}[\p{Latin}]\x{41}$", "λaA", true),
            (r"^\pL+$", "größe", true),
        ] {
            assert_eq!(matches(expression, text), expected, "{expression} on {text}");
        }
    }

    #[test]
    fn anchors_depend_on_the_place() {
        let whole = Expression::new("a|b", Anchoring::Whole).unwrap();
        assert!(whole.is_match("b") && !whole.is_match("ab"));
        assert!(!Expression::new("a.b", Anchoring::Whole).unwrap().is_match("a\nb"));
        assert!(Expression::new("a.b", Anchoring::Line).unwrap().is_match("xa\nbx"));
        assert!(Expression::new("a)(b", Anchoring::Line).is_err());
        assert!(Expression::new(&"a".repeat(1001), Anchoring::Line).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}()\\\\^a&~:,1-]{0,20}|.*") {
            let _either = Expression::new(&text, Anchoring::Line);
        }
    }
}
