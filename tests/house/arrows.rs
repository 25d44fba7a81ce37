//! Who may import whom. The table is the design's; the rooms of outside crates stand below it.

use crate::{File, Member, source};

/// What each crate may import of ours. The binary (`millrace`) wires everything and may import all.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    // Brings a broker to tests. It is in no list, so it can be a dev-dependency alone.
    ("test-support", &[]),
    ("filter", &["model"]),
    ("pipes", &["model", "filter", "intake", "template"]),
    ("logql", &["model", "filter"]),
    ("elastic", &["model", "filter", "pipes"]),
    ("template", &["model"]),
    ("ledger", &["model"]),
    ("intake", &["model", "filter"]),
    ("listen", &["model", "config"]),
    ("import", &[]),
    ("transport", &["model", "config"]),
    ("store", &["model", "filter", "pipes", "template"]),
    // The threads that it lends wait for each other: `store` only says what they are to it.
    ("cores", &["store"]),
    ("storage", &["config"]),
    ("catalogue", &["model", "ledger", "config"]),
    ("detect", &["model", "filter", "pipes", "template"]),
    ("agent", &["model", "filter", "intake", "listen", "transport", "config"]),
    (
        "indexer",
        &["model", "filter", "ledger", "transport", "store", "cores", "storage", "catalogue", "config"],
    ),
    (
        "query",
        &[
            "model",
            "filter",
            "ledger",
            "intake",
            "transport",
            "pipes",
            "logql",
            "elastic",
            "listen",
            "store",
            "cores",
            "storage",
            "catalogue",
            "detect",
            "config",
        ],
    ),
];

const BINARY: &str = "millrace";
const PREFIX: &str = "millrace-";
const SERVICES: &[&str] = &["agent", "indexer", "query"];

/// Arithmetic, not input and output: they never wait, so they need no runtime.
const PURE: &[&str] =
    &["model", "filter", "logql", "elastic", "template", "ledger", "pipes", "store", "detect"];

/// Outside crates (a trailing `*` stands for any ending) and the only rooms that may list and name them.
pub(crate) const ROOMS: &[(&str, &[&str])] = &[
    ("rdkafka", &["crates/transport"]),
    ("tantivy", &["crates/store"]),
    ("object_store", &["crates/storage"]),
    ("sqlx", &["crates/catalogue"]),
    ("rsigma*", &["crates/detect"]),
    ("axum", &["query", "indexer", "agent", "crates/listen", "crates/transport", "src"]),
    ("utoipa", &["query", "agent", "src"]),
    // No crate, but a word that has one room as well.
    ("unsafe", &["src/memory.rs"]),
];

/// What the product is said to be built on.
const FOUNDATIONS: &[&str] =
    &["notify", "tokio", "rdkafka", "tantivy", "regex", "serde_json", "chrono", "axum", "flate2", "tracing"];

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// Does the crate's or path's name fit a pattern of [`ROOMS`]?
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let name = name.replace('-', "_");
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// Imports among our crates that the table does not have, and crates that stand in no table.
pub(crate) fn missing(members: &[Member]) -> Vec<String> {
    let mut broken = Vec::new();
    for member in members.iter().filter(|member| member.name != BINARY) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == short(&member.name)) else {
            broken.push(format!("{} is not in the table of tests/house/arrows.rs", member.name));
            continue;
        };
        let ours = member.dependencies.iter().filter(|name| name.starts_with(PREFIX) || *name == BINARY);
        for dependency in ours.filter(|name| !allowed.contains(&short(name))) {
            broken.push(format!("{} -> {dependency}", member.name));
        }
    }
    broken
}

pub(crate) fn between_services(members: &[Member]) -> Vec<String> {
    let services = members.iter().filter(|member| SERVICES.contains(&short(&member.name)));
    services
        .flat_map(|member| {
            let others = member.dependencies.iter().filter(|name| SERVICES.contains(&short(name)));
            others.map(|other| format!("{} -> {other}", member.name))
        })
        .collect()
}

pub(crate) fn tokio_in_pure_crates(members: &[Member]) -> Vec<String> {
    let pure = members.iter().filter(|member| PURE.contains(&short(&member.name)));
    let waiting = |name: &&String| *name == "tokio" || name.starts_with("tokio-");
    pure.flat_map(|member| {
        member.dependencies.iter().filter(waiting).map(|name| format!("{} lists {name}", member.name))
    })
    .collect()
}

