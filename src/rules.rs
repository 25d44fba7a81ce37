//! `millrace rules check` and `millrace rules test`: rules without a server.

use crate::cli::{Code, Failure, Output, RulesArgs, RulesTestArgs, written};
use millrace_detect::{Finding, Pipelines, RuleSet, findings_over, run_cases};
use millrace_intake::Parsers;
use millrace_model::{Attributes, Clock, RecordId, Row, SourceId, StreamName, SystemClock, Timestamp};
use millrace_query::alert::rules::read_files;
use serde_json::json;
use std::{
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Reads rules; says what is wrong with them.
fn load(args: &RulesArgs) -> anyhow::Result<RuleSet> {
    let (files, mut errors) = read_files(&args.paths, false);
    let (pipelines, unread) = read_files(&args.pipelines, false);
    let (pipelines, broken) = Pipelines::read(&pipelines);
    let (rules, wrong) = RuleSet::load_through(files, &pipelines);
    errors.extend(unread.into_iter().chain(broken).chain(wrong));
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

/// `millrace rules test`.
pub(crate) fn test(args: &RulesTestArgs) -> anyhow::Result<Code> {
    let rules = Arc::new(load(&args.rules)?);
    match &args.events {
        Some(events) => on_events(&rules, events, args.output),
        None => own_cases(&rules, args.output),
    }
}

/// Runs the lines that the rules bring along.
fn own_cases(rules: &Arc<RuleSet>, output: Output) -> anyhow::Result<Code> {
    let outcomes = run_cases(rules);
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let mut out = io::stdout().lock();
    for outcome in &outcomes {
        match (output, &outcome.problem) {
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

fn as_json(file: &Path, line: usize, finding: &Finding) -> serde_json::Value {
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
