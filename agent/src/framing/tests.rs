#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

/// A piece by itself: where it begins, how long it is, its kind, and what is kept of it.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    at: u64,
    length: u64,
    skipped: Option<SkipReason>,
    text: Vec<u8>,
    original: Option<u64>,
    crc32c: u32,
}

fn crc_of(raw: Raw<'_>) -> u32 {
    match raw {
        Raw::Bytes(bytes) => crc32c::crc32c(bytes),
        Raw::Digest { crc32c, .. } => crc32c,
    }
}

fn frame(blocks: &[&[u8]], max_line: usize, finish: bool) -> (Vec<Owned>, Framer) {
    let mut framer = Framer::new(0, &Framing::lines(max_line));
    let (mut pieces, mut at) = (Vec::new(), 0);
    let mut take = |piece: Piece<'_>| {
        let mut push = |length, skipped, text: &[u8], original, crc32c| {
            pieces.push(Owned { at, length, skipped, text: text.to_vec(), original, crc32c });
            at += length;
        };
        match piece {
            Piece::Line { text, raw, length, .. } => push(length, None, text, None, crc_of(raw)),
            Piece::OverLong { kept, rest, rest_length, length, .. } => {
                push(kept.len() as u64, None, kept, Some(length), crc32c::crc32c(kept));
                push(rest_length, Some(SkipReason::OverLong), b"", None, crc_of(rest));
            }
            Piece::Skipped { reason, raw, length, .. } => push(length, Some(reason), b"", None, crc_of(raw)),
        }
    };
    for block in blocks {
        framer.push(block, &mut take);
    }
    if finish {
        framer.finish(&mut take);
    }
    (pieces, framer)
}

fn texts(bytes: &[u8], max_line: usize) -> Vec<String> {
    let (pieces, _) = frame(&[bytes], max_line, true);
    let show = |piece: &Owned| match (piece.skipped, piece.original) {
        (Some(reason), _) => format!("<{} {}>", reason.name(), piece.length),
        (None, Some(original)) => format!("{}…{original}", String::from_utf8_lossy(&piece.text)),
        (None, None) => String::from_utf8_lossy(&piece.text).into_owned(),
    };
    pieces.iter().map(show).collect()
}

#[test]
fn lines_of_every_kind() {
    assert_eq!(texts(b"a\nb\r\n\n \t\nlast", 9), ["a", "b", "<blank 1>", "<blank 3>", "last"]);
    assert_eq!(texts(b"\xef\xbb\xbfa\nb\n", 9), ["a", "b"], "a byte order mark leads the file");
    assert_eq!(texts(b"12345\n123456\n12345\r\n1\n", 5), ["12345", "12345…6", "<over_long 2>", "12345", "1"]);
    assert_eq!(texts(b"\0\0\0a\n\0\nb\0\n", 9), ["<nul 3>", "a", "<nul 1>", "<blank 1>", "b\0"]);
    assert_eq!(texts("aü\n".as_bytes(), 2), ["a…3", "<over_long 3>"], "no character is cut");
    assert_eq!(texts(b"", 9), Vec::<String>::new());
}

#[test]
fn the_last_line_waits_for_its_end() {
    let (pieces, framer) = frame(&[b"a\nbc", b"d"], 9, false);
    assert_eq!((pieces.len(), framer.at(), framer.pending()), (1, 2, 3));
    let (pieces, framer) = frame(&[b"a\nbc", b"d\n"], 9, false);
    assert_eq!((pieces[1].text.as_slice(), framer.at(), framer.pending()), (&b"bcd"[..], 6, 0));
}

