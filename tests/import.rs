//! From another shipper to Millrace: its configuration, and where it stopped reading.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{Site, ports};
use std::{fs, os::unix::fs::MetadataExt, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn filebeat_ends_and_the_agent_goes_on() {
    let site = Site::new(BINARY);
    site.append("app.log", "{\"message\":\"shipped by the other\",\"level\":\"info\"}\n");
    let read = fs::metadata(site.log("app.log")).unwrap();
    site.append(
        "app.log",
        "{\"message\":\"ours\",\"level\":\"debug\"}\n{\"message\":\"ours as well\",\"level\":\"error\"}\n",
    );
    site.append("new.log", "{\"message\":\"never seen by it\"}\n");
    let registry = site.path("registry/filebeat");
    fs::create_dir_all(&registry).unwrap();
    let key = format!("filestream::shop::native::{}-{}", read.ino(), read.dev());
    let log = format!(
        "{{\"op\":\"set\",\"id\":1}}\n{{\"k\":\"{key}\",\"v\":{{\"cursor\":{{\"offset\":{}}},\"meta\":{{\"source\":\"{}\",\"identifier_name\":\"native\"}}}}}}\n",
        read.len(),
        site.log("app.log").display(),
    );
    fs::write(registry.join("log.json"), log).unwrap();
    let filebeat = site.write(
        "filebeat.yml",
        &format!(
            "filebeat.inputs:\n  - type: filestream\n    id: shop\n    paths: [\"{}\"]\n    parsers: [{{ndjson: {{target: \"\"}}}}]\n    \
             processors: [{{drop_event: {{when: {{equals: {{level: debug}}}}}}}}]\n    harvester_limit: 3\n\
             path.data: {}\noutput.elasticsearch: {{hosts: [\"http://es:9200\"]}}\n",
            site.log("*.log").display(),
            site.path("").display(),
        ),
    );
    let imported = site.run(&["config", "import", "filebeat", &filebeat]);
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    for left in ["harvester_limit", "output.elasticsearch", "import-positions filebeat"] {
        assert!(imported.stderr.contains(left), "{left}: {}", imported.stderr);
    }

    // What people do by hand: where its state lies, and where it ships to.
    let up = site.up("[agent.sources]\n").started();
    let sources = imported.stdout.split_once("[topic]").unwrap().0;
    let (state, listen) = (site.path("state"), ports::free());
    let sources = sources.replace(
        "[agent]\n",
        &format!("[agent]\nstate_dir = \"{}\"\nlisten = \"127.0.0.1:{listen}\"\n", state.display()),
    );
    let config = site.write(
        "agent.toml",
        &format!("{sources}\n[topic]\ntype = \"http\"\nurl = \"{}\"\n", up.server.url()),
    );
    let checked = site.run(&["config", "check", "--config", &config]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let registry = site.path("registry").display().to_string();
    let positions = ["config", "import-positions", "filebeat", &registry, "--config", &config];
    let adopted = site.run(&positions);
    assert_eq!(adopted.code, Some(0), "{}", adopted.stderr);
    assert!(
        adopted.stdout.contains(&format!("app.log  shop  from byte {}", read.len())),
        "{}",
        adopted.stdout
    );

    let _agent = site.start("agent", &["agent", "--config", &config]);
    up.server.wait_for_total("*", 2, DEADLINE);
    up.server.wait_for_total("\"ours as well\" level:error", 1, DEADLINE);
    up.server.wait_for_total("\"never seen by it\"", 1, DEADLINE);
    up.assert_audit_is_complete(2);
    let busy = site.run(&positions);
    assert_ne!(busy.code, Some(0));
    assert!(busy.stderr.contains("another agent") || busy.stderr.contains("in use"), "{}", busy.stderr);
}

#[test]
fn what_is_no_configuration_is_said_with_its_place() {
    let site = Site::new(BINARY);
    let file = site.write("filebeat.yml", "filebeat.inputs:\n  - type: [log\n");
    let outcome = site.run(&["config", "import", "filebeat", &file]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""));
    assert!(outcome.stderr.contains("filebeat.yml:"), "{}", outcome.stderr);
    let outcome = site.run(&["config", "import", "logstash", &file]);
    assert_eq!(outcome.code, Some(2));
    let outcome = site.run(&["config", "import", "vector", "/nowhere/vector.toml"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
}
