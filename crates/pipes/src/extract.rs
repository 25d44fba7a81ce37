//! Parts of a text as columns, by a pattern or by a regular expression.
//!
//! In a pattern a name stands in angle brackets: `user=<user> ip=<ip>`. What is before the first name is looked for
//! anywhere in the text; a name takes what lies before the next constant piece; one at the end of the pattern takes what
//! comes before the next blank, or with `<name...>` all that follows. `<_>` is not kept.

use millrace_model::Value;
use regex::Regex;
use serde::{Deserialize, Serialize};

/// The longest pattern, in characters.
const MAX_PATTERN: usize = 1000;
/// The most names in one.
const MAX_NAMES: usize = 32;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Extract {
    /// The column whose text is looked at.
    pub from: String,
    written: Pattern,
    names: Vec<String>,
    regex: Regex,
}

/// How it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// With names in angle brackets.
    Pieces(String),
    /// With named groups.
    Regex(String),
}

#[derive(Serialize, Deserialize)]
struct Written {
    from: String,
    pattern: Pattern,
}

impl PartialEq for Extract {
    fn eq(&self, other: &Self) -> bool {
        (&self.from, &self.written) == (&other.from, &other.written)
    }
}

impl Extract {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(from: &str, pattern: Pattern) -> Result<Self, String> {
        let text = match &pattern {
            Pattern::Pieces(text) | Pattern::Regex(text) => text,
        };
        if text.chars().count() > MAX_PATTERN {
            return Err(format!("the pattern is longer than {MAX_PATTERN} characters"));
        }
        let expression = match &pattern {
            Pattern::Pieces(text) => of_pieces(text)?,
            Pattern::Regex(text) => text.clone(),
        };
        let regex = millrace_filter::compile(&expression)?;
        let names: Vec<String> = regex.capture_names().flatten().map(str::to_owned).collect();
        match names.len() {
            0 => Err("nothing in the pattern has a name".to_owned()),
            1..=MAX_NAMES => {
                Ok(Self { from: from.to_owned(), names: unescape(names, &pattern), written: pattern, regex })
            }
            _ => Err(format!("the pattern has more than {MAX_NAMES} names")),
        }
    }

    /// How it is written.
    pub(crate) const fn pattern(&self) -> &Pattern {
        &self.written
    }

    /// The columns that it makes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The parts of a text, one for each name.
    pub(crate) fn parts(&self, text: &str) -> Vec<Option<Value>> {
        let Some(found) = self.regex.captures(text) else { return vec![None; self.names.len()] };
        let named = self.regex.capture_names().enumerate().filter(|(_, name)| name.is_some());
        named.map(|(group, _)| found.get(group).map(|part| Value::from(part.as_str()))).collect()
    }
}

/// Names of columns have characters that names of groups cannot have.
fn unescape(names: Vec<String>, pattern: &Pattern) -> Vec<String> {
    match pattern {
        Pattern::Regex(_) => names,
        Pattern::Pieces(text) => pieces(text).map_or(names, |(_, pieces)| {
            pieces.into_iter().filter(|piece| piece.name != "_").map(|piece| piece.name.to_owned()).collect()
        }),
    }
}

struct Piece<'a> {
    name: &'a str,
    /// To the end of the text.
    all: bool,
    /// What stands behind it.
    then: &'a str,
}

/// What stands before the first name, and the names with what stands behind each.
fn pieces(text: &str) -> Result<(&str, Vec<Piece<'_>>), String> {
    let (first, mut rest) =
        text.split_once('<').ok_or("no name in angle brackets, such as `<user>`, is in it")?;
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    loop {
        let (name, behind) = rest.split_once('>').ok_or("a `<` is not closed by a `>`")?;
        let (name, all) = name.strip_suffix("...").map_or((name, false), |name| (name, true));
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | '-');
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(format!("{name:?} is no name: letters, digits, `_`, `.`, `@` and `-` make one"));
        }
        if name != "_" && pieces.iter().any(|piece| piece.name == name) {
            return Err(format!("{name} stands in it twice"));
        }
        let (then, next) = behind.split_once('<').map_or((behind, None), |(then, next)| (then, Some(next)));
        if next.is_some() && then.is_empty() {
            return Err(format!("something must stand between <{name}> and the next name"));
        }
        if all && (next.is_some() || !then.is_empty()) {
            return Err(format!("<{name}...> takes all that follows: nothing can stand behind it"));
        }
        pieces.push(Piece { name, all, then });
        match next {
            Some(next) => rest = next,
            None => return Ok((first, pieces)),
        }
    }
}

/// A pattern as a regular expression.
fn of_pieces(text: &str) -> Result<String, String> {
    let (first, pieces) = pieces(text)?;
    let mut expression = format!("(?s){}", regex::escape(first));
    for (number, piece) in pieces.iter().enumerate() {
        let takes = match (piece.all, piece.then.is_empty()) {
            (true, _) => ".*",
            (false, true) => r"\S*",
            (false, false) => ".*?",
        };
        if piece.name == "_" {
            expression.push_str(takes);
        } else {
            expression.extend(["(?P<n", &number.to_string(), ">", takes, ")"]);
        }
        expression.push_str(&regex::escape(piece.then));
    }
    Ok(expression)
}

impl TryFrom<Written> for Extract {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        Self::new(&written.from, written.pattern)
    }
}

impl From<Extract> for Written {
    fn from(extract: Extract) -> Self {
        Self { from: extract.from, pattern: extract.written }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parts(pattern: &str, text: &str) -> Vec<Option<String>> {
        let extract = Extract::new("body", Pattern::Pieces(pattern.to_owned())).unwrap();
        extract.parts(text).into_iter().map(|part| part.map(|part| part.to_string())).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn names_take_what_lies_between_constant_pieces() {
        assert_eq!(
            parts("user=<user> ip=<ip>", "at 7 user=ann b ip=1.2.3.4 ok"),
            some(&["ann b", "1.2.3.4"])
        );
        assert_eq!(parts("[<level>] <rest...>", "x [warn] all\nof it"), some(&["warn", "all\nof it"]));
        assert_eq!(parts("(<_>) <http.status>", "(a) (b) 200"), some(&["(b)"]));
        assert_eq!(parts("a.b=<x-y>", "axb=1 a.b=2"), some(&["2"]), "a constant piece is no expression");
        assert_eq!(parts("user=<user>,", "user=ann"), [None]);
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for (pattern, why) in [
            ("user", "no name"),
            ("<user", "not closed"),
            ("<a><b>", "between"),
            ("<a> <a>", "twice"),
            ("<a...> b", "all that follows"),
            ("<a b>", "no name"),
            ("<_>", "has a name"),
        ] {
            let problem = Extract::new("body", Pattern::Pieces(pattern.to_owned())).unwrap_err();
            assert!(problem.contains(why), "{pattern}: {problem}");
        }
        assert!(Extract::new("body", Pattern::Regex("(".to_owned())).is_err());
        assert!(Extract::new("body", Pattern::Regex("a(b)".to_owned())).unwrap_err().contains("has a name"));
    }

    #[test]
    fn it_travels_as_it_is_written() {
        for pattern in [Pattern::Pieces("a=<a>".to_owned()), Pattern::Regex("(?P<a>.)b".to_owned())] {
            let extract = Extract::new("x", pattern).unwrap();
            let text = serde_json::to_string(&extract).unwrap();
            assert_eq!(serde_json::from_str::<Extract>(&text).unwrap(), extract);
        }
    }
}