pub(crate) fn out_of_room(members: &[Member]) -> Vec<String> {
    let mut broken = Vec::new();
    for member in members {
        // The binary's sources lie in src/.
        let folder = if member.name == BINARY { "src" } else { member.folder.to_str().unwrap_or_default() };
        for dependency in &member.dependencies {
            let room = ROOMS.iter().find(|(pattern, _)| fits(pattern, dependency));
            if let Some((_, rooms)) = room.filter(|(_, rooms)| !rooms.contains(&folder)) {
                broken.push(format!(
                    "{} lists {dependency}, which belongs to {}",
                    member.name,
                    rooms.join(", ")
                ));
            }
        }
    }
    broken
}

pub(crate) fn unused_foundations(members: &[Member], files: &[File]) -> Vec<String> {
    let used_by = |member: &Member, name: &str| {
        let sources = member.folder.join("src");
        files
            .iter()
            .filter(|file| file.path.starts_with(&sources))
            .any(|file| source::names(&file.text, name))
    };
    FOUNDATIONS
        .iter()
        .filter(|name| {
            let listed = members
                .iter()
                .filter(|member| member.dependencies.iter().any(|dependency| fits(name, dependency)));
            !listed.into_iter().any(|member| used_by(member, name))
        })
        .map(|name| (*name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, folder: &str, dependencies: &[&str]) -> Member {
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        Member { name: name.to_owned(), folder: folder.into(), dependencies }
    }

    #[test]
    fn an_import_without_an_arrow_is_found() {
        let members = [
            member("millrace", "", &["millrace-agent", "millrace-detect"]),
            member("millrace-model", "crates/model", &["serde", "millrace-filter"]),
            member("millrace-store", "crates/store", &["millrace-model", "millrace-catalogue"]),
            member("millrace-config", "config", &["millrace"]),
            member("millrace-shed", "crates/shed", &[]),
        ];
        assert_eq!(
            missing(&members),
            [
                "millrace-model -> millrace-filter",
                "millrace-store -> millrace-catalogue",
                "millrace-config -> millrace",
                "millrace-shed is not in the table of tests/house/arrows.rs",
            ]
        );
    }

    #[test]
    fn a_service_that_imports_a_service_is_found() {
        let members = [
            member("millrace", "", &["millrace-agent", "millrace-indexer"]),
            member("millrace-query", "query", &["millrace-model", "millrace-indexer"]),
        ];
        assert_eq!(between_services(&members), ["millrace-query -> millrace-indexer"]);
    }

    #[test]
    fn a_pure_crate_that_waits_is_found() {
        let members = [
            member("millrace-ledger", "crates/ledger", &["tokio"]),
            member("millrace-detect", "crates/detect", &["tokio-util", "serde"]),
            member("millrace-transport", "crates/transport", &["tokio"]),
        ];
        assert_eq!(
            tokio_in_pure_crates(&members),
            ["millrace-ledger lists tokio", "millrace-detect lists tokio-util"]
        );
    }

    #[test]
    fn an_outside_crate_in_the_wrong_room_is_found() {
        let members = [
            member("millrace", "", &["axum", "rdkafka"]),
            member("millrace-transport", "crates/transport", &["rdkafka", "tantivy"]),
            member("millrace-query", "query", &["axum", "rsigma-parser", "object_store"]),
            member("millrace-detect", "crates/detect", &["rsigma-eval"]),
        ];
        assert_eq!(
            out_of_room(&members),
            [
                "millrace lists rdkafka, which belongs to crates/transport",
                "millrace-transport lists tantivy, which belongs to crates/store",
                "millrace-query lists rsigma-parser, which belongs to crates/detect",
                "millrace-query lists object_store, which belongs to crates/storage",
            ]
        );
    }

    #[test]
    fn a_foundation_that_is_only_declared_is_found() {
        let members = [member("millrace-agent", "agent", FOUNDATIONS)];
        let file = |path: &str, text: &str| File { path: path.into(), text: text.to_owned() };
        let everything =
            FOUNDATIONS.iter().map(|name| format!("use {name}::x;\n")).collect::<Vec<_>>().concat();
        assert_eq!(unused_foundations(&members, &[file("agent/src/lib.rs", &everything)]), [""; 0]);
        let without = everything.replace("use notify::x;", "// use notify::x;").replace("use regex::x;", "");
        assert_eq!(unused_foundations(&members, &[file("agent/src/lib.rs", &without)]), ["notify", "regex"]);
        // Used, but by a crate that does not declare it.
        assert_eq!(
            unused_foundations(&members, &[file("query/src/lib.rs", &everything)]).len(),
            FOUNDATIONS.len()
        );
    }
}
