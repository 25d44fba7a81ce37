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
    collections::BTreeMap,
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
    } else if line.contains(" RAS ") {
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

/// Ten days of a small company: four hosts, three people, a shop, and what goes wrong on any day.
fn ordinary_work() -> Vec<Line> {
    let mut lines = Vec::new();
    let mut chance = 7_u64;
    let mut below = |most: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % most
    };
    let mut put = |second: u64, host: &str, service: &str, text: String| {
        let time = Timestamp::from_millis((1_768_435_200 + second as i64) * 1000);
        lines.push(Line { time, host: host.to_owned(), service: Some(service.to_owned()), text });
    };
    for hour in 0..240_u64 {
        let start = hour * 3600;
        for (number, host) in ["web1", "web2", "db1", "build1"].into_iter().enumerate() {
            for minute in (0..60).step_by(5) {
                let at = start + minute * 60 + number as u64;
                put(at, host, "CRON", format!("({}) CMD (command -v debian-sa1 > /dev/null)", "root"));
            }
            put(
                start + 900,
                host,
                "systemd",
                "Starting apt-daily.service - Daily apt activities...".to_owned(),
            );
            if hour % 24 == 3 {
                started_anew(&mut put, start + 1800, host);
            }
        }
        for (user, address) in [("ann", "10.1.2.3"), ("bob", "10.1.2.4"), ("deploy", "10.1.9.9")] {
            if (7..19).contains(&(hour % 24)) {
                let (at, port) = (start + below(3000), 40_000 + below(20_000));
                for typo in 0..below(3) {
                    let text = format!("Failed password for {user} from {address} port {port} ssh2");
                    put(at + typo, "web1", "sshd", text);
                }
                put(
                    at + 5,
                    "web1",
                    "sshd",
                    format!(
                        "Accepted publickey for {user} from {address} port {port} ssh2: ED25519 SHA256:x"
                    ),
                );
                let command = [
                    "/usr/bin/apt update",
                    "/usr/bin/systemctl restart shop",
                    "/usr/bin/tail /var/log/syslog",
                ];
                let command = command[below(3) as usize];
                put(
                    at + 20,
                    "web1",
                    "sudo",
                    format!("{user} : TTY=pts/0 ; PWD=/home/{user} ; USER=root ; COMMAND={command}"),
                );
                put(
                    at + 21,
                    "web1",
                    "sudo",
                    format!(
                        "pam_unix(sudo:session): session opened for user root(uid=0) by {user}(uid=1000)"
                    ),
                );
            }
        }
        let device = below(u64::from(u32::MAX));
        put(
            start + 60,
            "build1",
            "kernel",
            format!("docker0: port 1(veth{device:08x}) entered blocking state"),
        );
        put(start + 60, "build1", "kernel", format!("device veth{device:08x} entered promiscuous mode"));
        put(start + 61, "build1", "kernel", "nvme nvme0: I/O 12 QID 3 timeout, completion polled".to_owned());
        put(start + 70, "build1", "useradd", "new user: name=_flatpak, UID=114, GID=121, home=/nonexistent, shell=/usr/sbin/nologin, from=none".to_owned());
        for request in 0..180 {
            let host = if request % 2 == 0 { "web1" } else { "web2" };
            put(start + request * 20, host, "nginx", a_request(&mut below));
        }
    }
    lines.sort_by_key(|line| line.time);
    lines
}

