//! Measures detection: what a set of rules costs, and what it says of records that were made for it.
//!
//! ```text
//! rules [--only linux] [--regression FOLDER] [--lines FILE]... RULES...
//! ```
//! - `--only linux`: rules for Linux, web servers and proxies alone, as somebody without Windows hosts would load them.
//! - `--regression`: a folder of `RULE-ID.json`, each one or more events that the rule of that id must match. What does
//!   not fire is named; other rules that fire are counted.
//! - `--lines`: lines as an agent reads them; records per CPU-second of the thread that tests them. Reading, parsing and
//!   the clock's time are not in the figure.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use millrace_detect::{Detector, DetectorSettings, RuleFile, RuleSet};
use millrace_intake::Parsers;
use millrace_model::{Attributes, RecordId, Row, SourceId, StreamName, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lines are read again and again until so much CPU was used.
const LEAST: Duration = Duration::from_secs(3);
/// Rules are timed on one record of so many where they watch a stream.
const TIMED: usize = 256;

fn main() {
    let (mut only_linux, mut regression, mut lines, mut paths) = (false, None, Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => only_linux = arguments.next().unwrap() == "linux",
            "--regression" => regression = arguments.next().map(PathBuf::from),
            "--lines" => lines.push(PathBuf::from(arguments.next().unwrap())),
            _ => paths.push(PathBuf::from(argument)),
        }
    }
    let mut files = Vec::new();
    for path in &paths {
        read(path, &mut files);
    }
    if only_linux {
        files.retain(is_for_linux_shops);
    }
    let before = resident();
    let read = files.len();
    let start = cpu();
    let (rules, errors) = RuleSet::load(files);
    let spent = cpu().saturating_sub(start);
    println!(
        "| rules | {} of {read} files, {} errors, {} warnings |",
        rules.len(),
        errors.len(),
        rules.warnings().len()
    );
    println!("| loading | {:.2} CPU-s |", spent.as_secs_f64());
    println!("| RSS | {before} MiB before, {} MiB with the rules |", resident());
    errors.iter().take(20).for_each(|error| println!("| error | {error} |"));
    let rules = Arc::new(rules);
    if let Some(folder) = regression {
        let events = events(&folder);
        check(&rules, &events);
        let rows: Vec<Row> =
            events.values().flat_map(|events| events.iter().map(|event| row(event))).collect();
        speed(&rules, "regression events", &rows);
    }
    for file in &lines {
        let text = fs::read_to_string(file).unwrap();
        let rows: Vec<Row> = text.lines().map(row).collect();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        speed(&rules, &name, &rows);
    }
}

/// All rule files under a path.
fn read(path: &Path, files: &mut Vec<RuleFile>) {
    if path.is_dir() {
        let mut inside: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        inside.sort();
        for path in &inside {
            read(path, files);
        }
    } else if path.extension().is_some_and(|extension| extension == "yml") {
        files.push(RuleFile { path: path.display().to_string(), text: fs::read_to_string(path).unwrap() });
    }
}

/// Says the logsource that the rule is for Linux, a web server or a proxy?
fn is_for_linux_shops(file: &RuleFile) -> bool {
    let wanted =
        ["product: linux", "category: webserver", "category: proxy", "service: nginx", "service: apache"];
    file.text.lines().any(|line| wanted.contains(&line.trim()))
}

/// The events that each rule must match, one line each.
fn events(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut events = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let values = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
        let values = values.map(|value| value.unwrap().to_string()).collect();
        events.insert(path.file_stem().unwrap().to_string_lossy().into_owned(), values);
    }
    events
}

/// Which rules no event of theirs fires, which events are none for their rule, and how many others fire.
fn check(rules: &Arc<RuleSet>, events: &BTreeMap<String, Vec<String>>) {
    let (mut tested, mut fired, mut extra) = (0, 0, BTreeMap::<String, usize>::new());
    for (id, events) in events {
        let mut missed = Vec::new();
        for (number, event) in events.iter().enumerate() {
            let found = millrace_detect::findings_over(rules, std::iter::once((0, row(event))));
            let found: BTreeSet<String> = found.into_iter().map(|(_, finding)| finding.rule_id).collect();
            if !found.contains(id) {
                missed.push(number + 1);
            }
            for other in found.iter().filter(|other| *other != id) {
                *extra.entry(rules.get(other).unwrap().title.clone()).or_default() += 1;
            }
        }
        tested += events.len();
        fired += usize::from(missed.len() < events.len());
        if !missed.is_empty() {
            println!("| of {id}, it does not match | events {missed:?} of {} |", events.len());
        }
    }
    println!("| rules that fire on their own events | {fired} of {}, {tested} events |", events.len());
    println!(
        "| other rules that fire on them | {} times, of {} rules |",
        extra.values().sum::<usize>(),
        extra.len()
    );
    let mut most: Vec<_> = extra.into_iter().collect();
    most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    most.iter().take(8).for_each(|(title, count)| println!("| … {count} times | {title} |"));
}

fn speed(rules: &Arc<RuleSet>, name: &str, rows: &[Row]) {
    let mut detector = Detector::new(Arc::clone(rules), DetectorSettings::default());
    let mut found = Vec::new();
    let (mut spent, mut tested) = (Duration::ZERO, 0);
    let mut now = Timestamp::from_millis(1_800_000_000_000);
    while spent < LEAST {
        let start = cpu();
        for row in rows {
            detector.observe(row, now, &mut found);
            found.clear();
        }
        spent += cpu().saturating_sub(start);
        tested += rows.len();
        now = now.plus(Duration::from_hours(1));
    }
    let matches = detector.stats().matches as f64 / tested as f64;
    println!(
        "| {name} | {:.0} records/CPU-s, {:.2} µs each, {matches:.3} matches each |",
        tested as f64 / spent.as_secs_f64(),
        spent.as_secs_f64() * 1e6 / tested as f64
    );
    timing(rules, name, rows, spent.as_secs_f64() / tested as f64);
}

/// What it costs that the rules are timed on some of the records; `each`: what a record costs otherwise, in seconds.
fn timing(rules: &RuleSet, name: &str, rows: &[Row], each: f64) {
    let (mut all, mut timed) = (Duration::ZERO, 0);
    let start = cpu();
    for row in rows.iter().step_by(TIMED) {
        rules.time(row, Instant::now, |_, took| all += took);
        timed += 1;
    }
    let spent = cpu().saturating_sub(start).as_secs_f64() / f64::from(timed);
    println!(
        "| {name}, rules of our own timed on one record of {TIMED} | {:.2} µs each, {:.2} % more; they say {:.2} µs |",
        spent * 1e6,
        spent / TIMED as f64 / each * 100.0,
        all.as_secs_f64() * 1e6 / f64::from(timed)
    );
}

/// The record of a line, as an agent makes it.
fn row(line: &str) -> Row {
    let mut resource = Attributes::new();
    resource.set("host.name", "host-1");
    resource.set("log.file.path", "/var/log/some.log");
    let now = Timestamp::from_millis(1_790_000_000_000);
    let record = Parsers::default().parse(line.as_bytes(), now, &Arc::new(resource));
    let id = RecordId { source: SourceId(1), position: 0, index: 0 };
    Row { id, stream: StreamName::default(), time: record.time(), record }
}

/// What this thread has used of a core.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
