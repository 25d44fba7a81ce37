//! The rules against corpora that lie outside the repository. Ignored unless asked for:
//!
//! ```sh
//! MILLRACE_SIGMA=… MILLRACE_LOGHUB=… cargo test --release -p millrace-detect --test corpus -- --ignored --nocapture
//! ```
//!
//! `MILLRACE_SIGMA` is a checkout of the Sigma rules with `regression/<rule id>.json` beside them, `MILLRACE_LOGHUB` a
//! folder with `OpenSSH/OpenSSH_2k.log` and its neighbours.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_detect::{Detector, DetectorSettings, FindingKind, RuleFile, RuleSet, findings_over, starter};
use millrace_model::{Attributes, LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

fn folder(variable: &str) -> PathBuf {
    PathBuf::from(std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names the folder")))
}

fn rule_files(folder: &Path, files: &mut Vec<RuleFile>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rule_files(&path, files);
        } else if path.extension().is_some_and(|end| end == "yml") {
            files.push(RuleFile {
                path: path.display().to_string(),
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

fn rules_of(folders: &[PathBuf]) -> Arc<RuleSet> {
    let mut files = Vec::new();
    for folder in folders {
        rule_files(folder, &mut files);
    }
    let (rules, errors) = RuleSet::load(files);
    assert!(errors.is_empty(), "{errors:?}");
    Arc::new(rules)
}

fn row(number: u64, time: Timestamp, body: &str, attributes: Attributes, resource: &Arc<Attributes>) -> Row {
    let record = LogRecord {
        timestamp: Some(time),
        observed_timestamp: time,
        body: Value::from(body),
        attributes,
        resource: Arc::clone(resource),
        ..LogRecord::default()
    };
    Row {
        id: RecordId { source: SourceId(1), position: number, index: 0 },
        stream: StreamName::default(),
        time,
        record,
    }
}

fn host() -> Arc<Attributes> {
    let mut resource = Attributes::new();
    resource.set("host.name", "host-1");
    Arc::new(resource)
}

/// Seconds of CPU that this thread has used.
fn cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// `Dec 10 06:55:46 …` in some year.
fn syslog_time(line: &str) -> Option<Timestamp> {
    let mut parts = line.split_ascii_whitespace();
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .iter()
        .position(|month| Some(*month) == parts.clone().next())?;
    let day: i64 = parts.nth(1)?.parse().ok()?;
    let clock: Vec<i64> = parts.next()?.split(':').filter_map(|part| part.parse().ok()).collect();
    let seconds = ((month as i64 * 31 + day) * 24 + clock[0]) * 3600 + clock[1] * 60 + clock[2];
    Some(Timestamp::from_millis((1_700_000_000 + seconds) * 1000))
}

fn lines(name: &str) -> Vec<Row> {
    let bytes = fs::read(folder("MILLRACE_LOGHUB").join(name)).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let host = host();
    let time = |line: &str| syslog_time(line).unwrap_or(Timestamp::from_millis(1_700_000_000_000));
    text.lines()
        .enumerate()
        .map(|(n, line)| row(n as u64, time(line), line, Attributes::new(), &host))
        .collect()
}

#[test]
#[ignore = "needs MILLRACE_SIGMA"]
fn every_rule_of_the_corpus_loads_and_matches_its_own_event() {
    let sigma = folder("MILLRACE_SIGMA");
    let started = cpu();
    let folders = ["rules", "rules-emerging-threats", "rules-threat-hunting"].map(|name| sigma.join(name));
    let rules = rules_of(&folders);
    println!("{} rules in {:.2} CPU s, {} warnings", rules.len(), cpu() - started, rules.warnings().len());
    rules.warnings().iter().for_each(|warning| println!("  {warning}"));
    let (mut events, mut hit, mut missed, mut others) = (0, 0, Vec::new(), 0);
    for entry in fs::read_dir(sigma.join("regression")).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let objects = serde_json::Deserializer::from_str(&text).into_iter::<Attributes>().map(Result::unwrap);
        let rows: Vec<Row> =
            objects.enumerate().map(|(n, event)| row(n as u64, Timestamp(1), "", event, &host())).collect();
        events += rows.len();
        let found = findings_over(&rules, rows.into_iter().enumerate());
        if found.iter().any(|(_, finding)| finding.rule_id == id) {
            hit += 1;
        } else {
            missed.push(id.clone());
        }
        others += found.iter().filter(|(_, finding)| finding.rule_id != id).count();
    }
    println!(
        "{hit} of {} rules match their own event; {others} other matches over {events} events",
        hit + missed.len()
    );
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
#[ignore = "needs MILLRACE_SIGMA and MILLRACE_LOGHUB"]
fn records_per_cpu_second() {
    let sigma = folder("MILLRACE_SIGMA").join("rules");
    let linux = rules_of(&[sigma.join("linux")]);
    let both = rules_of(&[sigma.join("linux"), sigma.join("web")]);
    let starters = Arc::new(RuleSet::load(starter()).0);
    let all = rules_of(&[sigma]);
    let mut mixed = Vec::new();
    for name in ["Linux/Linux_2k.log", "OpenSSH/OpenSSH_2k.log", "Apache/Apache_2k.log"] {
        mixed.extend(lines(name));
    }
    let bytes: usize = mixed.iter().map(|row| row.record.body.to_string().len()).sum();
    let access: Vec<Row> = mixed.iter().map(|row| with_fields(row, ACCESS)).collect();
    let process: Vec<Row> = mixed.iter().map(|row| with_fields(row, PROCESS)).collect();
    println!("{} lines, {} bytes each", mixed.len(), bytes / mixed.len());
    for (name, rules) in [("starter", &starters), ("linux", &linux), ("linux + web", &both), ("all", &all)] {
        for (shape, rows) in [("lines", &mixed), ("access records", &access), ("process records", &process)] {
            let mut detector = Detector::new(Arc::clone(rules), DetectorSettings::default());
            let (mut found, mut fired, mut records) = (Vec::new(), 0, 0);
            let start = cpu();
            while cpu() - start < 2.0 {
                for row in rows {
                    detector.observe(row, row.time, &mut found);
                    fired += found.drain(..).filter(|finding| finding.kind == FindingKind::Fired).count();
                }
                records += rows.len();
            }
            let rate = records as f64 / (cpu() - start);
            println!(
                "{name} ({} rules), {shape}: {rate:.0} records per CPU second; {fired} fired, {:?}",
                rules.len(),
                detector.stats()
            );
        }
    }
}

/// The same line with the fields that a parser or an agent on the host would add.
fn with_fields(row: &Row, fields: &[(&str, &str)]) -> Row {
    let mut row = row.clone();
    for (name, value) in fields {
        let number = value.parse::<i64>().map(Value::Int);
        row.record.attributes.set(*name, number.unwrap_or_else(|_| Value::from(*value)));
    }
    row
}

const ACCESS: &[(&str, &str)] = &[
    ("http.request.method", "GET"),
    ("http.response.status_code", "200"),
    ("url.path", "/cart/checkout"),
    ("url.query", "id=42&next=home"),
    ("client.address", "192.0.2.17"),
    ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("http.response.body.size", "5120"),
    ("duration_ms", "17"),
];
const PROCESS: &[(&str, &str)] = &[
    ("process.executable.path", "/usr/sbin/nginx"),
    ("process.command_line", "nginx: worker process"),
    ("process.parent.executable.path", "/usr/lib/systemd/systemd"),
    ("process.parent.command_line", "/sbin/init splash"),
    ("process.working_directory", "/"),
    ("process.pid", "4242"),
    ("user.name", "www-data"),
    ("sigma.category", "process_creation"),
];