/// A host that takes two minutes to start again.
fn started_anew(put: &mut impl FnMut(u64, &str, &str, String), second: u64, host: &str) {
    let rsyslog = "[origin software=\"rsyslogd\" swVersion=\"8.2302.0\" x-pid=\"812\" x-info=\"https://www.rsyslog.com\"]";
    for (after, service, text) in [
        (0, "auditd", "The audit daemon is exiting."),
        (1, "rsyslogd", &format!("{rsyslog} exiting on signal 15.")),
        (2, "systemd-journald", "Journal stopped"),
        (110, "kernel", "Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)"),
        (111, "kernel", "Kernel command line: BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro panic=10"),
        (112, "kernel", "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: errors=remount-ro"),
        (113, "systemd-journald", "Journal started"),
        (114, "auditd", "Init complete, auditd 3.0.9 listening for events (startup state enable)"),
        (
            115,
            "auditd",
            "type=CONFIG_CHANGE msg=audit(1700000000.123:4): op=set audit_enabled=1 old=0 auid=4294967295 ses=4294967295 res=1",
        ),
        (
            116,
            "auditd",
            "type=CONFIG_CHANGE msg=audit(1700000000.123:5): auid=4294967295 ses=4294967295 op=remove_rule key=\"exec\" list=4 res=1",
        ),
        (
            116,
            "auditd",
            "type=CONFIG_CHANGE msg=audit(1700000000.123:6): auid=4294967295 ses=4294967295 op=add_rule key=\"exec\" list=4 res=1",
        ),
        (117, "auditd", "type=KERN_MODULE msg=audit(1700000000.123:7): name=\"overlay\""),
        (118, "rsyslogd", &format!("{rsyslog} start")),
        (119, "sshd", "Server listening on 0.0.0.0 port 22."),
        (119, "sshd", "Server listening on :: port 22."),
        (120, "systemd", "Listening on dbus.socket - D-Bus System Message Bus Socket."),
        (121, "systemd-timesyncd", "Initial clock synchronization to Mon 2026-11-23 10:00:00.123456 UTC."),
        (122, "systemd", "shop.service: Main process exited, code=exited, status=1/FAILURE"),
        (123, "systemd", "shop.service: Scheduled restart job, restart counter is at 1."),
    ] {
        put(second + after, host, service, text.to_owned());
    }
}

/// Of some visitor; one in fifty is of something that is not there, one in a hundred fails.
fn a_request(below: &mut impl FnMut(u64) -> u64) -> String {
    let client = format!("203.0.113.{}", below(250));
    let (path, status) = match below(100) {
        0 => ("/favicon.ico", 404),
        1 => ("/apple-touch-icon.png", 404),
        2 => ("/api/cart", 502),
        3..10 => ("/static/app.js?v=17", 304),
        10..15 => ("/search?q=select+a+union+jack+script", 200),
        _ => ("/item?id=4711&or=price", 200),
    };
    format!(
        "{client} - - [23/Nov/2026:10:00:00 +0000] \"GET {path} HTTP/1.1\" {status} 5120 \"https://shop.example.com/../cart\" \"Mozilla/5.0 (X11; Linux x86_64)\""
    )
}

#[test]
fn ten_days_of_ordinary_work_give_no_alert_and_what_is_none_is_seen_among_them() {
    let rules = rules();
    let mut lines = ordinary_work();
    assert!(lines.len() > 50_000);
    assert_eq!(told("ordinary", &findings_over(&rules, rows(ordinary_work()))), BTreeMap::new());
    let time = lines.last().unwrap().time;
    for (second, (service, text)) in [
        ("sshd", "Accepted password for ann from 198.51.100.7 port 4242 ssh2"),
        ("sudo", "mallory : TTY=pts/0 ; PWD=/tmp ; USER=root ; COMMAND=/usr/bin/rm -rf /var/log/auth.log"),
        ("auditd", "The audit daemon is exiting."),
        ("kernel", "diamorphine: loading out-of-tree module taints kernel."),
        ("auditd", "type=KERN_MODULE msg=audit(1700000000.123:7): name=\"diamorphine\""),
        ("sshd", "Server listening on 0.0.0.0 port 2222."),
        ("crontab", "(root) REPLACE (root)"),
    ]
    .into_iter()
    .enumerate()
    {
        let time = Timestamp(time.0 + (second as i64 + 1) * 1_000_000_000);
        let (service, text) = (Some(service.to_owned()), text.to_owned());
        lines.push(Line { time, host: "web1".to_owned(), service, text });
    }
    // The audit daemon is not back after ten minutes.
    let (time, text) = (Timestamp(time.0 + 900_000_000_000), "(root) CMD (true)".to_owned());
    lines.push(Line { time, host: "web1".to_owned(), service: Some("CRON".to_owned()), text });
    let found = told("intruder", &findings_over(&rules, rows(lines)));
    let titles: Vec<&str> = found.keys().map(String::as_str).collect();
    let expected = [
        "Crontab changed",
        "First sudo of a user",
        "Foreign kernel module",
        "Logging stopped",
        "Logs or shell history cleared",
        "New kernel module",
        "New listening service",
        "SSH log-in from a new network",
    ];
    assert_eq!(titles, expected);
    assert!(found.values().all(|count| *count == 1), "{found:?}");
}