#[test]
fn an_endless_line_is_not_held() {
    let block = vec![b'x'; 1 << 20];
    let mut framer = Framer::new(0, &Framing::lines(1000));
    for _ in 0..50 {
        framer.push(&block, &mut |piece| panic!("too early: {piece:?}"));
    }
    assert!(framer.held.capacity() < 5000);
    let mut lengths = Vec::new();
    framer.push(b"\nnext\n", &mut |piece| {
        lengths.push(match piece {
            Piece::OverLong { length, .. } => length,
            Piece::Line { text, .. } => text.len() as u64,
            Piece::Skipped { .. } => 0,
        });
    });
    assert_eq!(lengths, [50 << 20, 4]);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![4 => Just(b'\n'), 2 => Just(b'\r'), 2 => Just(0), 2 => Just(b' '), 10 => any::<u8>()];
    prop::collection::vec(byte, 0..400)
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_pieces_and_they_tile(
        bytes in bytes(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        max_line in 4usize..40,
        finish in any::<bool>(),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut blocks = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            blocks.push(&bytes[from..cut]);
            from = cut;
        }
        let (whole, framer) = frame(&[&bytes], max_line, finish);
        let (cut, _) = frame(&blocks, max_line, finish);
        prop_assert_eq!(&whole, &cut);

        let mut at = 0;
        for piece in &whole {
            prop_assert_eq!(piece.at, at);
            let raw = &bytes[at as usize..(at + piece.length) as usize];
            prop_assert_eq!(piece.crc32c, crc32c::crc32c(raw));
            at += piece.length;
        }
        prop_assert_eq!(framer.at(), at);
        prop_assert_eq!(at + framer.pending(), bytes.len() as u64);
        if finish {
            prop_assert_eq!(framer.pending(), 0);
        }
    }

    #[test]
    fn going_on_from_any_piece_gives_the_same_rest(bytes in bytes(), at in any::<prop::sample::Index>()) {
        let (whole, _) = frame(&[&bytes], 20, true);
        // An over-long line is one piece of the framer: its two runs are never parted.
        let edges: Vec<usize> = (0..whole.len()).filter(|n| whole[*n].skipped != Some(SkipReason::OverLong)).collect();
        prop_assume!(!edges.is_empty());
        let from = edges[at.index(edges.len())];
        let start = whole[from].at;
        prop_assume!(start > 0);
        let mut framer = Framer::new(start, &Framing::lines(20));
        let mut length = 0;
        let mut pieces = 0;
        let mut count = |piece: Piece<'_>| {
            let (runs, bytes) = match piece {
                Piece::OverLong { kept, rest_length, .. } => (2, kept.len() as u64 + rest_length),
                Piece::Line { length, .. } | Piece::Skipped { length, .. } => (1, length),
            };
            pieces += runs;
            length += bytes;
        };
        framer.push(&bytes[start as usize..], &mut count);
        framer.finish(&mut count);
        prop_assert_eq!((pieces, start + length), (whole.len() - from, bytes.len() as u64));
    }
}

/// The records that lines become, by these rules.
fn gathered(multiline: &Multiline, text: &str) -> Vec<String> {
    let mut framer =
        Framer::new(0, &Framing { multiline: Some(multiline.clone()), ..Framing::lines(1 << 20) });
    let mut records = Vec::new();
    let mut take = |piece: Piece<'_>| {
        if let Piece::Line { text, .. } = piece {
            records.push(String::from_utf8_lossy(text).into_owned());
        }
    };
    framer.push(text.as_bytes(), &mut take);
    framer.finish(&mut take);
    records
}

/// Records as a preset must find them: each with all of its lines.
fn assert_gathers(preset: &str, records: &[&str]) {
    let text = records.join("\n") + "\n";
    assert_eq!(gathered(&Multiline::preset(preset).unwrap(), &text), records, "{preset}");
}

#[test]
fn a_records_first_line_may_be_told_by_an_expression() {
    let dated = Multiline::start(r"^\d{4}-").unwrap();
    let text = "  before\n2026-01-01 a\n\n  b\r\nc\r\n2026-01-02 d\n\n\n2026-01-03 e";
    assert_eq!(
        gathered(&dated, text),
        ["  before", "2026-01-01 a\n\n  b\r\nc", "2026-01-02 d", "2026-01-03 e"]
    );
}

#[test]
fn stack_traces_of_java() {
    assert_gathers(
        "java",
        &[
            "2026-01-01 INFO started",
            "2026-01-01 ERROR it failed\njava.lang.Exception: not open\n\tat com.example.Door.enter(Door.java:12)\n\
             \tat com.example.Main.main(Main.java:5)\nCaused by: java.io.IOException: no key\n\tat com.example.Key.turn(Key.java:3)\n\
             \t... 2 more\n\tSuppressed: java.lang.Exception: x\n\t\tat a.b.C.d(C.java:1)",
            "Exception in thread \"main\" java.lang.Error: y\n\tat a.B.c(B.java:1)",
            "2026-01-01 INFO going on",
            "java is a language",
        ],
    );
}

#[test]
fn stack_traces_of_python() {
    assert_gathers(
        "python",
        &[
            "INFO:root:started",
            "ERROR:root:it failed\nTraceback (most recent call last):\n  File \"a.py\", line 3, in f\n    g()\n    ~^^\n\
             ValueError: no\n\nDuring handling of the above exception, another exception occurred:\n\n\
             Traceback (most recent call last):\n  File \"a.py\", line 5, in <module>\n    f()\nmypackage.errors.Failed: x",
            "Traceback (most recent call last):\n  File \"b.py\", line 1\nKeyboardInterrupt",
            "INFO:root:going on",
        ],
    );
}

#[test]
fn stack_traces_of_go() {
    assert_gathers(
        "go",
        &[
            "started",
            "panic: runtime error: index out of range [3] with length 3\n\ngoroutine 1 [running]:\nmain.(*Door).Enter(0x1)\n\
             \t/app/main.go:12 +0x1d\nmain.main()\n\t/app/main.go:5 +0x20\ncreated by main.run in goroutine 7\n\t/app/main.go:9 +0x5\nexit status 2",
            "started again",
        ],
    );
}

