//! Sigma's rules from outside: what an agent makes of a host's lines is what rules ask for, under the names that they use.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use millrace_test_support::{Site, wait};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(2);

/// A Sigma rule of one selection.
fn rule(title: &str, logsource: &str, selection: &str) -> String {
    format!(
        "title: {title}\nname: {title}\nlogsource: {{ {logsource} }}\ndetection:\n  selection: {selection}\n  condition: selection\n---\n"
    )
}

const RULES: [(&str, &str, &str); 5] = [
    (
        "netcat",
        "product: linux, category: process_creation",
        "{ Image|endswith: /nc, CommandLine|contains: ' -e ', CurrentDirectory: /tmp }",
    ),
    (
        "shadow",
        "product: linux, category: process_creation",
        "{ CommandLine|contains: /etc/shadow, User: root }",
    ),
    ("backup", "product: linux, category: process_creation", "{ CommandLine|contains: /opt/backup }"),
    (
        "scanner",
        "category: webserver",
        "{ cs-method: GET, cs-uri-query|contains: etc/passwd, cs-user-agent|contains: sqlmap }",
    ),
    (
        "admins",
        "product: linux, service: sshd",
        "{ User|expand: '%admins%', SourceIp|startswith: '203.0.113.' }",
    ),
];
const FILTER: &str =
    "title: f\nfilter:\n  rules: [backup]\n  quiet: { User: backup }\n  condition: not quiet\n";
const PIPELINE: &str =
    "name: ours\nvars:\n  admins: [ann, bob]\ntransformations:\n- type: value_placeholders\n";

const AUDIT: &str = "\
type=SYSCALL msg=audit(1795000000.720:31): arch=c000003e syscall=59 success=yes ppid=1 pid=2 auid=1000 uid=1000 comm=\"nc\" exe=\"/usr/bin/nc\" key=\"exec\"
type=EXECVE msg=audit(1795000000.720:31): argc=4 a0=\"nc\" a1=\"-e\" a2=2F62696E2F62617368202D69 a3=\"10.0.0.7\"
type=CWD msg=audit(1795000000.720:31): cwd=\"/tmp\"
type=PROCTITLE msg=audit(1795000000.720:31): proctitle=6E63002D65
type=SYSCALL msg=audit(1795000001.720:32): arch=c000003e syscall=59 success=yes ppid=1 pid=3 auid=1000 uid=1000 comm=\"ls\" exe=\"/usr/bin/ls\" key=\"exec\"
";
const SYSTEM: &str = "\
Nov 23 10:00:00 web1 sudo[7]:      ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; COMMAND=/usr/bin/cat /etc/shadow
Nov 23 10:00:01 web1 CRON[8]: (root) CMD (/opt/backup --all)
Nov 23 10:00:02 web1 CRON[9]: (backup) CMD (/opt/backup --all)
Nov 23 10:00:03 web1 sshd[10]: Accepted password for bob from 203.0.113.9 port 4 ssh2
Nov 23 10:00:04 web1 sshd[11]: Accepted password for eve from 203.0.113.9 port 5 ssh2
";
const ACCESS: &str = "203.0.113.9 - - [23/Nov/2026:10:00:00 +0000] \"GET /a.php?f=../../etc/passwd HTTP/1.1\" 404 12 \"-\" \"sqlmap/1.7\"\n";

#[test]
fn a_hosts_own_lines_fire_sigmas_rules() {
    let site = Site::new(BINARY);
    let rules: String =
        RULES.iter().map(|(title, source, selection)| rule(title, source, selection)).collect();
    let rules = site.write("rules.yml", &(rules + FILTER));
    let pipeline = site.write("pipeline.yml", PIPELINE);
    let checked = site.run(&["rules", "check", &rules, "--pipeline", &pipeline]);
    assert_eq!((checked.code, checked.stderr.contains("warning")), (Some(0), false), "{}", checked.stderr);
    let checked = site.run(&["rules", "check", &rules]);
    assert!(checked.stderr.contains("%admins%"), "{}", checked.stderr);

    let logs = site.path("logs").display().to_string();
    let settings = format!(
        "[agent.sources.audit]\ntype = \"file\"\ninclude = [\"{logs}/audit.log\"]\nmultiline = \"audit\"\n\
         [agent.sources.others]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\nexclude = [\"{logs}/audit.log\"]\n\
         [query.alerts]\nstarter = false\nrules = [\"{rules}\"]\npipelines = [\"{pipeline}\"]\n"
    );
    let up = site.up(&settings).started();
    for (file, lines) in [("audit.log", AUDIT), ("auth.log", SYSTEM), ("access.log", ACCESS)] {
        site.append(file, lines);
    }
    let counts = || -> BTreeMap<String, u64> {
        let of = |alert: serde_json::Value| {
            (alert["title"].as_str().unwrap().to_owned(), alert["count"].as_u64().unwrap())
        };
        up.server.alerts().into_iter().map(of).collect()
    };
    wait::until_true("every rule fires", DEADLINE, || counts().len() >= RULES.len());
    wait::stays("each once", Duration::from_secs(2), || {
        RULES.iter().all(|(title, ..)| counts().get(*title) == Some(&1)) && counts().len() == RULES.len()
    });
    // The lines of one audit event are one record; `type` and `a0` are asked of all of them.
    assert_eq!(up.server.hits("\"10.0.0.7\"").len(), 1);
}

/// The folder with the rules and events of `SigmaHQ`, where it is.
fn shared() -> Option<PathBuf> {
    let folder = Path::new(&std::env::var_os("MILLRACE_SHARED")?).join("data/sigma");
    folder.is_dir().then_some(folder)
}

#[test]
#[ignore = "needs SigmaHQ's rules and regression events under MILLRACE_SHARED"]
fn every_regression_event_fires_its_rule_when_it_is_shipped_as_a_line() {
    let Some(sigma) = shared() else { panic!("MILLRACE_SHARED names no folder with data/sigma") };
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let folders = ["rules", "rules-emerging-threats", "rules-threat-hunting"];
    let folders = folders.map(|name| sigma.join(name).display().to_string());
    let settings = format!(
        "[agent.sources.events]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\nparse = [\"json\"]\n\
         [query.alerts]\nstarter = false\nrules = {folders:?}\n"
    );
    let up = site.up(&settings).started();
    let told = up.server.get("/api/v1/rules");
    assert_eq!(told["errors"], serde_json::json!([]));
    println!("{} rules, none with an error", told["rules"].as_array().unwrap().len());

    let (mut wanted, mut lines, mut count) = (BTreeSet::new(), String::new(), 0);
    for entry in fs::read_dir(sigma.join("regression")).unwrap() {
        let path = entry.unwrap().path();
        wanted.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
        let text = fs::read_to_string(&path).unwrap();
        for event in serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>() {
            lines.push_str(&event.unwrap().to_string());
            lines.push('\n');
            count += 1;
        }
    }
    assert!(count >= wanted.len() && wanted.len() > 50);
    site.append("events.json", &lines);
    let fired = || -> BTreeSet<String> {
        let told = up.server.get("/api/v1/alerts?limit=1000");
        let ids = told["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| alert["rule_id"].as_str().unwrap().to_owned());
        ids.collect()
    };
    wait::until_true("every event's rule fires", DEADLINE, || wanted.is_subset(&fired()));
    let others = fired().difference(&wanted).count();
    println!(
        "{count} events as lines: {} of {} rules fired, and {others} others",
        wanted.len(),
        wanted.len()
    );
}