#[test]
#[ignore = "needs MILLRACE_SHARED"]
fn the_attackers_of_the_shared_logs_are_named() {
    let rules = rules();
    for bare in [false, true] {
        let found = findings_over(&rules, rows(loghub("OpenSSH", bare)));
        told("OpenSSH", &found);
        let named = |title: &str| -> BTreeMap<String, usize> {
            let mut named = BTreeMap::new();
            for (_, finding) in found.iter().filter(|(_, finding)| finding.rule_title == title) {
                *named.entry(finding.group["source_ip"].clone()).or_insert(0) += 1;
            }
            named
        };
        let counts = |counts: &[(&str, usize)]| -> BTreeMap<String, usize> {
            counts.iter().map(|(address, count)| ((*address).to_owned(), *count)).collect()
        };
        // 103.99.0.122 came twice, two hours apart.
        let force = [
            ("103.99.0.122", 2),
            ("112.95.230.3", 1),
            ("183.62.140.253", 1),
            ("185.190.58.151", 1),
            ("187.141.143.180", 1),
            ("5.188.10.180", 1),
        ];
        let spray = [("103.99.0.122", 2), ("183.62.140.253", 1), ("187.141.143.180", 1), ("5.188.10.180", 1)];
        assert_eq!(named("SSH brute force"), counts(&force));
        assert_eq!(named("SSH password spray"), counts(&spray));
        assert_eq!(found.len(), 12, "and nothing else");
    }
}

/// Two thousand lines out of months: that their hosts are silent at times is so, of these samples.
const SILENCE: [&str; 2] = ["Host gone silent", "Partition gone silent"];

#[test]
#[ignore = "needs MILLRACE_SHARED"]
fn in_the_other_shared_logs_nothing_is_found_but_log_ins_that_were_tried() {
    let rules = rules();
    for name in ["Linux", "Apache", "BGL", "HDFS", "Hadoop", "Spark", "Zookeeper", "Windows", "Android"] {
        for bare in [false, true] {
            let mut found = findings_over(&rules, rows(loghub(name, bare)));
            let silent = found.len();
            found.retain(|(_, finding)| !SILENCE.contains(&finding.rule_title.as_str()));
            println!("{name}: {} times silent", silent - found.len());
            let counts = told(name, &found);
            let expected = if name == "Linux" { vec![("Log-in brute force".to_owned(), 32)] } else { vec![] };
            assert_eq!(counts, expected.into_iter().collect(), "{name}");
        }
    }
}

/// Generated by `corpus.py`: templates of the shared logs with other values, over 24 h and 200 hosts. The sshd among them
/// is one under attack, so two addresses that try many names are found; nothing else is.
#[test]
#[ignore = "needs MILLRACE_SHARED and Python"]
fn a_generated_day_gives_no_alert_but_for_the_attacks_that_it_is_made_of() {
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
    let lines = || {
        text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let said = |name: &str| line[name].as_str().unwrap().to_owned();
            let time = time_of(&line["timestamp"].as_str().unwrap().replace('T', " ")).unwrap();
            Line { time, host: said("host"), service: Some(said("service")), text: said("message") }
        })
    };
    let rules = rules();
    let peaceful = lines().filter(|line| line.service.as_deref() != Some("OpenSSH"));
    assert_eq!(told("generated without sshd", &findings_over(&rules, rows(peaceful))), BTreeMap::new());
    let all: Vec<(usize, Row)> = rows(lines()).collect();
    let (records, start) = (all.len(), cpu());
    let found = findings_over(&rules, all.into_iter());
    println!("{:.0} records per CPU second", records as f64 / (cpu() - start));
    let expected = BTreeMap::from([("SSH password spray".to_owned(), 2)]);
    assert_eq!(told("generated", &found), expected);
}

/// Seconds of CPU that this thread has used.
fn cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
