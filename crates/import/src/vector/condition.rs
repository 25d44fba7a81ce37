//! The simplest of Vector's conditions, in its remap language, as queries: comparisons of a field, `exists`, `contains`,
//! `starts_with`, `ends_with` and `match`, with `&&`, `||`, `!` and parentheses.

use crate::query::Query;

/// Parentheses and negations nest so deep.
const DEEPEST: usize = 16;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `.a.b`
    Path(String),
    /// A name, or the name of a function.
    Name(String),
    Text(String),
    /// `r'…'`
    Regex(String),
    Number(f64),
    Sign(&'static str),
}

const SIGNS: [&str; 14] = ["&&", "||", "??", "==", "!=", ">=", "<=", ">", "<", "!", "(", ")", ",", "-"];

/// The query; the error says what of it cannot be said.
pub(super) fn convert(text: &str, json: bool) -> Result<Query, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, json };
    let query = parser.any(0)?;
    if parser.at == tokens.len() { Ok(query) } else { Err(beyond()) }
}

fn beyond() -> String {
    "only the simplest conditions are taken over: write it as a query".to_owned()
}

/// Reads a path such as `.a.b` or `.a."b-c"`, from behind its first dot.
fn path(text: &str) -> Option<(String, &str)> {
    let mut rest = text;
    let mut parts = Vec::new();
    loop {
        let (part, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let (part, after) = quoted.split_once('"')?;
            (part, after)
        } else {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '@').unwrap_or(rest.len());
            rest.split_at(end)
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None if after.starts_with('[') => return None,
            None => return Some((parts.join("."), after)),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let token;
        (token, rest) = if let Some(after) = rest.strip_prefix('.') {
            let (path, after) = path(after).ok_or_else(beyond)?;
            (Token::Path(path), after)
        } else if let Some(after) = rest.strip_prefix("r'") {
            let (pattern, after) = raw(after)?;
            (Token::Regex(pattern), after)
        } else if let Some(after) = rest.strip_prefix('"') {
            let (text, after) = quoted(after)?;
            (Token::Text(text), after)
        } else if c.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(end);
            (Token::Number(number.parse().map_err(|_| beyond())?), after)
        } else if c.is_alphabetic() {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            (Token::Name(name.to_owned()), after)
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign)).ok_or_else(beyond)?;
            (Token::Sign(sign), &rest[sign.len()..])
        };
        tokens.push(token);
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// A regular expression behind `r'`; `\'` is a quote.
fn raw(text: &str) -> Result<(String, &str), String> {
    let mut pattern = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Ok((pattern, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, '\'')) => pattern.push('\''),
                Some((_, other)) => pattern.extend(['\\', other]),
                None => return Err(beyond()),
            },
            c => pattern.push(c),
        }
    }
    Err(beyond())
}

/// A text behind its first quote.
pub(super) fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut inner = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((inner, &text[at + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => inner.push('\n'),
                Some('t') => inner.push('\t'),
                Some(c @ ('"' | '\\')) => inner.push(c),
                _ => return Err(beyond()),
            },
            // A template is no text.
            '{' if text[at..].starts_with("{{") => return Err(beyond()),
            c => inner.push(c),
        }
    }
    Err(beyond())
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    json: bool,
}

