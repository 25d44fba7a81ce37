//! The rules that come with Millrace against whole days: ordinary work, and logs that lie outside the repository. Those are
//! ignored unless asked for; they say each finding and hold the sum of them against what was judged when they were read:
//!
//! ```sh
//! MILLRACE_SHARED=… cargo test --release -p millrace-detect --test pack -- --ignored --nocapture
//! ```
//!
//! `MILLRACE_SHARED` is a folder with `data/loghub/OpenSSH/OpenSSH_2k.log` and its neighbours, and `tools/corpus.py`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_detect::{Finding, RuleFile, RuleSet, findings_over};
use millrace_model::{Attributes, LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// The rules as they lie in the folder now.
fn rules() -> Arc<RuleSet> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "yml"));
    paths.sort();
    let file = |path: &PathBuf| RuleFile {
        path: path.display().to_string(),
        text: fs::read_to_string(path).unwrap(),
    };
    let (rules, errors) = RuleSet::load(paths.iter().map(file).collect());
    assert!(errors.is_empty(), "{errors:?}");
    Arc::new(rules)
}

fn shared() -> PathBuf {
    PathBuf::from(std::env::var("MILLRACE_SHARED").expect("MILLRACE_SHARED names the folder"))
}

/// One line of a host.
struct Line {
    time: Timestamp,
    host: String,
    service: Option<String>,
    text: String,
}

fn rows(lines: impl IntoIterator<Item = Line>) -> impl Iterator<Item = (usize, Row)> {
    lines.into_iter().enumerate().map(|(number, line)| {
        let mut resource = Attributes::new();
        resource.set("host.name", line.host.as_str());
        if let Some(service) = &line.service {
            resource.set("service.name", service.as_str());
        }
        let record = LogRecord {
            timestamp: Some(line.time),
            observed_timestamp: line.time,
            body: Value::from(line.text.as_str()),
            resource: Arc::new(resource),
            ..LogRecord::default()
        };
        let id = RecordId { source: SourceId(1), position: number as u64, index: 0 };
        (number, Row { id, stream: StreamName::default(), time: line.time, record })
    })
}

/// Says each finding, and counts them by rule.
fn told(name: &str, found: &[(usize, Finding)]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (number, finding) in found {
        let group: Vec<String> =
            finding.group.iter().map(|(name, value)| format!("{name}={value}")).collect();
        println!("{name}:{}: {} [{}]", number + 1, finding.rule_title, group.join(" "));
        *counts.entry(finding.rule_title.clone()).or_insert(0) += 1;
    }
    counts
}

/// So many days after 1970 that date is.
fn day(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469
}

/// The time in a line of one of the sets.
fn time_of(line: &str) -> Option<Timestamp> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let numbers: Vec<i64> = line
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .take(8)
        .map_while(|part| part.parse().ok())
        .collect();
    let month = |name: &str| Some(MONTHS.find(name)? as i64 / 3 + 1);
    let first = line.split(' ').next()?;
    let (date, clock) = if let Some(month) = month(first).filter(|_| first.len() == 3) {
        (day(2015, month, numbers[0]), &numbers[1..4]) // Dec 10 06:55:46
    } else if line.starts_with('[') {
        (day(numbers[4], month(line.get(5..8)?)?, numbers[0]), &numbers[1..4]) // [Sun Dec 04 04:47:44 2005]
    } else if first == "-" || line.get(..40)?.contains(" 11") && line.contains(" RAS ") {
        let second = line.split(' ').nth(1)?.parse::<i64>().ok()?; // - 1117838570 2005.06.03
        return Some(Timestamp::from_millis(second * 1000));
    } else if first.len() == 6 && numbers[1] < 240_000 {
        let (date, clock) = (numbers[0], numbers[1]); // 081109 203615
        let second = (clock / 10_000 * 60 + clock / 100 % 100) * 60 + clock % 100;
        let days = day(2000 + date / 10_000, date / 100 % 100, date % 100);
        return Some(Timestamp::from_millis((days * 86_400 + second) * 1000));
    } else if first.len() == 5 {
        (day(2015, numbers[0], numbers[1]), &numbers[2..5]) // 03-17 16:13:38.811
    } else {
        let year = if numbers[0] < 100 { numbers[0] + 2000 } else { numbers[0] };
        (day(year, numbers[1], numbers[2]), &numbers[3..6]) // 17/06/09 20:10:40, 2015-07-29 17:41:44,747
    };
    Some(Timestamp::from_millis((date * 86_400 + (clock[0] * 60 + clock[1]) * 60 + clock[2]) * 1000))
}

