//! How a source's lines are read: `parse`, `timezone` and `timestamp`.

use crate::framing::{Charset, Multiline};
use chrono_tz::Tz;
use millrace_config::{FromValue, Section, Value};
use millrace_intake::{
    Parser, Parsers,
    parse::{Csv, Format, GrokPattern, KeyValue, Pattern, Times},
};

/// A parser: its name, or a table that spells one out.
enum ParserChoice {
    /// What a container's runtime writes around a line.
    Envelope,
    Parser(Parser),
}

/// The names of container runtimes' formats: the Container Runtime Interface's, and Docker's.
const ENVELOPES: [&str; 2] = ["cri", "docker"];

/// The keys that spell a parser out.
const SPELLED: [&str; 4] = ["regex", "grok", "csv", "key_value"];

impl FromValue for ParserChoice {
    const EXPECTED: &'static str = "a parser: \"auto\", \"json\", \"logfmt\", \"syslog\", \"access\", \"cef\", \"leef\", \"cri\" (first), \"none\", or { regex = \"…\" } and the like";

    fn from_value(value: &Value) -> Result<Self, String> {
        if !value.is_table() {
            let envelopes = ENVELOPES.map(|name| (name, None));
            let parsers = Parser::NAMES.map(|(name, parser)| (name, Some(parser)));
            let choices: Vec<(&str, Option<Parser>)> = parsers.into_iter().chain(envelopes).collect();
            return value.choose(&choices).map(|parser| parser.map_or(Self::Envelope, Self::Parser));
        }
        let mut kinds = SPELLED.iter().filter(|key| value.get(key).is_some());
        let (Some(kind), None) = (kinds.next(), kinds.next()) else {
            return Err(format!("a table needs exactly one of {}", SPELLED.join(", ")));
        };
        let options: &[&str] = if *kind == "csv" { &["delimiter"] } else { &[] };
        if let Some(unknown) = value.keys().find(|key| key != kind && !options.contains(key)) {
            return Err(format!("{kind} has no setting {unknown}"));
        }
        let spelled = value.get(kind).ok_or("nothing")?;
        let text = || spelled.as_str().ok_or_else(|| format!("{kind} needs a text, not {}", spelled.found()));
        Ok(Self::Parser(match *kind {
            "regex" => Parser::Regex(Pattern::new(text()?)?),
            "grok" => Parser::Grok(GrokPattern::new(text()?)?),
            "csv" => Parser::Csv(csv(spelled, value.get("delimiter"))?),
            _ => Parser::KeyValue(key_value(spelled)?),
        }))
    }

    fn example() -> String {
        "\"json\"".to_owned()
    }
}

fn csv(columns: &Value, delimiter: Option<&Value>) -> Result<Csv, String> {
    let names =
        columns.as_list().map(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    let columns: Vec<String> = names
        .flatten()
        .ok_or("csv needs the names of the columns: [\"time\", \"level\", \"\", \"message\"]")?;
    if columns.iter().all(String::is_empty) {
        return Err("no column has a name".to_owned());
    }
    let delimiter = match delimiter.map(|delimiter| delimiter.as_str().map(str::as_bytes)) {
        None => b',',
        Some(Some([delimiter])) if delimiter.is_ascii() && !b"\"\r\n".contains(delimiter) => *delimiter,
        Some(_) => return Err("a delimiter is one character: \";\" or \"\\t\"".to_owned()),
    };
    Ok(Csv { columns, delimiter })
}

fn key_value(settings: &Value) -> Result<KeyValue, String> {
    let KeyValue { pair, separator } = KeyValue::default();
    if let Some(unknown) = settings.keys().find(|key| !["pair", "separator"].contains(key)) {
        return Err(format!("key_value has no setting {unknown}: it has pair and separator"));
    }
    let text = |key, default| match settings.get(key) {
        None => Ok(default),
        Some(value) => {
            let text = value.as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or_else(|| format!("{key} needs a text, not {}", value.found()))
        }
    };
    let read = KeyValue { pair: text("pair", pair)?, separator: text("separator", separator)? };
    if read.separator.trim().is_empty() {
        return Err("a separator of blanks alone cannot be told from the end of a pair".to_owned());
    }
    Ok(read)
}

impl FromValue for Multiline {
    const EXPECTED: &'static str = "one of \"java\", \"python\", \"go\", \"ruby\", \"node\", or { start = \"…\" }, which matches a record's first line";

    fn from_value(value: &Value) -> Result<Self, String> {
        if !value.is_table() {
            let name = value.choose(&Self::PRESETS.map(|name| (name, name)))?;
            return Self::preset(name).ok_or_else(|| format!("{name:?} is not known here"));
        }
        let start = value.get("start").filter(|_| value.keys().count() == 1);
        let start = start.ok_or("a table needs start, and nothing else")?;
        Self::start(start.as_str().ok_or_else(|| format!("start needs a text, not {}", start.found()))?)
    }

    fn example() -> String {
        "\"java\"".to_owned()
    }
}

impl FromValue for Charset {
    const EXPECTED: &'static str = "an encoding's name, such as \"utf-16le\", \"latin1\" or \"shift_jis\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        let name = value.as_str().ok_or_else(|| format!("found {}", value.found()))?;
        Self::named(name).ok_or_else(|| format!("no encoding has the name {name:?}"))
    }

    fn example() -> String {
        "\"utf-16le\"".to_owned()
    }
}

