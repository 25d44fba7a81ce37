//! `millrace rules check`, `test` and `explain`: rules without a server; and `backtest`, over the records that one keeps.

use crate::{
    chart,
    cli::{Code, Failure, Output, RulesArgs, RulesBacktestArgs, RulesTestArgs, written},
    client::{Request, printable},
};
use millrace_detect::{CaseOutcome, Finding, RuleSet, findings_over, run_cases};
use millrace_intake::Parsers;
use millrace_model::{Attributes, Clock, RecordId, Row, SourceId, StreamName, SystemClock, Timestamp};
use millrace_query::alert::rules::RuleTexts;
use serde_json::{Map, Value, json};
use std::{
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Reads rules; says what is wrong with them.
fn load(args: &RulesArgs) -> anyhow::Result<RuleSet> {
    let (rules, errors) = RuleTexts::read(&args.paths, &args.pipelines, false).load();
    for warning in rules.warnings() {
        eprintln!("warning: {warning}");
    }
    if errors.is_empty() {
        return Ok(rules);
    }
    let list: Vec<String> = errors.iter().map(|error| format!("\n  {error}")).collect();
    Err(Failure::with(
        Code::Invalid,
        format!("{} of the rules cannot be used:{}", errors.len(), list.concat()),
    ))
}

/// `millrace rules check`.
pub(crate) fn check(args: &RulesArgs) -> anyhow::Result<Code> {
    let rules = load(args)?;
    eprintln!("{} rules, nothing is wrong with them", rules.len());
    Ok(Code::Ok)
}

/// `millrace rules explain`.
pub(crate) fn explain(args: &RulesArgs) -> anyhow::Result<Code> {
    let rules = load(args)?;
    let mut out = io::stdout().lock();
    for (number, rule) in rules.rules().iter().enumerate() {
        let gap = if number == 0 { "" } else { "\n" };
        written(write!(out, "{gap}{}", rule.explain()))?;
    }
    Ok(Code::Ok)
}

/// `millrace rules backtest`.
pub(crate) async fn backtest(args: &RulesBacktestArgs) -> anyhow::Result<Code> {
    let mut parameters = Map::new();
    for (name, value) in [("from", &args.from), ("to", &args.to)] {
        if let Some(value) = value {
            parameters.insert(name.to_owned(), json!(value));
        }
    }
    let id: String = args.id.bytes().map(in_path).collect();
    let path = format!("api/v1/rules/{id}/backtest");
    let answer = Request::get(&args.server, &path).with(&Value::Object(parameters)).send().await?;
    let mut out = io::stdout().lock();
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    match args.output {
        Output::Json => written(writeln!(out, "{answer:#}"))?,
        Output::Ndjson => {
            written(list("samples").iter().try_for_each(|sample| writeln!(out, "{sample}")))?;
        }
        Output::Text => {
            let count = |bucket: &Value| bucket["count"].as_u64().unwrap_or(0);
            let most = list("buckets").iter().map(count).max().unwrap_or(1);
            for bucket in list("buckets") {
                let bar = chart::sideways(count(&bucket) as f64 / most as f64, 40);
                let start = bucket["start"].as_str().unwrap_or_default();
                written(writeln!(out, "{start}  {:>8}  {bar}", count(&bucket)))?;
            }
            for sample in list("samples") {
                let group = sample["group"].as_object().cloned().unwrap_or_default();
                let group: Vec<String> = group
                    .iter()
                    .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
                    .collect();
                let (first, records) = (sample["first"].as_str().unwrap_or_default(), &sample["count"]);
                written(writeln!(out, "{first}  {records} records  {}", printable(&group.join(" "))))?;
            }
        }
    }
    for missing in list("missing") {
        eprintln!("not looked at: {}", missing["reason"].as_str().unwrap_or_default());
    }
    eprintln!(
        "{} findings over {} records from {} to {}, in {} ms",
        answer["findings"],
        answer["records"],
        answer["from"].as_str().unwrap_or_default(),
        answer["to"].as_str().unwrap_or_default(),
        answer["took_ms"]
    );
    Ok(if answer["partial"] == json!(true) { Code::Partial } else { Code::Ok })
}

/// A byte of an id in a path.
fn in_path(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// `millrace rules test`.
pub(crate) fn test(args: &RulesTestArgs) -> anyhow::Result<Code> {
    let rules = Arc::new(load(&args.rules)?);
    match &args.events {
        Some(events) => on_events(&rules, events, args.output),
        None => own_cases(&rules, args),
    }
}

/// Runs the lines that the rules bring along.
fn own_cases(rules: &Arc<RuleSet>, args: &RulesTestArgs) -> anyhow::Result<Code> {
    let outcomes = run_cases(rules);
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    if let Some(path) = &args.junit {
        std::fs::write(path, junit(&outcomes))
            .map_err(|error| Failure::with(Code::Usage, format!("{}: {error}", path.display())))?;
    }
    let mut out = io::stdout().lock();
    for outcome in &outcomes {
        match (args.output, &outcome.problem) {
            (Output::Text, None) => {
                written(writeln!(out, "ok      {}: {}", outcome.rule_title, outcome.name))?;
            }
            (Output::Text, Some(problem)) => {
                written(writeln!(
                    out,
                    "FAILED  {}: {}\n        {problem}",
                    outcome.rule_title, outcome.name
                ))?;
            }
            _ => written(writeln!(out, "{}", json!(outcome)))?,
        }
    }
    eprintln!("{} cases of {} rules, {failed} failed", outcomes.len(), rules.len());
    Ok(if failed == 0 { Code::Ok } else { Code::Findings })
}

/// The outcomes in the form of `JUnit`: a suite a rule, a case a case.
fn junit(outcomes: &[CaseOutcome]) -> String {
    let failed = |outcomes: &[&CaseOutcome]| outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let mut suites: Vec<(&str, Vec<&CaseOutcome>)> = Vec::new();
    for outcome in outcomes {
        match suites.last_mut() {
            Some((id, cases)) if *id == outcome.rule_id => cases.push(outcome),
            _ => suites.push((&outcome.rule_id, vec![outcome])),
        }
    }
    let mut lines = vec!["<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned(), "<testsuites>".to_owned()];
    for (_, cases) in suites {
        let (title, file) = (escaped(&cases[0].rule_title), escaped(&cases[0].file));
        lines.push(format!(
            "  <testsuite name=\"{title}\" file=\"{file}\" tests=\"{}\" failures=\"{}\">",
            cases.len(),
            failed(&cases)
        ));
        for case in cases {
            let name = escaped(&case.name);
            lines.push(match &case.problem {
                None => format!("    <testcase classname=\"{title}\" name=\"{name}\"/>"),
                Some(problem) => format!(
                    "    <testcase classname=\"{title}\" name=\"{name}\"><failure message=\"{}\"/></testcase>",
                    escaped(problem)
                ),
            });
        }
        lines.push("  </testsuite>".to_owned());
    }
    lines.push("</testsuites>\n".to_owned());
    lines.join("\n")
}

/// Text inside of XML; what XML cannot hold becomes `�`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Tries the rules on records; findings are data, not a failure of the command.
fn on_events(rules: &Arc<RuleSet>, events: &Path, output: Output) -> anyhow::Result<Code> {
    let mut files = Vec::new();
    collect(events, &mut files)?;
    let mut out = io::stdout().lock();
    let (mut records, mut all) = (0, Vec::new());
    for file in &files {
        let rows = read(file)?;
        records += rows.len();
        for (line, finding) in findings_over(rules, rows.into_iter()) {
            let finding = as_json(file, line, &finding);
            match output {
                Output::Text => written(writeln!(
                    out,
                    "{}:{line}: [{}] {}",
                    file.display(),
                    finding["level"].as_str().unwrap_or_default(),
                    finding["rule_title"].as_str().unwrap_or_default()
                ))?,
                Output::Ndjson => written(writeln!(out, "{finding}"))?,
                Output::Json => {}
            }
            all.push(finding);
        }
    }
    if output == Output::Json {
        written(writeln!(out, "{:#}", json!(all)))?;
    }
    eprintln!("{records} records of {} files, {} findings", files.len(), all.len());
    Ok(if all.is_empty() { Code::Ok } else { Code::Findings })
}

fn as_json(file: &Path, line: usize, finding: &Finding) -> Value {
    let mut value = json!({
        "file": file.display().to_string(), "line": line, "rule_id": finding.rule_id,
        "rule_title": finding.rule_title, "level": finding.level,
    });
    if !finding.group.is_empty() {
        value["group"] = json!(finding.group);
    }
    value
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let failed = |error: io::Error| Failure::with(Code::Usage, format!("{}: {error}", path.display()));
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries: io::Result<Vec<_>> = std::fs::read_dir(path).map_err(failed)?.collect();
    let mut entries: Vec<PathBuf> = entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
    entries.sort();
    entries.iter().try_for_each(|path| collect(path, files))
}

/// The records of a file: each line is one, JSON if it reads as JSON.
fn read(file: &Path) -> anyhow::Result<Vec<(usize, Row)>> {
    let failed = |error: io::Error| Failure::with(Code::Usage, format!("{}: {error}", file.display()));
    let mut reader = BufReader::new(std::fs::File::open(file).map_err(failed)?);
    let parsers = Parsers::default();
    let mut resource = Attributes::new();
    resource.set("log.file.path", file.display().to_string());
    // Which product Sigma's rules are about is told by that, too; where a line names its host, that is the host.
    resource.set("host.name", "localhost");
    let resource = Arc::new(resource);
    let now = SystemClock.now();
    let (mut rows, mut line, mut number) = (Vec::new(), Vec::new(), 0);
    while reader.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        number += 1;
        let text = line.trim_ascii_end();
        if !text.is_empty() {
            rows.push((number, row(number, parsers.parse(text, now, &resource))));
        }
        line.clear();
    }
    Ok(rows)
}

fn row(number: usize, record: millrace_model::LogRecord) -> Row {
    let time: Timestamp = record.time();
    let id = RecordId { source: SourceId(0), position: number as u64, index: 0 };
    Row { id, stream: StreamName::default(), time, record }
}
