//! Every example of docs/query-language.md, with the real binary: the page says what the command says.
#![expect(clippy::unwrap_used, reason = "tests")]

use millrace_test_support::Site;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_millrace");
const DEADLINE: Duration = Duration::from_mins(1);
const PAGE: &str = include_str!("../docs/query-language.md");
const HOUR: [&str; 4] = ["--since", "2026-01-15T10:00:00Z", "--until", "2026-01-15T11:00:00Z"];

/// The blocks of the page that are fenced with this word.
fn blocks(word: &str) -> impl Iterator<Item = &'static str> {
    let fence = format!("```{word}\n");
    let mut rest = PAGE;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(&fence)?;
        let (block, after) = behind.split_once("```")?;
        rest = after;
        Some(block)
    })
}

/// As a shell reads it: between single quotes, `'\''` for one of these.
fn query(command: &str) -> String {
    let quoted =
        command.strip_prefix("$ millrace search '").and_then(|rest| rest.strip_suffix('\'')).unwrap();
    quoted.replace("'\\''", "'")
}

#[test]
fn the_examples_of_the_page_say_what_the_command_says() {
    let site = Site::new(BINARY);
    let logs = site.path("logs").display().to_string();
    let up = site
        .up(&format!(
            "[agent.sources.a]\ntype = \"file\"\ninclude = [\"{logs}/*\"]\nparse = [\"logfmt\"]\n\
             [streams.logs]\nretention = \"36500d\"\n"
        ))
        .started();
    let lines = blocks("text").next().unwrap();
    site.append("shop.log", lines);
    up.server.wait_for_total("*", lines.lines().count() as u64, DEADLINE);

    let mut wrong = String::new();
    let mut examples = 0;
    for block in blocks("console") {
        let (command, expected) = block.split_once('\n').unwrap();
        let outcome = up.run(&[&["search", &query(command)], &HOUR[..]].concat());
        let said = if outcome.code == Some(0) { outcome.stdout } else { outcome.stderr };
        examples += 1;
        if said != expected {
            wrong.extend([command, "\n", &said, "instead of\n", expected, "\n"]);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(examples > 50, "{examples} examples");
}

/// Whatever can be written is shown at least once.
#[test]
fn each_pipe_aggregate_and_function_has_an_example() {
    let examples: String =
        blocks("console").filter_map(|block| block.split_once('\n')).map(|(command, _)| command).collect();
    for word in millrace_pipes::words() {
        let shown = if word == "p50" { examples.contains("p50(") } else { examples.contains(word) };
        assert!(shown, "{word} has no example in docs/query-language.md");
    }
}
