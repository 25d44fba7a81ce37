//! Parsers that settings spell out: a regular expression with named groups, a grok pattern, the columns of comma-separated values.
//!
//! All expressions run in time linear to the line, so none can hang the agent: neither look-around nor references back exist.

use super::{Reading, fields::Fields};
use grok::Grok;
use millrace_model::Value;
use regex::Regex;
use std::sync::{Arc, LazyLock};

/// A regular expression whose named groups become fields.
#[derive(Debug, Clone)]
pub struct Pattern(Arc<Regex>);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
impl Eq for Pattern {}

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// It is no expression, is too large, or names no group: what to do about it.
    pub fn new(expression: &str) -> Result<Self, String> {
        let regex = Regex::new(expression).map_err(|error| error.to_string())?;
        if regex.capture_names().flatten().next().is_none() {
            return Err(
                "no group has a name, so nothing would come of it: (?<name>…) makes a field".to_owned()
            );
        }
        Ok(Self(Arc::new(regex)))
    }

    pub(super) fn read(&self, text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
        let found = self.0.captures(text).ok_or("does not match")?;
        let mut fields = Fields::default();
        for (at, name) in self.0.capture_names().enumerate() {
            if let (Some(name), Some(group)) = (name, found.get(at)) {
                fields.typed(name, group.as_str());
            }
        }
        fields.place(reading);
        Ok(())
    }
}

/// A grok pattern, with the patterns that Logstash comes with.
#[derive(Debug, Clone)]
pub struct GrokPattern {
    text: String,
    compiled: Arc<grok::Pattern>,
}

impl PartialEq for GrokPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for GrokPattern {}

/// Those of Logstash's patterns that need look-around or atomic groups, said without; and some that are spelled as only
/// Logstash's engine reads them.
const WITHOUT_LOOKING_AROUND: [(&str, &str); 15] = [
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("BASE16NUM", r"[+-]?(?:0x)?[0-9A-Fa-f]+"),
    ("BASE16FLOAT", r"\b[+-]?(?:0x)?(?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)\b"),
    ("QUOTEDSTRING", r#"(?:"(?:\\.|[^\\"])*"|'(?:\\.|[^\\'])*'|`(?:\\.|[^\\`])*`)"#),
    ("IPV4", r"\b(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})\.){3}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]{1,2})\b"),
    ("WINPATH", r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*]*)+"),
    ("YEAR", r"\d\d(?:\d\d)?"),
    ("TIME", r"%{HOUR}:%{MINUTE}(?::%{SECOND})"),
    ("HAPROXYTIME", r"%{HOUR:haproxy_hour}:%{MINUTE:haproxy_minute}(?::%{SECOND:haproxy_second})"),
    ("IPTABLES4_FRAG", r"(?:(?:CE|DF|MF) ?)*"),
    (
        "SYSLOGPAMSESSION",
        r"%{SYSLOGBASE} %{WORD:pam_module}\(%{DATA:pam_caller}\): session %{WORD:pam_session_state} for user %{USERNAME:username}(?: by %{GREEDYDATA:pam_by})?",
    ),
    ("RUUID", r"[0-9A-Fa-f]{32}"),
    (
        "RPROCESSING",
        r"\W*Processing by %{RCONTROLLER} as (?<format>\S+)(?:\W*Parameters: \{%{DATA:params}\}\W*)?",
    ),
    ("MONGO_QUERY", r"\{ .* \}"),
    (
        "CISCO_TAGGED_SYSLOG",
        r"^<%{POSINT:syslog_pri}>%{CISCOTIMESTAMP:timestamp}( %{SYSLOGHOST:sysloghost})? ?: (?:%)%{CISCOTAG:ciscotag}:",
    ),
];

static PATTERNS: LazyLock<Grok> = LazyLock::new(|| {
    let mut grok = Grok::with_default_patterns();
    for (name, pattern) in WITHOUT_LOOKING_AROUND {
        grok.add_pattern(name, pattern);
    }
    grok
});

impl GrokPattern {
    /// Compiles it: `%{IP:client.address} %{NUMBER:bytes:int}`.
    ///
    /// # Errors
    /// A pattern that is not known, or an expression that is none.
    pub fn new(text: &str) -> Result<Self, String> {
        let compiled = PATTERNS.compile(text, true).map_err(|error| match error {
            grok::Error::DefinitionNotFound(name) => format!("no pattern has the name {name}"),
            grok::Error::RegexCompilationFailed(report) => {
                // All that the pattern stands for is in the report; its last line but one says what is wrong.
                let reason = report.lines().filter_map(|line| line.strip_prefix("error: ")).next_back();
                format!("not a regular expression: {}", reason.unwrap_or("it is too large"))
            }
            error => error.to_string(),
        })?;
        if compiled.capture_names().next().is_none() {
            return Err(
                "nothing in it has a name, so nothing would come of it: %{IP:client.address} makes a field"
                    .to_owned(),
            );
        }
        Ok(Self { text: text.to_owned(), compiled: Arc::new(compiled) })
    }

    pub(super) fn read(&self, text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
        let found = self.compiled.match_against(text).ok_or("does not match")?;
        let mut fields = Fields::default();
        for (name, value) in found.iter() {
            let typed = match self.compiled.get_extract(name) {
                Some("int" | "integer" | "long") => value.parse().ok().map(Value::Int),
                Some("float" | "double") => value.parse().ok().map(Value::Double),
                Some("boolean" | "bool") => value.parse().ok().map(Value::Bool),
                Some("string") => Some(Value::from(value)),
                _ => None,
            };
            match typed {
                Some(typed) => fields.push(name, typed),
                None => fields.typed(name, value),
            }
        }
        fields.place(reading);
        Ok(())
    }
}

/// Values with a separator between them, by RFC 4180: quoted where they contain one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// The names of the columns; one without a name is left out.
    pub columns: Vec<String>,
    /// What stands between two.
    pub delimiter: u8,
}

impl Csv {
    pub(super) fn read(&self, text: &str, reading: &mut Reading<'_>) -> Result<(), String> {
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .from_reader(text.as_bytes());
        let mut row = csv::StringRecord::new();
        rows.read_record(&mut row).map_err(|_| "not comma-separated values")?;
        if row.len() != self.columns.len() {
            return Err(format!("{} values, where {} columns are named", row.len(), self.columns.len()));
        }
        let mut fields = Fields::default();
        for (name, value) in self.columns.iter().zip(&row) {
            if !name.is_empty() && !value.is_empty() {
                fields.typed(name, value);
            }
        }
        fields.place(reading);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_logstash_compiles_without_look_around() {
        for (name, _) in grok::patterns() {
            let pattern = format!("%{{{name}:field}}");
            assert_eq!(GrokPattern::new(&pattern).err(), None, "{name}");
        }
    }
}
