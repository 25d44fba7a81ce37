//! A filter as text: the shortest spelling that parses back to the same filter.

use crate::{Expr, FieldTest, Filter, Glob, GlobPart, Literal, Pattern, Predicate, Text};
use std::fmt::{self, Write};

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expr(f, &self.root, 0)
    }
}

/// Prints `e`; parentheses where it binds looser than `around` (0 nothing, 1 inside OR, 2 inside AND, 3 inside NOT).
fn expr(f: &mut fmt::Formatter<'_>, e: &Expr, around: u8) -> fmt::Result {
    let list = |f: &mut fmt::Formatter<'_>, terms: &[Expr], between: &str, power: u8| {
        if around >= power {
            f.write_char('(')?;
        }
        for (nth, term) in terms.iter().enumerate() {
            if nth > 0 {
                f.write_str(between)?;
            }
            expr(f, term, power)?;
        }
        if around >= power { f.write_char(')') } else { Ok(()) }
    };
    match e {
        Expr::All => f.write_char('*'),
        Expr::Or(terms) => list(f, terms, " OR ", 1),
        Expr::And(terms) => list(f, terms, " ", 2),
        Expr::Not(inner) => {
            f.write_str("NOT ")?;
            expr(f, inner, 3)
        }
        Expr::Text(text) => match text {
            Text::Phrase { text, .. } => word(f, text),
            Text::Substring(text) => quoted(f, text),
            Text::Token(pattern) | Text::Part(pattern) => glob(f, pattern),
            Text::Regex(pattern) => regex(f, pattern),
        },
        Expr::Field(test) => field(f, test),
    }
}

fn field(f: &mut fmt::Formatter<'_>, FieldTest { name: path, predicate, .. }: &FieldTest) -> fmt::Result {
    name(f, path)?;
    f.write_char(':')?;
    match predicate {
        Predicate::Equals(literal) => word(f, &literal.text),
        Predicate::Glob(pattern) => glob(f, pattern),
        Predicate::Regex(pattern) => regex(f, pattern),
        Predicate::Compare(sign, literal) => {
            f.write_str(sign.sign())?;
            word(f, &literal.text)
        }
        Predicate::Range { low, high } => {
            let end = |f: &mut fmt::Formatter<'_>, bound: &Option<(Literal, bool)>| match bound {
                Some((literal, _)) => word(f, &literal.text),
                None => f.write_char('*'),
            };
            f.write_char(if low.as_ref().is_none_or(|(_, inside)| *inside) { '[' } else { '{' })?;
            end(f, low)?;
            f.write_str(" TO ")?;
            end(f, high)?;
            f.write_char(if high.as_ref().is_none_or(|(_, inside)| *inside) { ']' } else { '}' })
        }
        Predicate::Cidr(network) => write!(f, "{network}"),
        Predicate::Exists => f.write_char('*'),
    }
}

/// Bare where nothing in it could be taken for anything else, else quoted.
fn word(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let plain = text.chars().next().is_some_and(char::is_alphanumeric)
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
        && !matches!(text, "AND" | "OR" | "NOT" | "TO");
    if plain { f.write_str(text) } else { quoted(f, text) }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}

fn escaped(f: &mut fmt::Formatter<'_>, text: &str, allowed: &[char]) -> fmt::Result {
    for c in text.chars() {
        if !c.is_alphanumeric() && !allowed.contains(&c) {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    Ok(())
}

fn name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let first = name.chars().next().map_or(0, char::len_utf8);
    let (head, tail) = name.split_at(first);
    if head.chars().all(|c| c.is_alphabetic() || matches!(c, '_' | '@')) {
        f.write_str(head)?;
    } else {
        write!(f, "\\{head}")?;
    }
    escaped(f, tail, &['_', '.', '-', '@'])
}

fn glob(f: &mut fmt::Formatter<'_>, pattern: &Glob) -> fmt::Result {
    for part in pattern.parts() {
        match part {
            GlobPart::Literal(text) => escaped(f, text, &['_', '.'])?,
            GlobPart::One => f.write_char('?')?,
            GlobPart::Any => f.write_char('*')?,
        }
    }
    Ok(())
}

fn regex(f: &mut fmt::Formatter<'_>, pattern: &Pattern) -> fmt::Result {
    f.write_char('/')?;
    let mut chars = pattern.as_str().chars();
    while let Some(c) = chars.next() {
        match c {
            '/' => f.write_str("\\/")?,
            '\\' => {
                f.write_char('\\')?;
                if let Some(next) = chars.next() {
                    f.write_char(next)?;
                }
            }
            c => f.write_char(c)?,
        }
    }
    f.write_char('/')
}
