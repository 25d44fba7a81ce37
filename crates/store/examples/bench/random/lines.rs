//! Lines: text of a few shapes with values in between, JSON in every spelling, and what no format foresees.

use super::values;
use crate::chance::Chance;

/// Texts; a `%` and a letter stand for a value.
const SHAPES: &[&str] = &[
    "%t INFO Served block blk_%s to /%a",
    "081109 203615 %i INFO dfs.DataNode$PacketResponder: PacketResponder %i for block blk_%s terminating",
    "%t %h sshd[%i]: Failed password for %n from %a port %i ssh2",
    "%t ERROR  [main]  org.example.%n.Server: took %d ms,\ttrace %x",
    "%a - %n [%c] \"GET /%w/%i?q=%w HTTP/1.1\" %i %i \"-\" \"%w\"",
    "kernel: [%d] eth%i: link %n, %i Mbps",
    "job %u finished: state=%n rows=%i bytes=%s ratio=%d",
    "%w%w%w",
    "key=%w key=%i key=%x (%w) [%w] {%w} <%w>",
    "%i",
    "%n %n %n",
    "Ошибка %n: файл %w не найден, код %i",
    "attempt_%i_%z_m_%z_%i TaskAttempt Transitioned from %n to %n",
    "%x%x-%x %z.%z.%z",
];
const NAMES: &[&str] = &["alice", "bob", "NEW", "DONE", "up", "down", "größe", "_", "a_b", "ALLOCATED", "x"];
/// JSON that is a value but no text.
const BARE: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1.0",
    "1e5",
    "1E-7",
    "-0.0",
    "1.50",
    "18446744073709551615",
    "-9223372036854775808",
    "123456789012345678901234567890",
    "1e400",
    "[]",
    "{}",
    "[1, 2,3]",
    "[{\"a\":[\"b\"]}]",
    "[ ]",
    "{\"a\":{\"b\":{\"c\":1}}}",
    "{ \"a\" : \"b\" }",
    "[null,[[]],\"x\\u0000\"]",
];
/// The inside of a JSON text, as it is written.
const ESCAPED: &[&str] = &[
    "",
    "\\n",
    "\\u0041",
    "\\/",
    "/",
    "\\\"",
    "\\\\",
    "\\ud83d\\ude00",
    "😀",
    "\\u00e9",
    "é",
    "\\t\\b\\f\\r",
    "\\u0000",
    "C:\\\\Windows\\\\System32",
    "a \\\"quoted\\\" word",
    "\\\\\\\\",
    "2026-01-15T00:00:00.060Z",
    "abcdef0123456789",
];
const KEYS: &[&str] = &[
    "message",
    "msg",
    "log",
    "error",
    "user",
    "host",
    "service",
    "a",
    "b.c",
    "größe",
    "",
    "x y",
    "k\\u0065y",
    "status",
    "a.b",
];

/// A line of text.
pub(crate) fn text(chance: &mut Chance) -> String {
    let mut line = String::new();
    let mut pieces = chance.pick(SHAPES).split('%');
    line.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let mut piece = piece.chars();
        if let Some(kind) = piece.next() {
            fill(kind, &mut line, chance);
        }
        line.push_str(piece.as_str());
    }
    line
}

fn fill(kind: char, line: &mut String, chance: &mut Chance) {
    let mut number = |below: usize| chance.below(below);
    let filled = match kind {
        'a' => format!("{}.{}.{}.{}", number(256), number(4), number(256), number(256)),
        'c' => format!(
            "{:02}/Jan/2026:{:02}:{:02}:{:02} +0100",
            1 + number(31),
            number(24),
            number(60),
            number(60)
        ),
        'd' => format!("{}.{:03}", number(5_000), number(1_000)),
        'h' => format!("web-{:03}", number(40)),
        'i' => [number(3), number(256), number(70_000)][number(3)].to_string(),
        's' => (chance.next() as i64 >> chance.below(50)).to_string(),
        't' => format!(
            "2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            1 + number(31),
            number(24),
            number(60),
            number(61),
            number(1_000)
        ),
        'u' => format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            number(1 << 32),
            number(1 << 16),
            number(1 << 12),
            number(1 << 12),
            number(1 << 48)
        ),
        'x' => format!("{:016x}", chance.next()),
        'z' => format!("{:06}", number(100_000)),
        'n' => chance.pick(NAMES).to_owned(),
        _ => values::text(chance),
    };
    line.push_str(&filled);
}