impl Parser<'_> {
    fn takes(&mut self, sign: &str) -> bool {
        let there = matches!(self.tokens.get(self.at), Some(Token::Sign(there)) if *there == sign);
        self.at += usize::from(there);
        there
    }

    fn must(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) { Ok(()) } else { Err(beyond()) }
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.tokens.get(self.at).cloned().ok_or_else(beyond)?;
        self.at += 1;
        Ok(token)
    }

    fn any(&mut self, depth: usize) -> Result<Query, String> {
        let mut queries = vec![self.all(depth)?];
        while self.takes("||") {
            queries.push(self.all(depth)?);
        }
        Query::any(queries).ok_or_else(beyond)
    }

    fn all(&mut self, depth: usize) -> Result<Query, String> {
        let mut queries = vec![self.one(depth)?];
        while self.takes("&&") {
            queries.push(self.one(depth)?);
        }
        Query::all(queries).ok_or_else(beyond)
    }

    fn one(&mut self, depth: usize) -> Result<Query, String> {
        if depth > DEEPEST {
            return Err(beyond());
        }
        if self.takes("!") {
            return Ok(self.one(depth + 1)?.negated());
        }
        if self.takes("(") {
            let query = self.any(depth + 1)?;
            self.must(")")?;
            return Ok(query);
        }
        match self.next()? {
            Token::Path(path) => self.comparison(&path),
            Token::Name(function) => {
                let fallible = self.takes("!");
                self.must("(")?;
                // `string!(.a) == "x"` compares the field.
                if function == "string" || function == "to_string" {
                    let path = self.path()?;
                    self.must(")")?;
                    return self.comparison(&path);
                }
                let query = self.function(&function)?;
                self.must(")")?;
                if !fallible && self.takes("??") && self.next()? != Token::Name("false".to_owned()) {
                    return Err(beyond());
                }
                Ok(query)
            }
            _ => Err(beyond()),
        }
    }

    /// A field, perhaps within `string!( … )`.
    fn path(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Path(path) => Ok(path),
            Token::Name(name) if name == "string" || name == "to_string" => {
                self.takes("!");
                self.must("(")?;
                let Token::Path(path) = self.next()? else { return Err(beyond()) };
                self.must(")")?;
                Ok(path)
            }
            _ => Err(beyond()),
        }
    }

    fn function(&mut self, name: &str) -> Result<Query, String> {
        let field = field(&self.path()?, self.json);
        if name == "exists" {
            return Query::exists(&field);
        }
        self.must(",")?;
        match (name, self.next()?) {
            ("contains", Token::Text(part)) => Query::contains(&field, &part),
            ("starts_with", Token::Text(part)) => Query::regex(&field, &format!("^{}", literal(&part))),
            ("ends_with", Token::Text(part)) => Query::regex(&field, &format!("{}$", literal(&part))),
            ("match", Token::Regex(pattern)) => Query::regex(&field, &pattern),
            _ => Err(beyond()),
        }
    }

    fn comparison(&mut self, path: &str) -> Result<Query, String> {
        let field = field(path, self.json);
        let Token::Sign(sign) = self.next()? else { return Err(beyond()) };
        let negative = self.takes("-");
        let value = match self.next()? {
            Token::Number(number) => Token::Number(if negative { -number } else { number }),
            Token::Name(name) if name == "null" && sign == "!=" => return Query::exists(&field),
            Token::Name(name) if name == "null" && sign == "==" => {
                return Ok(Query::exists(&field)?.negated());
            }
            Token::Name(name) if name == "true" || name == "false" => Token::Text(name),
            other => other,
        };
        match (sign, value) {
            ("==", Token::Text(text)) => Query::equals(&field, &text),
            ("!=", Token::Text(text)) => Ok(Query::equals(&field, &text)?.negated()),
            ("==", Token::Number(number)) => Query::equals(&field, &number.to_string()),
            ("!=", Token::Number(number)) => Ok(Query::equals(&field, &number.to_string())?.negated()),
            (">" | ">=" | "<" | "<=", Token::Number(number)) => Query::compare(&field, sign, number),
            _ => Err(beyond()),
        }
    }
}

fn literal(text: &str) -> String {
    crate::query::literal(text)
}

/// Names of fields as Vector has them: where Millrace has the same.
pub(super) fn field(path: &str, json: bool) -> String {
    match path {
        "message" if json => "attributes.message".to_owned(),
        "message" => "body".to_owned(),
        "file" => "log.file.path".to_owned(),
        "appname" => "service.name".to_owned(),
        "procid" => "process.pid".to_owned(),
        "facility" => "syslog.facility".to_owned(),
        "stream" => "log.iostream".to_owned(),
        "kubernetes.pod_name" => "k8s.pod.name".to_owned(),
        "kubernetes.pod_namespace" => "k8s.namespace.name".to_owned(),
        "kubernetes.pod_uid" => "k8s.pod.uid".to_owned(),
        "kubernetes.container_name" => "k8s.container.name".to_owned(),
        path => path.to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn simple_conditions_become_queries() {
        for (condition, expected) in [
            (r#".level == "debug""#, r#"level:"debug""#),
            (r#".level != "debug" && .status >= 500"#, r#"(NOT level:"debug") AND status:>=500"#),
            (r#"!(.a == 1 || exists(.b."c-d"))"#, r#"NOT (a:"1" OR b.c-d:*)"#),
            (r#"contains(string!(.message), "a/b")"#, r"body:/a\/b/"),
            (r#"starts_with!(.path, "/healthz")"#, r"path:/^\/healthz/"),
            (r"match(.message, r'\d+') ?? false", r"body:/\d+/"),
            (r#"string!(.a) == "x""#, r#"a:"x""#),
            (".x == null", "NOT x:*"),
            (".x > -1.5", "x:>-1.5"),
        ] {
            assert_eq!(convert(condition, false).unwrap().text(), expected, "{condition}");
        }
        let other = [
            "",
            ".",
            ".a",
            ".a ==",
            r#".a == "x" extra"#,
            "length(.a) > 3",
            "if .a { true }",
            r#".a[0] == "x""#,
            "((((",
            r#".a == "{{ b }}""#,
            "match(.a, r'(?<!x)')",
            "true",
        ];
        for condition in other {
            assert!(convert(condition, false).is_err(), "{condition}");
        }
        assert!(convert(&"!(".repeat(1000), false).is_err());
    }
}
