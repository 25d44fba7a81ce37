//! Bytes that are not UTF-8, and zero bytes.

use super::*;

fn read(charset: Charset, blocks: &[&[u8]], max_line: usize) -> Vec<String> {
    let mut framer = Framer::new(0, &Framing { charset, ..Framing::lines(max_line) });
    let mut found = Vec::new();
    let mut length = 0;
    let mut take = |piece: Piece<'_>| {
        length += match piece {
            Piece::Line { text, length, malformed, .. } => {
                let text = String::from_utf8_lossy(text);
                found.push(if malformed { format!("malformed {text}") } else { text.into_owned() });
                length
            }
            Piece::OverLong { text, kept, rest_length, length, .. } => {
                found.push(format!("{}…{length}", String::from_utf8_lossy(text)));
                kept.len() as u64 + rest_length
            }
            Piece::Skipped { reason, length, .. } => {
                found.push(format!("<{} {length}>", reason.name()));
                length
            }
        };
    };
    for block in blocks {
        framer.push(block, &mut take);
    }
    framer.finish(&mut take);
    assert_eq!(length, blocks.iter().map(|block| block.len() as u64).sum::<u64>());
    found
}

fn wide(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

#[test]
fn lines_of_other_encodings_are_text_like_all_others() {
    let shift_jis = Charset::named("Shift_JIS").unwrap();
    // The second byte of the third character is a backslash.
    assert_eq!(read(shift_jis, &[b"\x83\x8d\x83O\x83\\\n\x82\xa0\r\n"], 99), ["ログソ", "あ"]);
    assert_eq!(read(shift_jis, &[b"ok\n\x83\n"], 99)[0], "ok");
    assert!(read(shift_jis, &[b"\x83\x20\xff\n"], 99)[0].starts_with("malformed"));
    let latin = Charset::named("latin1").unwrap();
    assert_eq!(read(latin, &[b"Stra\xdfe\n"], 99), ["Straße"]);
    for (label, big) in [("utf-16le", false), ("utf-16be", true)] {
        let charset = Charset::named(label).unwrap();
        // U+0A00 and U+000A side by side, in each order of bytes; a blank line; no end of the last.
        let bytes = wide("\u{feff}a\u{a00}b\n\r\n\u{10a}c\u{a0a}\r\n🦀", big);
        assert_eq!(
            read(charset, &[&bytes], 99),
            ["a\u{a00}b", "<blank 4>", "\u{10a}c\u{a0a}", "🦀"],
            "{label}"
        );
        assert_eq!(Charset::of_mark(&bytes), Some(charset));
        let long = wide("abcdef\nx\n", big);
        assert_eq!(read(charset, &[&long], 7), ["abc…12", "x"]);
    }
    assert_eq!(Charset::named("utf8"), Some(Charset::UTF_8));
    assert_eq!((Charset::named("klingon"), Charset::named("replacement")), (None, None));
}

#[test]
fn a_mark_is_waited_for_as_long_as_it_may_come() {
    let may: [&[u8]; 5] = [b"", b"\xef", b"\xef\xbb", b"\xff", b"\xfe"];
    assert!(may.iter().all(|first| Charset::may_be_marked(first)));
    let not: [&[u8]; 4] = [b"a", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xffa"];
    assert!(!not.iter().any(|first| Charset::may_be_marked(first)));
    assert_eq!(Charset::of_mark(b"\xef\xbb\xbf"), Some(Charset::UTF_8));
    assert_eq!(Charset::of_mark(b"ab"), None);
}

#[test]
fn zeros_that_were_never_written_count_as_if_they_were() {
    for (before, zeros) in [("", 5), ("", 70_000), ("ab", 3), ("ab", 100_000)] {
        let written = [before.as_bytes(), &vec![0; zeros], b"x\ny\n"].concat();
        let (expected, _) = frame(&[&written], 50, true);
        let mut framer = Framer::new(0, &Framing::lines(50));
        let mut seen = Vec::new();
        let mut take = |piece: Piece<'_>| {
            seen.push(match piece {
                Piece::Line { raw, length, .. } | Piece::Skipped { raw, length, .. } => (length, crc_of(raw)),
                Piece::OverLong { kept, rest, rest_length, .. } => {
                    (kept.len() as u64 + rest_length, crc32c::crc32c(kept) ^ crc_of(rest))
                }
            });
        };
        framer.push(before.as_bytes(), &mut take);
        framer.push_zeros(zeros as u64, &mut take);
        framer.push(b"x\ny\n", &mut take);
        framer.finish(&mut take);
        let mut pieces = Vec::new();
        for piece in &expected {
            if piece.skipped == Some(SkipReason::OverLong) {
                let (length, crc) = pieces.pop().unwrap();
                pieces.push((length + piece.length, crc ^ piece.crc32c));
            } else {
                pieces.push((piece.length, piece.crc32c));
            }
        }
        assert_eq!(seen, pieces, "{before:?} {zeros}");
    }
}

proptest! {
    /// The newline of two bytes may be cut anywhere.
    #[test]
    fn wide_lines_are_the_same_however_they_are_cut(
        text in "[a\\n\u{a00}\u{10a}\r\u{feff}é]{0,40}", big in any::<bool>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6), max_line in 6..30_usize,
    ) {
        let charset = Charset::named(if big { "utf-16be" } else { "utf-16le" }).unwrap();
        let bytes = wide(&text, big);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let blocks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(charset, &blocks, max_line), read(charset, &[&bytes], max_line));
        let lines: Vec<String> = text.strip_prefix('\u{feff}').unwrap_or(&text).split_inclusive('\n')
            .map(|line| line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line)).to_owned())
            .filter(|line| !line.trim_ascii_start().is_empty()).collect();
        let read: Vec<String> = read(charset, &[&bytes], 1000).into_iter().filter(|line| !line.starts_with('<')).collect();
        prop_assert_eq!(read, lines);
    }
}
