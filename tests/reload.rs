//! Settings that are read again while the process lives: nothing is lost, nothing comes twice, a mistake changes nothing, and a
//! service manager is told.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::{
    Site, Up,
    http::get,
    ports::free,
    process::Process,
    server::metric,
    wait::{until, until_true},
};
use serde_json::json;
use std::{fs, os::unix::net::UnixDatagram, process::Command, time::Duration};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const WITHIN: Duration = Duration::from_mins(1);

fn source(site: &Site, stream: &str) -> String {
    format!(
        "[agent.sources.app]\ntype = \"file\"\ninclude = [\"{}\"]\nstream = \"{stream}\"\n",
        site.log("app.log").display()
    )
}

#[test]
fn what_comes_after_a_reload_goes_where_the_new_settings_say() {
    let site = Site::new(BINARY);
    let mut up = site.up(&source(&site, "first")).started();
    let settings = site.path("up.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let reloads = |up: &Up<'_>, outcome: &str| {
        up.server.metric(&format!("millrace_agent_reloads_total{{outcome=\"{outcome}\"}}")).unwrap_or(0.0)
    };
    site.append("app.log", "line one\n");
    up.server.wait_for_total("stream:first", 1, WITHIN);

    // A mistake changes nothing, and is told.
    fs::write(&settings, text.replace("type = \"file\"", "type = \"flie\"")).unwrap();
    up.process().signal("HUP");
    until_true("the mistake is counted", WITHIN, || reloads(&up, "refused") >= 1.0);
    assert!(up.process().log().contains("did you mean \"file\"?"), "{}", up.process().log());
    site.append("app.log", "line two\n");
    up.server.wait_for_total("stream:first", 2, WITHIN);

    fs::write(&settings, text.replace("stream = \"first\"", "stream = \"second\"")).unwrap();
    up.process().signal("HUP");
    until_true("the new settings are in use", WITHIN, || reloads(&up, "used") >= 1.0);
    site.append("app.log", "line three\n");
    up.server.wait_for_total("stream:second", 1, WITHIN);
    up.server.wait_for_total("line", 3, WITHIN);
    assert_eq!(up.server.hits("stream:second")[0]["body"], json!("line three"));

    // What cannot be changed while the process lives is refused.
    fs::write(&settings, text.replace("[agent]", "[agent]\nstate_dir = \"/elsewhere\"")).unwrap();
    if !text.contains("[agent]") {
        fs::write(&settings, format!("[agent]\nstate_dir = \"/elsewhere\"\n{text}")).unwrap();
    }
    up.process().signal("HUP");
    until_true("it is refused", WITHIN, || reloads(&up, "refused") >= 2.0);
    assert!(up.process().log().contains("agent.state_dir is another"), "{}", up.process().log());

    // Many reloads while lines come.
    for number in 0..200 {
        site.append("app.log", format!("more {number}\n"));
        if number % 20 == 7 {
            fs::write(&settings, text.replace("stream = \"first\"", &format!("stream = \"s{number}\"")))
                .unwrap();
            up.process().signal("HUP");
        }
    }
    up.server.wait_for_total("more", 200, WITHIN);
    up.assert_audit_is_complete(203);
    up.stop();
}

#[test]
fn plus_a_reload_while_the_topic_is_away_is_done_at_once() {
    let site = Site::new(BINARY);
    let (nobody, listen) = (free(), free());
    let config = site.write(
        "agent.toml",
        &format!(
            "[agent]\nstate_dir = \"{}\"\nlisten = \"127.0.0.1:{listen}\"\n{}[topic]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:{nobody}\"]\n",
            site.path("state").display(),
            source(&site, "first"),
        ),
    );
    site.append("app.log", "one\n");
    let mut agent = site.start("agent", &["agent", "--config", &config]);
    let address = format!("127.0.0.1:{listen}");
    let used = || metric(&address, "millrace_agent_reloads_total{outcome=\"used\"}").unwrap_or(0.0);
    until_true("it is there", WITHIN, || get(&address, "/healthz").is_ok());
    for count in 1..4 {
        agent.signal("HUP");
        until_true("it is reloaded", WITHIN, || used() >= f64::from(count));
    }
    agent.terminate(WITHIN);
    assert!(agent.log().contains("are in use"), "{}", agent.log());
}

#[test]
fn a_service_manager_is_told_what_goes_on() {
    let site = Site::new(BINARY);
    let socket = site.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let listen = free();
    let config = site.write(
        "agent.toml",
        &format!(
            "[agent]\nstate_dir = \"{}\"\nlisten = \"127.0.0.1:{listen}\"\n[topic]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:{}\"]\n",
            site.path("state").display(),
            free(),
        ),
    );
    let mut command = site.command(&["agent", "--config", &config]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000");
    let mut agent = Process::start(&mut command, &site.path("agent.out"));
    let told = |wanted: &str| {
        until(&format!("{wanted} is told"), WITHIN, || {
            let mut buffer = [0; 500];
            let length = manager.recv(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            text.lines().any(|line| line == wanted).then_some(text)
        })
    };
    told("READY=1");
    told("WATCHDOG=1");
    agent.signal("HUP");
    assert!(told("RELOADING=1").contains("MONOTONIC_USEC="));
    told("READY=1");
    agent.signal("TERM");
    told("STOPPING=1");
    agent.wait(WITHIN);
}

#[test]
fn the_service_is_confined() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/config/systemd/millrace-agent.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", unit])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let overall = text
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .unwrap_or_else(|| panic!("{output:?}"));
    let level: f64 = overall.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(level < 3.0, "{text}");
}
