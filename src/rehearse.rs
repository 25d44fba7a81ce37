//! `millrace agent --dry-run` and the tests in a configuration: what a source makes of lines, without a topic.

use crate::{
    catalogue::fields,
    cli::{Code, Failure, written},
    settings::Settings,
};
use millrace_agent::{
    SourceSettings,
    rehearse::{Made, reader_of, rehearse},
};
use millrace_config::{FromValue, Value as Setting};
use millrace_intake::Redacted;
use millrace_model::{
    Clock, Fields, LogRecord, SystemClock, Timestamp,
    fields::{FieldRef, ValueRef},
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::Path,
};

/// `millrace agent --dry-run`.
pub(crate) fn dry_run(settings: &Settings, path: &Path, source: Option<&str>) -> anyhow::Result<Code> {
    let path = std::path::absolute(path)?;
    let source = match source {
        Some(name) => named(settings, name),
        None => reader_of(&settings.agent, &path).map_err(|error| format!("{error}; --source says which")),
    };
    let source = source.map_err(|error| Failure::with(Code::Usage, error))?;
    let file = File::open(&path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut outcome = Ok(());
    let (mut records, mut left) = (0_u64, BTreeMap::<String, (u64, u64)>::new());
    let redacted = rehearse(
        &settings.agent,
        source,
        &path,
        file,
        SystemClock.now(),
        &mut |position, made| match made {
            Made::Record(record) => {
                records += 1;
                let mut fields = fields(record.record());
                fields["_stream"] = json!(source.stream);
                fields["_position"] = json!(position);
                if outcome.is_ok() {
                    outcome = writeln!(out, "{fields}");
                }
            }
            Made::Left { reason, step, bytes } => {
                let by = step.and_then(|step| {
                    Some(format!(
                        " by step {} ({})",
                        step + 1,
                        source.process.steps().nth(step)?.action.name()
                    ))
                });
                let (times, sum) =
                    left.entry(format!("{}{}", reason.name(), by.unwrap_or_default())).or_default();
                (*times, *sum) = (*times + 1, *sum + bytes);
            }
        },
    )?;
    written(outcome.and_then(|()| out.flush()))?;
    eprintln!("{records} records by the source {}", source.name);
    for (what, (times, bytes)) in left {
        eprintln!("{times} times {bytes} bytes in all were left out: {what}");
    }
    for (rule, times) in redacted {
        eprintln!("{times} times something was taken out: {rule}");
    }
    Ok(Code::Ok)
}

fn named<'a>(settings: &'a Settings, name: &str) -> Result<&'a SourceSettings, String> {
    let names =
        || settings.agent.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = settings.agent.sources.iter().find(|source| source.name == name);
    found.ok_or_else(|| format!("no source has the name {name}; there are: {}", names()))
}

/// `[[test]]`: lines, and what must become of them.
#[derive(Debug, Clone)]
pub(crate) struct Test {
    name: Option<String>,
    source: String,
    input: String,
    expect: Vec<Map<String, Value>>,
}

impl FromValue for Test {
    const EXPECTED: &'static str = "a test: a table with source, input (lines) and expect (a list of tables)";

    fn from_value(value: &Setting) -> Result<Self, String> {
        let known = ["name", "source", "input", "expect"];
        if let Some(unknown) = value.keys().find(|key| !known.contains(key)) {
            return Err(format!("a test has no setting {unknown}: it has {}", known.join(", ")));
        }
        let text = |key: &str| value.get(key).and_then(Setting::as_str).map(str::to_owned);
        let input = match value.get("input") {
            Some(lines) if lines.as_list().is_some() => {
                let lines: Option<Vec<&str>> =
                    lines.as_list().into_iter().flatten().map(Setting::as_str).collect();
                lines.map(|lines| lines.join("\n"))
            }
            _ => text("input"),
        };
        let expect = value
            .get("expect")
            .and_then(Setting::as_list)
            .ok_or("a test needs expect: a list of tables, one a record")?;
        let expect = expect.iter().map(|record| match as_json(record) {
            Value::Object(fields) => Ok(fields),
            _ => Err(format!("expect needs tables, not {}", record.found())),
        });
        Ok(Self {
            name: text("name"),
            source: text("source").ok_or("a test needs source: the name of one")?,
            input: input.ok_or("a test needs input: a text, or a list of lines")?,
            expect: expect.collect::<Result<_, String>>()?,
        })
    }

