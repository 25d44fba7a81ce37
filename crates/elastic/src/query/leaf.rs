//! Tests on one field: what a value, a word, a pattern means for what kind of field it is.

use super::{Bounds, all, none, range, words};
use crate::{
    Error, Zone,
    date::{self, Format},
    fields::{Kind, Resolved, Stored},
    wildcard::glob,
};
use millrace_filter::{Cidr, Expr, FieldTest, Glob, GlobPart, Literal, Pattern, Predicate, Text};
use millrace_model::{Number, Timestamp, text::fold};

/// A field that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) field: Resolved,
    pub(crate) now: i64,
}

/// A value as a request gives it.
#[derive(Debug, Clone)]
pub(crate) struct Term<'t> {
    pub(crate) text: &'t str,
    /// It was a number or a flag, no text.
    pub(crate) is_plain: bool,
    /// Case is ignored.
    pub(crate) any_case: bool,
}

/// The same text between the signs of a regular expression. A slash is none: the filter language would read `\/` as `/`.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '_' | '/') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn has_case(text: &str) -> bool {
    text.chars().any(|c| c.is_lowercase() || c.is_uppercase())
}

impl Leaf {
    pub(crate) fn new(field: Resolved, now: i64) -> Self {
        Self { field, now }
    }

    fn kind(&self) -> &Kind {
        &self.field.kind
    }

    pub(crate) fn test(&self, predicate: Predicate) -> Expr {
        Expr::Field(Box::new(FieldTest::new(&self.field.path, predicate)))
    }

    pub(crate) fn equals(&self, text: &str) -> Expr {
        self.test(Predicate::Equals(Literal::new(text)))
    }

    /// A regular expression on the value, or on the line.
    pub(crate) fn regex(&self, pattern: &str) -> Result<Expr, Error> {
        let pattern =
            Pattern::new(pattern).map_err(|why| Error::query(format!("failed to create query: {why}")))?;
        Ok(if *self.kind() == Kind::Line {
            Expr::Text(Text::Regex(pattern))
        } else {
            self.test(Predicate::Regex(pattern))
        })
    }

    /// A pattern with wildcards on whole values; on the line, and on text, on words of it.
    fn glob(&self, glob: Glob) -> Expr {
        if glob.is_any() {
            return self.exists();
        }
        if *self.kind() == Kind::Line {
            Expr::Text(Text::glob(glob))
        } else {
            self.test(Predicate::Glob(glob))
        }
    }

    /// There at all.
    pub(crate) fn exists(&self) -> Expr {
        match self.kind() {
            Kind::Id | Kind::Index => Expr::All,
            _ => self.test(Predicate::Exists),
        }
    }

    /// The value itself, or a word of a text, as `term` has it.
    pub(crate) fn term(&self, term: &Term<'_>) -> Result<Expr, Error> {
        match self.kind() {
            Kind::Text | Kind::Line | Kind::Dynamic => Ok(self.word(term)),
            Kind::Keyword { folded: true } | Kind::Level | Kind::Id | Kind::Index => {
                Ok(self.equals(term.text))
            }
            Kind::Keyword { folded: false } | Kind::Unknown => Ok(self.whole(term)),
            Kind::Long | Kind::Double => self.number(term.text),
            Kind::Boolean => self.flag(term.text),
            Kind::Date { .. } => range::bounds(
                self,
                &Bounds {
                    low: Some((term.text.to_owned(), true)),
                    high: Some((term.text.to_owned(), true)),
                    ..Bounds::default()
                },
            ),
            Kind::Ip => self.address(term.text),
            Kind::Object => Ok(none()),
        }
    }

    /// A word as an index of words has it: in small letters.
    fn word(&self, term: &Term<'_>) -> Expr {
        let folded = fold(term.text);
        if folded != term.text && !term.any_case {
            return none();
        }
        let pieces = words::pieces(&folded);
        if pieces.len() == 1 && pieces[0] == folded { words::phrase(self, &folded) } else { none() }
    }

    /// The whole value, by its case.
    fn whole(&self, term: &Term<'_>) -> Expr {
        let equals = self.equals(term.text);
        if term.is_plain || term.any_case || !has_case(term.text) || Number::parse(term.text).is_some() {
            return equals;
        }
        // A text that is too long for an expression is told apart by its letters alone.
        match self.regex(&format!(r"\A{}\z", escape(term.text))) {
            Ok(exactly) => all(vec![equals, exactly]),
            Err(_) => equals,
        }
    }

    /// A number.
    fn number(&self, text: &str) -> Result<Expr, Error> {
        match Number::parse(text.trim()) {
            Some(_) => Ok(self.equals(text.trim())),
            None => {
                Err(Error::query(format!("failed to create query: For input string: \"{}\"", shown(text))))
            }
        }
    }

