//! Patterns such as `<ip> - <_>`: parts of lines by what stands between them.

/// A pattern, read. Two are equal when they are written alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// With the name under which it is kept.
    Capture(Option<String>),
}

impl Pattern {
    /// For the parser: at least one capture has a name, none follows another at once.
    pub(crate) fn of_parser(text: &str) -> Result<Self, String> {
        let pattern = Self::read(text)?;
        let names: Vec<&str> = pattern.names().collect();
        if names.is_empty() {
            return Err("nothing in the pattern has a name, as `<user>` has".to_owned());
        }
        if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            return Err(format!("{} stands in the pattern twice", names[twice]));
        }
        Ok(pattern)
    }

    /// For the line filter: no capture has a name.
    pub(crate) fn of_filter(text: &str) -> Result<Self, String> {
        let pattern = Self::read(text)?;
        if let Some(name) = pattern.names().next() {
            return Err(format!("a line filter keeps nothing, so <{name}> must be <_>"));
        }
        Ok(pattern)
    }

    fn read(text: &str) -> Result<Self, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((name, behind)) = capture(rest) {
                if matches!(pieces.last(), Some(Piece::Capture(_))) {
                    return Err(
                        "two captures stand side by side: nothing says where the first ends".to_owned()
                    );
                }
                pieces.push(Piece::Capture((name != "_").then(|| name.to_owned())));
                rest = behind;
            } else {
                // A `<` that begins no capture is one.
                let first = rest.chars().next().map_or(0, char::len_utf8);
                let length = rest[first..].find('<').map_or(rest.len(), |at| first + at);
                match pieces.last_mut() {
                    Some(Piece::Literal(before)) => before.push_str(&rest[..length]),
                    _ => pieces.push(Piece::Literal(rest[..length].to_owned())),
                }
                rest = &rest[length..];
            }
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its captures.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Capture(name) => name.as_deref(),
            Piece::Literal(_) => None,
        })
    }

    /// The regular expression of the lines that fit whole.
    pub(crate) fn as_expression(&self) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => regex::escape(text),
            Piece::Capture(_) => ".*".to_owned(),
        });
        format!("(?s:^{}$)", pieces.collect::<String>())
    }

    /// Calls `found` with what each named capture takes. A capture whose end is missing takes the rest of the line, and is
    /// the last one.
    pub(crate) fn captures<'l>(&self, line: &'l str, found: &mut impl FnMut(&str, &'l str)) {
        let mut rest = line;
        let mut pieces = self.pieces.as_slice();
        if let [Piece::Literal(literal), behind @ ..] = pieces {
            let Some(after) = rest.strip_prefix(literal.as_str()) else { return };
            (rest, pieces) = (after, behind);
        }
        while let [Piece::Capture(name), behind @ ..] = pieces {
            let end = match behind {
                [Piece::Literal(literal), ..] => {
                    rest.find(literal.as_str()).map(|at| (at, at + literal.len()))
                }
                _ => None,
            };
            let (taken, after) = end.unwrap_or((rest.len(), rest.len()));
            if let Some(name) = name {
                found(name, &rest[..taken]);
            }
            if end.is_none() {
                return;
            }
            rest = &rest[after..];
            pieces = &behind[1..];
        }
    }

    /// Does the whole line fit? A capture takes any text, also none.
    pub(crate) fn is_match(&self, line: &str) -> bool {
        let mut rest = line;
        let mut free = false;
        for (nth, piece) in self.pieces.iter().enumerate() {
            let Piece::Literal(literal) = piece else {
                free = true;
                continue;
            };
            let last = nth + 1 == self.pieces.len();
            let after = match (free, last) {
                (false, _) => rest.strip_prefix(literal.as_str()),
                (true, false) => rest.split_once(literal.as_str()).map(|(_, after)| after),
                (true, true) => rest.strip_suffix(literal.as_str()).map(|_| ""),
            };
            let Some(after) = after else { return false };
            rest = after;
            free = false;
        }
        free || rest.is_empty()
    }
}

/// The name in `<name>` that `text` begins with, and what is behind it.
fn capture(text: &str) -> Option<(&str, &str)> {
    let (name, behind) = text.strip_prefix('<')?.split_once('>')?;
    let first = name.chars().next()?;
    let allowed = |c: char| c == '_' || c.is_ascii_alphanumeric();
    (!first.is_ascii_digit() && name.chars().all(allowed)).then_some((name, behind))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn captures_take_what_lies_between() {
        let found = |pattern: &str, line: &str| {
            let mut all = Vec::new();
            Pattern::of_parser(pattern)
                .unwrap()
                .captures(line, &mut |name, value| all.push(format!("{name}={value}")));
            all.join(",")
        };
        for (pattern, line, expected) in [
            ("<ip> - <user> [<_>] <rest>", "10.0.0.1 - ann [x y] GET /", "ip=10.0.0.1,user=ann,rest=GET /"),
            ("a=<a> b=<b>", "x a=1 b=2", ""),
            ("<_> a=<a> b=<b>", "x a=1 b=2", "a=1,b=2"),
            ("<a>: <b> end", "one: two", "a=one,b=two"),
            ("<a>;<b>", "one", "a=one"),
            ("<a> <1> <b>", "x <1> y", "a=x,b=y"),
            ("<a>", "", "a="),
        ] {
            assert_eq!(found(pattern, line), expected, "{pattern} on {line}");
        }
        for wrong in ["", "<_>", "plain", "<a><b>", "<a> <a>"] {
            assert!(Pattern::of_parser(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_is_about_the_whole_line() {
        for (pattern, line, expected) in [
            ("<_> error <_>", "an error here", true),
            ("<_> error <_>", "error here", false),
            ("<_>error<_>", "error", true),
            ("error<_>", "an error", false),
            ("<_>error", "error error", true),
            ("a<_>a", "a", false),
            ("same", "same", true),
            ("same", "same!", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::of_filter(pattern).unwrap().is_match(line), expected, "{pattern} on {line}");
        }
        assert!(Pattern::of_filter("<a> x").is_err());
    }
}
