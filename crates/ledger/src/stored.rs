//! How pieces are stored, now and before.

use crate::Span;
use serde::Deserialize;

/// A piece as it may lie in a catalogue.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Piece {
    /// Start, length, checksum, epoch.
    Now(u64, u64, u32, u64),
    /// By names, as they were first stored.
    First { span: Span, crc32c: u32, epoch: u64 },
}

impl From<Piece> for crate::Piece {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Now(start, length, crc32c, epoch) => {
                Self { span: Span { start, end: start.saturating_add(length) }, crc32c, epoch }
            }
            Piece::First { span, crc32c, epoch } => Self { span, crc32c, epoch },
        }
    }
}

impl From<crate::Piece> for (u64, u64, u32, u64) {
    fn from(piece: crate::Piece) -> Self {
        (piece.span.start, piece.span.length(), piece.crc32c, piece.epoch)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Piece, Span};

    #[test]
    fn a_piece_is_read_as_it_is_stored_now_and_as_it_was() {
        let piece = Piece { span: Span { start: 7, end: 19 }, crc32c: 5, epoch: 3 };
        assert_eq!(serde_json::to_string(&piece).ok().as_deref(), Some("[7,12,5,3]"));
        for text in ["[7,12,5,3]", r#"{"span":{"start":7,"end":19},"crc32c":5,"epoch":3}"#] {
            assert_eq!(serde_json::from_str::<Piece>(text).ok(), Some(piece), "{text}");
        }
        let end = serde_json::from_str::<Piece>("[18446744073709551615,2,0,0]").map(|piece| piece.span.end);
        assert_eq!(end.ok(), Some(u64::MAX));
    }
}