    fn example() -> String {
        "{ source = \"app\", input = [\"…\"], expect = [{ level = \"error\" }] }".to_owned()
    }
}

fn as_json(setting: &Setting) -> Value {
    if setting.is_table() {
        let fields = setting.keys().filter_map(|key| Some((key.to_owned(), as_json(setting.get(key)?))));
        return Value::Object(fields.collect());
    }
    if let Some(list) = setting.as_list() {
        return list.iter().map(as_json).collect();
    }
    let number = setting.as_integer().and_then(|number| i64::try_from(number).ok()).map(Value::from);
    number
        .or_else(|| setting.as_bool().map(Value::from))
        .or_else(|| setting.as_float().map(Value::from))
        .or_else(|| setting.as_str().map(Value::from))
        .unwrap_or_default()
}

/// Runs the tests of a configuration, and says how many there are.
///
/// # Errors
/// Some do not pass: says which, and how what came differs.
pub(crate) fn run_tests(settings: &Settings) -> anyhow::Result<usize> {
    let mut failures = Vec::new();
    for (number, test) in settings.tests.iter().enumerate() {
        if let Err(problem) = run(settings, test) {
            let name = test.name.clone().unwrap_or_else(|| format!("test {}", number + 1));
            failures.push(format!("\n  {name}: {problem}"));
        }
    }
    if failures.is_empty() {
        return Ok(settings.tests.len());
    }
    Err(Failure::with(
        Code::Findings,
        format!("not all tests of the configuration pass:{}", failures.concat()),
    ))
}

fn run(settings: &Settings, test: &Test) -> Result<(), String> {
    let source = named(settings, &test.source)?;
    let mut records: Vec<Redacted> = Vec::new();
    let input = test.input.as_bytes();
    let path = Path::new("/test");
    let run = rehearse(&settings.agent, source, path, input, SystemClock.now(), &mut |_, made| {
        if let Made::Record(record) = made {
            records.push(*record);
        }
    });
    run.map_err(|error| error.to_string())?;
    for (number, (expected, record)) in test.expect.iter().zip(&records).enumerate() {
        for (name, value) in expected {
            differs(record.record(), name, value).map_or(Ok(()), |found| {
                Err(format!("record {}: {name} is {found}, expected {value}", number + 1))
            })?;
        }
    }
    if records.len() != test.expect.len() {
        return Err(format!("{} records came, {} were expected", records.len(), test.expect.len()));
    }
    Ok(())
}

/// What a record has instead of what is expected; `None`: it has that.
fn differs(record: &LogRecord, name: &str, expected: &Value) -> Option<Value> {
    if let ("attributes" | "resource", Value::Object(fields)) = (name, expected) {
        let attributes = if name == "attributes" { &record.attributes } else { &*record.resource };
        let found = |name: &String| json!(attributes.at(name));
        return fields
            .iter()
            .find(|(name, value)| found(name) != **value)
            .map(|(name, _)| json!({ name: found(name) }));
    }
    let found = match record.field(&FieldRef::resolve(name)) {
        None => Value::Null,
        Some(ValueRef::Value(value)) => json!(value),
        Some(ValueRef::Text(text)) => json!(text),
        Some(ValueRef::Int(number)) => json!(number),
        Some(ValueRef::Time(time)) => {
            let same = expected.as_str().and_then(|text| text.parse::<Timestamp>().ok()) == Some(time);
            if same { expected.clone() } else { json!(time) }
        }
        Some(ValueRef::Level { .. }) => json!(record.level()),
    };
    (found != *expected).then_some(found)
}
