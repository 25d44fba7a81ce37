//! The house keeps its own rules: which crate may import which, which outside crate lives in which room, how long a
//! file may be and how it opens. Each rule is a test over this workspace, and each checker is tested on a made-up
//! house that breaks it.

#[path = "house/arrows.rs"]
mod arrows;
#[path = "house/source.rs"]
mod source;

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::path::{Path, PathBuf};

/// A crate of the workspace as the rules see it.
#[derive(Debug, Clone, Default)]
struct Member {
    name: String,
    /// Its folder, relative to the workspace.
    folder: PathBuf,
    /// What it imports, tests aside.
    dependencies: Vec<String>,
}

/// A Rust file of the workspace.
#[derive(Debug, Clone)]
struct File {
    /// Relative to the workspace.
    path: PathBuf,
    text: String,
}

#[expect(clippy::unwrap_used, reason = "tests")]
fn members() -> Vec<Member> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec().unwrap();
    let members = metadata.workspace_packages().into_iter().map(|package| Member {
        name: package.name.to_string(),
        folder: package
            .manifest_path
            .parent()
            .unwrap()
            .as_std_path()
            .strip_prefix(root)
            .unwrap()
            .to_path_buf(),
        dependencies: package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .map(|dependency| dependency.name.clone())
            .collect(),
    });
    members.collect()
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(""), &mut files);
    assert!(files.len() > 20, "the Rust files of the workspace were not found");
    files
}

#[expect(clippy::unwrap_used, reason = "tests")]
fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = folder.join(&name);
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && !["target", "node_modules", "data"].contains(&name.as_str()) {
                collect(root, &path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(File { text: std::fs::read_to_string(root.join(&path)).unwrap(), path });
        }
    }
}

/// Fails with one line for each broken rule.
fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_import_follows_an_arrow_of_the_design() {
    assert_none(
        "imports without an arrow (a new arrow is a decision: docs/decisions)",
        &arrows::missing(&members()),
    );
}

#[test]
fn services_never_import_one_another() {
    assert_none("services that import a service", &arrows::between_services(&members()));
}

#[test]
fn pure_crates_do_not_list_tokio() {
    assert_none("pure crates that list tokio", &arrows::tokio_in_pure_crates(&members()));
}

#[test]
fn each_outside_crate_stays_in_its_room() {
    assert_none("outside crates listed in the wrong room", &arrows::out_of_room(&members()));
}

#[test]
fn what_the_product_is_built_on_is_declared_and_used() {
    assert_none("not declared and used", &arrows::unused_foundations(&members(), &files()));
}

#[test]
fn no_file_speaks_of_another_layers_crate() {
    assert_none("names out of their room", &source::names_out_of_room(&files()));
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    assert_none("files that do not open with `//!`", &source::without_opening(&files()));
}

#[test]
#[expect(clippy::print_stdout, reason = "the list of long files is for whoever reads the test's output")]
fn no_file_is_too_long() {
    let files = files();
    for (path, lines) in source::longer_than(400, &files) {
        println!("{path}: {lines} lines; does it still have one job?");
    }
    let broken =
        source::longer_than(800, &files).into_iter().map(|(path, lines)| format!("{path}: {lines} lines"));
    assert_none("files over 800 lines", &broken.collect::<Vec<_>>());
}
