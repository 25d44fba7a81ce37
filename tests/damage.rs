//! What happens to a data folder's files: one byte changed, cut short, gone, unreadable, for each kind of file. The start, a
//! search and `millrace audit --verify` say what is wrong and where, and the rest is served; a table tells what they say.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "damage/kinds.rs"]
mod kinds;
#[path = "damage/world.rs"]
mod world;

use kinds::{AGENT, DAMAGES, Damage, Kind, STORED, TOPIC, may_be_silent};
use millrace_test_support::Site;
use serde_json::json;
use std::path::Path;
use world::{Left, Told, World};

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");

/// Damages a file of each of these kinds in every way. All that is wrong is told at once.
fn try_all(kinds: &[Kind], left: &[Left]) {
    let site = Site::new(BINARY);
    let world = World::new(&site);
    let mut wrong = Vec::new();
    for left in left {
        let files = world.kinds(*left);
        for kind in kinds {
            let Some(file) = files.get(kind) else {
                assert!(*left == Left::Stopped, "no {kind:?} in {files:?}");
                continue;
            };
            for damage in DAMAGES {
                let Some(told) = world.try_with(*left, file, damage) else { continue };
                println!("{file} | {left:?}, {damage:?} | {}", row(&told));
                let judged = judge(*kind, file, damage, &told);
                wrong.extend(
                    judged.into_iter().map(|what| format!("{file} {left:?} {damage:?}: {what}\n{told:#?}")),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

/// What was said, in short.
fn row(told: &Told) -> String {
    let last =
        |text: &str| text.trim().lines().last().unwrap_or_default().chars().take(300).collect::<String>();
    if let Some((code, message)) = &told.refused {
        return format!("refused ({}): {}", code.unwrap_or(-1), last(message));
    }
    let audit = told.audit.as_ref().unwrap();
    let findings =
        audit.stdout.lines().filter(|line| line.starts_with("FINDING") || line.contains("missing"));
    let partial = told.search["missing"].as_array().into_iter().flatten();
    let partial: Vec<&str> = partial.filter_map(|missing| missing["reason"].as_str()).collect();
    format!(
        "started: {} | search: {} of {}, {} | audit ({}): {}",
        last(&told.log),
        told.search["total"],
        told.expected,
        if partial.is_empty() { "whole".to_owned() } else { format!("partial: {}", partial.join("; ")) },
        audit.code.unwrap_or(-1),
        findings.map(|line| line.trim().chars().take(200).collect::<String>()).collect::<Vec<_>>().join("; ")
    )
}

/// What is wrong with what was said of a damage.
fn judge(kind: Kind, file: &str, damage: Damage, told: &Told) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what| {
        if !holds {
            wrong.push(what);
        }
    };
    must(!told.log.contains("panicked"), "something panicked");
    let name = Path::new(file).file_name().unwrap().to_str().unwrap();
    if let Some((code, message)) = &told.refused {
        must(*code == Some(1), "it ended with another code than 1");
        must(message.contains(name), "the refusal does not name the file");
        let is_catalogue = matches!(kind, Kind::Catalogue | Kind::CatalogueLog | Kind::CatalogueIndex);
        must(
            !is_catalogue || message.contains("millrace catalogue rebuild"),
            "the refusal does not name the command that mends it",
        );
        must(
            !matches!(damage, Damage::Flip(_)) || kind == Kind::Catalogue,
            "one changed byte keeps it from starting",
        );
        return wrong;
    }
    let audit = told.audit.as_ref().unwrap();
    let said = format!("{}{}{}{}", told.log, told.search["missing"], audit.stdout, audit.stderr);
    let is_whole = told.search["total"] == json!(told.expected);
    let is_partial = told.search["partial"] == json!(true);
    must(told.fresh, "what was written after the start is not found");
    must(is_whole || is_partial || audit.code == Some(1), "the answer lacks something, and nobody says so");
    must(is_partial || audit.code == Some(0) || audit.code == Some(1), "the audit failed");
    if may_be_silent(kind, damage).is_some() {
        must(is_whole && !is_partial, "it may be silent, but not lack anything");
        must(audit.code == Some(0), "it may be silent, but the audit finds something");
    } else {
        // A segment that is gone shows in the one after it.
        let folder = Path::new(file).parent().unwrap().to_str().unwrap();
        let partition = folder.rsplit('/').next().map(|number| format!("partition {number}")).unwrap();
        let names = [name, folder, &partition];
        // A row is named by what it is about.
        let name = if kind == Kind::Catalogue { "FINDING" } else { name };
        must(
            said.contains(name)
                || (damage == Damage::Removed && names.iter().any(|name| said.contains(name))),
            "nobody names the file",
        );
    }
    wrong
}

#[test]
fn damage_to_an_agents_state_and_to_locks() {
    try_all(AGENT, &[Left::Killed]);
}

#[test]
fn damage_to_the_embedded_topic() {
    try_all(TOPIC, &[Left::Killed]);
}

#[test]
fn damage_to_the_topic_after_all_is_published_loses_nothing_that_comes_later() {
    try_all(&[Kind::ActiveSegment], &[Left::Stopped]);
}

#[test]
fn damage_to_the_catalogue_and_to_what_is_stored() {
    try_all(STORED, &[Left::Stopped, Left::Killed]);
}
