//! A hit as a line for people: time, host, level, body.

use crate::{cli::Colour, client::printable};
use serde_json::Value;
use std::{
    env,
    io::{self, IsTerminal},
};

/// Is standard output written in colours? `NO_COLOR` is heeded.
pub(crate) fn is_coloured(colour: Colour) -> bool {
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            io::stdout().is_terminal() && !refused
        }
    }
}

/// See the module.
pub(crate) fn line(hit: &Value, coloured: bool) -> String {
    let time: String = hit["timestamp"].as_str().unwrap_or_default().chars().take(23).collect();
    let host = hit["resource"]["host.name"].as_str().map_or_else(|| "-".to_owned(), printable);
    let level = hit["severity_text"].as_str().filter(|level| !level.is_empty());
    let level = level.map_or_else(|| "-".to_owned(), printable);
    let body = hit["body"].as_str().map_or_else(|| printable(&hit["body"].to_string()), printable);
    if !coloured {
        return format!("{time} {host} {level} {body}");
    }
    let colour = match hit["severity_number"].as_u64().unwrap_or(0) {
        17.. => "31",
        13..=16 => "33",
        _ => "36",
    };
    format!("\x1b[2m{time}\x1b[0m {host} \x1b[{colour}m{level}\x1b[0m {body}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_of_a_record_drives_the_terminal() {
        let hit = json!({
            "timestamp": "2026-01-15T10:00:00.000000000Z", "severity_text": "a\x1b[2J", "severity_number": 17,
            "body": {"k": "\u{7f}"}, "resource": {"host.name": "h\n"},
        });
        assert_eq!(line(&hit, false), "2026-01-15T10:00:00.000 h\u{fffd} a\u{fffd}[2J {\"k\":\"\u{fffd}\"}");
        assert!(line(&hit, true).contains("\x1b[31ma\u{fffd}[2J"));
    }
}