/// A JSON line; now and then it is broken.
pub(crate) fn json(chance: &mut Chance) -> String {
    let mut line = String::new();
    if chance.once_in(20) {
        line.push_str("  ");
    }
    let spaced = chance.below(3);
    line.push('{');
    if !chance.once_in(5) {
        member("timestamp", spaced, &mut line);
        line.push('"');
        fill('t', &mut line, chance);
        line.push('"');
    }
    if chance.once_in(2) {
        member("level", spaced, &mut line);
        line.push_str(chance.pick(&["\"info\"", "\"ERROR\"", "30", "\"custom\"", "null"]));
    }
    if chance.once_in(6) {
        member("trace_id", spaced, &mut line);
        line.push_str(&["\"", &format!("{:016x}{:016X}", chance.next(), chance.next()), "\""].concat());
    }
    for _ in 0..chance.below(6) {
        member(chance.pick(KEYS), spaced, &mut line);
        json_value(&mut line, chance);
    }
    if chance.once_in(60) {
        let depth = 10 + chance.below(12);
        member("deep", spaced, &mut line);
        line.push_str(&"{\"d\":".repeat(depth));
        line.push_str(chance.pick(BARE));
        line.push_str(&"}".repeat(depth));
    }
    line.push('}');
    match chance.below(60) {
        0 => drop(line.pop()),
        1 => line.push_str(" trailing"),
        2 => line.push_str("  "),
        3 => line.push_str("{\"a\":1}"),
        _ => {}
    }
    line
}

/// A key, in one of three ways to set white space.
fn member(key: &str, spaced: usize, line: &mut String) {
    if !line.ends_with('{') {
        line.push_str([",", ", ", " ,\t"][spaced]);
    }
    line.push('"');
    line.push_str(key);
    line.push('"');
    line.push_str([":", ": ", "  : "][spaced]);
}

fn json_value(line: &mut String, chance: &mut Chance) {
    match chance.below(5) {
        0 => line.push_str(chance.pick(BARE)),
        1 => line.push_str(&chance.below(1_000).to_string()),
        2 => {
            line.push('"');
            line.push_str(chance.pick(ESCAPED));
            line.push_str(chance.pick(ESCAPED));
            line.push('"');
        }
        _ => {
            let text = serde_json::Value::String(text(chance));
            line.push_str(&text.to_string());
        }
    }
}

/// Bytes that no format foresees.
pub(crate) fn odd(chance: &mut Chance) -> Vec<u8> {
    match chance.below(10) {
        0 => Vec::new(),
        1 => b" \t ".to_vec(),
        2 => text(chance).replace(' ', "\0").into_bytes(),
        3 => [text(chance).as_bytes(), b"\xff\xfe", text(chance).as_bytes()].concat(),
        4 => (0..190 + chance.below(20)).flat_map(|number| format!("{number} ").into_bytes()).collect(),
        5 => (0..chance.below(40)).map(|_| chance.next() as u8).collect(),
        6 => vec![0; chance.below(5)],
        7 => format!("\u{feff}{}\r", text(chance)).into_bytes(),
        8 if chance.once_in(200) => {
            chance.pick(&["x", "1", "ü", "a 1 ", "\"", "{"]).repeat(70_000).into_bytes()
        }
        _ => values::bytes(chance),
    }
}