    fn flag(&self, text: &str) -> Result<Expr, Error> {
        match text {
            "true" => Ok(self.equals("true")),
            "false" | "" => Ok(self.equals("false")),
            other => Err(Error::query(format!(
                "failed to create query: Can't parse boolean value [{}], expected [true] or [false]",
                shown(other)
            ))),
        }
    }

    fn address(&self, text: &str) -> Result<Expr, Error> {
        if let Some(network) = Cidr::parse(text) {
            return Ok(self.test(Predicate::Cidr(network)));
        }
        match millrace_model::declared::address(text) {
            Some(address) => Ok(self.equals(&address)),
            None => Err(Error::query(format!(
                "failed to create query: '{}' is not an IP string literal.",
                shown(text)
            ))),
        }
    }

    /// What begins so.
    pub(crate) fn prefix(&self, text: &str, any_case: bool) -> Result<Expr, Error> {
        if text.is_empty() {
            return Ok(self.exists());
        }
        let glob = Glob::new(vec![GlobPart::Literal(text.to_owned()), GlobPart::Any]);
        match self.kind() {
            Kind::Text | Kind::Line | Kind::Dynamic if fold(text) != text && !any_case => Ok(none()),
            Kind::Dynamic => self.regex(&format!(r"(?i)\b{}", escape(&fold(text)))),
            Kind::Keyword { folded: false } | Kind::Unknown if !any_case && has_case(text) => {
                let exactly = self.regex(&format!(r"\A{}", escape(text)))?;
                Ok(all(vec![self.glob(glob), exactly]))
            }
            Kind::Object => Ok(none()),
            _ => Ok(self.glob(glob)),
        }
    }

    /// What matches a pattern of `*` and `?`, in which `\` takes the next character as it is.
    pub(crate) fn wildcard(&self, text: &str, any_case: bool) -> Result<Expr, Error> {
        let pattern = glob(text, true);
        match self.kind() {
            Kind::Text | Kind::Line | Kind::Dynamic if fold(text) != text && !any_case => Ok(none()),
            Kind::Dynamic => self.regex(&format!(r"(?i)\b{}\b", self::pattern(&pattern, r"\w*", r"\w"))),
            Kind::Text | Kind::Line
                if pattern.parts().iter().all(|part| matches!(part, GlobPart::Literal(_))) =>
            {
                Ok(words::phrase(self, text))
            }
            Kind::Keyword { folded: false } | Kind::Unknown if !any_case && has_case(text) => {
                let exactly = self.regex(&format!(r"(?s)\A{}\z", self::pattern(&pattern, ".*", ".")))?;
                Ok(all(vec![self.glob_or_equals(pattern), exactly]))
            }
            Kind::Object => Ok(none()),
            _ => Ok(self.glob_or_equals(pattern)),
        }
    }

    /// A pattern without a wildcard is a value.
    fn glob_or_equals(&self, pattern: Glob) -> Expr {
        match pattern.parts() {
            [] => self.equals(""),
            [GlobPart::Literal(text)] => self.equals(text),
            _ => self.glob(pattern),
        }
    }

    /// A time as it is kept, or as a text.
    pub(crate) fn time(&self, text: &str, format: &Format, zone: Zone, round_up: bool) -> Result<i64, Error> {
        date::math(text, format, zone, self.now, round_up).map_err(|error| {
            let outer = Error::query(format!("failed to create query: {}", error.reason));
            Error { cause: Some(Box::new(error)), ..outer }
        })
    }

    /// The record's time from one instant to before another.
    pub(crate) fn between(&self, low: Option<i64>, high: Option<i64>) -> Expr {
        let literal = |at: i64| Literal::new(&Timestamp(at).to_string());
        self.test(Predicate::Range {
            low: low.map(|at| (literal(at), true)),
            high: high.map(|at| (literal(at), false)),
        })
    }

    /// Kept times from one to before another, in nanoseconds.
    pub(crate) fn stored_between(&self, stored: Stored, low: Option<i64>, high: Option<i64>) -> Expr {
        if stored == Stored::Time {
            return self.between(low, high);
        }
        let unit = stored.unit();
        // The first that is not before.
        let literal =
            |at: i64| Literal::new(&(at.div_euclid(unit) + i64::from(at.rem_euclid(unit) != 0)).to_string());
        self.test(Predicate::Range {
            low: low.map(|at| (literal(at), true)),
            high: high.map(|at| (literal(at), false)),
        })
    }
}

/// A glob as a regular expression.
pub(crate) fn pattern(glob: &Glob, many: &str, one: &str) -> String {
    let part = |part: &GlobPart| match part {
        GlobPart::Literal(text) => escape(text),
        GlobPart::One => one.to_owned(),
        GlobPart::Any => many.to_owned(),
    };
    glob.parts().iter().map(part).collect()
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}