/// A set as it lies there, or as the journal would give it: the message and the program.
fn loghub(name: &str, bare: bool) -> Vec<Line> {
    let bytes = fs::read(shared().join(format!("data/loghub/{name}/{name}_2k.log"))).unwrap();
    let mut latest = Timestamp::default();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(|line| {
        latest = time_of(line).map_or(latest, |time| time.max(latest));
        let (service, text) = match line.split_once(": ") {
            Some((head, rest)) if bare => (head.rsplit(' ').next(), rest),
            _ => (None, line),
        };
        let service = service.and_then(|name| name.split(['[', '(']).next()).map(str::to_owned);
        Line { time: latest, host: name.to_lowercase(), service, text: text.to_owned() }
    });
    lines.collect()
}

#[test]
fn times_of_all_sets_are_read() {
    for (line, expected) in [
        ("Dec 10 06:55:46 LabSZ sshd[24200]: x", "2015-12-10T06:55:46"),
        ("[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok", "2005-12-04T04:47:44"),
        (
            "- 1117838570 2005.06.03 R02-M1-N0 2005-06-03-15.42.50.675872 RAS KERNEL INFO",
            "2005-06-03T22:42:50",
        ),
        ("081109 203615 148 INFO dfs.DataNode", "2008-11-09T20:36:15"),
        ("03-17 16:13:38.811  1702  2395 D WindowManager: x", "2015-03-17T16:13:38"),
        ("17/06/09 20:10:40 INFO executor", "2017-06-09T20:10:40"),
        ("2015-07-29 17:41:44,747 - INFO  [QuorumPeer]", "2015-07-29T17:41:44"),
    ] {
        assert!(time_of(line).unwrap().to_string().starts_with(expected), "{line}: {:?}", time_of(line));
    }
}

#[test]
#[ignore = "needs MILLRACE_SHARED"]
fn the_attackers_of_the_shared_logs_are_named() {
    let rules = rules();
    for bare in [false, true] {
        let found = findings_over(&rules, rows(loghub("OpenSSH", bare)));
        let counts = told("OpenSSH", &found);
        println!("{counts:?}");
        let named: BTreeSet<&str> = found
            .iter()
            .filter(|(_, finding)| finding.rule_title == "SSH brute force")
            .map(|(_, finding)| finding.group["source_ip"].as_str())
            .collect();
        assert!(named.contains("183.62.140.253") && named.contains("187.141.143.180"), "{named:?}");
    }
}

#[test]
#[ignore = "needs MILLRACE_SHARED"]
fn the_other_shared_logs_are_judged() {
    let rules = rules();
    for name in ["Linux", "Apache", "BGL", "HDFS", "Hadoop", "Spark", "Zookeeper", "Windows", "Android"] {
        for bare in [false, true] {
            let counts = told(name, &findings_over(&rules, rows(loghub(name, bare))));
            println!("{name} {bare}: {counts:?}");
        }
    }
}

/// Generated by `corpus.py`: templates of the shared logs, over 24 h and 200 hosts.
#[test]
#[ignore = "needs MILLRACE_SHARED and Python"]
fn a_generated_day_gives_no_alert() {
    let file = std::env::temp_dir().join(format!("millrace-pack-{}.ndjson", std::process::id()));
    let made = Command::new("python3")
        .arg(shared().join("tools/corpus.py"))
        .args(["-n", "200000", "--hours", "24", "--json"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let lines = text.lines().enumerate().map(|(number, line)| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let said = |name: &str| line[name].as_str().unwrap().to_owned();
        let time = Timestamp::from_millis(1_768_435_200_000 + number as i64 * 432);
        Line { time, host: said("host"), service: Some(said("service")), text: said("message") }
    });
    let counts = told("generated", &findings_over(&rules(), rows(lines)));
    println!("{counts:?}");
}
