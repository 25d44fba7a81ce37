//! Conditions as queries, in Millrace's own language; and the expressions that it can run.

use super::variables;

/// A longer expression is refused in a query.
const LONGEST: usize = 1000;

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    text: String,
    /// It needs no parentheses within another.
    whole: bool,
}

/// Names that are places in a record, not attributes.
const RESERVED: [&str; 22] = [
    "body",
    "message",
    "msg",
    "level",
    "severity",
    "severity_text",
    "log.level",
    "severity_number",
    "timestamp",
    "@timestamp",
    "_time",
    "observed_timestamp",
    "trace_id",
    "trace",
    "trace.id",
    "traceId",
    "span_id",
    "span",
    "span.id",
    "spanId",
    "_stream",
    "stream",
];

/// Names from which Millrace reads a record's level. It moves to its place, and is no attribute any more.
const LEVELS: [&str; 8] =
    ["severity_text", "severitytext", "level", "log.level", "severity", "levelname", "loglevel", "lvl"];

/// The same of times, and of the ids of traces and spans.
const OTHER_PLACES: [&str; 11] = [
    "@timestamp",
    "timestamp",
    "timeunixnano",
    "time",
    "ts",
    "trace_id",
    "traceid",
    "trace.id",
    "span_id",
    "spanid",
    "span.id",
];

/// Levels as numbers, as pino and bunyan write them.
const NUMBERED: [(f64, &str); 6] =
    [(10.0, "trace"), (20.0, "debug"), (30.0, "info"), (40.0, "warn"), (50.0, "error"), (60.0, "fatal")];

/// Why a name that has a place of its own in records cannot be renamed, nor anything to it; `None`: it has none.
pub(super) fn place(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let has_place = LEVELS.contains(&lower.as_str()) || OTHER_PLACES.contains(&lower.as_str());
    has_place.then_some(
        "times, levels and ids of traces are recognised by name, and have places of their own in records",
    )
}

/// As an attribute's name: one that would mean something else is spelled out.
pub(super) fn attribute(name: &str) -> Result<String, String> {
    let marked = variables::are_in(name);
    let place = ["_id", "_source", "_position"].contains(&name) || name.starts_with("resource.");
    match name {
        "" => Err("a name is missing".to_owned()),
        _ if marked => Err("a variable cannot stand in a name".to_owned()),
        _ if RESERVED.contains(&name) || place => Ok(format!("attributes.{name}")),
        _ => Ok(name.to_owned()),
    }
}

/// Can Millrace run this regular expression? It knows neither look-around nor references back.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    let pattern = variables::replaced(pattern, "x");
    if pattern.chars().count() > LONGEST {
        return Err(format!("the regular expression is longer than {LONGEST} characters"));
    }
    regex::Regex::new(&pattern).map(drop).map_err(|error| {
        let told = error.to_string();
        let last = told.lines().last().unwrap_or_default();
        format!("Millrace cannot run this regular expression: {}", last.trim_start_matches("error: "))
    })
}

/// As [`check`], and at least one group has a name.
pub(super) fn check_named(pattern: &str) -> Result<(), String> {
    check(pattern)?;
    let named = regex::Regex::new(&variables::replaced(pattern, "x"));
    let named = named.is_ok_and(|regex| regex.capture_names().flatten().next().is_some());
    if named { Ok(()) } else { Err("no group in the regular expression has a name".to_owned()) }
}

/// A text as a regular expression that matches it alone.
pub(super) fn literal(text: &str) -> String {
    let escape = |(variable, stretch): (bool, &str)| {
        if variable { stretch.to_owned() } else { regex::escape(stretch) }
    };
    variables::stretches(text).map(escape).collect()
}

impl Query {
    fn whole(text: String) -> Self {
        Self { text, whole: true }
    }

    /// As it is written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Every record.
    pub(super) fn everything() -> Self {
        Self::whole("*".to_owned())
    }

