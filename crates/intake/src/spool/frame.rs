//! What lies in a spool's files, as bytes: a segment's header, and frames of one record each. Pure.
//!
//! Format 1, little endian. A segment begins with its header, twice, so that no single damage takes both:
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 4 | `MSS1`: magic and version |
//! | 4 | 4 | CRC-32C of bytes 8 to 32 |
//! | 8 | 16 | the spool's id |
//! | 24 | 8 | the number of its first record |
//!
//! Then frames, one after another:
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 4 | `MSF1`: magic and version |
//! | 4 | 4 | CRC-32C of the spool's id and of bytes 8 to 24 |
//! | 8 | 8 | the record's number |
//! | 16 | 4 | length of the payload |
//! | 20 | 4 | CRC-32C of the payload |
//!
//! A frame without a payload is a mark: all numbers before its own are given out, whether a record bears them or not. The id in
//! the checksum means that what looks like a frame inside of a record is none, whatever a sender has put there.

use millrace_model::SpoolId;

/// Length of a frame's header.
pub(super) const FRAME: usize = 24;
/// Length of one copy of a segment's header.
const COPY: usize = 32;
/// Length of what a segment begins with.
pub(super) const SEGMENT: usize = 2 * COPY;
/// No payload is longer: what claims to be is damaged.
pub(super) const LONGEST: usize = 64 << 20;

const FRAME_MAGIC: &[u8; 4] = b"MSF1";
const SEGMENT_MAGIC: &[u8; 4] = b"MSS1";
/// The magic without its version.
const SEGMENT_NAME: &[u8; 3] = b"MSS";

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) spool: SpoolId,
    pub(super) base: u64,
}

/// What was found where a segment's header should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundHeader {
    Sound(SegmentHeader),
    /// Of a version that this program does not read.
    Newer,
    Damaged,
}

impl SegmentHeader {
    /// Both copies.
    pub(super) fn write(&self) -> [u8; SEGMENT] {
        let mut bytes = [0; SEGMENT];
        let (first, second) = bytes.split_at_mut(COPY);
        first[..4].copy_from_slice(SEGMENT_MAGIC);
        first[8..24].copy_from_slice(&self.spool.0.to_le_bytes());
        first[24..].copy_from_slice(&self.base.to_le_bytes());
        let crc = crc32c::crc32c(&first[8..]);
        first[4..8].copy_from_slice(&crc.to_le_bytes());
        second.copy_from_slice(first);
        bytes
    }

    /// Reads whichever copy is sound.
    pub(super) fn read(bytes: &[u8]) -> FoundHeader {
        let copies = || bytes.chunks_exact(COPY).take(2);
        if let Some(header) = copies().find_map(Self::read_copy) {
            return FoundHeader::Sound(header);
        }
        let newer = |copy: &[u8]| copy.starts_with(SEGMENT_NAME) && !copy.starts_with(SEGMENT_MAGIC);
        if bytes.len() >= SEGMENT && copies().all(newer) { FoundHeader::Newer } else { FoundHeader::Damaged }
    }

    fn read_copy(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        if magic != SEGMENT_MAGIC || crc32c::crc32c(rest) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (spool, rest) = rest.split_first_chunk::<16>()?;
        let base = rest.first_chunk::<8>()?;
        Some(Self { spool: SpoolId(u128::from_le_bytes(*spool)), base: u64::from_le_bytes(*base) })
    }
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) number: u64,
    pub(super) length: u32,
    pub(super) crc32c: u32,
}

/// What the checksums of a spool's frames begin with.
pub(super) fn seed(spool: SpoolId) -> u32 {
    crc32c::crc32c(&spool.0.to_le_bytes())
}

impl FrameHeader {
    pub(super) fn of(number: u64, payload: &[u8]) -> Self {
        Self { number, length: payload.len() as u32, crc32c: crc32c::crc32c(payload) }
    }

    pub(super) fn write(&self, seed: u32) -> [u8; FRAME] {
        let mut bytes = [0; FRAME];
        bytes[..4].copy_from_slice(FRAME_MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..].copy_from_slice(&self.crc32c.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` unless it is whole and sound.
    pub(super) fn read(bytes: &[u8], seed: u32) -> Option<Self> {
        let (magic, rest) = bytes.get(..FRAME)?.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        if magic != FRAME_MAGIC || crc32c::crc32c_append(seed, rest) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let header = Self {
            number: u64::from_le_bytes(*number),
            length: u32::from_le_bytes(*length),
            crc32c: u32::from_le_bytes(*rest.first_chunk::<4>()?),
        };
        (header.length as usize <= LONGEST && header.number < u64::MAX).then_some(header)
    }

    /// Header and payload together.
    pub(super) fn total(&self) -> u64 {
        FRAME as u64 + u64::from(self.length)
    }

    /// Is it a mark, without a record?
    pub(super) fn is_mark(&self) -> bool {
        self.length == 0
    }

    /// The number after all that it speaks of.
    pub(super) fn end(&self) -> u64 {
        self.number + u64::from(!self.is_mark())
    }

    /// Is the payload what was written?
    pub(super) fn holds(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && crc32c::crc32c(payload) == self.crc32c
    }
}

/// Where the start of a frame may be in `bytes`: the first place that looks like the magic.
pub(super) fn find_magic(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, FRAME_MAGIC)
}
