//! The container files and the shipped examples are true: what they run, set and copy exists in this binary and in
//! this tree. No container engine is needed; that the image builds is not shown here.

use serde_yaml_ng::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const COMPOSE: [&str; 2] = ["docker/compose.yaml", "docker/compose.kafka.yaml"];
const EXAMPLES: [&str; 4] = ["agent", "indexer", "query", "up"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[expect(clippy::unwrap_used, reason = "tests")]
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// What a service of a compose file runs with.
#[derive(Debug, Default, PartialEq)]
struct Service {
    /// Runs an image of ours, not one from outside.
    built: bool,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
}

fn texts(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_sequence)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[expect(clippy::unwrap_used, reason = "tests")]
fn services(yaml: &str) -> BTreeMap<String, Service> {
    let mut file: Value = serde_yaml_ng::from_str(yaml).unwrap();
    file.apply_merge().unwrap();
    let services = file["services"].as_mapping().unwrap().iter();
    let read = services.map(|(name, service)| {
        let environment = service.get("environment").and_then(Value::as_mapping).into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let read = Service {
            built: service.get("build").is_some(),
            arguments: texts(service.get("command")),
            environment: environment.map(|(name, value)| (text(name), text(value))).collect(),
        };
        (text(name), read)
    });
    read.collect()
}

/// Arguments that the help of their command does not know; the first argument is the command.
fn unknown_flags(arguments: &[String], help: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let Some((command, rest)) = arguments.split_first() else { return vec!["no command".to_owned()] };
    let Some(help) = help(command) else { return vec![command.clone()] };
    let known: Vec<&str> = help.split(|c: char| c.is_whitespace() || "[]<>=,|".contains(c)).collect();
    rest.iter().filter(|flag| flag.starts_with("--") && !known.contains(&flag.as_str())).cloned().collect()
}

#[expect(clippy::unwrap_used, reason = "tests")]
fn help(command: &str) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_millrace")).args([command, "--help"]).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// `millrace config check` on the file, with the environment.
#[expect(clippy::unwrap_used, reason = "tests")]
fn check_configuration(file: &Path, environment: &BTreeMap<String, String>) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["config", "check", "--config"]).arg(file).envs(environment);
    let output = command.output().unwrap();
    let told = || String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{}: {}", file.display(), told())) }
}

#[test]
fn compose_files_run_this_binary_with_flags_that_it_has() {
    for file in COMPOSE {
        let services = services(&text(file));
        assert!(services.values().any(|service| service.built), "{file} runs nothing of ours");
        for (name, service) in services.into_iter().filter(|(_, service)| service.built) {
            let unknown = unknown_flags(&service.arguments, help);
            assert!(unknown.is_empty(), "{file}, {name}: not known to the binary: {unknown:?}");
        }
    }
}

#[test]
fn compose_files_set_what_can_be_set() {
    for file in COMPOSE {
        for (name, service) in services(&text(file)).into_iter().filter(|(_, service)| service.built) {
            let config =
                service.arguments.iter().find_map(|argument| argument.strip_prefix("/etc/millrace/"));
            let config = root().join("config").join(config.unwrap_or("up.toml"));
            if let Err(told) = check_configuration(&config, &service.environment) {
                panic!("{file}, {name}: {told}");
            }
        }
    }
}

#[test]
fn every_shipped_example_is_a_valid_configuration() {
    for name in EXAMPLES {
        if let Err(told) = check_configuration(&root().join(format!("config/{name}.toml")), &BTreeMap::new())
        {
            panic!("{told}");
        }
    }
}

#[test]
fn the_image_runs_as_nobody_special_and_copies_what_there_is() {
    let file = text("docker/Dockerfile");
    let lines: Vec<Vec<&str>> = file.lines().map(|line| line.split_whitespace().collect()).collect();
    let last_stage = lines.iter().rposition(|line| line.first() == Some(&"FROM")).unwrap_or_default();
    let user = lines[last_stage..].iter().find(|line| line.first() == Some(&"USER"));
    assert_eq!(user.map(|line| line[1]), Some("millrace"), "the last stage must not run as root");
    for line in lines.iter().filter(|line| line.first() == Some(&"COPY") && !line[1].starts_with("--from")) {
        for source in &line[1..line.len() - 1] {
            assert!(root().join(source).exists(), "COPY of {source}, which is not in the tree");
        }
    }
    let pinned = text("rust-toolchain.toml");
    let version = pinned.split('"').nth(1).unwrap_or_default();
    assert!(
        file.contains(&format!("FROM rust:{version}-")),
        "the image builds with another Rust than {version}"
    );
    let command =
        file.lines().find_map(|line| line.strip_prefix("CMD ")).map(serde_yaml_ng::from_str::<Value>);
    let unknown = unknown_flags(&texts(command.and_then(Result::ok).as_ref()), help);
    assert!(unknown.is_empty(), "CMD: not known to the binary: {unknown:?}");
}

#[test]
fn a_flag_or_command_that_the_binary_lacks_is_found() {
    let help = |command: &str| {
        (command == "up").then(|| "Usage: up [OPTIONS]\n  --data <DIR>  --listen=<X>".to_owned())
    };
    let unknown = |arguments: &[&str]| {
        unknown_flags(&arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), help)
    };
    assert_eq!(unknown(&["up", "--data", "/x", "--listen", "y"]), [""; 0]);
    assert_eq!(unknown(&["up", "--dat", "/x"]), ["--dat"]);
    assert_eq!(unknown(&["down"]), ["down"]);
    assert_eq!(unknown(&[]), ["no command"]);
}

#[test]
fn compose_files_are_read_with_their_anchors() {
    let yaml = "x-a: &a\n  build: .\nservices:\n  one:\n    <<: *a\n    command: [up, --data]\n    environment:\n      X: \"1\"\n  two:\n    image: other\n";
    let services = services(yaml);
    let environment = [("X".to_owned(), "1".to_owned())].into();
    let arguments = vec!["up".to_owned(), "--data".to_owned()];
    assert_eq!(services["one"], Service { built: true, arguments, environment });
    assert_eq!(services["two"], Service::default());
}