#[test]
fn stack_traces_of_ruby_and_node() {
    assert_gathers(
        "ruby",
        &[
            "started",
            "/app/door.rb:3:in `enter': no key (RuntimeError)\n\tfrom /app/door.rb:9:in `block in run'\n\tfrom /app/main.rb:1:in `<main>'",
            "E, it failed\n  app/models/door.rb:10:in `open'\n  app/main.rb:1:in `run'",
            "going on",
        ],
    );
    assert_gathers(
        "node",
        &[
            "started",
            "/app/door.js:3\n    throw new Error('no key');\n    ^\n\nError: no key\n    at enter (/app/door.js:3:11)\n    at main (/app/main.js:1:1) {\n  code: 'NO_KEY'\n}\n\nNode.js v20.1.0",
            "TypeError: x is not a function\n    at /app/a.js:1:2",
            "going on",
        ],
    );
}

#[test]
fn gathered_lines_are_no_longer_than_a_line_may_be() {
    let rules = Multiline::start("^x").unwrap();
    let mut framer = Framer::new(0, &Framing { multiline: Some(rules), ..Framing::lines(10) });
    let (mut texts, mut length) = (Vec::new(), 0);
    let mut take = |piece: Piece<'_>| {
        length += match piece {
            Piece::Line { text, length, .. } => {
                texts.push(String::from_utf8_lossy(text).into_owned());
                length
            }
            Piece::OverLong { kept, rest_length, .. } => {
                texts.push(String::from_utf8_lossy(kept).into_owned());
                kept.len() as u64 + rest_length
            }
            Piece::Skipped { length, .. } => length,
        }
    };
    framer.push(b"x1\n22\n33\n44\n\n\n\n55\nlonger than ten\n66\n\0\0\x0077\n", &mut take);
    assert_eq!(framer.cut_at(), Some(43));
    framer.cut(&mut take);
    assert_eq!(texts, ["x1\n22\n33", "44\n\n\n\n55", "longer tha", "66", "77"]);
    assert_eq!((length, framer.at(), framer.cut_at()), (43, 43, None));
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 16] = [
        b"x",
        b"\tat a",
        b"Traceback (most recent call last):",
        b"ValueError: a",
        b"/a.js:1",
        b"  ^",
        b"panic: x",
        b"\n",
        b"\r\n",
        b"\n\n",
        b" ",
        b"\0",
        b"\xff",
        b"0123456789",
        b"a.bException: ",
        b"\xef\xbb\xbf",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// However the bytes are cut into blocks, the same records come out, they tile the bytes, and a second reading that knows the cuts
    /// of the first makes the same of them.
    #[test]
    fn gathered_lines_tile_and_cuts_can_be_repeated(
        bytes in lines(), preset in prop::sample::select(Multiline::PRESETS.to_vec()), at in prop::collection::vec(0..120_usize, 0..4), whole in any::<bool>(),
    ) {
        let multiline = Multiline::preset(preset);
        let read = |blocks: &[&[u8]], cut: &dyn Fn(u64) -> bool| {
            let mut framer = Framer::new(0, &Framing { multiline: multiline.clone(), ..Framing::lines(30) });
            let (mut records, mut raws, mut cuts, mut seen) = (Vec::new(), Vec::new(), Vec::new(), 0);
            let mut take = |piece: Piece<'_>| match piece {
                Piece::Line { text, raw, .. } => {
                    records.push(text.to_vec());
                    raws.push(crc_of(raw));
                }
                Piece::OverLong { kept, rest, .. } => {
                    records.push(kept.to_vec());
                    raws.push(crc_of(rest));
                }
                Piece::Skipped { raw, .. } => raws.push(crc_of(raw)),
            };
            for block in blocks {
                framer.push(block, &mut take);
                seen += block.len() as u64;
                if cut(seen) && let Some(at) = framer.cut_at() {
                    cuts.push(at);
                    framer.cut(&mut take);
                    assert_eq!(framer.at(), at);
                }
                assert_eq!(framer.at() + framer.pending(), seen);
            }
            framer.finish(&mut take);
            (records, raws, cuts, framer.at())
        };
        let mut places: Vec<usize> = at.into_iter().map(|at| at.min(bytes.len())).chain([0, bytes.len()]).collect();
        places.sort_unstable();
        let blocks: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(&blocks, &|_| false), read(&[&bytes], &|_| false));

        // Cut wherever a block ended, as time would have it; then again with other blocks.
        let (records, raws, cuts, end) = read(&blocks, &|_| true);
        prop_assert_eq!(end, bytes.len() as u64);
        let mut places: Vec<usize> = cuts.iter().map(|cut| *cut as usize).chain([0, bytes.len()]).collect();
        if !whole {
            places.extend((0..bytes.len()).step_by(7));
        }
        places.sort_unstable();
        let blocks: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let again = read(&blocks, &|seen| cuts.contains(&seen));
        prop_assert_eq!((records, raws, end), (again.0, again.1, again.3));
    }
}

mod charsets;
mod containers;
