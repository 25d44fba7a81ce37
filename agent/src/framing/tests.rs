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
    let mut framer = Framer::new(0, max_line);
    let (mut pieces, mut at) = (Vec::new(), 0);
    let mut take = |piece: Piece<'_>| {
        let mut push = |length, skipped, text: &[u8], original, crc32c| {
            pieces.push(Owned { at, length, skipped, text: text.to_vec(), original, crc32c });
            at += length;
        };
        match piece {
            Piece::Line { text, raw } => push(raw.len() as u64, None, text, None, crc32c::crc32c(raw)),
            Piece::OverLong { kept, rest, rest_length, length } => {
                push(kept.len() as u64, None, kept, Some(length), crc32c::crc32c(kept));
                push(rest_length, Some(SkipReason::OverLong), b"", None, crc_of(rest));
            }
            Piece::Skipped { reason, raw, length } => push(length, Some(reason), b"", None, crc_of(raw)),
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
    let mut framer = Framer::new(0, 1000);
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
        let mut framer = Framer::new(start, 20);
        let mut length = 0;
        let mut pieces = 0;
        let mut count = |piece: Piece<'_>| {
            let (runs, bytes) = match piece {
                Piece::Line { raw, .. } => (1, raw.len() as u64),
                Piece::OverLong { kept, rest_length, .. } => (2, kept.len() as u64 + rest_length),
                Piece::Skipped { length, .. } => (1, length),
            };
            pieces += runs;
            length += bytes;
        };
        framer.push(&bytes[start as usize..], &mut count);
        framer.finish(&mut count);
        prop_assert_eq!((pieces, start + length), (whole.len() - from, bytes.len() as u64));
    }
}
