//! Wildcards: `*` for any characters, `?` for one. Matched on folded text, in time linear in pattern times text.

use millrace_model::text;

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobPart {
    /// These characters, as written.
    Literal(String),
    /// One character.
    One,
    /// Any characters, also none.
    Any,
}

/// A pattern with at least one wildcard.
#[derive(Debug, Clone)]
pub struct Glob {
    parts: Vec<GlobPart>,
    /// Folded; `None` is one character, and runs of `Any` are one.
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Char(char),
    One,
    Any,
}

impl Glob {
    /// Out of its parts. Neighbouring literals join, repeated `*` become one.
    pub fn new(parts: Vec<GlobPart>) -> Self {
        let mut joined: Vec<GlobPart> = Vec::with_capacity(parts.len());
        for part in parts {
            match (joined.last_mut(), part) {
                (Some(GlobPart::Any), GlobPart::Any) => {}
                (Some(GlobPart::Literal(before)), GlobPart::Literal(after)) => before.push_str(&after),
                (_, GlobPart::Literal(empty)) if empty.is_empty() => {}
                (_, part) => joined.push(part),
            }
        }
        let mut steps = Vec::new();
        for part in &joined {
            match part {
                GlobPart::Literal(literal) => steps.extend(text::fold(literal).chars().map(Step::Char)),
                GlobPart::One => steps.push(Step::One),
                GlobPart::Any => steps.push(Step::Any),
            }
        }
        Self { parts: joined, steps }
    }

    /// The parts in order.
    pub fn parts(&self) -> &[GlobPart] {
        &self.parts
    }

    /// Are all of its literals made of word characters, so that it can match a token?
    pub fn is_word(&self) -> bool {
        self.parts.iter().all(|part| match part {
            GlobPart::Literal(literal) => {
                let mut ranges = text::token_ranges(literal);
                ranges.next() == Some(0..literal.len()) && ranges.next().is_none()
            }
            _ => true,
        })
    }

    /// Nothing but `*`?
    pub fn is_any(&self) -> bool {
        self.parts == [GlobPart::Any]
    }

    /// The folded literal in front of the first wildcard.
    pub fn prefix(&self) -> String {
        match self.parts.first() {
            Some(GlobPart::Literal(literal)) => text::fold(literal),
            _ => String::new(),
        }
    }

    /// The folded literals in order: each of them stands in whatever matches.
    pub fn literals(&self) -> impl Iterator<Item = String> {
        self.parts.iter().filter_map(|part| match part {
            GlobPart::Literal(literal) => Some(text::fold(literal)),
            _ => None,
        })
    }

    /// Does all of `folded` match?
    pub fn matches(&self, folded: &str) -> bool {
        self.run(folded, true)
    }

    /// Does a part of `folded` match?
    pub fn matches_part(&self, folded: &str) -> bool {
        let lead: String = self
            .steps
            .iter()
            .map_while(|step| if let Step::Char(c) = step { Some(*c) } else { None })
            .collect();
        if lead.is_empty() {
            // What begins with `*` matches from the start if it matches anywhere.
            let everywhere = self.steps.first() != Some(&Step::Any);
            let starts = folded.char_indices().map(|(at, _)| at).chain([folded.len()]);
            return starts
                .take(if everywhere { usize::MAX } else { 1 })
                .any(|at| self.run(&folded[at..], false));
        }
        // It can match where its first characters stand only; and where a `*` follows them, the first such place is as
        // good as any.
        let any_follows = self.steps.get(lead.chars().count()) == Some(&Step::Any);
        let mut from = 0;
        while let Some(found) = memchr::memmem::find(&folded.as_bytes()[from..], lead.as_bytes()) {
            let at = from + found;
            if self.run(&folded[at..], false) {
                return true;
            }
            if any_follows {
                return false;
            }
            from = at + folded[at..].chars().next().map_or(1, char::len_utf8);
        }
        false
    }

    /// Greedy with one point of return: the last `*`.
    fn run(&self, text: &str, to_the_end: bool) -> bool {
        let (mut step, mut rest) = (0, text);
        let mut retry: Option<(usize, &str)> = None;
        loop {
            if step == self.steps.len() && (rest.is_empty() || !to_the_end) {
                return true;
            }
            let mut next = rest.chars();
            let matched = match (self.steps.get(step), next.clone().next()) {
                (Some(Step::Any), _) => {
                    retry = Some((step + 1, rest));
                    step += 1;
                    continue;
                }
                (Some(Step::One), Some(_)) => true,
                (Some(Step::Char(expected)), Some(found)) => *expected == found,
                _ => false,
            };
            if matched {
                next.next();
                (step, rest) = (step + 1, next.as_str());
                continue;
            }
            let Some((after, from)) = retry else { return false };
            let mut from = from.chars();
            if from.next().is_none() {
                return false;
            }
            retry = Some((after, from.as_str()));
            (step, rest) = (after, from.as_str());
        }
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Glob {
        Glob::new(
            pattern
                .chars()
                .map(|c| match c {
                    '*' => GlobPart::Any,
                    '?' => GlobPart::One,
                    c => GlobPart::Literal(c.to_string()),
                })
                .collect(),
        )
    }

    #[test]
    fn a_part_matches_as_if_it_were_tried_everywhere() {
        let naive = |glob: &Glob, text: &str| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| glob.run(&text[at..], false))
        };
        for pattern in ["ab*c", "a?b", "*b", "?", "b", "ba*", "é?a", "aab", "a*a?b", "??", "a*b*c"] {
            for text in ["", "aab", "xaabxxc", "éxab", "aaab", "abab", "cab", "aéa", "ééa", "bac"] {
                let glob = glob(pattern);
                assert_eq!(glob.matches_part(text), naive(&glob, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn wildcards_match() {
        for (pattern, text, expected) in [
            ("adm*", "admin", true),
            ("adm*", "xadmin", false),
            ("*tion", "connection", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxb", true),
            ("*ab", "aab", true),
            ("**", "", true),
            ("ADM*", "admin", true),
            ("gr?ße", "größe", true),
        ] {
            assert_eq!(glob(pattern).matches(text), expected, "{pattern} {text}");
        }
        assert!(glob("o-b*r").matches_part("foo-bar baz"));
        assert!(!glob("o-b*z").matches_part("foo-bar"));
        assert!(glob("ab*").is_word());
        assert!(!glob("a-b*").is_word());
    }
}
