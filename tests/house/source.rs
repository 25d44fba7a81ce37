//! Rules on the text of files: how they open, how long they are, and which names they speak.

use crate::{
    File,
    arrows::{ROOMS, fits},
};
use std::path::Path;

/// A file of tests beside its subject; it says nothing of its own and may be long.
fn is_tests(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
}

pub(crate) fn without_opening(files: &[File]) -> Vec<String> {
    let silent = files.iter().filter(|file| !is_tests(&file.path) && !file.text.starts_with("//! "));
    silent.map(|file| file.path.display().to_string()).collect()
}

/// Files over so many lines, longest first.
pub(crate) fn longer_than(bound: usize, files: &[File]) -> Vec<(String, usize)> {
    let counted = files.iter().filter(|file| !is_tests(&file.path));
    let mut long: Vec<_> =
        counted.map(|file| (file.path.display().to_string(), file.text.lines().count())).collect();
    long.retain(|(_, lines)| *lines > bound);
    long.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    long
}

/// Names of outside crates in the code (not in comments or texts) of a room that is not theirs.
pub(crate) fn names_out_of_room(files: &[File]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        let code = code_of(&file.text);
        for (number, line) in code.lines().enumerate() {
            for (pattern, rooms) in ROOMS {
                let inside = rooms.iter().any(|room| file.path.starts_with(room));
                if !inside && words(line).any(|word| fits(pattern, word)) {
                    broken.push(format!(
                        "{}:{}: {}",
                        file.path.display(),
                        number + 1,
                        pattern.trim_end_matches('*')
                    ));
                }
            }
        }
    }
    broken
}

/// Does the code name the crate, as a path's first part?
pub(crate) fn names(text: &str, name: &str) -> bool {
    let code = code_of(text);
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') && after.starts_with("::")
    })
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The file with comments and texts blanked; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = skipped(rest);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            code.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
        }
    }
    code
}

/// How many bytes of comment, text or character stand at the start.
fn skipped(rest: &str) -> usize {
    let until =
        |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until("*/", 2);
    }
    if let Some(hashes) = raw_hashes(rest) {
        return until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
    }
    if rest.starts_with('"') {
        return until_unescaped_quote(rest);
    }
    // Characters that would open a text: '"' and '\''; a lifetime is neither.
    if rest.starts_with("'\"'") {
        return 3;
    }
    if rest.starts_with("'\\") {
        return until("'", 3);
    }
    0
}

/// The number of `#` of a raw text `r##"` that starts here.
fn raw_hashes(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn until_unescaped_quote(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_is_found() {
        let files = [
            file("a.rs", "//! Says it.\n"),
            file("b.rs", "// says it wrongly\n"),
            file("c.rs", ""),
            file("x/tests.rs", "use super::*;\n"),
        ];
        assert_eq!(without_opening(&files), ["b.rs", "c.rs"]);
    }

    #[test]
    fn long_files_are_found_but_for_tests() {
        let lines = |count| "\n".repeat(count);
        let files = [
            file("a.rs", &lines(400)),
            file("b.rs", &lines(401)),
            file("c.rs", &lines(900)),
            file("x/tests.rs", &lines(2000)),
        ];
        assert_eq!(longer_than(400, &files), [("c.rs".to_owned(), 900), ("b.rs".to_owned(), 401)]);
        assert_eq!(longer_than(800, &files), [("c.rs".to_owned(), 900)]);
    }

    #[test]
    fn a_name_of_another_layer_is_found_in_code_alone() {
        let text = "//! Not like tantivy.\nuse tantivy::Index;\nlet a = \"tantivy \\\" tantivy\"; /* tantivy\n */ let b = r#\"tantivy \" \"#;\nlet c = ('\"', tantivy);\nlet my_tantivy_like = 1; fn f<'a>(x: &'a str) {} let d = '\\''; // tantivy\n";
        assert_eq!(
            names_out_of_room(&[file("query/src/a.rs", text), file("crates/store/src/a.rs", text)]),
            ["query/src/a.rs:2: tantivy", "query/src/a.rs:5: tantivy"]
        );
        let text = "//! Edge.\nuse axum::Router;\nuse rsigma_parser::Rule;\n";
        assert_eq!(
            names_out_of_room(&[file("src/admin.rs", text), file("crates/detect/src/a.rs", text)]),
            ["src/admin.rs:3: rsigma", "crates/detect/src/a.rs:2: axum"]
        );
    }

    #[test]
    fn naming_a_crate_is_told_from_naming_anything_else() {
        assert!(names("use regex::Regex;", "regex"));
        assert!(names("fn f() -> regex::Regex {}", "regex"));
        assert!(!names("// use regex::Regex;", "regex"));
        assert!(!names("use my_regex::Regex; use a::regex::Regex; let regex = 1;", "regex"));
    }
}