/// A time zone by its name.
struct Zone(Tz);

impl FromValue for Zone {
    const EXPECTED: &'static str =
        "a time zone's name, such as \"Europe/Berlin\" or \"UTC\", or \"local\" for this host's";

    fn from_value(value: &Value) -> Result<Self, String> {
        let name = value.as_str().ok_or_else(|| format!("found {}", value.found()))?;
        if name == "local" {
            return Ok(Self(host_zone()));
        }
        name.parse().map(Self).map_err(|_| format!("no time zone has the name {name:?}"))
    }

    fn example() -> String {
        "\"Europe/Berlin\"".to_owned()
    }
}

struct TimeFormat(Format);

impl FromValue for TimeFormat {
    const EXPECTED: &'static str = "a format of times as strftime has it, such as \"%d/%b/%Y:%H:%M:%S %z\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| format!("found {}", value.found()))?;
        Format::new(text).map(Self)
    }

    fn example() -> String {
        "\"%Y-%m-%d %H:%M:%S%.f\"".to_owned()
    }
}

/// The zone that this host's clock shows; UTC where nothing says.
pub(super) fn host_zone() -> Tz {
    let name = iana_time_zone::get_timezone().ok();
    name.and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
}

/// What is done where nothing is said.
pub(super) fn of_this_host() -> Parsers {
    of_this_host_as(Parser::Auto)
}

/// The same with one parser.
pub(crate) fn of_this_host_as(parser: Parser) -> Parsers {
    Parsers::from_iter([parser]).with_times(Times { host_zone: host_zone(), ..Times::default() })
}

/// Reads what says how lines become records: whether they are a container runtime's, and how they are read.
pub(super) fn read(section: &mut Section<'_>, default: Parsers) -> (Option<bool>, Parsers) {
    let parsers = section.optional::<Vec<ParserChoice>>("parse");
    let zone = section.optional::<Zone>("timezone").map(|Zone(zone)| zone);
    let mut times = Times { zone, host_zone: host_zone(), ..Times::default() };
    if let Some(mut timestamp) = section.section("timestamp") {
        times.field = timestamp.optional("field");
        times.format = timestamp.optional::<TimeFormat>("format").map(|TimeFormat(format)| format);
    }
    let Some(chosen) = parsers else { return (None, default.with_times(times)) };
    let mut list = Vec::new();
    let mut enveloped = false;
    for (at, choice) in chosen.into_iter().enumerate() {
        match choice {
            ParserChoice::Parser(parser) => list.push(parser),
            ParserChoice::Envelope if at == 0 => enveloped = true,
            ParserChoice::Envelope => {
                section.error(
                    "parse",
                    "a container runtime's format comes first, and what follows reads what is in it",
                );
            }
        }
    }
    if list.is_empty() {
        list.push(Parser::Auto);
    }
    let by_place = !enveloped && list == [Parser::Auto];
    ((!by_place).then_some(enveloped), list.into_iter().collect::<Parsers>().with_times(times))
}

/// As [`read`], of what no container's runtime writes.
pub(super) fn read_pushed(section: &mut Section<'_>, default: Parsers) -> Parsers {
    let (enveloped, parsers) = read(section, default);
    if enveloped == Some(true) {
        section.error("parse", "containers' formats are those of files");
    }
    parsers
}