    /// The field has a part that matches.
    pub(super) fn regex(field: &str, pattern: &str) -> Result<Self, String> {
        check(pattern)?;
        let field = name(field)?;
        if pattern.is_empty() {
            return Ok(Self::whole(format!("{field}:*")));
        }
        let mut slashed = String::with_capacity(pattern.len());
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '/' => slashed.push_str("\\/"),
                '\\' => {
                    slashed.push('\\');
                    slashed.extend(chars.next());
                }
                c => slashed.push(c),
            }
        }
        Ok(Self::whole(format!("{field}:/{slashed}/")))
    }

    /// The field's value is this, upper or lower case. The line is compared to the letter.
    pub(super) fn equals(field: &str, value: &str) -> Result<Self, String> {
        if field == "body" {
            return Self::regex(field, &format!("^{}$", literal(value)));
        }
        let field = name(field)?;
        let level = NUMBERED.iter().find(|(number, _)| field == "level" && number.to_string() == value);
        let value = level.map_or(value, |(_, level)| level);
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        Ok(Self::whole(format!("{field}:\"{quoted}\"")))
    }

    /// The field's text has this in it.
    pub(super) fn contains(field: &str, part: &str) -> Result<Self, String> {
        Self::regex(field, &literal(part))
    }

    /// The field is there.
    pub(super) fn exists(field: &str) -> Result<Self, String> {
        Ok(Self::whole(format!("{}:*", name(field)?)))
    }

    /// The field's number lies on this side of another: `>`, `>=`, `<`, `<=`.
    pub(super) fn compare(field: &str, sign: &str, bound: f64) -> Result<Self, String> {
        let field = name(field)?;
        if field == "level" {
            let level = NUMBERED.iter().find(|(number, _)| (number - bound).abs() < f64::EPSILON);
            let (_, level) =
                level.ok_or("Millrace compares levels by name: trace, debug, info, warn, error, fatal")?;
            return Ok(Self::whole(format!("level:{sign}{level}")));
        }
        Ok(Self::whole(format!("{field}:{sign}{bound}")))
    }

    /// The field is an address in this network.
    pub(super) fn network(field: &str, network: &str) -> Result<Self, String> {
        let parts = network.split_once('/').and_then(|(address, bits)| {
            Some((address.parse::<std::net::IpAddr>().ok()?, bits.parse::<u8>().ok()?))
        });
        match parts {
            Some((address, bits)) if bits <= if address.is_ipv4() { 32 } else { 128 } => {
                Ok(Self::whole(format!("{}:{network}", name(field)?)))
            }
            _ => Err(format!("{network:?} is no network such as 10.0.0.0/8")),
        }
    }

    /// None of it.
    pub(super) fn negated(self) -> Self {
        Self { text: format!("NOT {}", self.inner()), whole: false }
    }

    /// All of these; `None`: there are none.
    pub(super) fn all(queries: Vec<Self>) -> Option<Self> {
        Self::joined(queries, " AND ")
    }

    /// One of these; `None`: there are none.
    pub(super) fn any(queries: Vec<Self>) -> Option<Self> {
        Self::joined(queries, " OR ")
    }

    fn joined(mut queries: Vec<Self>, between: &str) -> Option<Self> {
        if queries.len() < 2 {
            return queries.pop();
        }
        let texts: Vec<String> = queries.iter().map(Self::inner).collect();
        Some(Self { text: texts.join(between), whole: false })
    }

    fn inner(&self) -> String {
        if self.whole { self.text.clone() } else { format!("({})", self.text) }
    }
}

/// A field's name as queries have it; what Millrace recognises is where it puts it.
fn name(field: &str) -> Result<String, String> {
    if variables::are_in(field) || field.is_empty() {
        return Err("a field's name was expected, without a variable in it".to_owned());
    }
    match field.to_lowercase().as_str() {
        lower if LEVELS.contains(&lower) => return Ok("level".to_owned()),
        "traceid" => return Ok("trace_id".to_owned()),
        "spanid" => return Ok("span_id".to_owned()),
        _ => {}
    }
    let mut name = String::with_capacity(field.len());
    for (at, c) in field.chars().enumerate() {
        let first = c.is_alphabetic() || matches!(c, '_' | '@');
        let allowed = first || c.is_alphanumeric() || matches!(c, '.' | '-' | '/');
        if !(if at == 0 { first } else { allowed }) {
            name.push('\\');
        }
        name.push(c);
    }
    Ok(name)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_spelled_so_that_they_are_read_as_they_are_meant() {
        let text = |query: Result<Query, String>| query.unwrap().text;
        assert_eq!(text(Query::regex("body", r"^/a\/b\\/c")), r"body:/^\/a\/b\\\/c/");
        assert_eq!(text(Query::equals("a b", r#"x"\"#)), r#"a\ b:"x\"\\""#);
        assert_eq!(text(Query::equals("body", "a.b")), r"body:/^a\.b$/");
        assert_eq!(text(Query::contains("1x", "(a)")), r"\1x:/\(a\)/");
        assert_eq!(text(Query::compare("n", ">=", 500.0)), "n:>=500");
        assert_eq!(text(Query::compare("level", ">", 30.0)), "level:>info");
        assert_eq!(text(Query::equals("lvl", "20")), "level:\"debug\"");
        assert!(Query::compare("lvl", "<", 35.0).is_err() && Query::exists("").is_err());
        let exists = |name: &str| Query::exists(name).unwrap();
        assert_eq!(text(Query::network("ip", "10.0.0.0/8")), "ip:10.0.0.0/8");
        assert!(Query::network("ip", "private").is_err());
        let both = Query::all(vec![exists("a"), exists("b")]).unwrap();
        assert_eq!(both.clone().negated().text, "NOT (a:* AND b:*)");
        assert_eq!(Query::any(vec![both, exists("c")]).unwrap().text, "(a:* AND b:*) OR c:*");
        assert_eq!(Query::any(vec![]), None);
    }

    #[test]
    fn what_cannot_run_is_refused() {
        for pattern in ["(?<!x)y", r"(a)\1", "(", &"a".repeat(1001)] {
            assert!(Query::regex("body", pattern).is_err(), "{pattern}");
        }
        assert!(check_named("(a)").is_err());
        assert!(check_named("(?P<a>.)(?<b>.)").is_ok());
        assert_eq!(attribute("level").unwrap(), "attributes.level");
        assert!(attribute("").is_err());
    }
}
